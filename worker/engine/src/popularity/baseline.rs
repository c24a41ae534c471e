//! What a rating is expected to be when nothing is known of taste: μ + b_u + b_i (Koren 2010, "Factor in the
//! Neighbors"), the biases damped so that few ratings move them little.

use super::damped_mean;

/// Ratings without a bias that every user starts with.
const USER_PRIOR_RATINGS: f64 = 10.0;

/// b_i: what an item's ratings exceed `rating_mean` by. 0 for an item without ratings.
#[must_use]
pub fn item_bias(ratings: &[f32], rating_mean: f64) -> f32 {
    if ratings.is_empty() { 0.0 } else { (f64::from(damped_mean(ratings, rating_mean)) - rating_mean) as f32 }
}

/// b_u: what a user's ratings of these items (global rows) exceed `rating_mean` and the items' biases (by
/// global row) by.
///
/// # Panics
/// When an item has no bias.
#[must_use]
pub fn user_bias(items: &[u32], ratings: &[f32], rating_mean: f64, item_biases: &[f32]) -> f64 {
    let exceeding = items
        .iter()
        .zip(ratings)
        .map(|(&item, &rating)| f64::from(rating) - rating_mean - f64::from(item_biases[item as usize]));
    exceeding.sum::<f64>() / (items.len() as f64 + USER_PRIOR_RATINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_grow_with_the_evidence_for_them() {
        assert_eq!(item_bias(&[], 3.5), 0.0);
        let (few, many) = (item_bias(&[5.0; 2], 3.5), item_bias(&[5.0; 2_000], 3.5));
        assert!(0.0 < few && few < 0.2 && 1.4 < many && many < 1.5, "{few} and {many}");
        let items = [0, 2];
        let biases = [0.5, 9.0, -0.5];
        // Both ratings exceed what the items explain by 1.
        assert!((user_bias(&items, &[5.0, 4.0], 3.5, &biases) - 2.0 / 12.0).abs() < 1e-12);
        assert_eq!(user_bias(&[], &[], 3.5, &biases), 0.0);
    }
}
