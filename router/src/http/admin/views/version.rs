//! Versions of models.

use serde::Serialize;
use serde_json::Value;
use shoal_common::{
    readable::{evaluation_json, held_out_json, parameters_json, short_name},
    split,
};
use shoal_proto::v1::{
    HybridModel, HybridSource, ModelVersion, PromoteReply, RankingMetrics, RatingMetrics, SweepMetrics,
};
use utoipa::ToSchema;

use super::{iso_time, text};

/// A version of a model.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    name: String,
    /// `als`, `item_cf`, `content_based`, `ease` or `hybrid`.
    model: String,
    /// `training`, `ready`, `live` or `retired`.
    state: String,
    dataset: String,
    dataset_version: String,
    /// What it was trained with; the fields depend on the model.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// How ratings were held out, in words; null for a version that was not trained here.
    protocol: Option<String>,
    #[schema(value_type = Option<VersionEvaluation>)]
    evaluation: Option<Value>,
    /// What is to be said of it, a sentence or two each.
    remarks: Vec<String>,
    /// What became of the held-out file, where one was given.
    #[schema(value_type = Option<Object>)]
    test_file: Option<Value>,
    sources: Option<Blend>,
    /// What was measured after the last sweep.
    metrics: Option<Sweep>,
    rating_mean: f64,
    training_seconds: f64,
    created: Option<String>,
    job_id: Option<String>,
    /// What trained it, for a version that was not trained here.
    imported_from: Option<String>,
    /// The folder in the store.
    path: String,
    manifest_checksum: String,
}

impl From<&ModelVersion> for Version {
    fn from(version: &ModelVersion) -> Self {
        Self {
            name: version.name.clone(),
            model: version.model.clone(),
            state: short_name(version.state().as_str_name(), "VERSION_STATE_"),
            dataset: version.dataset_name.clone(),
            dataset_version: version.dataset_version.clone(),
            parameters: version.model_parameters.as_ref().map(parameters_json),
            protocol: version.imported_from.is_empty().then(|| split::protocol(&split::of_version(version))),
            evaluation: version.evaluation.as_ref().map(evaluation_json),
            remarks: version.remarks.clone(),
            test_file: version.held_out.as_ref().map(held_out_json),
            sources: version.hybrid.as_ref().map(Blend::from),
            metrics: version.metrics.as_ref().map(Sweep::from),
            rating_mean: version.rating_mean,
            training_seconds: version.training_seconds,
            created: iso_time(version.created_unix_ms),
            job_id: text(&version.job_id),
            imported_from: text(&version.imported_from),
            path: version.path.clone(),
            manifest_checksum: version.manifest_checksum.clone(),
        }
    }
}

/// What a version is worth on held-out ratings, beside baselines.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes JSON that metadata.json has too")]
struct VersionEvaluation {
    rating: Option<RatingsHeldOut>,
    /// Of the mean, the user's and the item's bias alone, on the same pairs.
    rating_baseline: Option<RatingsHeldOut>,
    /// The model's lists for users with training ratings.
    lists: Option<ListsEvaluation>,
    /// The most rated items for the same users.
    popularity: Option<ListsEvaluation>,
    /// Items drawn evenly for the same users.
    random: Option<ListsEvaluation>,
    /// The most rated items for users without training ratings.
    newcomers: Option<ListsEvaluation>,
    /// Share of the catalogue that is in some list of the model.
    coverage: f64,
    /// Inequality of how often items are listed: 0 when all are equally often.
    gini: f64,
}

/// What lists score: beside these fields `precision_at_10`, `recall_at_10`, `ndcg_at_10`, `map_at_10` and `mrr_at_10`, the
/// same at 20, and of a sample of users each with `_half_width` of its 95 % interval.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes JSON that metadata.json has too")]
struct ListsEvaluation {
    /// Users who were measured.
    users: u64,
    users_in_all: u64,
    /// Mean of log2(users / raters) over a list's items.
    novelty: f64,
    /// Mean of 1 - similarity of genres over a list's pairs.
    diversity: f64,
}

/// What a hybrid blends.
#[derive(Debug, Serialize, ToSchema)]
struct Blend {
    /// Whether the weights were given rather than learned.
    weights_given: bool,
    blended: Vec<BlendedSource>,
}

