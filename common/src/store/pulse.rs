//! Whether a store answers: what has been asked of it for how long, when it last said anything, and what went wrong since.
//!
//! Requests to a remote store are tried again for minutes below the calls that wait for them. Whoever waits is told here
//! why, long before a call fails.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A store that has said nothing for so long, although something is asked of it, is silent.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// What is known of how a store answers. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    next: u64,
    /// The calls that are under way, by their numbers, which grow.
    waiting: BTreeMap<u64, (Instant, &'static str, String)>,
    answered_at: Option<Instant>,
    /// What the last request failed of that was not answered.
    failure: Option<String>,
}

/// A call that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    pulse: Pulse,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pulse.lock().waiting.remove(&self.number);
    }
}

/// A store that does not answer although something waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// For how long it has said nothing.
    pub lasts: Duration,
    /// What waits: "read", "write" and the like.
    pub action: &'static str,
    /// The object or folder that is asked for.
    pub path: String,
    /// What the last request failed of.
    pub reason: Option<String>,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the store has not answered for {} s ({} '{}'",
            self.lasts.as_secs(),
            self.action,
            self.path
        )?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason})"),
            None => f.write_str(")"),
        }
    }
}

impl Pulse {
    /// Something is asked of the store from now on.
    pub(super) fn ask(&self, action: &'static str, path: &str) -> Waiting {
        let mut known = self.lock();
        let number = known.next;
        known.next += 1;
        known.waiting.insert(number, (Instant::now(), action, path.to_owned()));
        Waiting { pulse: self.clone(), number }
    }

    /// The store has said something, be it a refusal.
    pub(super) fn answered(&self) {
        let mut known = self.lock();
        (known.answered_at, known.failure) = (Some(Instant::now()), None);
    }

    /// A request has failed without an answer.
    pub(super) fn failed(&self, reason: String) {
        self.lock().failure = Some(reason);
    }

    /// The silence of a store for which something has been waiting.
    pub(super) fn silence(&self) -> Option<Silence> {
        let known = self.lock();
        // Numbers grow with time: the first has waited longest.
        let (since, action, path) = known.waiting.values().next()?;
        let quiet_since = known.answered_at.map_or(*since, |answered_at| answered_at.max(*since));
        let lasts = quiet_since.elapsed();
        let (action, path, reason) = (*action, path.clone(), known.failure.clone());
        (lasts >= SILENT_AFTER).then_some(Silence { lasts, action, path, reason })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_is_silent_while_something_waits_and_nothing_is_answered() {
        let pulse = Pulse::default();
        let advance = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        advance(60).await;
        assert_eq!(pulse.silence(), None, "nobody asks");
        let first = pulse.ask("write", "a");
        advance(2).await;
        assert_eq!(pulse.silence(), None);
        pulse.failed("connection refused".to_owned());
        advance(2).await;
        let silence = pulse.silence().unwrap();
        assert_eq!(silence.to_string(), "the store has not answered for 4 s (write 'a': connection refused)");
        // An answer to anything is one.
        pulse.answered();
        let second = pulse.ask("read", "b");
        assert_eq!(pulse.silence(), None);
        advance(3).await;
        assert_eq!(
            pulse.silence().map(|silence| (silence.path, silence.reason)),
            Some(("a".to_owned(), None))
        );
        drop(first);
        assert_eq!(pulse.silence().map(|silence| silence.path), Some("b".to_owned()));
        drop(second);
        assert_eq!(pulse.silence(), None);
    }
}
