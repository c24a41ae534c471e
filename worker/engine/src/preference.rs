//! Preference: how much a user likes what they have rated, from 0 to 1, as far as the rating tells (p of Hu et al. 2008,
//! "Collaborative Filtering for Implicit Feedback Datasets").
//!
//! The implicit objective is fitted to it ([`crate::als::implicit`]), and the lists of item CF and content weigh a user's
//! items by it ([`crate::item_cf::ListIndex`]).

/// The preference of the lowest rating by [`Preference::Height`]: that somebody has chosen an item tells something,
/// however it was rated.
const PREFERENCE_MIN: f64 = 0.1;

/// How a rating r becomes a preference p.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Preference {
    /// p = 1, whatever the rating: it was observed.
    Observed,
    /// p = 1 for r > 0, else 0.
    Positive,
    /// p = 0.1 + 0.9 (r − least) / (greatest − least).
    Height(Scale),
}

/// The scale of ratings whose height counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    least: f64,
    greatest: f64,
    /// Of p over r: a division for each rating would be felt in a half-step.
    slope: f64,
}

impl Preference {
    /// By the height of a rating: from a tenth at the low end of the scale to 1 at its high end. A rating beyond an end
    /// counts as the end. Where the scale has one value only, nothing was liked less than anything else: p = 1.
    #[must_use]
    pub fn by_height(least: f64, greatest: f64) -> Self {
        let span = greatest - least;
        if span > 0.0 && span.is_finite() {
            Self::Height(Scale { least, greatest, slope: (1.0 - PREFERENCE_MIN) / span })
        } else {
            Self::Observed
        }
    }

    /// The preference that a rating tells.
    #[must_use]
    pub fn of(self, rating: f32) -> f64 {
        match self {
            Self::Observed => 1.0,
            Self::Positive => f64::from(u8::from(rating > 0.0)),
            Self::Height(Scale { least, slope, .. }) => {
                (PREFERENCE_MIN + (f64::from(rating) - least) * slope).clamp(PREFERENCE_MIN, 1.0)
            }
        }
    }

    /// The rating that stands for an item which was named without one, given the mean of all ratings. Where the height
    /// counts it is the highest: somebody who names an item likes it.
    #[must_use]
    pub fn unrated(self, rating_mean: f32) -> f32 {
        match self {
            Self::Observed | Self::Positive => rating_mean,
            Self::Height(Scale { greatest, .. }) => greatest as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn preference_follows_the_rating_as_its_kind_says() {
        let stars = Preference::by_height(0.5, 5.0);
        assert_eq!([0.5, 2.75, 5.0].map(|rating| stars.of(rating) as f32), [0.1, 0.55, 1.0]);
        let thumbs = Preference::by_height(-1.0, 1.0);
        assert_eq!([-1.0, 1.0].map(|rating| thumbs.of(rating) as f32), [0.1, 1.0]);
        assert_eq!([-1.0, 0.0, 0.5, 7.0].map(|rating| Preference::Positive.of(rating)), [0.0, 0.0, 1.0, 1.0]);
        assert_eq!([-1.0, 0.0, 7.0].map(|rating| Preference::Observed.of(rating)), [1.0; 3]);
    }

    #[test]
    fn an_item_named_without_a_rating_is_liked() {
        let stars = Preference::by_height(0.5, 5.0);
        assert_eq!(stars.of(stars.unrated(3.5)) as f32, 1.0);
        assert_eq!(Preference::Observed.unrated(3.5), 3.5);
    }

    proptest! {
        #[test]
        fn a_preference_is_a_share_that_never_falls_with_the_rating(
            ends in [-10.0_f64..10.0, -10.0_f64..10.0],
            ratings in [-20.0_f32..20.0, -20.0_f32..20.0],
        ) {
            let (least, greatest) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            let (low, high) = (ratings[0].min(ratings[1]), ratings[0].max(ratings[1]));
            for kind in [Preference::Observed, Preference::Positive, Preference::by_height(least, greatest)] {
                prop_assert!(0.0 <= kind.of(low) && kind.of(low) <= kind.of(high) && kind.of(high) <= 1.0);
            }
            // With one value in the scale nothing was liked less than anything else.
            prop_assert_eq!(Preference::by_height(least, least).of(low), 1.0);
        }
    }
}
