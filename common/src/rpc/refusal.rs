//! Refusals of a worker that a router acts upon, told apart from other statuses by a metadata key.

use std::time::Duration;

use tonic::{Status, metadata::MetadataValue};

/// Metadata key of a NOT_FOUND that means "this worker does not hold that version or shard": the
/// version's name. Another replica, or a newer placement, may have it.
pub const VERSION_MISSING_KEY: &str = "shoal-version-missing";

/// Metadata key of a RESOURCE_EXHAUSTED: after how many milliseconds to come again.
pub const RETRY_AFTER_MS_KEY: &str = "retry-after-ms";

/// The refusal of a worker that does not hold a version, or the shards asked for; `what` is one sentence.
#[must_use]
pub fn version_missing(version: &str, what: String) -> Status {
    let mut status = Status::not_found(what);
    // A name that cannot travel as metadata is as good as none: the key's presence is the message.
    let value = version.parse().unwrap_or_else(|_| MetadataValue::from_static(""));
    status.metadata_mut().insert(VERSION_MISSING_KEY, value);
    status
}

/// Whether a status is [`version_missing`].
#[must_use]
pub fn is_version_missing(status: &Status) -> bool {
    status.code() == tonic::Code::NotFound && status.metadata().contains_key(VERSION_MISSING_KEY)
}

/// The refusal of a node whose queue is full.
#[must_use]
pub fn queue_full(what: String, retry_after: Duration) -> Status {
    let mut status = Status::resource_exhausted(what);
    let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    status.metadata_mut().insert(RETRY_AFTER_MS_KEY, MetadataValue::from(retry_after_ms));
    status
}

/// When to come again, of a status that says so.
#[must_use]
pub fn retry_after(status: &Status) -> Option<Duration> {
    let value = status.metadata().get(RETRY_AFTER_MS_KEY)?;
    value.to_str().ok()?.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let missing = version_missing("als_model_v1", "not here".to_owned());
        assert!(is_version_missing(&missing));
        assert!(!is_version_missing(&Status::not_found("no such item")));
        let full = queue_full("full".to_owned(), Duration::from_millis(12));
        assert_eq!(retry_after(&full), Some(Duration::from_millis(12)));
        assert_eq!(retry_after(&missing), None);
    }
}
