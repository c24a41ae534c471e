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

/// Whether some users are held out entirely.
#[must_use]
pub fn is_strong(split: &SplitParameters) -> bool {
    split.held_out_user_share > 0.0
}

/// How what is held out is chosen: "random", "temporal", "strong" or "given".
#[must_use]
pub fn kind(split: &SplitParameters) -> &'static str {
    match (split.test_uri.is_empty(), is_strong(split), split.temporal) {
        (false, _, _) => "given",
        (true, true, _) => "strong",
        (true, false, true) => "temporal",
        (true, false, false) => "random",
    }
}

/// The share of the ratings of a data set that are trained on, about; a held-out file does not count.
#[must_use]
pub fn training_share(split: &SplitParameters) -> f64 {
    1.0 - if is_strong(split) { split.held_out_user_share } else { split.test_ratio }
}

/// What is held out and what is measured on, in a sentence.
#[must_use]
pub fn protocol(split: &SplitParameters) -> String {
    let percent = |share: f64| format!("{} %", (share * 1e4).round() / 100.0);
    let held_out = percent(split.test_ratio);
    match kind(split) {
        "given" => format!("measured on the ratings of {}", split.test_uri),
        _ if split.test_ratio == 0.0 => "nothing is held out".to_owned(),
        "strong" => format!(
            "strong generalisation: {} of the users are held out entirely; {} of the ratings of each are folded in, as \
             those of a session are, and lists are measured on the other {held_out}",
            percent(split.held_out_user_share),
            percent(1.0 - split.test_ratio),
        ),
        "temporal" => {
            format!("the newest {held_out} of the ratings of each user are held out and measured on")
        }
        _ => format!("{held_out} of all ratings are held out and measured on"),
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
        let strong = SplitParameters { held_out_user_share: 0.1, ..random.clone() };
        let kinds = [&split, &random, &given(1), &strong].map(kind);
        assert_eq!(kinds, ["temporal", "random", "given", "strong"]);
        let fewer = SplitParameters { held_out_user_share: 0.05, ..strong.clone() };
        assert!(!is_alike(&strong, &random) && !is_alike(&strong, &fewer));
        assert_eq!((training_share(&random), training_share(&strong)), (0.8, 0.9));
    }

    #[test]
    fn every_protocol_says_what_is_held_out() {
        let split = SplitParameters { test_ratio: 0.2, ..SplitParameters::default() };
        let said = |split: SplitParameters, words: &[&str]| {
            let protocol = protocol(&split);
            assert!(words.iter().all(|word| protocol.contains(word)), "{protocol}");
        };
        said(split.clone(), &["20 % of all ratings"]);
        said(SplitParameters { temporal: true, ..split.clone() }, &["newest 20 %"]);
        let strong = SplitParameters { held_out_user_share: 10_000.0 / 136_677.0, ..split.clone() };
        said(strong, &["7.32 % of the users", "80 % of the ratings of each are folded in", "other 20 %"]);
        said(SplitParameters { test_ratio: 0.0, ..split.clone() }, &["nothing is held out"]);
        said(SplitParameters { test_ratio: 0.0, test_uri: "t.csv".to_owned(), ..split }, &["t.csv"]);
    }
}
