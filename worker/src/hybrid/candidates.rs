//! What weights are learned from: some users' best items by each source, with their levels in all of them.

use crate::evaluate::{LIST_LENGTH, score_list};

/// One user's candidates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Candidates {
    /// Global item rows, ascending.
    pub rows: Vec<u32>,
    /// For each row its level in every source, sources in their fixed order.
    pub levels: Vec<f32>,
    /// Rows that are held out for the user, ascending, at least one; not all of them need be candidates.
    pub relevant: Vec<u32>,
}

impl Candidates {
    /// NDCG of the list that these weights (one per source) give, ties by row.
    #[must_use]
    pub fn ndcg(&self, weights: &[f64]) -> f64 {
        let levels = self.levels.chunks_exact(weights.len().max(1));
        let mut ranked: Vec<(f64, u32)> =
            self.rows.iter().zip(levels).map(|(&row, levels)| (blend(levels, weights), row)).collect();
        let better = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if ranked.len() > LIST_LENGTH {
            ranked.select_nth_unstable_by(LIST_LENGTH - 1, better);
            ranked.truncate(LIST_LENGTH);
        }
        ranked.sort_unstable_by(better);
        score_list(ranked.into_iter().map(|entry| entry.1), &self.relevant).ndcg
    }
}

/// Σ weight · level, in the order of the sources.
#[must_use]
pub fn blend(levels: &[f32], weights: &[f64]) -> f64 {
    levels.iter().zip(weights).map(|(&level, weight)| f64::from(level) * weight).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_follows_the_weights() {
        let candidates =
            Candidates { rows: vec![3, 5, 9], levels: vec![0.9, 0.0, 0.5, 0.6, 0.1, 1.0], relevant: vec![9] };
        assert_eq!(candidates.ndcg(&[0.0, 1.0]), 1.0);
        assert_eq!(candidates.ndcg(&[1.0, 0.0]), 1.0 / 4.0_f64.log2());
        // Blended: 0.45, 0.55, 0.55; the smaller row wins the tie.
        assert_eq!(candidates.ndcg(&[0.5, 0.5]), 1.0 / 3.0_f64.log2());
        assert_eq!(Candidates { relevant: vec![1], ..Candidates::default() }.ndcg(&[1.0]), 0.0);
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
