//! Selection and merge under the one total order of every answer: score descending, then item id
//! ascending. A score that is not a number is refused where it is made, so the order is total.

use std::cmp::Ordering;

/// Orders two scored keys: the better first. Higher score wins, then the smaller key.
///
/// Scores must not be NaN; `total_cmp` keeps the order total even then, but −0 and 0 are made equal
/// so that they tie.
#[must_use]
pub fn better_first<K: Ord>(a: (f32, &K), b: (f32, &K)) -> Ordering {
    // Adding positive zero turns −0 into 0 and changes nothing else.
    (b.0 + 0.0).total_cmp(&(a.0 + 0.0)).then_with(|| a.1.cmp(b.1))
}

/// Keeps the best `capacity` entries seen. A binary heap with the worst entry at its root.
#[derive(Debug, Clone)]
pub struct TopK<K> {
    capacity: usize,
    heap: Vec<(f32, K)>,
}

impl<K: Ord> TopK<K> {
    /// Keeps at most `capacity` entries.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        // Callers validate n, but a huge capacity should not allocate before it is filled.
        Self { capacity, heap: Vec::with_capacity(capacity.min(1_024)) }
    }

    /// The score an entry must reach to be kept (a tie needs a smaller key): −∞ until full.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        if self.capacity == 0 {
            f32::INFINITY
        } else if self.heap.len() < self.capacity {
            f32::NEG_INFINITY
        } else {
            self.heap[0].0
        }
    }

    /// Offers an entry; keeps it when it is among the best so far.
    pub fn push(&mut self, score: f32, key: K) {
        if self.heap.len() < self.capacity {
            self.heap.push((score, key));
            self.sift_up(self.heap.len() - 1);
        } else if self.capacity > 0
            && better_first((score, &key), (self.heap[0].0, &self.heap[0].1)) == Ordering::Less
        {
            self.heap[0] = (score, key);
            self.sift_down(0);
        }
    }

    /// Adds everything another selection kept.
    pub fn merge(&mut self, other: Self) {
        for (score, key) in other.heap {
            self.push(score, key);
        }
    }

    /// The kept entries, best first.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<(f32, K)> {
        self.heap.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
        self.heap
    }

    /// True when `a` is worse than `b`.
    fn worse(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.heap[a], &self.heap[b]);
        better_first((a.0, &a.1), (b.0, &b.1)) == Ordering::Greater
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.worse(at, parent) {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut worst = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.worse(child, worst) {
                    worst = child;
                }
            }
            if worst == at {
                break;
            }
            self.heap.swap(at, worst);
            at = worst;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_sorting_everything(
            scores in prop::collection::vec(-3_i8..3, 0..200),
            capacity in 0_usize..20,
        ) {
            // Few distinct scores make many ties.
            let entries: Vec<(f32, usize)> =
                scores.iter().enumerate().map(|(key, &s)| (f32::from(s), key)).collect();
            let mut top = TopK::new(capacity);
            for &(score, key) in entries.iter().rev() {
                top.push(score, key);
            }
            let mut sorted = entries;
            sorted.sort_by(|a, b| better_first((a.0, &a.1), (b.0, &b.1)));
            sorted.truncate(capacity);
            prop_assert_eq!(top.into_sorted(), sorted);
        }
    }

    #[test]
    fn negative_zero_ties_with_zero() {
        assert_eq!(better_first((-0.0, &1), (0.0, &2)), Ordering::Less);
    }
}
