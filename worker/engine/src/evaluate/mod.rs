//! Held-out metrics: pure sums over users, added up by shard in shard order.
//!
//! Relevant is every held-out item of a user, whatever its rating. Lists are drawn from the whole
//! catalogue less the items that the user is known to have rated. Recall@K is hits / min(K, relevant), as in the iALS papers;
//! NDCG@K has binary gains and the ideal of min(K, relevant) hits. The popularity baseline ranks
//! items by their number of training ratings under the same exclusions.
//!
//! [`lists`] judges one list by every measure, [`judge`] a user's list beside the baselines' and sums over
//! users; how lists spread over the catalogue is counted by [`shoal_core::exposure`].

pub mod baselines;
pub mod judge;
pub mod lists;
mod panels;
mod ranked;
mod sample;

pub use panels::{ItemPanels, USERS_TOGETHER};
pub use ranked::{RankedItems, RankedUser, USERS_AT_ONCE};
pub use sample::Sample;
use shoal_core::topk::TopK;

/// Length of the lists that are judged.
pub const LIST_LENGTH: usize = 20;

/// Length of those of users who are held out entirely: published figures of that protocol are of the first hundred.
pub const STRONG_LIST_LENGTH: usize = 100;

/// Sums over held-out ratings.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RatingSums {
    /// How many held-out ratings were predicted.
    pub pairs: u64,
    /// Σ (prediction − rating)².
    pub squared_error: f64,
    /// Σ |prediction − rating|.
    pub absolute_error: f64,
    /// Σ rating, over the held-out ratings.
    pub rating: f64,
    /// Σ rating², over the held-out ratings.
    pub squared_rating: f64,
}

impl RatingSums {
    /// Adds the error of one predicted rating.
    pub fn add(&mut self, predicted: f64, rating: f32) {
        let rating = f64::from(rating);
        let error = predicted - rating;
        self.pairs += 1;
        self.squared_error += error * error;
        self.absolute_error += error.abs();
        self.rating += rating;
        self.squared_rating += rating * rating;
    }

    /// Adds the sums of other predictions.
    pub fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.squared_error += other.squared_error;
        self.absolute_error += other.absolute_error;
        self.rating += other.rating;
        self.squared_rating += other.squared_rating;
    }
}

/// Recall and NDCG of one list.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ListScore {
    /// Hits / min([`LIST_LENGTH`], relevant).
    pub recall: f64,
    /// Discounted gain over that of the ideal list.
    pub ndcg: f64,
}

/// Judges a list (best first, at most [`LIST_LENGTH`] are looked at) against the relevant rows
/// (ascending, at least one).
#[must_use]
pub fn score_list(list: impl IntoIterator<Item = u32>, relevant: &[u32]) -> ListScore {
    let (mut hits, mut gain) = (0_u32, 0.0);
    for (place, row) in list.into_iter().take(LIST_LENGTH).enumerate() {
        if relevant.binary_search(&row).is_ok() {
            hits += 1;
            gain += discount(place);
        }
    }
    let possible = relevant.len().min(LIST_LENGTH);
    let ideal: f64 = (0..possible).map(discount).sum();
    ListScore { recall: f64::from(hits) / possible as f64, ndcg: gain / ideal }
}

/// 1 / log₂(place + 2), places counted from 0.
#[must_use]
pub fn discount(place: usize) -> f64 {
    1.0 / ((place + 2) as f64).log2()
}

/// Rows by their number of training ratings, most first, ties in row order; rows without any are left out.
#[must_use]
pub fn popularity_order(train_counts: &[u32]) -> Vec<u32> {
    let mut order: Vec<u32> =
        (0..train_counts.len() as u32).filter(|&row| train_counts[row as usize] > 0).collect();
    order.sort_by_key(|&row| (std::cmp::Reverse(train_counts[row as usize]), row));
    order
}

/// The popularity baseline's list, of at most `length` rows, for a user who is known to have rated `exclude` (ascending).
pub fn popular_list<'a>(
    order: &'a [u32],
    exclude: &'a [u32],
    length: usize,
) -> impl Iterator<Item = u32> + 'a {
    order.iter().copied().filter(|row| exclude.binary_search(row).is_err()).take(length)
}

/// One shard's item rows, as a user is scored against them.
#[derive(Debug, Clone, Copy)]
pub struct ItemRows<'a> {
    /// Global number of the first row.
    pub first_row: u32,
    /// Training ratings per row; rows without any are not listed.
    pub train_counts: &'a [u32],
}

/// Items that are compared at once with what a list has already.
const CHUNK: usize = 64;

/// Offers a shard's items, less `exclude` (global rows, ascending), to a user's selection. `scores` is a
/// buffer of one value per row that already holds the inner products; those of excluded items are overwritten.
pub fn offer_items(scores: &mut [f32], items: ItemRows<'_>, exclude: &[u32], top: &mut TopK<u32>) {
    // What a user was trained on scores high: once out of the way it is not looked at again and again.
    for &row in &exclude[exclude.partition_point(|&row| row < items.first_row)..] {
        let Some(score) = scores.get_mut((row - items.first_row) as usize) else { break };
        *score = f32::NEG_INFINITY;
    }
    let mut threshold = top.threshold();
    for (begin, chunk) in (0..).step_by(CHUNK).zip(scores.chunks(CHUNK)) {
        // Most chunks have nothing for a list that is full, which is found out without a branch per item.
        if !chunk.iter().fold(false, |any, &score| any | (score > threshold)) {
            continue;
        }
        let rows = items.first_row + begin as u32..;
        for ((row, &score), &count) in rows.zip(chunk).zip(&items.train_counts[begin..]) {
            // A tie with the worst kept entry loses, because rows come in ascending order.
            if score > threshold && count > 0 {
                top.push(score, row);
                threshold = top.threshold();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_list_scores_one_and_an_empty_one_nothing() {
        let relevant = [2, 5, 9];
        assert_eq!(score_list([5, 2, 9, 1], &relevant), ListScore { recall: 1.0, ndcg: 1.0 });
        assert_eq!(score_list([1, 3], &relevant), ListScore::default());
        let late = score_list([1, 2], &[2]);
        assert!((late.ndcg - 1.0 / 3.0_f64.log2()).abs() < 1e-12 && late.recall == 1.0);
    }

    #[test]
    fn more_relevant_than_places_can_still_be_perfect() {
        let relevant: Vec<u32> = (0..50).collect();
        assert_eq!(score_list(0..50, &relevant), ListScore { recall: 1.0, ndcg: 1.0 });
    }

    #[test]
    fn the_baseline_leaves_out_what_was_trained_on() {
        let order = popularity_order(&[3, 0, 7, 3]);
        assert_eq!(order, [2, 0, 3]);
        assert_eq!(popular_list(&order, &[2], 5).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(popular_list(&order, &[], 2).collect::<Vec<_>>(), [2, 0]);
    }

    #[test]
    fn items_are_offered_by_score_without_the_excluded_and_the_unrated() {
        let items = ItemRows { first_row: 10, train_counts: &[1, 1, 0, 1, 1] };
        let mut top = TopK::new(2);
        offer_items(&mut [0.5, 0.9, 5.0, 0.5, 0.7], items, &[3, 11, 40], &mut top);
        assert_eq!(top.into_sorted(), [(0.7, 14), (0.5, 10)]);
    }
}
