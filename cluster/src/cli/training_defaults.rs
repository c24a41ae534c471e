//! What models are trained with where nobody says: the defaults of the flags of `shoal train`, for routers.

use clap::Parser as _;
use shoal_core::ModelKind;
use shoal_proto::v1::{DatasetInfo, ModelParameters};

use crate::{model_parameters::ModelArgs, parameters::AlsArgs};

#[derive(Debug, clap::Parser)]
struct Flags {
    #[command(flatten)]
    als: AlsArgs,
    #[command(flatten)]
    models: ModelArgs,
}

/// The defaults of a model on a data set; nothing of a blend, for which has to be known what it is made of.
pub(super) fn training_defaults(kind: ModelKind, dataset: &DatasetInfo) -> Option<ModelParameters> {
    let flags = Flags::try_parse_from(["train"]).ok()?;
    let split = flags.als.held_out(dataset, None, None).ok()?;
    flags.models.single(kind, &flags.als, dataset, split)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_but_a_blend_has_defaults() {
        let dataset = DatasetInfo { users: 10, items: 10, ratings: 50, ..DatasetInfo::default() };
        for kind in ModelKind::ALL {
            let found = training_defaults(kind, &dataset);
            assert_eq!(found.is_some(), kind != ModelKind::Hybrid, "{kind}");
        }
    }
}
