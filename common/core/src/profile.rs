//! What a user's ratings count for in a profile of what they like: workers make profiles, routers say what each rating
//! has added.

/// The weight of each of a user's ratings in their profile: the rating less their mean; and 1 for each when
/// all of that is nothing, as for a user who rates everything alike.
#[must_use]
pub fn weights(ratings: &[f32]) -> Vec<f32> {
    let mean = ratings.iter().map(|&rating| f64::from(rating)).sum::<f64>() / ratings.len() as f64;
    let weights: Vec<f32> = ratings.iter().map(|&rating| (f64::from(rating) - mean) as f32).collect();
    if weights.iter().all(|weight| *weight == 0.0) { vec![1.0; ratings.len()] } else { weights }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_centred_and_never_all_nothing() {
        assert_eq!(weights(&[3.0, 5.0]), [-1.0, 1.0]);
        assert_eq!(weights(&[4.0, 4.0]), [1.0, 1.0]);
        assert!(weights(&[]).is_empty());
    }
}
