//! What a version or a training holds out.

use shoal_proto::v1::{ModelVersion, SplitParameters};

/// What a version's training held out.
#[must_use]
pub fn of_version(version: &ModelVersion) -> SplitParameters {
    version.model_parameters.as_ref().and_then(|parameters| parameters.split.clone()).unwrap_or_default()
}

/// Whether two trainings are measured on the same ratings of the same data: the seed decides nothing where a file
/// names them.
#[must_use]
pub fn is_alike(one: &SplitParameters, other: &SplitParameters) -> bool {
    let decisive = |split: &SplitParameters| {
        let seed = if split.test_uri.is_empty() { split.seed } else { 0 };
        SplitParameters { seed, ..split.clone() }
    };
    decisive(one) == decisive(other)
}

/// Whether anything is to be held out.
#[must_use]
pub fn holds_out(split: &SplitParameters) -> bool {
    split.test_ratio > 0.0 || !split.test_uri.is_empty()
}

/// How the ratings that are held out are chosen: "random", "temporal" or "given".
#[must_use]
pub fn kind(split: &SplitParameters) -> &'static str {
    match (split.test_uri.is_empty(), split.temporal) {
        (false, _) => "given",
        (true, true) => "temporal",
        (true, false) => "random",
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::ModelParameters;

    use super::*;

    #[test]
    fn a_split_is_alike_where_the_same_ratings_are_held_out() {
        let split = SplitParameters { test_ratio: 0.2, seed: 7, temporal: true, ..Default::default() };
        let parameters = ModelParameters { split: Some(split.clone()), ..ModelParameters::default() };
        let version = ModelVersion { model_parameters: Some(parameters), ..ModelVersion::default() };
        assert_eq!(of_version(&version), split);
        assert_eq!(of_version(&ModelVersion::default()), SplitParameters::default());

        let random = SplitParameters { temporal: false, ..split.clone() };
        let reseeded = SplitParameters { seed: 8, ..split.clone() };
        assert!(!is_alike(&split, &random) && !is_alike(&split, &reseeded));
        let given = |seed| SplitParameters { test_uri: "f".to_owned(), seed, ..SplitParameters::default() };
        assert!(is_alike(&given(1), &given(2)) && !is_alike(&given(1), &split));
        assert_eq!([kind(&split), kind(&random), kind(&given(1))], ["temporal", "random", "given"]);
    }
}
