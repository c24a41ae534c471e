//! What is to be said of a version in words, beside its figures. Pure.

use shoal_proto::v1::{DatasetInfo, HybridModel, ListEvaluation, ListMetrics, ModelVersion};

use super::{density::Density, model_training::ModelTraining};

/// Whether its lists are worth something, and if not what could help.
pub(super) fn of_lists(
    model: &dyn ModelTraining,
    version: &ModelVersion,
    dataset: &DatasetInfo,
) -> Option<String> {
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
        model.advice(evaluation, &Density::of(dataset))
    ))
}

/// Whether its predicted ratings are worth something.
pub(super) fn of_ratings(version: &ModelVersion) -> Option<String> {
    let evaluation = version.evaluation.as_ref()?;
    let (rating, baseline) = (evaluation.rating.as_ref()?, evaluation.rating_baseline.as_ref()?);
    (rating.rmse > baseline.rmse).then(|| {
        format!(
            "Its predicted ratings are worse than the mean with the biases of user and item: rmse {:.4} against {:.4} ({} \
             ratings). Rank by its lists, and predict ratings with another model.",
            rating.rmse, baseline.rmse, rating.pairs
        )
    })
}

fn longest(lists: &Option<ListEvaluation>) -> Option<(u64, &ListMetrics)> {
    let lists = lists.as_ref()?;
    Some((lists.users, lists.at.last()?))
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
            "{left_out} of {} tags do not count: they are of held-out ratings or newer, or of held-out users, and would \
             tell what is measured; --test-ratio 0 counts all.",
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
    if names.len() == hybrid.sources.len() {
        return Some("No source knows a score, so lists are in the order of popularity.".to_owned());
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
    use shoal_proto::v1::{
        AlsParameters, ContentParameters, Evaluation, HybridLearning, HybridParameters, HybridSource,
        ItemCfParameters, ObjectiveChoice, RatingMetrics,
    };

    use super::*;

    fn lists(ndcg: f64) -> Option<ListEvaluation> {
        let at = [10, 20].map(|k| ListMetrics { k, ndcg, ..ListMetrics::default() });
        Some(ListEvaluation { users: 290, at: at.to_vec(), ..ListEvaluation::default() })
    }

    fn version(ndcg: f64, popularity: f64) -> ModelVersion {
        let evaluation =
            Evaluation { model: lists(ndcg), popularity: lists(popularity), ..Evaluation::default() };
        ModelVersion { evaluation: Some(evaluation), ..ModelVersion::default() }
    }

    #[test]
    fn lists_worse_than_popularity_are_called_so_with_what_could_help() {
        let few = DatasetInfo { users: 100, ratings: 410, ..DatasetInfo::default() };
        let many = DatasetInfo { ratings: 9_000, ..few.clone() };
        let hardly_any = DatasetInfo { ratings: 110, ..few.clone() };
        let both = AlsParameters::default();
        let said = |model: &dyn ModelTraining, ndcg, dataset: &DatasetInfo| {
            of_lists(model, &version(ndcg, 0.0163), dataset)
        };
        assert_eq!(said(&both, 0.0163, &few), None);
        assert_eq!(of_lists(&both, &ModelVersion::default(), &few), None);
        let of_few = said(&both, 0.0028, &few).unwrap();
        assert!(of_few.contains("ndcg@20 0.0028 against 0.0163 (290 users)"), "{of_few}");
        assert!(of_few.contains("4.1 ratings per user") && of_few.contains("item_cf"), "{of_few}");
        let item_cf = ItemCfParameters::default();
        let of_hardly_any = said(&item_cf, 0.0, &hardly_any).unwrap();
        assert!(of_hardly_any.contains("1.1 ratings per user"), "{of_hardly_any}");
        assert!(of_hardly_any.contains("until there are more"), "{of_hardly_any}");
        let of_many = said(&both, 0.0028, &many).unwrap();
        assert!(
            !of_many.contains("per user")
                && of_many.ends_with("Try a smaller --rank, more --implicit-reg, or item_cf instead.")
        );
        let explicit =
            AlsParameters { objective: ObjectiveChoice::Explicit.into(), ..AlsParameters::default() };
        assert!(said(&explicit, 0.0, &few).unwrap().contains("--objective both or implicit"));
        let (content, hybrid) = (ContentParameters::default(), HybridParameters::default());
        let others: [&dyn ModelTraining; 3] = [&item_cf, &content, &hybrid];
        assert!(others.iter().all(|model| said(*model, 0.0, &few).is_some()));
    }

    #[test]
    fn ratings_worse_than_the_baseline_are_called_so() {
        let said = |rmse: f64, baseline: Option<f64>| {
            let metrics = |rmse| RatingMetrics { rmse, pairs: 20, ..RatingMetrics::default() };
            let evaluation = Evaluation {
                rating: Some(metrics(rmse)),
                rating_baseline: baseline.map(metrics),
                ..Evaluation::default()
            };
            of_ratings(&ModelVersion { evaluation: Some(evaluation), ..ModelVersion::default() })
        };
        let worse = said(0.91, Some(0.9)).unwrap();
        assert!(worse.contains("rmse 0.9100 against 0.9000 (20 ratings)"), "{worse}");
        assert_eq!([said(0.9, Some(0.9)), said(0.9, None)], [None, None]);
        assert_eq!(of_ratings(&ModelVersion::default()), None);
    }

    #[test]
    fn what_was_not_measured_or_does_not_count_is_said() {
        let unmeasured = ModelVersion { evaluation: Some(Evaluation::default()), ..ModelVersion::default() };
        assert!(of_measuring(&unmeasured, true).is_some());
        assert_eq!(of_measuring(&unmeasured, false), None);
        assert_eq!(of_measuring(&version(0.1, 0.2), true), None);
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
