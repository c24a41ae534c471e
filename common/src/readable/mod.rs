//! What people and scripts read: messages as JSON, where `metadata.json` and the command line say the same, and numbers.

mod numbers;

use serde_json::{Value, json};
use shoal_proto::v1::{
    AlsParameters, EntityId, Evaluation, ExchangeFormat, HeldOutReport, HybridParameters, ImplicitParameters,
    ItemFilter, ListEvaluation, ModelParameters, ObjectiveChoice, Preference, RatingMetrics, Similarity,
    entity_id::Kind, model_parameters::Model,
};

pub use self::numbers::{bytes, count, counted, to_the_second};
use crate::split;

/// What a version is worth, beside the baselines; what was not measured is `null`.
#[must_use]
pub fn evaluation_json(evaluation: &Evaluation) -> Value {
    json!({
        "rating": evaluation.rating.as_ref().map(rating_json),
        "rating_baseline": evaluation.rating_baseline.as_ref().map(rating_json),
        "lists": evaluation.model.as_ref().map(list_json),
        "popularity": evaluation.popularity.as_ref().map(list_json),
        "random": evaluation.random.as_ref().map(list_json),
        "newcomers": evaluation.newcomers.as_ref().map(list_json),
        "coverage": evaluation.coverage,
        "gini": evaluation.gini,
    })
}

/// What became of a held-out file.
#[must_use]
pub fn held_out_json(report: &HeldOutReport) -> Value {
    let read = report.read.clone().unwrap_or_default();
    let rejections = read.rejections.iter().map(|rejection| {
        let first =
            rejection.examples.iter().map(|example| json!({"file": example.file, "line": example.line}));
        json!({"reason": rejection.reason, "count": rejection.count, "examples": first.collect::<Vec<_>>()})
    });
    json!({
        "files": read.files,
        "file_count": read.file_count,
        "rows_read": read.rows_read,
        "rows_accepted": read.rows_accepted,
        "rows_without_time": read.rows_without_time,
        "rows_not_utf8": read.rows_not_utf8,
        "characters_replaced": read.characters_replaced,
        "rejections": rejections.collect::<Vec<_>>(),
        "unknown_user_rows": report.unknown_user_rows,
        "unknown_item_rows": report.unknown_item_rows,
        "duplicates": read.duplicates,
        "pairs": report.pairs,
        "pairs_in_dataset": report.pairs_in_dataset,
    })
}

/// The same in lines for people.
#[must_use]
pub fn held_out_lines(report: &HeldOutReport) -> Vec<String> {
    let read = report.read.clone().unwrap_or_default();
    let mut lines = vec![format!(
        "{} rows read, {} pairs are measured on; {} of them are in the data set too, and were not trained on",
        read.rows_read, report.pairs, report.pairs_in_dataset,
    )];
    for (count, what) in [
        (report.unknown_user_rows, "rows are of users that the data set does not have"),
        (report.unknown_item_rows, "rows are of items that the data set does not have"),
        (read.duplicates, "rows are of pairs that came before, with which was done what the import did"),
        (read.rows_without_time, "rows have no time"),
        (read.rows_not_utf8, "rows were not UTF-8 and were read as Windows-1252"),
        (read.characters_replaced, "characters are none in the file's encoding and became \u{fffd}"),
    ] {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    }
    for rejection in &read.rejections {
        let places = rejection.examples.iter().map(|example| format!("{}:{}", example.file, example.line));
        let places = places.collect::<Vec<_>>().join(", ");
        lines.push(format!("{} rejected × {} ({places})", rejection.count, rejection.reason));
    }
    lines
}

/// Which items may be listed; conditions that are not given are left out.
#[must_use]
pub fn filter_json(filter: &ItemFilter) -> Value {
    let ids = |ids: &[EntityId]| -> Value { ids.iter().map(id_json).collect() };
    let mut json = json!({});
    for (name, genres) in [("genres", &filter.genres), ("exclude_genres", &filter.exclude_genres)] {
        if !genres.is_empty() {
            json[name] = json!(genres);
        }
    }
    for (name, year) in [("year_min", filter.year_min), ("year_max", filter.year_max)] {
        if let Some(year) = year {
            json[name] = year.into();
        }
    }
    if !filter.exclude_ids.is_empty() {
        json["exclude_ids"] = ids(&filter.exclude_ids);
    }
    if let Some(allowed) = &filter.allow_ids {
        json["allow_ids"] = ids(&allowed.ids);
    }
    json
}

fn id_json(id: &EntityId) -> Value {
    match &id.kind {
        Some(Kind::Integer(id)) => json!(id),
        Some(Kind::Text(id)) => json!(id),
        None => Value::Null,
    }
}

