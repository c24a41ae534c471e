//! Why a query has no answer, as one sentence in the words of the face that says it.

use std::{fmt, time::Duration};

use shoal_common::{ids::EntityId, user_query::CannotRank};

use crate::{snapshot::NotServed, words::Words};

/// Why a query has no answer.
#[derive(Debug, Clone)]
pub enum QueryError {
    /// A parameter is wrong.
    Invalid {
        /// The parameter that cannot be used.
        parameter: Parameter,
        /// What it has to be.
        reason: Reason,
    },
    /// The version cannot do what is asked.
    Unsupported {
        /// Why not: a worker's sentence.
        reason: String,
    },
    /// No version is served that could answer.
    NotServed(NotServed),
    /// The version knows no such item.
    UnknownItem(EntityId),
    /// The version knows no such user.
    UnknownUser(EntityId),
    /// Shards that are needed do not answer.
    Unavailable {
        /// What could not be had.
        reason: Reason,
        /// What the last worker said that was asked for it.
        why: Option<String>,
        /// Whether workers said that they do not hold what metadata says they do.
        stale: bool,
    },
    /// The time is up.
    Timeout,
    /// The token of whoever asks may not ask for more now.
    TokenExhausted {
        /// When to come back.
        retry_after: Duration,
    },
    /// Too much is under way.
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
}

impl QueryError {
    pub(crate) fn invalid(parameter: Parameter, reason: impl Into<Reason>) -> Self {
        Self::Invalid { parameter, reason: reason.into() }
    }

    pub(crate) fn unavailable(reason: impl Into<Reason>) -> Self {
        Self::Unavailable { reason: reason.into(), why: None, stale: false }
    }

    /// The sentence for a client, with the remedy.
    #[must_use]
    pub fn text(&self, words: &Words) -> String {
        match self {
            Self::Invalid { parameter, reason } => {
                invalid_parameter(parameter.name(words), &reason.text(words))
            }
            Self::Unsupported { reason } => reason.clone(),
            Self::NotServed(error) => error.to_string(),
            Self::UnknownItem(id) => format!("{} {id} is unknown", words.item),
            Self::UnknownUser(id) => {
                format!("user {id} is unknown; ask for recommendations to get what is popular")
            }
            Self::Unavailable { reason, why, .. } => {
                let why = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                format!("{}{why}; try again", reason.text(words))
            }
            Self::Timeout => "the answer took longer than it may; try again".to_owned(),
            Self::TokenExhausted { retry_after } => format!(
                "the token has asked for more than it may in a second; come back in {:.1} s, or ask for a token with a \
                 higher limit",
                retry_after.as_secs_f64()
            ),
            Self::Overloaded { .. } => "the router is overloaded; try again in a moment".to_owned(),
        }
    }
}

/// What is said of a parameter or a field that is wrong.
pub(crate) fn invalid_parameter(name: &str, reason: &str) -> String {
    format!("parameter '{name}' is not valid: {reason}")
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&Words::OWN))
    }
}

impl std::error::Error for QueryError {}

impl From<NotServed> for QueryError {
    fn from(error: NotServed) -> Self {
        Self::NotServed(error)
    }
}

/// A parameter or a field of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Parameter {
    UserId,
    UserIds,
    ItemId,
    Items,
    Rating,
    N,
    Model,
    RankBy,
    Categories,
    ExcludeCategories,
    YearMin,
    ExcludeIds,
    AllowIds,
    Diversity,
    Explain,
    Cursor,
    Window,
    Query,
}

impl Parameter {
    /// What a face with these words calls it.
    pub(crate) fn name(self, words: &Words) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::UserIds => "user_ids",
            Self::ItemId => words.item_id,
            Self::Items => "items",
            Self::Rating => "rating",
            Self::N => "n",
            Self::Model => "model",
            Self::RankBy => "rank_by",
            Self::Categories => words.categories,
            Self::ExcludeCategories => words.exclude_categories,
            Self::YearMin => "year_min",
            Self::ExcludeIds => "exclude_ids",
            Self::AllowIds => "allow_ids",
            Self::Diversity => "diversity",
            Self::Explain => "explain",
            Self::Cursor => "cursor",
            Self::Window => "window",
            Self::Query => "query",
        }
    }
}

/// What is wrong, in a part of a sentence.
#[derive(Debug, Clone)]
pub enum Reason {
    /// Something that every face says alike.
    Said(String),
    /// A session names none or too many items.
    ItemCount {
        /// How many it names.
        named: usize,
        /// How many it may name.
        max: usize,
    },
    /// A rating is not on the data set's scale.
    OffScale {
        /// The rating that was given.
        rating: f32,
        /// The item that was rated.
        item: EntityId,
        /// The lowest rating of the scale.
        min: f32,
        /// The highest rating of the scale.
        max: f32,
    },
    /// A session names an item twice.
    ItemTwice(EntityId),
    /// A window was given for the latest items.
    LatestHasNoWindow,
    /// The version or the user lacks what ranking so takes.
    CannotRank(CannotRank),
    /// The shard of an item does not answer.
    ItemSilent(EntityId),
    /// Shards of rated items do not answer.
    RatedItemsSilent,
}

impl Reason {
    fn text(&self, words: &Words) -> String {
        let Words { item, items, .. } = words;
        match self {
            Self::Said(text) => text.clone(),
            Self::ItemCount { named, max } => format!("it names {named} {items}; it must name 1 to {max}"),
            Self::OffScale { rating, item: id, min, max } => {
                format!("it is {rating} for {item} {id}; it must be from {min} to {max}")
            }
            Self::ItemTwice(id) => format!("{item} {id} is named twice"),
            Self::LatestHasNoWindow => format!("the latest {items} have none; leave it out"),
            Self::CannotRank(error) => error.text(item),
            Self::ItemSilent(id) => format!("the shard of {item} {id} does not answer"),
            Self::RatedItemsSilent => format!("some of the rated {items}' shards do not answer"),
        }
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self::Said(text)
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        Self::Said(text.to_owned())
    }
}

impl From<CannotRank> for Reason {
    fn from(error: CannotRank) -> Self {
        Self::CannotRank(error)
    }
}
