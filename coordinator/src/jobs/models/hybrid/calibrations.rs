//! Calibrations: of each source of a blend, where a score stands among its scores.

use shoal_proto::v1::{HybridCalibrate, HybridHistograms, HybridParameters, HybridSource, ModelFolder};

use crate::jobs::{error::JobError, run::Run, tracker::Tracker};

/// What the steps of [`calibrations`] weigh.
pub(super) const CALIBRATION_STEPS: [f64; 2] = [5.0, 1.0];

/// Calibrations of the scores of some folders, and of popularity.
pub(super) async fn calibrations(
    run: &Run<'_>,
    folders: &[ModelFolder],
    parameters: &HybridParameters,
    tracker: &mut Tracker,
) -> Result<Vec<HybridSource>, JobError> {
    let (count, folders) = (folders.len() + 1, folders.to_vec());
    let users_max = parameters.learning_users_max;
    let histograms = |path| HybridHistograms { folders, users_max, path };
    let path = run.written(histograms, tracker).await?;
    let sources = run.on_first(HybridCalibrate { path }, tracker).await?.sources;
    if sources.len() != count {
        let found = sources.len();
        return Err(JobError::Transient(format!("a worker has calibrated {found} sources of {count}")));
    }
    Ok(sources)
}
