//! The models, each in a file of its own: what may be asked of it, which steps make it, and what is said of it.
//!
//! A model is a value: the parameters of its training, of which each kind is a [`ModelTraining`]. A kind that is new
//! does not compile until it is here.

mod als;
mod content;
mod ease;
mod hybrid;
mod item_cf;
mod part_training;

use shoal_proto::v1::{ModelParameters, model_parameters::Model};

use super::model_training::ModelTraining;

/// How the model of these parameters is made.
pub(super) fn training_of(model: &Model) -> &dyn ModelTraining {
    match model {
        Model::Als(als) => als,
        Model::ItemCf(item_cf) => item_cf,
        Model::Content(content) => content,
        Model::Ease(ease) => ease,
        Model::Hybrid(hybrid) => hybrid,
    }
}

/// Names whatever a request left open, so that what a version was trained with does not follow a later default.
pub fn fill_in_defaults(parameters: &mut ModelParameters) {
    match &mut parameters.model {
        Some(Model::Als(als)) => als::fill_in_defaults(als),
        Some(Model::Hybrid(hybrid)) => hybrid::fill_in_defaults(hybrid),
        Some(Model::ItemCf(_) | Model::Content(_) | Model::Ease(_)) | None => {}
    }
}
