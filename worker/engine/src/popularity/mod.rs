//! Lists for nobody in particular: what is liked, what is on the rise, what is new. Pure.
//!
//! * **Liked**: the damped mean rating. A raw mean puts an item with a single five-star rating first. The
//!   damped mean adds [`PRIOR_RATINGS`] ratings of the data set's mean to every item, so that an item has
//!   to earn its place: (sum + m·μ) / (count + m). Over all time or over a [`Window`] of it.
//! * **Trending**: every rating counts 2^(−age / half-life), so an item needs many ratings lately.
//! * **Latest**: by year of release, then by when it was first rated.
//!
//! Ages count from the newest rating of the data set, never from a clock: the same data gives the same
//! lists on every replica and on every day. A timestamp of 0 means that the source has none; such a
//! rating is in no window and adds nothing to a trend.

pub mod baseline;

use std::cmp::Reverse;

/// m: ratings of the data set's mean that every item starts with.
pub const PRIOR_RATINGS: f64 = 25.0;

/// The damped mean of one item's ratings, added in the order given. `rating_mean` is μ.
#[must_use]
pub fn damped_mean(ratings: &[f32], rating_mean: f64) -> f32 {
    let sum: f64 = ratings.iter().map(|&rating| f64::from(rating)).sum();
    damped(sum, ratings.len() as u64, rating_mean)
}

fn damped(sum: f64, count: u64, rating_mean: f64) -> f32 {
    ((sum + PRIOR_RATINGS * rating_mean) / (count as f64 + PRIOR_RATINGS)) as f32
}

/// The last stretch of a data set's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Time of the newest rating of all, seconds since the epoch.
    pub newest: i64,
    /// How far back it reaches, in seconds.
    pub seconds: i64,
}

impl Window {
    /// Whether a rating of this time counts.
    #[must_use]
    pub fn contains(self, timestamp: i64) -> bool {
        timestamp != 0 && timestamp > self.newest.saturating_sub(self.seconds)
    }
}

/// One item in a [`Window`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recent {
    /// Ratings in the window.
    pub ratings: u64,
    /// Damped mean of the ratings in the window.
    pub damped_mean: f32,
}

/// The ratings of one item that lie in the window. `timestamps` has one per rating.
#[must_use]
pub fn recent(ratings: &[f32], timestamps: &[i64], window: Window, rating_mean: f64) -> Recent {
    let inside = ratings.iter().zip(timestamps).filter(|(_, timestamp)| window.contains(**timestamp));
    let (count, sum) =
        inside.fold((0, 0.0), |(count, sum), (rating, _)| (count + 1, sum + f64::from(*rating)));
    Recent { ratings: count, damped_mean: damped(sum, count, rating_mean) }
}

/// How fast ratings lose their weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decay {
    /// Time of the newest rating of all, seconds since the epoch.
    pub newest: i64,
    /// Seconds after which a rating counts half; above 0.
    pub half_life_seconds: f64,
}

/// Σ 2^(−age / half-life) over one item's ratings, added in the order given.
#[must_use]
pub fn trend(timestamps: &[i64], decay: Decay) -> f32 {
    let weight = |timestamp: i64| {
        let age = decay.newest.saturating_sub(timestamp).max(0) as f64;
        (-age / decay.half_life_seconds).exp2()
    };
    let timed = timestamps.iter().filter(|timestamp| **timestamp != 0);
    timed.map(|&timestamp| weight(timestamp)).sum::<f64>() as f32
}

/// How new an item is; greater is newer. What is unknown counts as oldest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Newness {
    /// Year of release; `None` where the catalogue has none.
    pub year: Option<i32>,
    /// Time of the first rating, seconds since the epoch.
    pub first_rated: Option<i64>,
}

impl Newness {
    /// Of an item released in `year` whose ratings have these times.
    #[must_use]
    pub fn new(year: Option<i32>, timestamps: &[i64]) -> Self {
        let timed = timestamps.iter().copied().filter(|timestamp| *timestamp != 0);
        Self { year, first_rated: timed.min() }
    }
}

/// Rows, the newest first, ties in row order.
#[must_use]
pub fn latest_order(items: &[Newness]) -> Vec<u32> {
    // A side's rows are counted in a u32.
    let mut order: Vec<u32> = (0..items.len() as u32).collect();
    order.sort_by_key(|&row| (Reverse(items[row as usize]), row));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn one_enthusiast_does_not_beat_a_crowd() {
        let crowd = damped_mean(&[4.5; 500], 3.5);
        let enthusiast = damped_mean(&[5.0], 3.5);
        assert!(crowd > enthusiast, "{crowd} against {enthusiast}");
        assert_eq!(damped_mean(&[], 3.5), 3.5);
    }

    #[test]
    fn only_what_lies_in_the_window_counts() {
        let window = Window { newest: 100 * DAY, seconds: 7 * DAY };
        let times = [0, 93 * DAY, 93 * DAY + 1, 100 * DAY];
        let found = recent(&[1.0, 1.0, 4.0, 5.0], &times, window, 3.0);
        assert_eq!(found.ratings, 2);
        assert_eq!(found.damped_mean, ((9.0 + 25.0 * 3.0) / 27.0) as f32);
        let whole = Window { newest: 100 * DAY, seconds: i64::MAX };
        assert_eq!(recent(&[2.0], &[5], whole, 3.0).ratings, 1);
    }

    #[test]
    fn the_newest_come_first_and_the_unknown_last() {
        let of = |year, times: &[i64]| Newness::new(year, times);
        let items = [
            of(None, &[900]),
            of(Some(1999), &[50, 20]),
            of(Some(2001), &[]),
            of(Some(1999), &[30]),
            of(None, &[0]),
        ];
        assert_eq!(latest_order(&items), [2, 3, 1, 0, 4]);
    }

    proptest! {
        #[test]
        fn a_trend_matches_its_formula(
            days in prop::collection::vec(0_i64..4_000, 0..60),
            half_life_days in 1_i64..400,
        ) {
            let newest = 5_000 * DAY;
            let times: Vec<i64> = days.iter().map(|day| newest - day * DAY).collect();
            let decay = Decay { newest, half_life_seconds: (half_life_days * DAY) as f64 };
            let exact: f64 = days.iter().map(|&day| 0.5_f64.powf(day as f64 / half_life_days as f64)).sum();
            prop_assert!((f64::from(trend(&times, decay)) - exact).abs() <= 1e-6 * exact.max(1.0));
            // Time moving on never raises a trend.
            let later = Decay { newest: newest + DAY, ..decay };
            prop_assert!(trend(&times, later) <= trend(&times, decay));
        }

        #[test]
        fn a_window_over_all_time_is_the_damped_mean(
            ratings in prop::collection::vec(1_u8..=10, 0..50),
            mean in 1.0_f64..5.0,
        ) {
            let ratings: Vec<f32> = ratings.into_iter().map(|half| f32::from(half) / 2.0).collect();
            let times: Vec<i64> = (1..=ratings.len() as i64).collect();
            let window = Window { newest: times.len() as i64, seconds: times.len() as i64 + 1 };
            let all = recent(&ratings, &times, window, mean);
            prop_assert_eq!(all.ratings, ratings.len() as u64);
            prop_assert_eq!(all.damped_mean.to_bits(), damped_mean(&ratings, mean).to_bits());
        }
    }

    #[test]
    fn a_rating_without_a_time_adds_nothing_to_a_trend() {
        let decay = Decay { newest: 10, half_life_seconds: 10.0 };
        assert_eq!(trend(&[0, 10, 0], decay), 1.0);
        assert_eq!(trend(&[0], decay), 0.0);
    }
}
