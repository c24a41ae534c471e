//! How many of something there may be, kept although many ask at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Places for what the state has so many of at most. What is agreed on takes a while to be in the state; meanwhile a
/// [`Place`] stands for it. Clones share the places.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<AtomicUsize>);

/// Stands for one more until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Places {
    /// A place for one more where `known` are in the state and no more than `max` may be; none when all are taken.
    #[must_use]
    pub(super) fn take(&self, known: usize, max: usize) -> Option<Place> {
        let place = Place(Arc::clone(&self.0));
        let before = self.0.fetch_add(1, Ordering::SeqCst);
        // Dropped with the refusal, it counts no longer.
        (known + before < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How many places each holder of a token has of those that all share. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Shares(Arc<Mutex<HashMap<Arc<str>, usize>>>);

/// Stands for one of a holder's places until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Shares,
    holder: Arc<str>,
}

impl Shares {
    /// One more for `holder`, who may have `max` at once; none when the holder has them all.
    #[must_use]
    pub(super) fn take(&self, holder: &Arc<str>, max: usize) -> Option<Share> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = counts.get(holder).copied().unwrap_or(0);
        if taken >= max {
            return None;
        }
        counts.insert(Arc::clone(holder), taken + 1);
        Some(Share { shares: self.clone(), holder: Arc::clone(holder) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_who_has_all_of_its_places_leaves_the_others_theirs() {
        let (shares, one, other) = (Shares::default(), Arc::from("one"), Arc::from("other"));
        let mut taken: Vec<Share> = (0..3).filter_map(|_| shares.take(&one, 3)).collect();
        assert_eq!(taken.len(), 3);
        assert!(shares.take(&one, 3).is_none());
        assert!(shares.take(&other, 3).is_some());
        taken.pop();
        assert!(shares.take(&one, 3).is_some());
        drop(taken);
        assert!(shares.0.lock().unwrap().is_empty());
    }

    #[test]
    fn no_more_are_taken_than_there_are_and_each_is_given_back() {
        let places = Places::default();
        let taken: Vec<Option<Place>> = (0..5).map(|_| places.take(7, 10)).collect();
        assert_eq!(taken.iter().flatten().count(), 3);
        assert!(places.take(7, 10).is_none());
        drop(taken);
        assert!(places.take(9, 10).is_some() && places.take(10, 10).is_none());
    }
}
