//! How many of something there may be, kept although many ask at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
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

#[cfg(test)]
mod tests {
    use super::*;

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
