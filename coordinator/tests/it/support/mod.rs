//! What the tests share.

pub(crate) mod cluster;
pub(crate) mod disk;
pub(crate) mod door;
pub(crate) mod group;
pub(crate) mod ledger;

use std::{future::Future, time::Duration};

/// Longer than anything here takes on a busy machine: what takes longer never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` finds what it looks for.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    eventually_async(what, || std::future::ready(look())).await
}

/// As [`eventually`], where looking takes time.
pub(crate) async fn eventually_async<T, Fut>(what: &str, mut look: impl FnMut() -> Fut) -> T
where
    Fut: Future<Output = Option<T>>,
{
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("it never came about that {what}"))
}
