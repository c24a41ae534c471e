//! How much a request may send, and for how long.

use std::time::Duration;

/// Bytes of a body: a thousand rated items or users with long ids.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;
/// How long a client may take to send a body.
pub(super) const BODY_TIME_MAX: Duration = Duration::from_secs(30);
