//! The blend of several sources' scores for one shard. The sources are the folders in their order, then
//! popularity.

use shoal_proto::v1::HybridSource;

use super::sources::UNKNOWN;
use crate::{hybrid::Calibration, train::TrainError};

/// Calibrations and weights of the sources.
#[derive(Debug)]
pub(super) struct Blend {
    calibrations: Vec<Calibration>,
    weights: Vec<f64>,
}

impl Blend {
    /// Of `folders` models and popularity.
    pub(super) fn new(sources: &[HybridSource], folders: usize) -> Result<Self, TrainError> {
        if sources.len() != folders + 1 {
            let count = sources.len();
            return Err(TrainError::Request(format!(
                "{count} calibrations are not those of {folders} models"
            )));
        }
        let calibration = |source: &HybridSource| {
            let knots = source.knots.iter().map(|knot| (knot.score, knot.level)).collect();
            Calibration::from_knots(knots)
                .map_err(|error| TrainError::Request(format!("{error}, of '{}'", source.model)))
        };
        Ok(Self {
            calibrations: sources.iter().map(calibration).collect::<Result<_, _>>()?,
            weights: sources.iter().map(|source| source.weight).collect(),
        })
    }

    /// The level of a source's score: 0 where it knows nothing.
    pub(super) fn level(&self, source: usize, score: f32) -> f32 {
        if score == UNKNOWN { 0.0 } else { self.calibrations[source].level(score) }
    }

    /// Replaces what `blended` holds by Σ weight · level for each item of a shard, from the scores of the
    /// models and the items' training counts; unknown where no source says anything.
    pub(super) fn scores(&self, models: &[Vec<f32>], train_counts: &[u32], blended: &mut Vec<f32>) {
        blended.clear();
        blended.extend((0..train_counts.len()).map(|item| {
            let mut sum = 0.0;
            for (source, weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                let score =
                    models.get(source).map_or_else(|| popularity(train_counts[item]), |scores| scores[item]);
                sum += weight * f64::from(self.level(source, score));
            }
            if sum > 0.0 { sum as f32 } else { UNKNOWN }
        }));
    }
}

/// Popularity as a source of scores: how often the item was rated.
pub(super) fn popularity(train_count: u32) -> f32 {
    if train_count == 0 { UNKNOWN } else { train_count as f32 }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::CalibrationKnot;

    use super::*;

    fn source(weight: f64, knots: &[(f32, f32)]) -> HybridSource {
        let knots = knots.iter().map(|&(score, level)| CalibrationKnot { score, level }).collect();
        HybridSource { weight, knots, ..HybridSource::default() }
    }

    #[test]
    fn levels_are_weighted_and_what_nobody_knows_is_unknown() {
        let knots = [(0.0, 0.0), (10.0, 0.5)];
        let blend = Blend::new(&[source(0.75, &knots), source(0.25, &[(1.0, 0.0), (5.0, 0.8)])], 1).unwrap();
        let mut blended = vec![9.0; 7];
        blend.scores(&[vec![10.0, UNKNOWN, UNKNOWN, 4.0]], &[5, 5, 0, 0], &mut blended);
        assert_eq!(blended, [0.75 * 0.5 + 0.25 * 0.8, 0.25 * 0.8, UNKNOWN, 0.75 * 0.2]);
        assert!(Blend::new(&[source(1.0, &knots)], 1).is_err());
        assert!(Blend::new(&[source(1.0, &knots), source(1.0, &[(1.0, 0.5)])], 1).is_err());
    }
}
