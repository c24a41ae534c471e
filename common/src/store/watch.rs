//! Whether a node can use its store: tried at its start until it can, and watched from then on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use shoal_core::hash::hash_bytes;
use tokio::time::Instant;

use super::{Silence, Store, StoreError};
use crate::{causes::with_causes, shutdown::Shutdown};

/// How long one try may take, and the pause after one that failed.
const TRY_MAX: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// The same trouble is told to the log again after so long.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// How often it is looked whether the store answers.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is known of a node's use of its store. Clones share it.
#[derive(Debug, Clone)]
pub struct StoreWatch(Arc<Mutex<Option<String>>>);

impl StoreWatch {
    /// Tries the store of the node called `name` until it can be used, and tells the log of it and of each silence, for as
    /// long as the process runs.
    #[must_use]
    pub fn start(store: Store, name: &str, shutdown: &Shutdown) -> Self {
        let watch =
            Self(Arc::new(Mutex::new(Some(format!("it has not tried its store '{}' yet", store.uri())))));
        let (told, stop) = (watch.clone(), shutdown.token());
        // Two nodes of one machine try the store at the same time.
        let object = format!(".check-{:016x}", hash_bytes(name.as_bytes()));
        shutdown.spawn("store watch", async move {
            let watched = async {
                told.try_until_usable(&store, &object).await;
                follow(&store).await;
            };
            stop.run_until_cancelled(watched).await;
        });
        watch
    }

    /// Why the node cannot use its store; `None` once it could.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn try_until_usable(&self, store: &Store, object: &str) {
        let mut said: Option<(String, Instant)> = None;
        loop {
            let tried = tokio::time::timeout(TRY_MAX, store.check(object)).await;
            let reason = match tried {
                Ok(Ok(())) => break,
                Ok(Err(error)) => with_causes(&error),
                Err(_) => match store.silence().and_then(|silence| silence.reason) {
                    Some(reason) => format!("it has not answered within {} s: {reason}", TRY_MAX.as_secs()),
                    None => format!("it has not answered within {} s", TRY_MAX.as_secs()),
                },
            };
            let is_new =
                said.as_ref().is_none_or(|(before, at)| *before != reason || at.elapsed() >= SAY_AGAIN);
            if is_new {
                tracing::error!(
                    store = store.uri(),
                    reason,
                    "this node cannot use its store, and is not ready until it can"
                );
                said = Some((reason.clone(), Instant::now()));
            }
            self.set(Some(format!("it cannot use its store '{}': {reason}", store.uri())));
            tokio::time::sleep(TRY_AGAIN).await;
        }
        if said.is_some() {
            tracing::info!(store = store.uri(), "the store can be used now");
        }
        self.set(None);
    }

    fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Tells the log when the store falls silent while something waits for it, and when it answers again.
async fn follow(store: &Store) {
    let mut silent: Option<Silence> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match (store.silence(), &silent) {
            (Some(now), None) => {
                let (action, path) = (now.action, now.path.as_str());
                let reason = now.reason.as_deref().unwrap_or("it says nothing");
                tracing::warn!(
                    store = store.uri(),
                    action,
                    path,
                    reason,
                    "the store does not answer, waiting for it"
                );
                silent = Some(now);
            }
            (Some(now), Some(_)) => silent = Some(now),
            (None, Some(before)) => {
                let seconds = before.lasts.as_secs();
                tracing::info!(
                    store = store.uri(),
                    seconds,
                    "the store answers again, or nothing waits for it any more"
                );
                silent = None;
            }
            (None, None) => {}
        }
    }
}

impl Store {
    /// Reads the store, and writes `object`, reads it and deletes it, unless the store is only read here.
    ///
    /// # Errors
    /// What cannot be done with it.
    pub async fn check(&self, object: &str) -> Result<(), StoreError> {
        if self.is_read_only {
            return self.list_folder("models").await.map(drop);
        }
        let written =
            Bytes::from(format!("{object} was written to see whether it can be; it may be deleted\n"));
        self.put(object, written.clone()).await.map_err(|error| match error {
            StoreError::NotFound(_) => StoreError::Missing { uri: self.uri().to_owned() },
            error => error,
        })?;
        if self.get(object).await? != written {
            return Err(StoreError::Forgetful { path: object.to_owned() });
        }
        self.list_folder("models").await?;
        self.delete(object).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(watch: &StoreWatch, is_right: impl Fn(Option<&str>) -> bool) -> Option<String> {
        loop {
            let trouble = watch.trouble();
            if is_right(trouble.as_deref()) {
                return trouble;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_written_is_told_of_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        let store = Store::open(root.to_str().unwrap()).unwrap();
        // Rights do not keep an administrator out, a file in the folder's place does.
        std::fs::remove_dir(&root).unwrap();
        std::fs::write(&root, b"").unwrap();
        let shutdown = Shutdown::new();
        let watch = StoreWatch::start(store, "worker-1", &shutdown);
        assert!(watch.trouble().is_some(), "nothing was tried yet");
        let trouble =
            until(&watch, |trouble| trouble.is_some_and(|trouble| trouble.contains("cannot use"))).await;
        assert!(trouble.unwrap().contains(root.to_str().unwrap()));
        std::fs::remove_file(&root).unwrap();
        std::fs::create_dir(&root).unwrap();
        until(&watch, |trouble| trouble.is_none()).await;
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "the try leaves nothing");
        shutdown.request();
    }

    #[tokio::test]
    async fn a_store_that_is_only_read_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap().read_only();
        store.check("x").await.unwrap();
        assert!(matches!(store.put("x", Bytes::new()).await, Err(StoreError::ReadOnly { .. })));
        assert!(matches!(store.delete_folder("x").await, Err(StoreError::ReadOnly { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
