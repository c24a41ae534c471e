//! Parts of a training, and how the folders are numbered that one attempt writes.
//!
//! What workers make for each other lies in `checkpoints/<job>/<attempt>-<number>`. A sweep's checkpoint has the number
//! of the sweep. Above those are one folder for a split by time, then those of the training's own steps, then those of
//! each part.

use shoal_core::ModelKind;

/// Sweeps that a training may have. Their checkpoints have the numbers up to here.
pub(super) const SWEEPS_MAX: u32 = 1_000;

/// The folder that says where each user's held-out ratings begin, for a split by time.
pub(super) const SPLIT_TIMES_FOLDER: u32 = 9_999;

/// The first folder of the training's own steps.
const FIRST_FOLDER: u32 = 10_000;

/// Folders that the training's own steps may have, and those of each part.
const FOLDERS_EACH: u32 = 1_000;

const _: () = assert!(SWEEPS_MAX < SPLIT_TIMES_FOLDER && SPLIT_TIMES_FOLDER < FIRST_FOLDER);

/// A part of a training. Workers keep its state apart from that of the training, under a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A training with a state of its own on workers is measured as every model is.
    Measuring,
    /// The weights of a blend are learned. Models that keep no state of their own on workers are trained for it here.
    Blending,
    /// A model with a state of its own is trained on a share of the ratings, so that the weights of a blend can be learned
    /// on the rest.
    Learning(ModelKind),
}

impl Part {
    /// Every part that a training may have.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        [Self::Measuring, Self::Blending].into_iter().chain(ModelKind::ALL.into_iter().map(Self::Learning))
    }

    /// The name by which workers know this part of a job.
    pub(super) fn id(self, job_id: &str) -> String {
        let name = match self {
            Self::Measuring => "measure",
            Self::Blending => "blend",
            Self::Learning(kind) => kind.folder(),
        };
        format!("{job_id}.{name}")
    }
}

/// The number of the first folder of a part, or of the training's own steps.
pub(super) fn first_folder(part: Option<Part>) -> u32 {
    let before = match part {
        None => 0,
        Some(Part::Measuring) => 1,
        Some(Part::Blending) => 2,
        Some(Part::Learning(kind)) => 3 + kind as u32,
    };
    FIRST_FOLDER + before * FOLDERS_EACH
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_parts_share_a_name_or_a_folder() {
        let names: BTreeSet<String> = Part::all().map(|part| part.id("job-000001")).collect();
        let folders: BTreeSet<u32> = Part::all().map(Some).chain([None]).map(first_folder).collect();
        assert_eq!((names.len(), folders.len()), (Part::all().count(), Part::all().count() + 1));
        let folders: Vec<u32> = folders.into_iter().collect();
        assert!(folders.windows(2).all(|pair| pair[1] - pair[0] >= FOLDERS_EACH), "{folders:?}");
    }
}
