//! Whether a version is what a request would make.

use shoal_proto::v1::{AlsParameters, ModelVersion, StartTrainingRequest};

use crate::jobs::settle;

/// Whether the version was trained here from the data that the request names, with the same parameters. The
/// request's parameters have to be settled, and its data set's version to be named.
#[must_use]
pub fn same_training(version: &ModelVersion, request: &StartTrainingRequest) -> bool {
    let same_data =
        version.dataset_name == request.dataset_name && version.dataset_version == request.dataset_version;
    let trained_here = version.imported_from.is_empty();
    let same_parameters = match &request.model {
        Some(model) => version.model_parameters.as_ref() == Some(model),
        None => {
            version.model_parameters.is_none()
                && version.parameters.as_ref().map(decisive) == request.parameters.as_ref().map(decisive)
        }
    };
    trained_here && same_data && same_parameters
}

/// The parameters without what the result does not depend on. Versions of builds that knew fewer conventions are settled
/// by today's.
fn decisive(parameters: &AlsParameters) -> AlsParameters {
    let mut parameters =
        AlsParameters { threads: 0, checkpoint_every_sweeps: 0, ranking_users_max: 0, ..parameters.clone() };
    settle(&mut parameters);
    parameters
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{
        Confidence, ImplicitParameters, ItemCfParameters, ModelParameters, Preference,
        model_parameters::Model,
    };

    use super::*;

    #[test]
    fn only_what_the_result_depends_on_makes_a_difference() {
        let als = AlsParameters { rank: 8, seed: 3, ..AlsParameters::default() };
        let request = StartTrainingRequest {
            dataset_name: "d".to_owned(),
            dataset_version: "1".to_owned(),
            parameters: Some(als.clone()),
            ..StartTrainingRequest::default()
        };
        let version = ModelVersion {
            dataset_name: "d".to_owned(),
            dataset_version: "1".to_owned(),
            parameters: Some(AlsParameters { threads: 4, ..als.clone() }),
            ..ModelVersion::default()
        };
        assert!(same_training(&version, &request));
        let other_data = ModelVersion { dataset_version: "2".to_owned(), ..version.clone() };
        let other_rank =
            ModelVersion { parameters: Some(AlsParameters { rank: 9, ..als }), ..version.clone() };
        assert!(!same_training(&other_data, &request) && !same_training(&other_rank, &request));
        let imported = ModelVersion { imported_from: "Spark".to_owned(), ..version.clone() };
        assert!(!same_training(&imported, &request));

        let model = |neighbours| ModelParameters {
            model: Some(Model::ItemCf(ItemCfParameters { neighbours, ..ItemCfParameters::default() })),
            ..ModelParameters::default()
        };
        let item_cf = StartTrainingRequest { model: Some(model(20)), ..request };
        assert!(!same_training(&version, &item_cf));
        let trained = ModelVersion { model_parameters: Some(model(20)), ..version };
        assert!(same_training(&trained, &item_cf));
        assert!(!same_training(&ModelVersion { model_parameters: Some(model(21)), ..trained }, &item_cf));
    }

    #[test]
    fn a_version_of_a_build_without_preferences_has_that_of_its_confidence() {
        let by = |preference: Preference| {
            let implicit = ImplicitParameters {
                confidence: Confidence::Spark.into(),
                preference: preference.into(),
                ..ImplicitParameters::default()
            };
            Some(AlsParameters { implicit: Some(implicit), ..AlsParameters::default() })
        };
        let version = ModelVersion { parameters: by(Preference::Unspecified), ..ModelVersion::default() };
        let asked = |preference| StartTrainingRequest {
            parameters: by(preference),
            ..StartTrainingRequest::default()
        };
        assert!(same_training(&version, &asked(Preference::Positive)));
        assert!(!same_training(&version, &asked(Preference::Height)));
    }
}
