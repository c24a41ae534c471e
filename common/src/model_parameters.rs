//! The parameters of trainings and versions, of any model.
//!
//! Builds before had fields of their own for ALS, in requests and versions, and in these what is held out; a hybrid of
//! theirs had a field for each of three models. What such a build has written is turned into today's form once, where it is read ([`update_version`], [`update_request`]); nothing
//! else looks at those fields.

use shoal_core::ModelKind;
use shoal_proto::v1::{
    AlsParameters, BlendedVersion, JobInfo, Metadata, ModelFolder, ModelParameters, ModelVersion,
    SplitParameters, StartTrainingRequest, model_parameters::Model,
};

/// The largest ridge of EASE that says anything beside the likings of all users.
pub const EASE_RIDGE_MAX: f64 = 1e12;

/// The kind of a model.
#[must_use]
pub fn kind_of(model: &Model) -> ModelKind {
    match model {
        Model::Als(_) => ModelKind::Als,
        Model::ItemCf(_) => ModelKind::ItemCf,
        Model::Content(_) => ModelKind::Content,
        Model::Ease(_) => ModelKind::Ease,
        Model::Hybrid(_) => ModelKind::Hybrid,
    }
}

/// The model that a version was trained as; `None` for a version that does not say.
#[must_use]
pub fn model_of(version: &ModelVersion) -> Option<&Model> {
    version.model_parameters.as_ref()?.model.as_ref()
}

/// The parameters of an ALS version; `None` for a version of another model.
#[must_use]
pub fn als_of(version: &ModelVersion) -> Option<&AlsParameters> {
    als(version.model_parameters.as_ref()?)
}

/// The parameters of a job that trains ALS; `None` for another job.
#[must_use]
pub fn als_of_job(job: &JobInfo) -> Option<&AlsParameters> {
    als(job.training.as_ref()?.model.as_ref()?)
}

/// The parameters of ALS among these; `None` for another model.
#[must_use]
pub fn als(parameters: &ModelParameters) -> Option<&AlsParameters> {
    match &parameters.model {
        Some(Model::Als(als)) => Some(als),
        Some(Model::ItemCf(_) | Model::Content(_) | Model::Ease(_) | Model::Hybrid(_)) | None => None,
    }
}

/// The folder of a model that is trained with these parameters.
#[must_use]
pub fn folder_of(model: Model, path: String) -> ModelFolder {
    let parameters = Some(ModelParameters { split: None, model: Some(model) });
    ModelFolder { path, parameters, ..ModelFolder::default() }
}

/// The model that a folder holds; `None` for a folder that does not say.
#[must_use]
pub fn model_in(folder: &ModelFolder) -> Option<&Model> {
    folder.parameters.as_ref()?.model.as_ref()
}

/// Rated neighbours that a predicted rating is the mean of, at most; 0 for a model that predicts none from neighbours.
#[must_use]
pub fn prediction_neighbours(model: &Model) -> u32 {
    match model {
        Model::ItemCf(item_cf) => item_cf.prediction_neighbours,
        Model::Ease(ease) => ease.prediction_neighbours,
        Model::Als(_) | Model::Content(_) | Model::Hybrid(_) => 0,
    }
}

/// ALS as a version of a build before has it, in today's form.
#[must_use]
pub fn of_als_before(parameters: AlsParameters) -> ModelParameters {
    let AlsParameters { seed, test_ratio, test_uri, temporal, test_source, .. } = parameters.clone();
    let als = AlsParameters {
        seed: 0,
        test_ratio: 0.0,
        test_uri: String::new(),
        temporal: false,
        test_source: None,
        ranking_users_max: 0,
        ..parameters
    };
    // Such builds held out no users.
    let split =
        SplitParameters { test_ratio, test_uri, seed, temporal, test_source, held_out_user_share: 0.0 };
    ModelParameters { split: Some(split), model: Some(Model::Als(als)) }
}

/// Turns a version that a build before has written into today's form; leaves others as they are.
pub fn update_version(version: &mut ModelVersion) {
    if let Some(als) = version.parameters.take()
        && version.model_parameters.is_none()
    {
        version.model_parameters = Some(of_als_before(als));
    }
    version.model_parameters.as_mut().map(name_blended);
}

/// Names the versions that a hybrid of a build before blends, which blended one of each of three models. Its weights are
/// those of these three, in their order, and of popularity.
fn name_blended(parameters: &mut ModelParameters) {
    let Some(Model::Hybrid(hybrid)) = &mut parameters.model else { return };
    let before = [
        (ModelKind::Als, std::mem::take(&mut hybrid.als_version)),
        (ModelKind::ItemCf, std::mem::take(&mut hybrid.item_cf_version)),
        (ModelKind::Content, std::mem::take(&mut hybrid.content_version)),
    ];
    if hybrid.versions.is_empty() && before.iter().any(|(_, version)| !version.is_empty()) {
        hybrid.versions = before.map(|(kind, version)| blended_version(kind, version)).to_vec();
    }
}