fn rating_json(rating: &RatingMetrics) -> Value {
    json!({
        "pairs": rating.pairs, "rmse": rating.rmse, "mae": rating.mae, "mse": rating.mse, "r2": rating.r2,
    })
}

fn list_json(lists: &ListEvaluation) -> Value {
    let mut json = json!({
        "users": lists.users,
        // A build that did not say measured all of them.
        "users_in_all": lists.users_in_all.max(lists.users),
        "novelty": lists.novelty,
        "diversity": lists.diversity,
    });
    for at in &lists.at {
        for (name, value) in [
            ("precision", at.precision),
            ("recall", at.recall),
            ("ndcg", at.ndcg),
            ("map", at.map),
            ("mrr", at.mrr),
        ] {
            json[format!("{name}_at_{}", at.k)] = json!(value);
        }
        // Of all users nothing is left to chance.
        let Some(half) = &at.half_widths else { continue };
        for (name, value) in [
            ("precision", half.precision),
            ("recall", half.recall),
            ("ndcg", half.ndcg),
            ("map", half.map),
            ("mrr", half.mrr),
        ] {
            json[format!("{name}_at_{}_half_width", at.k)] = json!(value);
        }
    }
    json
}

/// The parameters of a training of any model.
#[must_use]
pub fn parameters_json(parameters: &ModelParameters) -> Value {
    let held_out = parameters.split.clone().unwrap_or_default();
    let mut json = match &parameters.model {
        None => json!({}),
        Some(Model::Als(als)) => als_json(als),
        Some(Model::ItemCf(item_cf)) => json!({
            "similarity": similarity_name(item_cf.similarity()),
            "common_users_min": item_cf.common_users_min,
            "shrinkage": item_cf.shrinkage,
            "neighbours": item_cf.neighbours,
            "user_ratings_max": item_cf.user_ratings_max,
            "prediction_neighbours": item_cf.prediction_neighbours,
        }),
        Some(Model::Content(content)) => json!({
            "genres_weight": content.genres_weight,
            "genome_weight": content.genome_weight,
            "tags_weight": content.tags_weight,
            "decade_weight": content.decade_weight,
            "tag_items_min": content.tag_items_min,
            "tags_max": content.tags_max,
            "neighbours": content.neighbours,
        }),
        Some(Model::Ease(ease)) => json!({
            "regularization": ease.regularization,
            "neighbours": ease.neighbours,
            "items_max": (ease.items_max > 0).then_some(ease.items_max),
            "prediction_neighbours": ease.prediction_neighbours,
            "preference": short_name(ease.preference().as_str_name(), "PREFERENCE_"),
            "rating_least": (ease.preference() == Preference::Height).then_some(ease.rating_least),
            "rating_greatest": (ease.preference() == Preference::Height).then_some(ease.rating_greatest),
        }),
        Some(Model::Hybrid(hybrid)) => hybrid_json(hybrid),
    };
    json["split"] = json!(split::kind(&held_out));
    json["held_out_user_share"] = Some(held_out.held_out_user_share).filter(|share| *share > 0.0).into();
    json["test_ratio"] = json!(held_out.test_ratio);
    json["test"] = json!(held_out.test_uri);
    // The name that scripts know from the time in which ALS had parameters of a form of its own.
    json["test_uri"] = Some(&held_out.test_uri).filter(|uri| !uri.is_empty()).cloned().into();
    json["seed"] = json!(held_out.seed);
    json
}

fn hybrid_json(hybrid: &HybridParameters) -> Value {
    let mut json = json!({
        "weights_given": !hybrid.weights.is_empty(),
        "validation_ratio": hybrid.validation_ratio,
        "learning_users_max": hybrid.learning_users_max,
        "learning_ratings_max": hybrid.learning_ratings_max,
    });
    for blended in &hybrid.versions {
        json[blended.model.as_str()] = json!(blended.version);
    }
    json
}

