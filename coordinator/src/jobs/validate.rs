//! Whether a request can work at all: looked at before a job is made of it.

use prost::Message;
use shoal_common::ids::SHARDS_MAX;
use shoal_proto::v1::{DuplicateRule, ImportDatasetRequest, JobInfo, SplitParameters, StartTrainingRequest};

use super::{error::JobError, models::training_of};
use crate::record_checks::{DATASET_NAME_MAX, is_name};

/// Looks at a job's request again: whoever wrote it into the registry need not have been this service.
pub(super) fn check_again(info: &JobInfo) -> Result<(), JobError> {
    let import = info.import.as_ref().map(validate_import);
    let training = info.training.as_ref().map(validate_training);
    let problems: Vec<String> = import.into_iter().chain(training).flatten().collect();
    if problems.is_empty() { Ok(()) } else { Err(JobError::Fatal(problems.join("; "))) }
}

/// Bytes of a request that makes a job: the registry keeps it, and everybody who lists jobs is told of it.
const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// Bytes of an address of a file or folder, as long as a path may be.
const ADDRESS_BYTES_MAX: usize = 4_096;

/// Notes what is too long to be kept.
pub(super) fn check_size<'a>(
    request: &impl Message,
    addresses: impl IntoIterator<Item = &'a String>,
    problems: &mut Vec<String>,
) {
    let bytes = request.encoded_len();
    if bytes > REQUEST_BYTES_MAX {
        problems.push(format!(
            "the request has {bytes} bytes, more than the {REQUEST_BYTES_MAX} that are kept of one; name a folder or a pattern in place of many files"
        ));
    }
    let longest = addresses.into_iter().map(String::len).max().unwrap_or_default();
    if longest > ADDRESS_BYTES_MAX {
        problems.push(format!("an address has {longest} bytes; at most {ADDRESS_BYTES_MAX} are taken"));
    }
}

/// Everything that is wrong with an import request.
#[must_use]
pub fn validate_import(request: &ImportDatasetRequest) -> Vec<String> {
    let mut problems = Vec::new();
    let addresses = request.source.iter().flat_map(|source| source.more_uris.iter().chain([&source.uri]));
    check_size(request, addresses, &mut problems);
    if !is_name(&request.name, DATASET_NAME_MAX) {
        problems.push(format!(
            "the name '{}' must be 1 to 64 lower-case letters, digits, '-' or '_', and begin with a letter or digit",
            request.name
        ));
    }
    if request.shard_count > SHARDS_MAX {
        problems.push(format!("{} shards are too many; at most {SHARDS_MAX}", request.shard_count));
    }
    match &request.source {
        None => problems.push("the source is missing".to_owned()),
        Some(source) => {
            if source.uri.is_empty() {
                problems.push("the source's address is missing".to_owned());
            }
            if !(0.0..=1.0).contains(&source.bad_rows_ratio_max) {
                problems.push(format!(
                    "the share of bad rows, {}, must be from 0 to 1",
                    source.bad_rows_ratio_max
                ));
            }
            if !source.rating_min.is_finite()
                || !source.rating_max.is_finite()
                || source.rating_min > source.rating_max
            {
                problems.push("the range of ratings is empty".to_owned());
            }
            if source.no_time && !(source.time_column.is_empty() && source.time_format.is_empty()) {
                problems.push("a time column or format is given, and no time is wanted".to_owned());
            }
            if source.no_rating && !source.rating_column.is_empty() {
                problems.push("a rating column is given, and no rating is wanted".to_owned());
            }
            if source.no_rating && source.duplicates() == DuplicateRule::Sum {
                problems.push("there are no ratings to sum; count the pairs".to_owned());
            }
        }
    }
    problems
}

