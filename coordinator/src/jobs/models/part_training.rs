//! Which models can be blended, and so are trained anew to learn a blend's weights.

use shoal_proto::v1::model_parameters::Model;

use crate::jobs::model_training::PartTraining;

/// How the model of these parameters is trained to be blended; `None` for a blend.
pub(super) fn part_training_of(model: &Model) -> Option<&dyn PartTraining> {
    match model {
        Model::Als(als) => Some(als),
        Model::ItemCf(item_cf) => Some(item_cf),
        Model::Content(content) => Some(content),
        Model::Ease(ease) => Some(ease),
        Model::Hybrid(_) => None,
    }
}
