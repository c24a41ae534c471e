//! Log lines about what comes over a wire: whoever sends much must not fill the log with it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Lets a line pass at most once in an interval, and counts the ones that it holds back.
#[derive(Debug)]
pub struct LogLimit {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    passed_at: Option<Instant>,
    held_back: u64,
}

impl LogLimit {
    /// At most one line in `every`.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self { every, state: Mutex::default() }
    }

    /// Whether a line may be written now: then the lines that were held back since the last one, else nothing.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.passed_at.is_some_and(|at| now.duration_since(at) < self.every) {
            state.held_back += 1;
            return None;
        }
        state.passed_at = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_in_an_interval_and_says_how_many_did_not() {
        let every = Duration::from_secs(10);
        let limit = LogLimit::new(every);
        let start = Instant::now();
        let at = |later: Duration| limit.pass_at(start + later);
        assert_eq!([at(Duration::ZERO), at(every / 2), at(every / 2)], [Some(0), None, None]);
        assert_eq!([at(every), at(every)], [Some(2), None]);
    }
}