/// Everything that is wrong with a training request, which is in today's form.
#[must_use]
pub fn validate_training(request: &StartTrainingRequest) -> Vec<String> {
    let mut problems = Vec::new();
    let Some(parameters) = &request.model else {
        return vec!["the parameters are missing".to_owned()];
    };
    let split = parameters.split.as_ref();
    let source = split.and_then(|split| split.test_source.as_ref());
    let addresses = source.into_iter().flat_map(|source| source.more_uris.iter().chain([&source.uri]));
    check_size(request, addresses.chain(split.map(|split| &split.test_uri)), &mut problems);
    match &parameters.split {
        None => problems.push("the split is missing".to_owned()),
        Some(split) => check_split(split, &mut problems),
    }
    match &parameters.model {
        None => problems.push("the request names no model".to_owned()),
        Some(model) => training_of(model).check(&mut problems),
    }
    problems
}

fn check_split(split: &SplitParameters, problems: &mut Vec<String>) {
    let SplitParameters { test_ratio, test_uri, temporal, held_out_user_share, seed: _, test_source: _ } =
        split;
    if !(0.0..1.0).contains(test_ratio) {
        problems.push(format!("the test ratio {test_ratio} must be from 0 to below 1"));
    }
    if !test_uri.is_empty() && *test_ratio > 0.0 {
        problems.push("give a test ratio or a test file, not both".to_owned());
    }
    if *temporal && *test_ratio == 0.0 {
        problems.push("a split by time needs a test ratio above 0".to_owned());
    }
    if *held_out_user_share == 0.0 {
        return;
    }
    if !(*held_out_user_share > 0.0 && *held_out_user_share < 1.0) {
        problems.push(format!(
            "the share of the users who are held out, {held_out_user_share}, must be above 0 and below 1"
        ));
    }
    if *temporal {
        problems.push("hold out users or each user's newest ratings, not both".to_owned());
    }
    if !test_uri.is_empty() {
        problems.push("hold out users or give a test file, not both".to_owned());
    } else if *test_ratio == 0.0 {
        problems.push(
            "where users are held out a test ratio above 0 says which of their ratings are measured on"
                .to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{
        AlsParameters, AlsSolver, BlendedVersion, Confidence, ContentParameters, EaseParameters,
        ExplicitParameters, HybridParameters, ImplicitParameters, ItemCfParameters, ModelParameters,
        ObjectiveChoice, Preference, RegularizationScaling, model_parameters::Model,
    };

    use super::*;

    #[test]
    fn every_problem_is_named() {
        let nothing = SplitParameters { test_ratio: 1.0, ..SplitParameters::default() };
        let by_time = SplitParameters { temporal: true, ..SplitParameters::default() };
        for split in [nothing, by_time] {
            let model = Some(Model::Als(AlsParameters::default()));
            let model = Some(ModelParameters { split: Some(split), model });
            let request = StartTrainingRequest { model, ..StartTrainingRequest::default() };
            assert_eq!(validate_training(&request).len(), 5);
        }
        let conventions = AlsParameters {
            rank: 8,
            sweeps: 1,
            explicit: Some(ExplicitParameters {
                regularization: 0.1,
                scaling: RegularizationScaling::Ials.into(),
                ..ExplicitParameters::default()
            }),
            implicit: Some(ImplicitParameters {
                regularization: 0.1,
                confidence: Confidence::Spark.into(),
                unobserved_weight: 0.3,
                preference: Preference::Height.into(),
                rating_least: 5.0,
                rating_greatest: 1.0,
                ..ImplicitParameters::default()
            }),
            ..AlsParameters::default()
        };
        assert_eq!(problems(Model::Als(conventions)).len(), 4);
        let solver = AlsParameters {
            rank: 8,
            sweeps: 1,
            objective: ObjectiveChoice::Explicit.into(),
            explicit: Some(ExplicitParameters {
                regularization: 0.1,
                biases: true,
                ..ExplicitParameters::default()
            }),
            solver: AlsSolver::Ialspp.into(),
            solver_block: 9,
            nonnegative: true,
            ..AlsParameters::default()
        };
        assert_eq!(problems(Model::Als(solver)).len(), 3);
        for name in ["", "Big", "../x", "-a", &"a".repeat(65)] {
            assert!(!is_name(name, DATASET_NAME_MAX), "{name}");
        }
        assert!(is_name("ml-20m_v2", DATASET_NAME_MAX));
    }

    fn problems(model: Model) -> Vec<String> {
        let split = SplitParameters { test_ratio: 0.2, ..SplitParameters::default() };
        let model = ModelParameters { split: Some(split), model: Some(model) };
        validate_training(&StartTrainingRequest { model: Some(model), ..StartTrainingRequest::default() })
    }

    #[test]
    fn every_problem_of_held_out_users_is_named() {
        let of = |split: SplitParameters| {
            let mut problems = Vec::new();
            check_split(&split, &mut problems);
            problems.len()
        };
        let strong = |held_out_user_share| SplitParameters {
            test_ratio: 0.2,
            held_out_user_share,
            ..SplitParameters::default()
        };
        assert_eq!([0.0, 0.1, 1.0, -0.1, f64::NAN].map(|share| of(strong(share))), [0, 0, 1, 1, 1]);
        assert_eq!(of(SplitParameters { temporal: true, ..strong(0.1) }), 1);
        assert_eq!(of(SplitParameters { test_ratio: 0.0, ..strong(0.1) }), 1);
        let with_file = SplitParameters { test_uri: "t".to_owned(), test_ratio: 0.0, ..strong(0.1) };
        assert_eq!(of(with_file), 1);
    }

    #[test]
    fn every_problem_of_a_model_is_named() {
        assert_eq!(problems(Model::ItemCf(ItemCfParameters::default())).len(), 5);
        assert_eq!(problems(Model::Content(ContentParameters::default())).len(), 3);
        assert_eq!(problems(Model::Ease(EaseParameters::default())).len(), 3);
        for regularization in [f64::NAN, f64::INFINITY, -1.0, 1e13] {
            let ease = EaseParameters {
                regularization,
                neighbours: 1,
                prediction_neighbours: 1,
                ..EaseParameters::default()
            };
            assert_eq!(problems(Model::Ease(ease)).len(), 1);
        }
        assert_eq!(problems(Model::Hybrid(HybridParameters::default())).len(), 2);
        let blended = |versions: &[(&str, &str)]| {
            let of = |&(model, version): &(&str, &str)| BlendedVersion {
                model: model.to_owned(),
                version: version.to_owned(),
            };
            HybridParameters {
                versions: versions.iter().map(of).collect(),
                validation_ratio: 0.2,
                ..HybridParameters::default()
            }
        };
        for (versions, wrong) in [
            (vec![("als", "a")], 0),
            (vec![("content", "c"), ("item_cf", "i")], 0),
            (vec![("als", "a"), ("content_based", "c"), ("content", "d")], 1),
            (vec![("als", ""), ("spark", "s"), ("hybrid", "h")], 3),
        ] {
            let found = problems(Model::Hybrid(blended(&versions)));
            assert_eq!(found.len(), wrong, "{found:?}");
        }
        let named = blended(&[("als", "a"), ("item_cf", "i"), ("content_based", "c")]);
        for (weights, wrong) in [
            (vec![1.0, 0.0, 0.0, 0.0], false),
            (vec![1.0, 0.0, 0.0], true),
            (vec![1.0; 5], true),
            (vec![0.0; 4], true),
            (vec![1.0, -1.0, 0.0, 2.0], true),
            (vec![f64::NAN, 1.0, 1.0, 1.0], true),
        ] {
            let found = problems(Model::Hybrid(HybridParameters { weights, ..named.clone() }));
            assert_eq!(!found.is_empty(), wrong, "{found:?}");
        }
        assert_eq!(problems(Model::Hybrid(HybridParameters { validation_ratio: 1.0, ..named })).len(), 1);
    }
}
