//! Weights by pattern search (Hooke and Jeeves 1961, "Direct Search Solution of Numerical and Statistical
//! Problems"): the objective, a mean over lists, moves in steps and has no gradient. No chance is involved.

use rayon::prelude::*;

use super::{Candidates, UNKNOWN};

/// The first step of a weight.
const STEP_FIRST: f64 = 0.25;

/// The search ends when steps become smaller.
const STEP_LEAST: f64 = 1.0 / 64.0;

/// What a move must gain to be worth it: less is noise of the users at hand.
const GAIN_LEAST: f64 = 1e-5;

/// Weights of the sources, with what they are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// One per source, not negative, 1 together.
    pub of_sources: Vec<f64>,
    /// The users' mean NDCG under these weights.
    pub worth: f64,
}

/// The weights under which the users' mean NDCG is highest, by the search below. A source that knows nothing for any of the
/// users has none, unless no source knows anything. Users run on the threads of the current rayon pool; their scores are
/// added in their order.
#[must_use]
pub fn learn_weights(users: &[Candidates], sources: usize) -> Weights {
    let knows = |source: usize| {
        let mut levels = users.iter().flat_map(|user| user.levels.iter().skip(source).step_by(sources));
        levels.any(|level| *level != UNKNOWN)
    };
    let mut known: Vec<usize> = (0..sources).filter(|&source| knows(source)).collect();
    if known.is_empty() {
        known = (0..sources).collect();
    }
    search(sources, &known, |weights| {
        let scores: Vec<f64> = users.par_iter().map(|user| user.ndcg(weights)).collect();
        scores.iter().sum::<f64>() / users.len().max(1) as f64
    })
}

/// Weights of the `known` sources. Starts at the best of: all alike, each source alone. Then moves one weight at a time up
/// or down, the best move first, and halves the step when no move gains. So it ends no lower than the best source alone.
fn search(sources: usize, known: &[usize], objective: impl Fn(&[f64]) -> f64) -> Weights {
    let judged = |of_sources: Vec<f64>| {
        let worth = objective(&of_sources);
        Weights { of_sources, worth }
    };
    let alone = |source: usize| (0..sources).map(|other| f64::from(u8::from(other == source))).collect();
    let even = 1.0 / known.len() as f64;
    let alike = (0..sources).map(|source| if known.contains(&source) { even } else { 0.0 });
    let mut best = judged(alike.collect());
    for start in known.iter().copied().map(alone).map(judged) {
        if start.worth > best.worth {
            best = start;
        }
    }
    let mut step = STEP_FIRST;
    while step >= STEP_LEAST {
        let moves = known.iter().flat_map(|&source| [(source, step), (source, -step)]);
        let moved = moves.filter_map(|(source, by)| nudge(&best.of_sources, source, by)).map(judged);
        // Of equals the first.
        let next = moved.reduce(|a, b| if b.worth > a.worth { b } else { a });
        match next {
            Some(next) if next.worth > best.worth + GAIN_LEAST => best = next,
            _ => step /= 2.0,
        }
    }
    best
}

/// One weight moved, all brought back to 1 together; `None` when that changes nothing or leaves nothing.
fn nudge(weights: &[f64], source: usize, by: f64) -> Option<Vec<f64>> {
    let mut moved = weights.to_vec();
    moved[source] = (moved[source] + by).max(0.0);
    let sum: f64 = moved.iter().sum();
    moved.iter_mut().for_each(|weight| *weight /= sum);
    (sum > 0.0 && moved != weights).then_some(moved)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hybrid::Relevant;

    fn candidates() -> impl Strategy<Value = Candidates> {
        let rows = prop::collection::btree_map(0_u32..60, [0.0_f32..1.0, 0.0_f32..1.0, 0.0_f32..1.0], 1..40);
        (rows, prop::collection::btree_map(0_u32..60, 0.1_f32..=1.0, 1..6)).prop_map(|(rows, relevant)| {
            Candidates {
                levels: rows.values().flatten().copied().collect(),
                rows: rows.into_keys().collect(),
                relevant: Relevant::new(relevant.keys().copied().collect(), relevant.into_values().collect()),
            }
        })
    }

    proptest! {
        #[test]
        fn never_ends_below_a_source_alone(users in prop::collection::vec(candidates(), 1..20)) {
            let learned = learn_weights(&users, 3);
            let mean = |weights: &[f64]| {
                users.iter().map(|user| user.ndcg(weights)).sum::<f64>() / users.len() as f64
            };
            for alone in [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] {
                prop_assert!(learned.worth >= mean(&alone));
            }
            prop_assert!((learned.worth - mean(&learned.of_sources)).abs() < 1e-12);
            prop_assert!((learned.of_sources.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(learned.of_sources.iter().all(|weight| *weight >= 0.0));
        }

        #[test]
        fn a_source_that_knows_nothing_has_no_weight(
            mut users in prop::collection::vec(candidates(), 0..6),
            ignorant in 0_usize..3,
        ) {
            for user in &mut users {
                user.levels.iter_mut().skip(ignorant).step_by(3).for_each(|level| *level = UNKNOWN);
            }
            let learned = learn_weights(&users, 3).of_sources;
            prop_assert!((learned.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(users.is_empty() || learned[ignorant] == 0.0, "{learned:?}");
        }

        #[test]
        fn finds_the_top_of_a_hill(peak in [0.05_f64..1.0, 0.05_f64..1.0, 0.05_f64..1.0, 0.05_f64..1.0]) {
            let sum: f64 = peak.iter().sum();
            let distance = |weights: &[f64]| {
                weights.iter().zip(&peak).map(|(weight, peak)| (weight - peak / sum).powi(2)).sum::<f64>()
            };
            let found = search(4, &[0, 1, 2, 3], |weights| 1.0 - distance(weights));
            prop_assert!(distance(&found.of_sources) < 0.003, "{found:?} for {peak:?}");
        }
    }
}
