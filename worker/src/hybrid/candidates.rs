//! What weights are learned from: some users' best items by each source, with their levels in all of them.

use shoal_common::topk::better_first;

use super::blend::{UNKNOWN, rank};
use crate::evaluate::{LIST_LENGTH, score_list};

/// One user's candidates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Candidates {
    /// Global item rows, ascending.
    pub rows: Vec<u32>,
    /// For each row its level in every source, sources in their fixed order; [`UNKNOWN`] where a source knows nothing.
    pub levels: Vec<f32>,
    /// Rows that are held out for the user, ascending, at least one; not all of them need be candidates.
    pub relevant: Vec<u32>,
}

impl Candidates {
    /// NDCG of the list that these weights (one per source) give: what is listed, and in which order, is what a blend
    /// of these weights lists.
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
        score_list(ranked.into_iter().map(|entry| entry.1), &self.relevant).ndcg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_follows_the_weights() {
        let candidates = Candidates {
            rows: vec![3, 5, 9],
            levels: vec![0.75, 0.0, 0.5, 0.5, 0.0, 1.0],
            relevant: vec![9],
        };
        assert_eq!(candidates.ndcg(&[0.0, 1.0]), 1.0);
        assert_eq!(candidates.ndcg(&[1.0, 0.0]), 1.0 / 4.0_f64.log2());
        // Blended: 0.375, 0.5, 0.5; the smaller row wins the tie.
        assert_eq!(candidates.ndcg(&[0.5, 0.5]), 1.0 / 3.0_f64.log2());
        assert_eq!(Candidates { relevant: vec![1], ..Candidates::default() }.ndcg(&[1.0]), 0.0);
        // The one source knows neither: they come by popularity, the other source, and an item of which that knows nothing
        // either is not listed.
        let levels = vec![UNKNOWN, UNKNOWN, UNKNOWN, 0.1, UNKNOWN, 0.9];
        let unknown = Candidates { rows: vec![3, 5, 9], levels, relevant: vec![5] };
        assert_eq!(unknown.ndcg(&[1.0, 0.0]), 1.0 / 3.0_f64.log2());
        assert_eq!(Candidates { relevant: vec![3], ..unknown }.ndcg(&[1.0, 0.0]), 0.0);
    }

    #[test]
    fn only_the_best_places_count() {
        let rows: Vec<u32> = (0..50).collect();
        let levels: Vec<f32> = (0..50).map(|row| row as f32 / 50.0).collect();
        let of = |relevant| Candidates { rows: rows.clone(), levels: levels.clone(), relevant }.ndcg(&[1.0]);
        assert_eq!((of(vec![49]), of(vec![29])), (1.0, 0.0));
        assert!(of(vec![30]) > 0.0);
    }
}
