//! The deadline travels with the call, as gRPC's own `grpc-timeout`.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Request, metadata::MetadataMap};

/// What is left until `deadline`; zero once it has passed.
#[must_use]
pub fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A request that carries what is left until `deadline`, less `margin` for the way back.
#[must_use]
pub fn with_deadline<T>(message: T, deadline: Instant, margin: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(remaining(deadline).saturating_sub(margin));
    request
}

/// How long the caller waits, from gRPC's `grpc-timeout`; `None` without one, or with one that
/// cannot be read.
#[must_use]
pub fn timeout_of(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // The protocol allows eight digits at most, and no sign.
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit_of_a_timeout() {
        let timeout = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            timeout_of(&metadata)
        };
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("7u"), Some(Duration::from_micros(7)));
        assert_eq!(timeout("999999999m"), None);
        assert_eq!(timeout("m"), None);
        assert_eq!(timeout("+1S"), None);
        assert_eq!(timeout("10x"), None);
        assert_eq!(timeout_of(&MetadataMap::new()), None);
    }
}
