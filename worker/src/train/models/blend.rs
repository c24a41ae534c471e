//! Blends as messages have them.

use shoal_engine::hybrid::{BadCalibration, Blend, Calibration};
use shoal_proto::v1::HybridSource;

use crate::train::TrainError;

/// A source that cannot be blended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}, of '{model}'")]
pub(crate) struct BadSource {
    model: String,
    error: BadCalibration,
}

/// The blend of these sources.
///
/// # Errors
/// When a calibration cannot be.
pub(crate) fn blend_of(sources: &[HybridSource]) -> Result<Blend, BadSource> {
    let read = |source: &HybridSource| {
        let knots = source.knots.iter().map(|knot| (knot.score, knot.level)).collect();
        let calibration = Calibration::from_knots(knots);
        let calibration = calibration.map_err(|error| BadSource { model: source.model.clone(), error })?;
        Ok((calibration, source.weight))
    };
    Ok(Blend::new(sources.iter().map(read).collect::<Result<_, _>>()?))
}

/// The blend of so many models and popularity.
pub(super) fn blend_of_models(sources: &[HybridSource], models: usize) -> Result<Blend, TrainError> {
    if sources.len() != models + 1 {
        let count = sources.len();
        return Err(TrainError::Request(format!("{count} calibrations are not those of {models} models")));
    }
    blend_of(sources).map_err(|error| TrainError::Request(error.to_string()))
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::CalibrationKnot;

    use super::*;

    #[test]
    fn what_is_no_blend_is_refused() {
        let source = |model: &str, knots: &[(f32, f32)]| {
            let knots = knots.iter().map(|&(score, level)| CalibrationKnot { score, level }).collect();
            HybridSource { model: model.to_owned(), weight: 0.5, knots, ..HybridSource::default() }
        };
        let good = source("als", &[(0.0, 0.0), (10.0, 0.5)]);
        let blend = blend_of_models(&[good.clone(), good.clone()], 1).unwrap();
        assert_eq!((blend.weights().collect::<Vec<_>>(), blend.level(1, 5.0)), (vec![0.5, 0.5], 0.25));
        assert!(blend_of_models(std::slice::from_ref(&good), 1).is_err());
        let refused = blend_of_models(&[good, source("popularity", &[(1.0, 0.5)])], 1).unwrap_err();
        assert!(refused.to_string().contains("of 'popularity'"), "{refused}");
    }
}
