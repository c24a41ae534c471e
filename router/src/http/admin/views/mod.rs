//! What is said of a cluster in JSON, field for field: the admin API answers it, and the command line prints it.
//!
//! Names are as in the protos, values of enumerations are their names in small letters, times are ISO 8601 in UTC, and what
//! is not known is `null`.

mod dataset;
mod job;
mod shards;
mod status;
mod trouble;
mod version;

use serde::Serialize;
use shoal_common::clock::UtcTime;
use utoipa::ToSchema;

pub use self::{
    dataset::{Dataset, Report, content_name},
    job::{Job, job_seconds},
    shards::ShardMap,
    status::{ClusterState, KnownNode, unprotected},
    trouble::{Trouble, Troubles},
    version::{LiveVersions, Sweep, Version},
};

/// A Unix time in milliseconds as ISO 8601; nothing for 0.
#[must_use]
pub fn iso_time(unix_ms: i64) -> Option<String> {
    (unix_ms != 0).then(|| UtcTime::from_unix_ms(unix_ms).iso_8601())
}

/// A text; nothing for an empty one.
fn text(value: &str) -> Option<String> {
    Some(value).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// One page of a list: its beginning, as long as was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Page<T> {
    /// How many there are in all.
    total: usize,
    /// The first of them.
    entries: Vec<T>,
}

impl<T> Page<T> {
    /// The first `limit` of the sources.
    pub(in crate::http) fn of<'a, S>(sources: &'a [S], limit: usize) -> Self
    where
        T: From<&'a S>,
    {
        Self { total: sources.len(), entries: sources.iter().take(limit).map(T::from).collect() }
    }
}
