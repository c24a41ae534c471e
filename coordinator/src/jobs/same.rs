//! Whether a version is what a request would make.

use shoal_proto::v1::{
    ModelParameters, ModelVersion, SplitParameters, StartTrainingRequest, model_parameters::Model,
};

use super::models::training_of;

/// Whether the version was trained here from the data that the request names, with the same parameters. The
/// request's defaults have to be filled in, and its data set's version to be named.
#[must_use]
pub fn same_training(version: &ModelVersion, request: &StartTrainingRequest) -> bool {
    let same_data =
        version.dataset_name == request.dataset_name && version.dataset_version == request.dataset_version;
    let trained_here = version.imported_from.is_empty();
    let (made, asked) = (version.model_parameters.as_ref(), request.model.as_ref());
    trained_here && same_data && made.map(decisive) == asked.map(decisive)
}

/// What is held out, and the parameters without those that the result does not depend on.
fn decisive(parameters: &ModelParameters) -> (Option<&SplitParameters>, Option<Model>) {
    let model = parameters.model.as_ref().map(|model| training_of(model).decisive());
    (parameters.split.as_ref(), model)
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{AlsParameters, Confidence, ImplicitParameters, ItemCfParameters, Preference};

    use super::*;

    fn parameters(model: Model) -> Option<ModelParameters> {
        let split = SplitParameters { seed: 3, ..SplitParameters::default() };
        Some(ModelParameters { split: Some(split), model: Some(model) })
    }

    #[test]
    fn only_what_the_result_depends_on_makes_a_difference() {
        let als = AlsParameters { rank: 8, ..AlsParameters::default() };
        let request = StartTrainingRequest {
            dataset_name: "d".to_owned(),
            dataset_version: "1".to_owned(),
            model: parameters(Model::Als(als.clone())),
            ..StartTrainingRequest::default()
        };
        let on_other_threads = AlsParameters { threads: 4, ..als.clone() };
        let version = ModelVersion {
            dataset_name: "d".to_owned(),
            dataset_version: "1".to_owned(),
            model_parameters: parameters(Model::Als(on_other_threads)),
            ..ModelVersion::default()
        };
        assert!(same_training(&version, &request));
        let other_data = ModelVersion { dataset_version: "2".to_owned(), ..version.clone() };
        let other_rank = parameters(Model::Als(AlsParameters { rank: 9, ..als.clone() }));
        let other_rank = ModelVersion { model_parameters: other_rank, ..version.clone() };
        assert!(!same_training(&other_data, &request) && !same_training(&other_rank, &request));
        let other_seed = ModelParameters { split: None, model: Some(Model::Als(als)) };
        let other_seed = ModelVersion { model_parameters: Some(other_seed), ..version.clone() };
        let imported = ModelVersion { imported_from: "Spark".to_owned(), ..version.clone() };
        assert!(!same_training(&other_seed, &request) && !same_training(&imported, &request));

        let other_users = parameters(Model::Als(AlsParameters { rank: 8, ..AlsParameters::default() }));
        let other_users = other_users.map(|parameters| {
            let split = parameters.split.map(|split| SplitParameters { held_out_user_share: 0.1, ..split });
            ModelParameters { split, ..parameters }
        });
        assert!(!same_training(&ModelVersion { model_parameters: other_users, ..version.clone() }, &request));

        let item_cf =
            |neighbours| parameters(Model::ItemCf(ItemCfParameters { neighbours, ..Default::default() }));
        let request = StartTrainingRequest { model: item_cf(20), ..request };
        assert!(!same_training(&version, &request));
        let trained = ModelVersion { model_parameters: item_cf(20), ..version };
        assert!(same_training(&trained, &request));
        assert!(!same_training(&ModelVersion { model_parameters: item_cf(21), ..trained }, &request));
    }

    #[test]
    fn a_version_of_a_build_without_preferences_has_that_of_its_confidence() {
        let by = |preference: Preference| {
            let implicit = ImplicitParameters {
                confidence: Confidence::Spark.into(),
                preference: preference.into(),
                ..ImplicitParameters::default()
            };
            parameters(Model::Als(AlsParameters { implicit: Some(implicit), ..AlsParameters::default() }))
        };
        let version =
            ModelVersion { model_parameters: by(Preference::Unspecified), ..ModelVersion::default() };
        let asked =
            |preference| StartTrainingRequest { model: by(preference), ..StartTrainingRequest::default() };
        assert!(same_training(&version, &asked(Preference::Positive)));
        assert!(!same_training(&version, &asked(Preference::Height)));
    }
}
