//! How lists spread over the catalogue: how often each item is listed, and from that coverage and Gini. Workers
//! count, the leader adds up.

/// How often each item of the catalogue has been listed. Counts add up in any order, so those of several
/// workers can be merged as they come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Per global item row.
    counts: Vec<u64>,
}

impl Exposure {
    /// Nothing listed yet of a catalogue of `items`.
    #[must_use]
    pub fn new(items: usize) -> Self {
        Self { counts: vec![0; items] }
    }

    /// From counts per item row.
    #[must_use]
    pub fn from_counts(counts: Vec<u64>) -> Self {
        Self { counts }
    }

    /// Times listed, per item row.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Counts a list.
    ///
    /// # Panics
    /// When it has a row that the catalogue has not.
    pub fn add(&mut self, list: &[u32]) {
        for &row in list {
            self.counts[row as usize] += 1;
        }
    }

    /// Adds the counts of other lists over the same catalogue.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.counts.len(), other.counts.len());
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Share of the catalogue that was listed at least once; 0 for an empty catalogue.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        let listed = self.counts.iter().filter(|count| **count > 0).count();
        listed as f64 / self.counts.len().max(1) as f64
    }

    /// The Gini coefficient of the counts: 0 when every item is listed equally often, near 1 when few items
    /// fill every list. 0 when nothing was listed.
    #[must_use]
    pub fn gini(&self) -> f64 {
        let mut sorted = self.counts.clone();
        sorted.sort_unstable();
        let items = sorted.len() as f64;
        let total: u64 = sorted.iter().sum();
        if total == 0 {
            return 0.0;
        }
        let ranked = sorted.iter().enumerate();
        let weighted: f64 = ranked.map(|(place, &count)| (place + 1) as f64 * count as f64).sum();
        2.0 * weighted / (items * total as f64) - (items + 1.0) / items
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gini_is_half_the_relative_mean_difference(counts in prop::collection::vec(0_u64..50, 1..40)) {
            let exposure = Exposure::from_counts(counts.clone());
            let (items, total) = (counts.len() as f64, counts.iter().sum::<u64>() as f64);
            let differences: f64 =
                counts.iter().flat_map(|a| counts.iter().map(move |b| a.abs_diff(*b) as f64)).sum();
            let exact = if total == 0.0 { 0.0 } else { differences / (2.0 * items * total) };
            prop_assert!((exposure.gini() - exact).abs() < 1e-9, "{} for {exact}", exposure.gini());
        }

        #[test]
        fn merging_parts_is_counting_all(
            lists in prop::collection::vec(prop::collection::vec(0_u32..9, 0..6), 0..12),
            cut in 0_usize..12,
        ) {
            let count = |lists: &[Vec<u32>]| {
                let mut exposure = Exposure::new(9);
                lists.iter().for_each(|list| exposure.add(list));
                exposure
            };
            let (left, right) = lists.split_at(cut.min(lists.len()));
            let mut merged = count(right);
            merged.merge(&count(left));
            prop_assert_eq!(merged, count(&lists));
        }
    }

    #[test]
    fn coverage_counts_items_once() {
        let mut exposure = Exposure::new(4);
        exposure.add(&[1, 2]);
        exposure.add(&[1]);
        assert_eq!(exposure.coverage(), 0.5);
        assert_eq!(Exposure::new(0).coverage(), 0.0);
    }
}
