//! How many users are measured, and how sure a figure is that comes of some of them.
//!
//! Costs are counted from the sizes of the data set, never timed: the sample is the same on every machine and for any
//! number of workers. At the end it follows from the data set and the request alone, so that all models of one data set,
//! split and seed are measured over the same users; of two samples with one seed the smaller is part of the larger.

use shoal_common::split::training_share;
use shoal_proto::v1::{AlsParameters, DatasetInfo, ObjectiveChoice, SplitParameters, UserSample};

/// Of a sweep's operations, what measuring after it may take.
const SWEEP_SHARE: f64 = 0.1;

/// Lists that are made after a sweep in any case: fewer would tell nothing.
const USERS_AFTER_A_SWEEP_MIN: f64 = 1_000.0;

/// Pairs of a user and an item that lists are chosen from at the end.
const PAIRS_AT_THE_END: f64 = (1_u64 << 28) as f64;

/// Users that are measured at the end in any case: the figure of a mean of 0.25 is then sure to 0.005.
const USERS_AT_THE_END_MIN: f64 = 10_000.0;

/// The quantile of a 95 % interval.
const NORMAL_95: f64 = 1.96;

/// Whose lists are judged after a sweep. `held_out_users` counts the users with held-out pairs.
pub(super) fn after_a_sweep(
    dataset: &DatasetInfo,
    parameters: &AlsParameters,
    split: &SplitParameters,
    ranking_users_max: u32,
    held_out_users: u64,
) -> UserSample {
    let list = 2.0 * dataset.items as f64 * f64::from(parameters.rank);
    let affordable = SWEEP_SHARE * sweep_operations(dataset, parameters, split) / list.max(1.0);
    let users = asked_for(ranking_users_max, affordable.max(USERS_AFTER_A_SWEEP_MIN));
    sample(users, held_out_users, split.seed)
}

/// Who is measured at the end, by `ranking_users_max` of the request.
pub(super) fn at_the_end(
    dataset: &DatasetInfo,
    ranking_users_max: u32,
    held_out_users: u64,
    seed: u64,
) -> UserSample {
    let affordable = PAIRS_AT_THE_END / (dataset.items as f64).max(1.0);
    let users = asked_for(ranking_users_max, affordable.max(USERS_AT_THE_END_MIN));
    sample(users, held_out_users, seed)
}

/// So many users; infinitely many for all.
fn asked_for(ranking_users_max: u32, affordable: f64) -> f64 {
    match ranking_users_max {
        0 => affordable,
        u32::MAX => f64::INFINITY,
        users => f64::from(users),
    }
}

fn sample(users: f64, held_out_users: u64, seed: u64) -> UserSample {
    UserSample { share: (users / (held_out_users as f64).max(1.0)).min(1.0), seed }
}

/// Operations of a sweep, as if all rows of a side had as many ratings as the mean: for each row the products of its
/// normal equations or of its dual, whichever is smaller, and their factorisation.
fn sweep_operations(dataset: &DatasetInfo, parameters: &AlsParameters, split: &SplitParameters) -> f64 {
    let ratings = dataset.ratings as f64 * training_share(split);
    let rank = f64::from(parameters.rank);
    let of_side = |rows: u64| {
        let rows = (rows as f64).max(1.0);
        let row = ratings / rows;
        let (order, depth) = (row.min(rank), row.max(rank));
        rows * (order * order * depth + order.powi(3) / 3.0)
    };
    let objectives = if parameters.objective() == ObjectiveChoice::Both { 2.0 } else { 1.0 };
    objectives * (of_side(dataset.users) + of_side(dataset.items))
}

