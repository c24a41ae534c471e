//! What is to be said of a version in words, beside its figures. Pure.

use shoal_proto::v1::{DatasetInfo, HybridModel, ListEvaluation, ListMetrics, ModelVersion, ObjectiveChoice};

/// Ratings per user below which there is little to learn a user's taste from.
const FEW_RATINGS: f64 = 20.0;

/// Ratings per user below which hardly anybody has rated what another has.
const TOO_FEW_RATINGS: f64 = 3.0;

/// Whether its lists are worth something, and if not what could help.
pub(super) fn of_lists(version: &ModelVersion, dataset: &DatasetInfo) -> Option<String> {
    let evaluation = version.evaluation.as_ref()?;
    let (users, lists) = longest(&evaluation.model)?;
    let (_, popular) = longest(&evaluation.popularity)?;
    if lists.ndcg >= popular.ndcg {
        return None;
    }
    Some(format!(
        "Its lists are worse than the most rated items for everybody: ndcg@{} {:.4} against {:.4} ({users} users). {}",
        lists.k,
        lists.ndcg,
        popular.ndcg,
        advice(version, dataset)
    ))
}

fn longest(lists: &Option<ListEvaluation>) -> Option<(u64, &ListMetrics)> {
    let lists = lists.as_ref()?;
    Some((lists.users, lists.at.last()?))
}

fn advice(version: &ModelVersion, dataset: &DatasetInfo) -> String {
    let per_user = dataset.ratings as f64 / dataset.users.max(1) as f64;
    let few = per_user < FEW_RATINGS;
    let sparse =
        || format!("The data set has {per_user:.1} ratings per user, which is little to learn from; ");
    if per_user < TOO_FEW_RATINGS && matches!(version.model.as_str(), "als" | "item_cf") {
        return format!("{}until there are more, the most rated items or content serve better.", sparse());
    }
    let explicit = version.parameters.as_ref().map(|als| als.objective() == ObjectiveChoice::Explicit);
    match (version.model.as_str(), explicit) {
        ("als", Some(true)) => "The explicit objective predicts ratings and does not rank: train with \
             --objective both or implicit for lists."
            .to_owned(),
        ("als", _) => {
            let begin = if few { sparse() } else { String::new() };
            let try_ = if few { "try" } else { "Try" };
            format!("{begin}{try_} a smaller --rank, more --implicit-reg, or item_cf instead.")
        }
        ("item_cf", _) if few => {
            format!("{}try a smaller --min-common-users, so that more pairs of items count.", sparse())
        }
        ("item_cf", _) => "Try more --neighbours or less --shrinkage.".to_owned(),
        ("content_based", _) if version.evaluation.as_ref().is_some_and(|all| all.coverage == 0.0) => {
            "It lists nothing: the data set has no genres, years, tags or genome that it could compare items by."
                .to_owned()
        }
        ("content_based", _) => "It knows what items are and not who likes them: it is of use in a hybrid, \
             and for items without ratings."
            .to_owned(),
        _ => "Try other --weights, or better versions of the models that it blends.".to_owned(),
    }
}

/// That a split which holds ratings out has held out none.
pub(super) fn of_measuring(version: &ModelVersion, holds_out: bool) -> Option<String> {
    let evaluation = version.evaluation.as_ref()?;
    let measured = evaluation.rating_baseline.is_some() || evaluation.model.is_some();
    (holds_out && !measured).then(|| {
        "None of the ratings was held out, so nothing was measured: there are too few for this share."
            .to_owned()
    })
}

/// That tags do not count because of what is held out.
pub(super) fn of_tags(left_out: u64, dataset: &DatasetInfo) -> Option<String> {
    (left_out > 0).then(|| {
        format!(
            "{left_out} of {} tags do not count: they are of held-out ratings or newer, and would tell what is \
             measured; --test-ratio 0 counts all.",
            dataset.tags
        )
    })
}

