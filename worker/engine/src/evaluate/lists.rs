//! What one list is worth: precision, recall, NDCG, average precision and reciprocal rank at every
//! cutoff, and its novelty and diversity.

use super::discount;

/// Lengths at which lists are judged, ascending; those that are longer than the lists say nothing.
pub const CUTOFFS: [usize; 4] = [10, 20, 50, 100];

/// What a list, or a sum of lists, scores at one cutoff K.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RankingScore {
    /// Hits per place of the list: hits / K.
    pub precision: f64,
    /// Hits / min(K, relevant).
    pub recall: f64,
    /// Discounted gain over that of the ideal list.
    pub ndcg: f64,
    /// Σ precision at each hit / min(K, relevant). Its mean over users is MAP.
    pub average_precision: f64,
    /// 1 / place of the first hit, places counted from 1. Its mean over users is MRR.
    pub reciprocal_rank: f64,
}

impl RankingScore {
    /// Adds another list's scores.
    pub fn add(&mut self, other: &Self) {
        self.precision += other.precision;
        self.recall += other.recall;
        self.ndcg += other.ndcg;
        self.average_precision += other.average_precision;
        self.reciprocal_rank += other.reciprocal_rank;
    }

    /// Each score times itself.
    #[must_use]
    pub fn squared(&self) -> Self {
        Self {
            precision: self.precision * self.precision,
            recall: self.recall * self.recall,
            ndcg: self.ndcg * self.ndcg,
            average_precision: self.average_precision * self.average_precision,
            reciprocal_rank: self.reciprocal_rank * self.reciprocal_rank,
        }
    }
}

/// Judges a list (rows, best first) against the relevant rows (ascending, at least one), at each of
/// [`CUTOFFS`].
#[must_use]
pub fn judge(list: &[u32], relevant: &[u32]) -> [RankingScore; CUTOFFS.len()] {
    CUTOFFS.map(|cutoff| judge_at(cutoff, list, relevant))
}

fn judge_at(cutoff: usize, list: &[u32], relevant: &[u32]) -> RankingScore {
    let mut score = RankingScore::default();
    let mut hits = 0.0;
    for (place, row) in list.iter().take(cutoff).enumerate() {
        if relevant.binary_search(row).is_err() {
            continue;
        }
        hits += 1.0;
        score.ndcg += discount(place);
        score.average_precision += hits / (place + 1) as f64;
        if score.reciprocal_rank == 0.0 {
            score.reciprocal_rank = 1.0 / (place + 1) as f64;
        }
    }
    let possible = relevant.len().min(cutoff);
    score.precision = hits / cutoff as f64;
    score.recall = hits / possible as f64;
    score.ndcg /= (0..possible).map(discount).sum::<f64>();
    score.average_precision /= possible as f64;
    score
}

/// How surprising a list is: the mean over its items of log₂(users / raters), the information in learning
/// that somebody chose the item (Vargas and Castells 2011, "Rank and Relevance in Novelty and Diversity
/// Metrics"). An item that nobody rated counts as rated once. 0 for an empty list.
#[must_use]
pub fn novelty(list: &[u32], train_counts: &[u32], users: u64) -> f64 {
    let information = |&row: &u32| {
        let raters = f64::from(train_counts[row as usize].max(1));
        (users.max(1) as f64 / raters).log2()
    };
    mean(list.iter().map(information))
}

/// How unlike each other a list's items are: the mean over its pairs of 1 − similarity. 0 for a list of
/// fewer than two.
#[must_use]
pub fn diversity(list: &[u32], similarity: impl Fn(u32, u32) -> f64) -> f64 {
    let pairs = list.iter().enumerate().flat_map(|(at, &a)| list[at + 1..].iter().map(move |&b| (a, b)));
    mean(pairs.map(|(a, b)| 1.0 - similarity(a, b)))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0_u64, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{LIST_LENGTH, score_list},
        *,
    };

    /// The definitions, spelt out over places.
    fn naive(cutoff: usize, list: &[u32], relevant: &[u32]) -> RankingScore {
        let hit: Vec<bool> =
            (0..cutoff).map(|k| list.get(k).is_some_and(|row| relevant.contains(row))).collect();
        let hits_until = |k: usize| hit[..=k].iter().filter(|hit| **hit).count() as f64;
        let possible = cutoff.min(relevant.len());
        let gain = |k: usize| 1.0 / (k as f64 + 2.0).log2();
        let at_hits = |of: &dyn Fn(usize) -> f64| (0..cutoff).filter(|&k| hit[k]).map(of).sum::<f64>();
        RankingScore {
            precision: at_hits(&|_| 1.0) / cutoff as f64,
            recall: at_hits(&|_| 1.0) / possible as f64,
            ndcg: at_hits(&gain) / (0..possible).map(gain).sum::<f64>(),
            average_precision: at_hits(&|k| hits_until(k) / (k as f64 + 1.0)) / possible as f64,
            reciprocal_rank: hit.iter().position(|hit| *hit).map_or(0.0, |k| 1.0 / (k as f64 + 1.0)),
        }
    }

    proptest! {
        #[test]
        fn scores_match_their_definitions(
            list in prop::collection::hash_set(0_u32..200, 0..130),
            relevant in prop::collection::btree_set(0_u32..200, 1..120),
        ) {
            let list: Vec<u32> = list.into_iter().collect();
            let relevant: Vec<u32> = relevant.into_iter().collect();
            let judged = judge(&list, &relevant);
            for (cutoff, score) in CUTOFFS.into_iter().zip(judged) {
                let exact = naive(cutoff, &list, &relevant);
                for (found, exact) in [
                    (score.precision, exact.precision),
                    (score.recall, exact.recall),
                    (score.ndcg, exact.ndcg),
                    (score.average_precision, exact.average_precision),
                    (score.reciprocal_rank, exact.reciprocal_rank),
                ] {
                    prop_assert!((found - exact).abs() < 1e-12, "{found} for {exact} at {cutoff}");
                    prop_assert!((0.0..=1.0 + 1e-12).contains(&found));
                }
            }
            let short = score_list(list.iter().copied(), &relevant);
            prop_assert_eq!(CUTOFFS[1], LIST_LENGTH);
            prop_assert_eq!((short.recall, short.ndcg), (judged[1].recall, judged[1].ndcg));
        }
    }

    #[test]
    fn rare_items_are_novel_and_unlike_items_diverse() {
        let counts = [8, 1, 0];
        assert_eq!(novelty(&[0], &counts, 8), 0.0);
        assert_eq!(novelty(&[0, 1], &counts, 8), 1.5);
        assert_eq!(novelty(&[2], &counts, 8), 3.0);
        assert_eq!(novelty(&[], &counts, 8), 0.0);
        let similarity = |a: u32, b: u32| if a + b == 1 { 1.0 } else { 0.25 };
        assert_eq!(diversity(&[0, 1, 2], similarity), 0.5);
        assert_eq!(diversity(&[0], similarity), 0.0);
    }
}
