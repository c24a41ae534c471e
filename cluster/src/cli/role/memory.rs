//! Memory that was freed goes back to the system.
//!
//! The allocator gives memory back when some thread allocates a second or more after it was freed. A node that has
//! nothing to do allocates next to nothing: it would keep what its last job took until the next one. So it is told to
//! from time to time.

use std::time::Duration;

use shoal_common::shutdown::Shutdown;

/// How often. A job that runs meanwhile takes its pages anew, which costs it little at this interval.
const PURGE_EVERY: Duration = Duration::from_secs(5);

/// Gives back what is free every few seconds until a stop is asked for.
pub(super) fn spawn_purge(shutdown: &Shutdown) {
    let stop = shutdown.clone();
    shutdown.spawn("memory purge", async move {
        loop {
            tokio::select! {
                biased;
                // Leaving gives back everything.
                () = stop.requested() => return,
                () = tokio::time::sleep(PURGE_EVERY) => {}
            }
            // Unmapping many pages takes a while, in which no query is to wait.
            if let Err(error) = tokio::task::spawn_blocking(purge).await {
                tracing::warn!(%error, "freed memory was not given back");
            }
        }
    });
}

fn purge() {
    // SAFETY: the call takes no pointer, moves nothing that is in use, and any thread may make it at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
