//! What weights are learned from: some users' best items by each source, with their levels in all of them.

use shoal_core::topk::better_first;

use super::blend::{UNKNOWN, rank};
use crate::evaluate::{LIST_LENGTH, discount};

/// The items that weights are learned from for one user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Candidates {
    /// Global item rows, ascending.
    pub rows: Vec<u32>,
    /// For each row its level in every source, sources in their fixed order; [`UNKNOWN`] where a source knows nothing.
    pub levels: Vec<f32>,
    /// What is held out for the user, at least one rating.
    pub relevant: Relevant,
}

/// What is held out for a user; not all of it need be candidates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Relevant {
    /// Global item rows, ascending.
    rows: Vec<u32>,
    /// For each how much it was liked, 0 to 1.
    gains: Vec<f32>,
    /// The discounted gain of the best list that there could be.
    ideal: f64,
}

impl Relevant {
    /// Of these rows, ascending, with how much each was liked.
    ///
    /// # Panics
    /// When there is not a gain for each row.
    #[must_use]
    pub fn new(rows: Vec<u32>, gains: Vec<f32>) -> Self {
        assert_eq!(rows.len(), gains.len(), "each row has a gain");
        let mut best = gains.clone();
        best.sort_unstable_by(|a, b| b.total_cmp(a));
        let ideal = discounted(best.into_iter().take(LIST_LENGTH));
        Self { rows, gains, ideal }
    }

    /// Rows, and how much each was liked.
    #[must_use]
    pub fn parts(&self) -> (&[u32], &[f32]) {
        (&self.rows, &self.gains)
    }

    fn gain(&self, row: u32) -> f32 {
        self.rows.binary_search(&row).map_or(0.0, |at| self.gains[at])
    }
}

fn discounted(gains: impl Iterator<Item = f32>) -> f64 {
    gains.enumerate().map(|(place, gain)| discount(place) * f64::from(gain)).sum()
}

impl Candidates {
    /// NDCG of the list that these weights (one per source) give, what was liked more counting more (Järvelin and Kekäläinen
    /// 2002, "Cumulated Gain-Based Evaluation of IR Techniques"): what is listed, and in which order, is what a blend of
    /// these weights lists. 0 where nothing was liked.
    #[must_use]
    pub fn ndcg(&self, weights: &[f64]) -> f64 {
        let levels = self.levels.chunks_exact(weights.len().max(1));
        let score = |levels: &[f32]| rank(weights.iter().copied(), |source| levels[source]);
        let ranked = self.rows.iter().zip(levels).map(|(&row, levels)| (score(levels), row));
        let mut ranked: Vec<(f32, u32)> = ranked.filter(|entry| entry.0 != UNKNOWN).collect();
        let better = |a: &(f32, u32), b: &(f32, u32)| better_first((a.0, &a.1), (b.0, &b.1));
        if ranked.len() > LIST_LENGTH {
            ranked.select_nth_unstable_by(LIST_LENGTH - 1, better);
            ranked.truncate(LIST_LENGTH);
        }
        ranked.sort_unstable_by(better);
        let gain = discounted(ranked.into_iter().map(|entry| self.relevant.gain(entry.1)));
        if self.relevant.ideal > 0.0 { gain / self.relevant.ideal } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that are liked equally.
    fn liked(rows: Vec<u32>) -> Relevant {
        let gains = vec![1.0; rows.len()];
        Relevant::new(rows, gains)
    }

    #[test]
    fn what_was_liked_more_counts_more() {
        let candidates = |gains: [f32; 2]| Candidates {
            rows: vec![3, 5],
            levels: vec![0.75, 0.0, 0.5, 1.0],
            relevant: Relevant::new(vec![3, 5], gains.to_vec()),
        };
        let (first, second) = (1.0, 1.0 / 3.0_f64.log2());
        let low = 0.25 * first + second;
        assert_eq!(candidates([0.25, 1.0]).ndcg(&[1.0, 0.0]), low / (first + 0.25 * second));
        assert_eq!(candidates([0.25, 1.0]).ndcg(&[0.0, 1.0]), 1.0);
        // Liked alike, the order of the two is worth nothing.
        assert_eq!(candidates([1.0, 1.0]).ndcg(&[1.0, 0.0]), 1.0);
        assert_eq!(candidates([0.0, 0.0]).ndcg(&[1.0, 0.0]), 0.0);
    }

    #[test]
    fn the_list_follows_the_weights() {
        let candidates = Candidates {
            rows: vec![3, 5, 9],
            levels: vec![0.75, 0.0, 0.5, 0.5, 0.0, 1.0],
            relevant: liked(vec![9]),
        };
        assert_eq!(candidates.ndcg(&[0.0, 1.0]), 1.0);
        assert_eq!(candidates.ndcg(&[1.0, 0.0]), 1.0 / 4.0_f64.log2());
        // Blended: 0.375, 0.5, 0.5; the smaller row wins the tie.
        assert_eq!(candidates.ndcg(&[0.5, 0.5]), 1.0 / 3.0_f64.log2());
        assert_eq!(Candidates { relevant: liked(vec![1]), ..Candidates::default() }.ndcg(&[1.0]), 0.0);
        // The one source knows neither: they come by popularity, the other source, and an item of which that knows nothing
        // either is not listed.
        let levels = vec![UNKNOWN, UNKNOWN, UNKNOWN, 0.1, UNKNOWN, 0.9];
        let unknown = Candidates { rows: vec![3, 5, 9], levels, relevant: liked(vec![5]) };
        assert_eq!(unknown.ndcg(&[1.0, 0.0]), 1.0 / 3.0_f64.log2());
        assert_eq!(Candidates { relevant: liked(vec![3]), ..unknown }.ndcg(&[1.0, 0.0]), 0.0);
    }

    #[test]
    fn only_the_best_places_count() {
        let rows: Vec<u32> = (0..50).collect();
        let levels: Vec<f32> = (0..50).map(|row| row as f32 / 50.0).collect();
        let of = |relevant| {
            Candidates { rows: rows.clone(), levels: levels.clone(), relevant: liked(relevant) }.ndcg(&[1.0])
        };
        assert_eq!((of(vec![49]), of(vec![29])), (1.0, 0.0));
        assert!(of(vec![30]) > 0.0);
    }
}
