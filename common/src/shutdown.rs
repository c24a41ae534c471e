//! Shutdown as a shape: one token says stop, one tracker knows every task; stop accepting, drain
//! within a deadline, leave.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Handed to everything that runs until told to stop. Clones share the token and the tracker.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Shutdown {
    /// Nothing asked to stop yet, no task tracked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task that [`Shutdown::drain`] waits for; aborting the handle ends the task. The name
    /// shows in the log if it panics.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task panicked");
            }
        })
    }

    /// The token, for `select!`.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Completes once a stop was asked for.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Whether a stop was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Asks every holder to stop.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Asks to stop and waits for the tracked tasks. Returns false when some outlived the deadline.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.request();
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }
}
