//! The versions that are blended.

use shoal_common::{model_parameters::model_of, split};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    BlendedVersion, HybridModel, HybridParameters, HybridSource, ModelFolder, ModelVersion,
    model_parameters::Model,
};

use crate::jobs::{
    error::JobError, model_training::PartTraining, models::part_training::part_training_of, run::Run,
};

/// Where a source is named in the blend.
pub(super) const POPULARITY: &str = "popularity";

/// A version that is blended, with the parameters of its training.
pub(super) struct Component {
    pub(super) kind: ModelKind,
    pub(super) version: ModelVersion,
    model: Model,
}

/// The versions that are blended, in the order of the sources; popularity is the source after them.
pub(super) struct Components(Vec<Component>);

impl Component {
    fn find(run: &Run<'_>, blended: &BlendedVersion) -> Result<Self, JobError> {
        let BlendedVersion { model, version: name } = blended;
        let kind = ModelKind::parse(model).map_err(|unknown| JobError::Fatal(unknown.to_string()))?;
        let state = run.leader.raft.view().borrow().clone();
        let version = state.versions.get(name).filter(|version| version.model == kind.folder());
        let version = version
            .ok_or_else(|| {
                JobError::Fatal(format!("the version '{name}' of '{kind}' to be blended is gone"))
            })?
            .clone();
        if !split::is_alike(&split::of_version(&version), &run.split) {
            return Err(JobError::Fatal(format!(
                "the version '{name}' to be blended was trained with another split; blend versions with that of the blend"
            )));
        }
        let model = model_of(&version).filter(|model| part_training_of(model).is_some()).cloned();
        let unknown =
            || JobError::Fatal(format!("version '{name}' does not say with which parameters it was trained"));
        Ok(Self { kind, model: model.ok_or_else(unknown)?, version })
    }

    /// How the model is trained anew to learn weights.
    pub(super) fn training(&self) -> Result<&dyn PartTraining, JobError> {
        let refused = || JobError::Fatal(format!("a blend of '{}' cannot be learned", self.kind));
        part_training_of(&self.model).ok_or_else(refused)
    }

    /// The folder of the published version.
    pub(super) fn folder(&self) -> ModelFolder {
        let version = &self.version;
        ModelFolder {
            path: version.path.clone(),
            manifest_checksum: version.manifest_checksum.clone(),
            rating_mean: version.rating_mean,
            rating_slope: version.rating_slope,
            parameters: version.model_parameters.clone(),
        }
    }
}

impl Components {
    /// # Errors
    /// [`JobError::Fatal`] when a version is gone, or does not say how it was trained.
    pub(super) fn find(run: &Run<'_>, parameters: &HybridParameters) -> Result<Self, JobError> {
        let found = parameters.versions.iter().map(|blended| Component::find(run, blended));
        found.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Component> {
        self.0.iter()
    }

    /// How many sources the blend has: the models, and popularity.
    pub(super) fn sources(&self) -> usize {
        self.0.len() + 1
    }

    pub(super) fn folders(&self) -> Vec<ModelFolder> {
        self.iter().map(Component::folder).collect()
    }

    /// The blend of these versions.
    pub(super) fn blend(
        &self,
        mut sources: Vec<HybridSource>,
        weights: &[f64],
        weights_given: bool,
    ) -> HybridModel {
        let versions = self.iter().map(|component| &component.version);
        let names = versions.map(|version| (version.model.as_str(), version.name.as_str()));
        let names = names.chain([(POPULARITY, "")]);
        for ((source, weight), (model, version)) in sources.iter_mut().zip(weights).zip(names) {
            source.weight = *weight;
            (source.model, source.version) = (model.to_owned(), version.to_owned());
        }
        HybridModel { sources, weights_given, learning: None }
    }
}
