//! Noticing that a metadata stream has fallen behind: a leader that was cut off keeps its streams
//! open, while heartbeats, which follow the new leader, already name other metadata.

use std::time::Duration;

use tokio::time::Instant;

/// Intervals between beats for which the leader must name other metadata than ours, while ours does
/// not change, before the stream counts as outdated. Time, not beats: a change is often heard of in
/// a heartbeat first, and beats come in bursts while shards are being loaded.
const OUTDATED_INTERVALS: u32 = 3;

/// Since when the leader has had other metadata than ours, ours being stuck at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind {
    stuck: Option<(u64, Instant)>,
}

impl Behind {
    /// Notes that a heartbeat, one every `interval`, named the revision `current` while `known` is known
    /// here. True when the stream has fallen behind and should be begun anew; the count starts over.
    pub fn note(&mut self, known: u64, current: u64, interval: Duration) -> bool {
        self.note_at(known, current, interval, Instant::now())
    }

    fn note_at(&mut self, known: u64, current: u64, interval: Duration, now: Instant) -> bool {
        self.stuck = match self.stuck {
            _ if known == current => None,
            Some((revision, since)) if revision == known => Some((revision, since)),
            _ => Some((known, now)),
        };
        let outdated = self.stuck.is_some_and(|(_, since)| now - since >= interval * OUTDATED_INTERVALS);
        if outdated {
            self.stuck = None;
        }
        outdated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metadata_that_stays_behind_counts() {
        let begun = Instant::now();
        let interval = Duration::from_millis(10);
        let mut behind = Behind::default();
        let mut note =
            |known, current, ms| behind.note_at(known, current, interval, begun + Duration::from_millis(ms));
        assert!(!note(15, 16, 0));
        assert!(!note(15, 17, 29), "a burst of beats is no longer a time");
        assert!(!note(17, 18, 31), "ours has moved, so the stream lives");
        assert!(!note(18, 18, 50));
        assert!(!note(18, 19, 60));
        assert!(note(18, 19, 90));
        assert!(!note(18, 19, 91), "the new stream has its time");
    }
}
