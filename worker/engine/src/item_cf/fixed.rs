//! Values as integers, so that sums of them and of their products are exact.

use super::Measure;

/// Bits of a value's magnitude when sums leave room for as many.
const BITS_MAX: u32 = 20;

/// Turns the values of a measure into integers. Sums of products over all users fit in an i64 with a bit to
/// spare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fixed {
    /// Integer steps per unit.
    scale: f64,
    /// The greatest magnitude of an integer.
    limit: i32,
}

impl Fixed {
    /// For ratings within `rating_min..=rating_max`, of at most `users` users.
    #[must_use]
    pub fn new(measure: Measure, rating_min: f64, rating_max: f64, users: u32) -> Self {
        let user_bits = u32::BITS - users.leading_zeros();
        let bits = ((62 - user_bits) / 2).min(BITS_MAX);
        let limit = 1_i32 << bits;
        let bound = match measure {
            // A rating and its user's mean are both within the range.
            Measure::AdjustedCosine => rating_max - rating_min,
            _ => rating_max.abs().max(rating_min.abs()),
        };
        let scale = if bound > 0.0 { f64::from(limit) / bound } else { 0.0 };
        Self { scale, limit }
    }

    /// The nearest integer to a value; values out of range count as the nearest within it.
    #[must_use]
    pub fn of(self, value: f64) -> i32 {
        let limit = f64::from(self.limit);
        // In range after clamping; NaN becomes 0.
        (value * self.scale).round().clamp(-limit, limit) as i32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounding_is_small_and_sums_fit(value in -4.5_f64..4.5, users in 1_u32..) {
            let fixed = Fixed::new(Measure::AdjustedCosine, 0.5, 5.0, users);
            let back = f64::from(fixed.of(value)) / fixed.scale;
            // Half a step, at the fewest bits that any number of users leaves.
            prop_assert!((back - value).abs() <= 4.5 / f64::from(1 << 15) / 2.0 + 1e-12);
            let most = i64::from(fixed.limit) * i64::from(fixed.limit);
            prop_assert!(most.checked_mul(i64::from(users)).is_some_and(|sum| sum <= i64::MAX / 2 + 1));
        }
    }

    #[test]
    fn a_million_users_leave_room_for_a_millionth_of_the_scale() {
        let fixed = Fixed::new(Measure::Cosine, 0.5, 5.0, 1_000_000);
        assert_eq!((fixed.of(5.0), fixed.of(2.5), fixed.of(9.0)), (1 << 20, 1 << 19, 1 << 20));
    }

    #[test]
    fn ratings_without_range_have_no_value() {
        assert_eq!(Fixed::new(Measure::AdjustedCosine, 1.0, 1.0, 5).of(0.0), 0);
        assert_eq!(Fixed::new(Measure::Cosine, 0.0, 0.0, 5).of(1.0), 0);
    }
}
