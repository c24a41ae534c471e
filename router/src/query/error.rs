//! Why a query has no answer.

use std::time::Duration;

use shoal_common::ids::EntityId;

use super::Model;

/// Why a query has no answer; each reads as a sentence for the client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueryError {
    /// A parameter is wrong.
    #[error("parameter '{parameter}' is not valid: {reason}")]
    Invalid {
        /// The parameter.
        parameter: String,
        /// What it has to be.
        reason: String,
    },
    /// The version cannot do what is asked.
    #[error("{reason}")]
    Unsupported {
        /// Why not.
        reason: String,
    },
    /// A page of a version that is no longer served.
    #[error("version '{0}' is no longer served; leave the cursor out to begin anew")]
    VersionGone(String),
    /// The model knows no such movie.
    #[error("movie {0} is unknown")]
    UnknownMovie(EntityId),
    /// The model knows no such user.
    #[error("user {0} is unknown; ask for recommendations to get what is popular")]
    UnknownUser(EntityId),
    /// Nothing was promoted yet.
    #[error(
        "no model is live yet: train one with `shoal train --promote`, or promote a version with `shoal models promote`"
    )]
    NoModel,
    /// Other models are live, but not this one.
    #[error("{}", not_live(*.0))]
    ModelNotLive(Model),
    /// Shards that are needed do not answer.
    #[error("{reason}; try again")]
    Unavailable {
        /// What could not be had.
        reason: String,
        /// Whether workers said that they do not hold what metadata says they do.
        stale: bool,
    },
    /// The time is up.
    #[error("the answer took longer than it may; try again")]
    Timeout,
    /// Too much is under way.
    #[error("the router is overloaded; try again in a moment")]
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
}

impl QueryError {
    pub(crate) fn invalid(parameter: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { parameter: parameter.into(), reason: reason.into() }
    }
}

fn not_live(model: Model) -> String {
    let name = model.name();
    format!(
        "no version of model '{name}' is live: train one with `shoal train --models {name}` and promote it with \
         `shoal models promote`, or ask another model"
    )
}