/// A version of this name, to be blended.
#[must_use]
pub fn blended_version(kind: ModelKind, version: String) -> BlendedVersion {
    BlendedVersion { model: kind.folder().to_owned(), version }
}

/// Turns the versions in metadata of a leader of a build before into today's form: in a rolling update workers and
/// routers of today follow such a leader for a while.
pub fn update_metadata(metadata: &mut Metadata) {
    metadata.versions.iter_mut().chain(&mut metadata.components).for_each(update_version);
}

/// Turns a request that a build before has made into today's form; leaves others as they are.
pub fn update_request(request: &mut StartTrainingRequest) {
    if let Some(als) = request.parameters.take()
        && request.model.is_none()
    {
        request.ranking_users_max = als.ranking_users_max;
        request.model = Some(of_als_before(als));
    }
    request.model.as_mut().map(name_blended);
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::HybridParameters;

    use super::*;

    #[test]
    fn a_hybrid_of_a_build_before_blends_a_version_of_each_of_three_models() {
        let before = HybridParameters {
            als_version: "a".to_owned(),
            item_cf_version: "i".to_owned(),
            content_version: "c".to_owned(),
            weights: vec![0.4, 0.3, 0.2, 0.1],
            ..HybridParameters::default()
        };
        let versions = [(ModelKind::Als, "a"), (ModelKind::ItemCf, "i"), (ModelKind::Content, "c")].to_vec();
        let versions = versions.into_iter().map(|(kind, name)| blended_version(kind, name.to_owned()));
        let now = HybridParameters {
            weights: before.weights.clone(),
            versions: versions.collect(),
            ..HybridParameters::default()
        };
        let of = |hybrid: &HybridParameters| {
            Some(ModelParameters { split: None, model: Some(Model::Hybrid(hybrid.clone())) })
        };
        // What is of today stays as it is.
        for written in [&before, &now] {
            let mut version = ModelVersion { model_parameters: of(written), ..ModelVersion::default() };
            update_version(&mut version);
            assert_eq!(version.model_parameters, of(&now));
            let mut request = StartTrainingRequest { model: of(written), ..StartTrainingRequest::default() };
            update_request(&mut request);
            assert_eq!(request.model, of(&now));
        }
        // One that a build before would have refused names what is missing.
        let lacking = HybridParameters { content_version: String::new(), ..before };
        let mut request = StartTrainingRequest { model: of(&lacking), ..StartTrainingRequest::default() };
        update_request(&mut request);
        let Some(Model::Hybrid(hybrid)) = request.model.and_then(|model| model.model) else { panic!() };
        assert_eq!(hybrid.versions[2], blended_version(ModelKind::Content, String::new()));
    }

    #[test]
    fn als_of_a_build_before_is_one_model_of_several() {
        let before = AlsParameters {
            rank: 9,
            seed: 7,
            test_ratio: 0.2,
            temporal: true,
            ranking_users_max: 500,
            ..AlsParameters::default()
        };
        let split =
            SplitParameters { test_ratio: 0.2, seed: 7, temporal: true, ..SplitParameters::default() };
        let als = AlsParameters { rank: 9, ..AlsParameters::default() };
        let now = ModelParameters { split: Some(split), model: Some(Model::Als(als.clone())) };

        let mut version = ModelVersion { parameters: Some(before.clone()), ..ModelVersion::default() };
        update_version(&mut version);
        assert_eq!(version, ModelVersion { model_parameters: Some(now.clone()), ..ModelVersion::default() });
        assert_eq!((als_of(&version), model_of(&version).map(kind_of)), (Some(&als), Some(ModelKind::Als)));

        let mut request =
            StartTrainingRequest { parameters: Some(before.clone()), ..StartTrainingRequest::default() };
        update_request(&mut request);
        let expected = StartTrainingRequest {
            model: Some(now),
            ranking_users_max: 500,
            ..StartTrainingRequest::default()
        };
        assert_eq!(request, expected);

        let of_leader_before = |version: &ModelVersion| Metadata {
            versions: vec![version.clone()],
            components: vec![version.clone()],
            ..Metadata::default()
        };
        let mut metadata =
            of_leader_before(&ModelVersion { parameters: Some(before), ..ModelVersion::default() });
        update_metadata(&mut metadata);
        assert_eq!(metadata, of_leader_before(&version));

        // What is of today, or of another model, stays as it is.
        let (twice, mut again) = (version.clone(), version);
        update_version(&mut again);
        assert_eq!(again, twice);
        let other = ModelParameters { model: Some(Model::Content(Default::default())), ..Default::default() };
        let mut request = StartTrainingRequest { model: Some(other), ..StartTrainingRequest::default() };
        let unchanged = request.clone();
        update_request(&mut request);
        assert_eq!(request, unchanged);
    }
}
