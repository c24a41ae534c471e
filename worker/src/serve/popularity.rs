//! What to recommend when nothing is known of the user: the damped mean rating.
//!
//! A raw mean puts an item with a single five-star rating first. The damped mean adds
//! [`PRIOR_RATINGS`] ratings of the data set's mean to every item, so that an item has to earn its
//! place: (sum + m·μ) / (count + m).

/// m: ratings of the data set's mean that every item starts with.
pub const PRIOR_RATINGS: f64 = 25.0;

/// The damped mean of one item's ratings, added in the order given. `rating_mean` is μ.
#[must_use]
pub fn damped_mean(ratings: &[f32], rating_mean: f64) -> f32 {
    let sum: f64 = ratings.iter().map(|&rating| f64::from(rating)).sum();
    ((sum + PRIOR_RATINGS * rating_mean) / (ratings.len() as f64 + PRIOR_RATINGS)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_enthusiast_does_not_beat_a_crowd() {
        let crowd = damped_mean(&[4.5; 500], 3.5);
        let enthusiast = damped_mean(&[5.0], 3.5);
        assert!(crowd > enthusiast, "{crowd} against {enthusiast}");
        assert_eq!(damped_mean(&[], 3.5), 3.5);
    }
}
