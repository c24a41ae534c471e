//! Whether the parameters of a model that is not ALS make sense.

use shoal_proto::v1::{
    ContentParameters, HybridParameters, ModelParameters, Similarity, model_parameters::Model,
};

use crate::jobs::validate::check_split;

const NEIGHBOURS_MAX: u32 = 10_000;
const TAGS_MAX: u32 = 1_000_000;

/// ALS, item CF, content and popularity.
const HYBRID_SOURCES: usize = 4;

/// Checks a number against an inclusive range.
fn within<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    least: T,
    most: T,
    problems: &mut Vec<String>,
) {
    if !(least <= value && value <= most) {
        problems.push(format!("the {name}, {value}, must be from {least} to {most}"));
    }
}

pub(in crate::jobs) fn check_model(parameters: &ModelParameters, problems: &mut Vec<String>) {
    match &parameters.split {
        None => problems.push("the split is missing".to_owned()),
        Some(split) => check_split(split, problems),
    }
    match &parameters.model {
        None => problems.push("the request names no model".to_owned()),
        Some(Model::ItemCf(item_cf)) => {
            if item_cf.similarity() == Similarity::Unspecified {
                problems.push("the similarity is missing".to_owned());
            }
            within("number of common users", item_cf.common_users_min, 1, u32::MAX, problems);
            within("shrinkage", item_cf.shrinkage, 0.0, 1e9, problems);
            within("number of neighbours", item_cf.neighbours, 1, NEIGHBOURS_MAX, problems);
            within("number of ratings per user", item_cf.user_ratings_max, 2, u32::MAX, problems);
            let used = item_cf.prediction_neighbours;
            within("number of neighbours to predict from", used, 1, NEIGHBOURS_MAX, problems);
        }
        Some(Model::Content(content)) => check_content(content, problems),
        Some(Model::Hybrid(hybrid)) => check_hybrid(hybrid, problems),
    }
}

fn check_content(content: &ContentParameters, problems: &mut Vec<String>) {
    let weights = [
        ("weight of genres", content.genres_weight),
        ("weight of the genome", content.genome_weight),
        ("weight of tags", content.tags_weight),
        ("weight of the decade", content.decade_weight),
    ];
    for (name, weight) in weights {
        within(name, weight, 0.0, 1e6, problems);
    }
    if weights.iter().all(|(_, weight)| *weight == 0.0) {
        problems.push("a block of features must have a weight above 0".to_owned());
    }
    within("number of items of a tag", content.tag_items_min, 1, u32::MAX, problems);
    within("number of tags", content.tags_max, 0, TAGS_MAX, problems);
    within("number of neighbours", content.neighbours, 1, NEIGHBOURS_MAX, problems);
}

fn check_hybrid(hybrid: &HybridParameters, problems: &mut Vec<String>) {
    for (name, version) in [
        ("ALS", &hybrid.als_version),
        ("item CF", &hybrid.item_cf_version),
        ("content", &hybrid.content_version),
    ] {
        if version.is_empty() {
            problems.push(format!("the {name} version to be blended is missing"));
        }
    }
    if hybrid.weights.is_empty() {
        if !(hybrid.validation_ratio > 0.0 && hybrid.validation_ratio < 1.0) {
            let ratio = hybrid.validation_ratio;
            problems.push(format!("the share that weights are learned on, {ratio}, must be between 0 and 1"));
        }
        return;
    }
    let numbers = hybrid.weights.iter().all(|weight| *weight >= 0.0 && weight.is_finite());
    if hybrid.weights.len() != HYBRID_SOURCES || !numbers || hybrid.weights.iter().sum::<f64>() <= 0.0 {
        problems.push(format!(
            "the weights must be {HYBRID_SOURCES} numbers from 0, for ALS, item CF, content and popularity, not all 0"
        ));
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{ItemCfParameters, SplitParameters};

    use super::*;

    fn problems(model: Model) -> Vec<String> {
        let split = SplitParameters { test_ratio: 0.2, ..SplitParameters::default() };
        let mut problems = Vec::new();
        check_model(&ModelParameters { split: Some(split), model: Some(model) }, &mut problems);
        problems
    }

    #[test]
    fn every_problem_is_named() {
        assert_eq!(problems(Model::ItemCf(ItemCfParameters::default())).len(), 5);
        assert_eq!(problems(Model::Content(ContentParameters::default())).len(), 3);
        assert_eq!(problems(Model::Hybrid(HybridParameters::default())).len(), 4);
        let named = HybridParameters {
            als_version: "a".to_owned(),
            item_cf_version: "i".to_owned(),
            content_version: "c".to_owned(),
            ..HybridParameters::default()
        };
        for (weights, wrong) in [
            (vec![1.0, 0.0, 0.0, 0.0], false),
            (vec![1.0, 0.0, 0.0], true),
            (vec![0.0; 4], true),
            (vec![1.0, -1.0, 0.0, 2.0], true),
            (vec![f64::NAN, 1.0, 1.0, 1.0], true),
        ] {
            let found = problems(Model::Hybrid(HybridParameters { weights, ..named.clone() }));
            assert_eq!(!found.is_empty(), wrong, "{found:?}");
        }
        let learned = HybridParameters { validation_ratio: 0.2, ..named };
        assert_eq!(problems(Model::Hybrid(learned)), Vec::<String>::new());
    }
}
