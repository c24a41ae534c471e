//! The blend of several sources' scores for the items of a shard.

use super::Calibration;

/// The score of an item of which a source knows nothing for a user: it is in no list of the source's.
pub const UNKNOWN: f32 = f32::NEG_INFINITY;

/// Calibrations and weights of some models, in their order, and then of popularity.
#[derive(Debug, Clone, PartialEq)]
pub struct Blend {
    sources: Vec<(Calibration, f64)>,
}

impl Blend {
    /// Of these calibrations and weights.
    #[must_use]
    pub fn new(sources: Vec<(Calibration, f64)>) -> Self {
        Self { sources }
    }

    /// The weight of each source.
    pub fn weights(&self) -> impl ExactSizeIterator<Item = f64> + '_ {
        self.sources.iter().map(|source| source.1)
    }

    /// The level of a source's score; [`UNKNOWN`] where it knows nothing.
    ///
    /// # Panics
    /// When there is no such source.
    #[must_use]
    pub fn level(&self, source: usize, score: f32) -> f32 {
        if score == UNKNOWN { UNKNOWN } else { self.sources[source].0.level(score) }
    }

    /// Replaces what `blended` holds by the [`rank`] of each item of a shard, from the scores of the models and the items'
    /// training counts.
    ///
    /// # Panics
    /// When a model with a weight has not a score for each item.
    pub fn scores(&self, models: &[impl AsRef<[f32]>], train_counts: &[u32], blended: &mut Vec<f32>) {
        blended.clear();
        blended.extend((0..train_counts.len()).map(|item| {
            let score = |source: usize| {
                let of_model = models.get(source).map(|scores| scores.as_ref()[item]);
                of_model.unwrap_or_else(|| popularity(train_counts[item]))
            };
            rank(self.weights(), |source| self.level(source, score(source)))
        }));
    }
}

/// What a blend ranks an item by, from the weight of every source and the item's level there ([`UNKNOWN`] where the source
/// knows nothing of it), popularity last: Σ weight · level over the sources with a weight. An item of which none of these
/// knows anything stands behind all others, by its level of popularity less 1; one that nobody has rated is [`UNKNOWN`].
pub fn rank(weights: impl ExactSizeIterator<Item = f64>, level: impl Fn(usize) -> f32) -> f32 {
    let (popularity, mut sum, mut is_known) = (weights.len() - 1, 0.0, false);
    for (source, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
        let level = level(source);
        if level != UNKNOWN {
            sum += weight * f64::from(level);
            is_known = true;
        }
    }
    // Less 1 leaves UNKNOWN what it is.
    if is_known { sum as f32 } else { level(popularity) - 1.0 }
}

/// Popularity as a source of scores: how often the item was rated.
#[must_use]
pub fn popularity(train_count: u32) -> f32 {
    if train_count == 0 { UNKNOWN } else { train_count as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(weight: f64, knots: &[(f32, f32)]) -> (Calibration, f64) {
        (Calibration::from_knots(knots.to_vec()).unwrap(), weight)
    }

    #[test]
    fn levels_are_weighted_and_what_nobody_knows_is_unknown() {
        let knots = [(0.0, 0.0), (10.0, 0.5)];
        let blend = Blend::new(vec![source(0.75, &knots), source(0.25, &[(1.0, 0.0), (5.0, 0.8)])]);
        let mut blended = vec![9.0; 7];
        blend.scores(&[vec![10.0, UNKNOWN, UNKNOWN, 4.0, 0.0]], &[5, 5, 0, 0, 0], &mut blended);
        assert_eq!(blended, [0.75 * 0.5 + 0.25 * 0.8, 0.25 * 0.8, UNKNOWN, 0.75 * 0.2, 0.0]);
    }

    #[test]
    fn what_only_popularity_knows_comes_last_in_its_order() {
        let blend =
            Blend::new(vec![source(1.0, &[(0.0, 0.0), (10.0, 0.5)]), source(0.0, &[(1.0, 0.0), (5.0, 0.8)])]);
        let mut blended = Vec::new();
        blend.scores(&[vec![0.0, UNKNOWN, UNKNOWN, UNKNOWN]], &[9, 1, 5, 0], &mut blended);
        assert_eq!(blended, [0.0, -1.0, 0.8_f32 - 1.0, UNKNOWN]);
    }
}