fn als_json(als: &AlsParameters) -> Value {
    let exchange = match als.exchange() {
        ExchangeFormat::Unspecified => ExchangeFormat::F32,
        named => named,
    };
    let explicit = als.explicit.as_ref().filter(|_| als.objective() != ObjectiveChoice::Implicit);
    let implicit = als.implicit.as_ref().filter(|_| als.objective() != ObjectiveChoice::Explicit);
    json!({
        "objective": short_name(als.objective().as_str_name(), "OBJECTIVE_CHOICE_"),
        "rank": als.rank,
        "sweeps": als.sweeps,
        "order": short_name(als.order().as_str_name(), "SWEEP_ORDER_"),
        "exchange": short_name(exchange.as_str_name(), "EXCHANGE_FORMAT_"),
        "solver": short_name(als.solver().as_str_name(), "ALS_SOLVER_"),
        "solver_steps": (als.solver_steps > 0).then_some(als.solver_steps),
        "solver_block": (als.solver_block > 0).then_some(als.solver_block),
        "nonnegative": als.nonnegative,
        "explicit": explicit.map(|explicit| json!({
            "regularization": explicit.regularization,
            "scaling": short_name(explicit.scaling().as_str_name(), "REGULARIZATION_SCALING_"),
            "biases": explicit.biases,
        })),
        "implicit": implicit.map(implicit_json),
    })
}

fn implicit_json(implicit: &ImplicitParameters) -> Value {
    let by_height = implicit.preference() == Preference::Height;
    json!({
        "regularization": implicit.regularization,
        "unobserved_weight": implicit.unobserved_weight,
        "alpha": implicit.alpha,
        "regularization_exponent": implicit.regularization_exponent,
        "scaling": short_name(implicit.scaling().as_str_name(), "REGULARIZATION_SCALING_"),
        "confidence": short_name(implicit.confidence().as_str_name(), "CONFIDENCE_"),
        "preference": short_name(implicit.preference().as_str_name(), "PREFERENCE_"),
        "rating_least": by_height.then_some(implicit.rating_least),
        "rating_greatest": by_height.then_some(implicit.rating_greatest),
    })
}

/// The name of a value of an enumeration, without what all of its names begin with.
#[must_use]
pub fn short_name(full: &str, prefix: &str) -> String {
    full.strip_prefix(prefix).unwrap_or(full).to_ascii_lowercase()
}

fn similarity_name(similarity: Similarity) -> &'static str {
    match similarity {
        Similarity::Unspecified => "unspecified",
        Similarity::Cosine => "cosine",
        Similarity::AdjustedCosine => "adjusted_cosine",
        Similarity::Pearson => "pearson",
        Similarity::Jaccard => "jaccard",
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{ItemCfParameters, ListHalfWidths, ListMetrics, SplitParameters};

    use super::*;

    #[test]
    fn metrics_are_named_by_their_length() {
        let at = |half_widths| {
            [10, 20].map(|k| ListMetrics { k, ndcg: f64::from(k), half_widths, ..ListMetrics::default() })
        };
        let half_widths = ListHalfWidths { ndcg: 0.5, ..ListHalfWidths::default() };
        let of_some = ListEvaluation {
            users: 3,
            users_in_all: 9,
            at: at(Some(half_widths)).to_vec(),
            ..ListEvaluation::default()
        };
        let some = list_json(&of_some);
        assert_eq!((&some["users_in_all"], &some["ndcg_at_20_half_width"]), (&json!(9), &json!(0.5)));
        let lists = ListEvaluation { users: 3, at: at(None).to_vec(), ..ListEvaluation::default() };
        let rating = RatingMetrics { rmse: 0.9, ..RatingMetrics::default() };
        let evaluation =
            Evaluation { model: Some(lists), rating: Some(rating), gini: 0.25, ..Evaluation::default() };
        let json = evaluation_json(&evaluation);
        assert_eq!(json["lists"]["ndcg_at_20"], 20.0);
        assert_eq!(
            (&json["lists"]["users_in_all"], &json["lists"]["ndcg_at_20_half_width"]),
            (&json!(3), &Value::Null)
        );
        assert_eq!((&json["rating"]["rmse"], &json["gini"]), (&json!(0.9), &json!(0.25)));
        assert_eq!(json["rating_baseline"], Value::Null);
    }

    #[test]
    fn parameters_come_with_their_split() {
        let item_cf =
            ItemCfParameters { similarity: Similarity::AdjustedCosine.into(), ..ItemCfParameters::default() };
        let split = SplitParameters { test_ratio: 0.2, seed: 9, ..SplitParameters::default() };
        let parameters = ModelParameters { split: Some(split), model: Some(Model::ItemCf(item_cf)) };
        let json = parameters_json(&parameters);
        assert_eq!((&json["similarity"], &json["seed"]), (&json!("adjusted_cosine"), &json!(9)));
        assert_eq!((&json["split"], &json["held_out_user_share"]), (&json!("random"), &Value::Null));
        let split = parameters.split.map(|split| SplitParameters { held_out_user_share: 0.1, ..split });
        let json = parameters_json(&ModelParameters { split, ..parameters });
        assert_eq!((&json["split"], &json["held_out_user_share"]), (&json!("strong"), &json!(0.1)));
    }
}
