//! How far pieces of work are that are under way at the same time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What was done last of each piece, and of how much. A new word replaces the one before it, so however fast
/// workers report and however slowly somebody reads, nothing piles up.
#[derive(Debug)]
pub(super) struct Shares {
    /// Done and total of each piece.
    pieces: Mutex<Vec<(u64, u64)>>,
    news: Notify,
}

impl Shares {
    /// Nothing is done of so many pieces.
    pub(super) fn new(pieces: usize) -> Self {
        Self { pieces: Mutex::new(vec![(0, 0); pieces]), news: Notify::new() }
    }

    /// How many pieces there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Notes how far a piece is.
    pub(super) fn set(&self, piece: usize, done: u64, total: u64) {
        self.lock()[piece] = (done, total);
        self.news.notify_one();
    }

    /// Completes when something was noted since the last time.
    pub(super) async fn changed(&self) {
        self.news.notified().await;
    }

    /// Done of all pieces together.
    pub(super) fn done(&self) -> u64 {
        self.lock().iter().map(|(done, _)| done).sum()
    }

    /// Done of all pieces together, as a share of their totals.
    pub(super) fn fraction(&self) -> f64 {
        let (done, total) =
            self.lock().iter().fold((0, 0), |sum: (u64, u64), piece| (sum.0 + piece.0, sum.1 + piece.1));
        done as f64 / (total as f64).max(1.0)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