/// Half of the 95 % interval about the mean over `in_all` scores from 0 to 1, from the sums of `count` of them and of
/// their squares: by the normal distribution, for a sample without repetition. `None` where all were measured.
pub(super) fn half_width(sum: f64, squares: f64, count: u64, in_all: u64) -> Option<f64> {
    if in_all <= count {
        return None;
    }
    if count < 2 {
        // Nothing is known of how scores differ: they are from 0 to 1.
        return Some(1.0);
    }
    let (n, all) = (count as f64, in_all as f64);
    let variance = ((squares - sum * sum / n) / (n - 1.0)).max(0.0);
    Some(NORMAL_95 * (variance / n * (all - n) / (all - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dataset(users: u64, items: u64, ratings: u64) -> DatasetInfo {
        DatasetInfo { users, items, ratings, ..DatasetInfo::default() }
    }

    fn rank(rank: u32) -> AlsParameters {
        AlsParameters { rank, objective: 1, ..AlsParameters::default() }
    }

    fn split() -> SplitParameters {
        SplitParameters { seed: 7, test_ratio: 0.2, ..SplitParameters::default() }
    }

    #[test]
    fn small_data_sets_are_measured_whole_and_large_ones_by_cost() {
        let small = dataset(610, 9_742, 100_836);
        assert_eq!(at_the_end(&small, 0, 610, 7), UserSample { share: 1.0, seed: 7 });
        assert_eq!(after_a_sweep(&small, &rank(64), &split(), 0, 610).share, 1.0);
        // MovieLens 20M: the pairs allow about 10,000 of 138,493 users.
        let medium = dataset(138_493, 26_744, 20_000_263);
        let share = at_the_end(&medium, 0, 138_493, 7).share;
        assert!((share * 138_493.0 - 10_037.0).abs() < 1.0, "{share}");
        // A million items: the least that says something.
        let large = dataset(2_000_000, 1_000_000, 100_000_000);
        assert_eq!(at_the_end(&large, 0, 2_000_000, 7).share, 0.005);
    }

    #[test]
    fn what_is_measured_after_a_sweep_costs_a_tenth_of_it() {
        for (users, items, ratings, width) in
            [(138_493, 26_744, 20_000_263, 64), (2_000_000, 1_000_000, 100_000_000, 128)]
        {
            let (data, parameters) = (dataset(users, items, ratings), rank(width));
            let measured = after_a_sweep(&data, &parameters, &split(), 0, users).share * users as f64;
            let cost = measured * 2.0 * items as f64 * f64::from(width);
            let sweep = sweep_operations(&data, &parameters, &split());
            assert!(cost <= 0.1001 * sweep && measured > 1_000.0, "{cost} of {sweep}, {measured} users");
        }
    }

    #[test]
    fn the_number_asked_for_holds_everywhere() {
        let data = dataset(138_493, 26_744, 20_000_263);
        let asked = |users| {
            let after_a_sweep = after_a_sweep(&data, &rank(64), &split(), users, 100_000);
            (after_a_sweep, at_the_end(&data, users, 100_000, 7))
        };
        let of = |share| UserSample { share, seed: 7 };
        assert_eq!(asked(500), (of(0.005), of(0.005)));
        assert_eq!(asked(u32::MAX), (of(1.0), of(1.0)));
        // Nobody has held-out pairs.
        assert_eq!(at_the_end(&data, 500, 0, 7).share, 1.0);
    }

    proptest! {
        /// Of many samples from a known population about 95 of 100 intervals have the population's mean.
        #[test]
        fn intervals_hold_the_mean_of_all_as_often_as_they_say(seed in 0_u64..1_000) {
            let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut draw = || {
                state = shoal_core::hash::mix64(state);
                shoal_core::hash::unit_interval(state)
            };
            let all: Vec<f64> = (0..600).map(|_| draw().powi(3)).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let held = (0..200)
                .filter(|_| {
                    let mut rest = all.clone();
                    let sample: Vec<f64> = (0..150)
                        .map(|_| rest.swap_remove((draw() * rest.len() as f64) as usize))
                        .collect();
                    let sum: f64 = sample.iter().sum();
                    let squares = sample.iter().map(|score| score * score).sum();
                    let half = half_width(sum, squares, 150, 600).unwrap();
                    (sum / 150.0 - mean).abs() <= half
                })
                .count();
            prop_assert!((175..=199).contains(&held), "{held} of 200");
        }
    }

    #[test]
    fn nothing_is_unsure_where_all_were_measured() {
        assert_eq!(half_width(3.0, 2.0, 10, 10), None);
        assert_eq!(half_width(0.5, 0.25, 1, 10), Some(1.0));
        assert_eq!(half_width(5.0, 2.5, 10, 20), Some(0.0));
    }
}