/// Which sources of a blend know nothing.
pub(super) fn of_sources(hybrid: &HybridModel) -> Option<String> {
    let ignorant = hybrid.sources.iter().filter(|source| source.knots.is_empty());
    let names: Vec<&str> = ignorant.map(|source| source.model.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let names = names.join(" and ");
    Some(if hybrid.weights_given {
        format!("No score is known by {names}: the weight given has no effect.")
    } else {
        format!("No score is known by {names}, so there is no weight.")
    })
}

/// That the weights of a blend were learned on some of the users.
pub(super) fn of_learning(hybrid: &HybridModel) -> Option<String> {
    let learning = hybrid.learning.as_ref().filter(|learning| learning.user_share < 1.0)?;
    Some(format!(
        "The weights were learned on a sample: the sources were trained for it on {} ratings of {:.1} % of the users, and \
         the lists of {} of these were ranked; more --learning-ratings take longer.",
        learning.ratings,
        learning.user_share * 100.0,
        learning.users,
    ))
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{AlsParameters, Evaluation, HybridLearning, HybridSource};

    use super::*;

    fn lists(ndcg: f64) -> Option<ListEvaluation> {
        let at = [10, 20].map(|k| ListMetrics { k, ndcg, ..ListMetrics::default() });
        Some(ListEvaluation { users: 290, at: at.to_vec(), ..ListEvaluation::default() })
    }

    fn version(model: &str, ndcg: f64, popularity: f64) -> ModelVersion {
        let evaluation =
            Evaluation { model: lists(ndcg), popularity: lists(popularity), ..Evaluation::default() };
        ModelVersion { model: model.to_owned(), evaluation: Some(evaluation), ..ModelVersion::default() }
    }

    #[test]
    fn lists_worse_than_popularity_are_called_so_with_what_could_help() {
        let few = DatasetInfo { users: 100, ratings: 410, ..DatasetInfo::default() };
        let many = DatasetInfo { ratings: 9_000, ..few.clone() };
        assert_eq!(of_lists(&version("als", 0.2, 0.2), &few), None);
        assert_eq!(of_lists(&ModelVersion::default(), &few), None);
        let said = of_lists(&version("als", 0.0028, 0.0163), &few).unwrap();
        assert!(said.contains("ndcg@20 0.0028 against 0.0163 (290 users)"), "{said}");
        assert!(said.contains("4.1 ratings per user") && said.contains("item_cf"), "{said}");
        let hardly_any = DatasetInfo { ratings: 110, ..few.clone() };
        let said = of_lists(&version("item_cf", 0.0, 0.0163), &hardly_any).unwrap();
        assert!(said.contains("1.1 ratings per user") && said.contains("until there are more"), "{said}");
        let dense = of_lists(&version("als", 0.0028, 0.0163), &many).unwrap();
        assert!(
            !dense.contains("per user")
                && dense.ends_with("Try a smaller --rank, more --implicit-reg, or item_cf instead.")
        );
        let explicit =
            AlsParameters { objective: ObjectiveChoice::Explicit.into(), ..AlsParameters::default() };
        let explicit = ModelVersion { parameters: Some(explicit), ..version("als", 0.1, 0.2) };
        assert!(of_lists(&explicit, &few).unwrap().contains("--objective both or implicit"));
        for model in ["item_cf", "content_based", "hybrid"] {
            assert!(of_lists(&version(model, 0.1, 0.2), &few).is_some());
        }
    }

    #[test]
    fn what_was_not_measured_or_does_not_count_is_said() {
        let unmeasured = ModelVersion { evaluation: Some(Evaluation::default()), ..ModelVersion::default() };
        assert!(of_measuring(&unmeasured, true).is_some());
        assert_eq!(of_measuring(&unmeasured, false), None);
        assert_eq!(of_measuring(&version("als", 0.1, 0.2), true), None);
        let dataset = DatasetInfo { tags: 9, ..DatasetInfo::default() };
        assert!(of_tags(4, &dataset).unwrap().starts_with("4 of 9 tags"));
        assert_eq!(of_tags(0, &dataset), None);
        let source = |model: &str, knots: usize| HybridSource {
            model: model.to_owned(),
            knots: vec![Default::default(); knots],
            ..HybridSource::default()
        };
        let mut hybrid = HybridModel {
            sources: vec![source("als", 2), source("content_based", 0)],
            ..HybridModel::default()
        };
        assert_eq!(
            of_sources(&hybrid).unwrap(),
            "No score is known by content_based, so there is no weight."
        );
        hybrid.weights_given = true;
        assert!(of_sources(&hybrid).unwrap().contains("given"));
        hybrid.sources.pop();
        assert_eq!(of_sources(&hybrid), None);
        assert_eq!(of_learning(&hybrid), None);
        hybrid.learning =
            Some(HybridLearning { users: 4_990, ratings: 3_355_443, user_share: 0.25, ndcg_at_20: 0.2 });
        let said = of_learning(&hybrid).unwrap();
        assert!(said.contains("3355443 ratings of 25.0 % of the users") && said.contains("4990"), "{said}");
        hybrid.learning = Some(HybridLearning { user_share: 1.0, ..HybridLearning::default() });
        assert_eq!(of_learning(&hybrid), None);
    }
}