/// A source of a blend.
#[derive(Debug, Serialize, ToSchema)]
struct BlendedSource {
    /// A model's name or `popularity`.
    model: String,
    version: Option<String>,
    weight: f64,
}

impl From<&HybridModel> for Blend {
    fn from(hybrid: &HybridModel) -> Self {
        let source = |source: &HybridSource| BlendedSource {
            model: source.model.clone(),
            version: text(&source.version),
            weight: source.weight,
        };
        Self { weights_given: hybrid.weights_given, blended: hybrid.sources.iter().map(source).collect() }
    }
}

/// What was measured after a sweep; an objective that was not trained, or not measured, is null.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sweep {
    sweep: u32,
    seconds: f64,
    work: Option<WorkOfSweep>,
    rating: Option<RatingsHeldOut>,
    ranking: Option<ListsHeldOut>,
}

/// What both half-steps of a sweep took.
#[derive(Debug, Serialize, ToSchema)]
struct WorkOfSweep {
    /// Of the slowest worker.
    solve_seconds: f64,
    /// From the last row solved until every receiver has taken everything.
    exchange_wait_seconds: f64,
    bytes_sent: u64,
    /// The least that had to be sent.
    bytes_needed: u64,
}

/// Errors of predicted ratings on held-out pairs.
#[derive(Debug, Serialize, ToSchema)]
struct RatingsHeldOut {
    pairs: u64,
    rmse: f64,
    mae: f64,
    mse: f64,
    r2: f64,
}

/// What lists of 20 score on held-out pairs.
#[derive(Debug, Serialize, ToSchema)]
struct ListsHeldOut {
    /// Users who were measured.
    users: u64,
    recall_at_20: f64,
    ndcg_at_20: f64,
    popularity_recall_at_20: f64,
    popularity_ndcg_at_20: f64,
    users_in_all: u64,
    /// Half of the 95 % interval; 0 where all users were measured.
    recall_at_20_half_width: f64,
    ndcg_at_20_half_width: f64,
}

impl From<&SweepMetrics> for Sweep {
    fn from(metrics: &SweepMetrics) -> Self {
        let rating = |rating: &RatingMetrics| RatingsHeldOut {
            pairs: rating.pairs,
            rmse: rating.rmse,
            mae: rating.mae,
            mse: rating.mse,
            r2: rating.r2,
        };
        let ranking = |ranking: &RankingMetrics| ListsHeldOut {
            users: ranking.users,
            recall_at_20: ranking.recall_at_20,
            ndcg_at_20: ranking.ndcg_at_20,
            popularity_recall_at_20: ranking.popularity_recall_at_20,
            popularity_ndcg_at_20: ranking.popularity_ndcg_at_20,
            users_in_all: ranking.users_in_all.max(ranking.users),
            recall_at_20_half_width: ranking.recall_at_20_half_width,
            ndcg_at_20_half_width: ranking.ndcg_at_20_half_width,
        };
        Self {
            sweep: metrics.sweep,
            seconds: metrics.seconds,
            work: metrics.work.as_ref().map(|work| WorkOfSweep {
                solve_seconds: work.solve_seconds,
                exchange_wait_seconds: work.exchange_wait_seconds,
                bytes_sent: work.bytes_sent,
                bytes_needed: work.bytes_needed,
            }),
            rating: metrics.rating.as_ref().map(rating),
            ranking: metrics.ranking.as_ref().map(ranking),
        }
    }
}

/// What is live after a promotion or a rollback.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveVersions {
    live_version: String,
    previous_version: Option<String>,
    /// Whose versions they are.
    model: String,
    /// The model that answers queries which name none.
    default_model: String,
    /// Routers that may still answer from the version before, a sentence each.
    late_routers: Vec<String>,
}

impl From<&PromoteReply> for LiveVersions {
    fn from(reply: &PromoteReply) -> Self {
        Self {
            live_version: reply.live_version.clone(),
            previous_version: text(&reply.previous_version),
            model: reply.model.clone(),
            default_model: reply.default_model.clone(),
            late_routers: reply.late_routers.clone(),
        }
    }
}
