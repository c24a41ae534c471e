//! What is loaded of versions, found again by whoever else answers from it: a blend answers from the same shards as
//! the versions that it is made of, and they are in memory once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// Parts by version and shard, for as long as somebody holds them.
#[derive(Debug)]
pub(super) struct WeakCache<T>(Mutex<HashMap<(String, u32), Weak<T>>>);

impl<T> Default for WeakCache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> WeakCache<T> {
    /// The part, if somebody holds it.
    pub(super) fn get(&self, version: &str, shard: u32) -> Option<Arc<T>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&(version.to_owned(), shard)).and_then(Weak::upgrade)
    }

    /// Remembers a part, and forgets those that nobody holds any more.
    pub(super) fn put(&self, version: &str, shard: u32, part: &Arc<T>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, part| part.strong_count() > 0);
        held.insert((version.to_owned(), shard), Arc::downgrade(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_while_somebody_holds_it() {
        let held = WeakCache::default();
        let part = Arc::new(7);
        held.put("v", 3, &part);
        assert_eq!((held.get("v", 3), held.get("v", 2), held.get("w", 3)), (Some(Arc::new(7)), None, None));
        drop(part);
        assert_eq!(held.get("v", 3), None);
    }
}
