//! Writes to a file store that are under way in this process.
//!
//! The file system's calls cannot be taken back: whoever stops waiting for a write, as a cancelled job does, leaves it going.
//! Removing what a job has left has to come after such writes, or they put a file where everything was removed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The writes of one store. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Writes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    under_way: Mutex<UnderWay>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    paths: BTreeMap<u64, String>,
}

/// A write that goes on until this is dropped.
struct Write {
    writes: Writes,
    number: u64,
}

impl Writes {
    /// Lets a write to `path` go on to its end, whether somebody waits for it or not.
    ///
    /// # Errors
    /// The write's own, or that it has panicked.
    pub(super) async fn through<T: Send + 'static>(
        &self,
        path: &str,
        write: impl Future<Output = Result<T, object_store::Error>> + Send + 'static,
    ) -> Result<T, object_store::Error> {
        let guard = self.begin(path);
        let written = tokio::spawn(async move {
            let _guard = guard;
            write.await
        });
        written.await.map_err(|source| object_store::Error::JoinError { source })?
    }

    fn begin(&self, path: &str) -> Write {
        let mut under_way = self.lock();
        let number = under_way.next;
        under_way.next += 1;
        under_way.paths.insert(number, path.to_owned());
        Write { writes: self.clone(), number }
    }

    /// Whether a write to `path`, or below it, is under way.
    fn is_written_below(&self, path: &str) -> bool {
        let is_below = |written: &String| {
            written.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.lock().paths.values().any(is_below)
    }

    /// Waits until no write to `path`, or below it, is under way.
    pub(super) async fn ended_below(&self, path: &str) {
        loop {
            // Made before the look: an end between the two is not missed.
            let ended = self.0.ended.notified();
            if !self.is_written_below(path) {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        self.writes.lock().paths.remove(&self.number);
        self.writes.0.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_waits_for_is_waited_for_before_its_folder_is_removed() {
        let writes = Writes::default();
        let (finish, finished) = oneshot::channel::<()>();
        let write = writes.through("a/b/part", async move {
            let _ = finished.await;
            Ok(())
        });
        // Whoever wanted it goes away.
        assert!(tokio::time::timeout(Duration::from_secs(1), write).await.is_err());
        let patience = Duration::from_secs(60);
        for other in ["a/b/par", "a/b/part/x", "b"] {
            tokio::time::timeout(patience, writes.ended_below(other))
                .await
                .expect("nothing is written there");
        }
        for folder in ["a", "a/b", "a/b/part"] {
            assert!(tokio::time::timeout(patience, writes.ended_below(folder)).await.is_err(), "{folder}");
        }
        let removing = writes.ended_below("a");
        finish.send(()).unwrap();
        tokio::time::timeout(patience, removing).await.expect("the write has ended");
    }
}
