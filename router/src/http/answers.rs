//! The JSON that the faces have in common: ids, shards, the service's own answers and refusals.

use serde::Serialize;
use shoal_common::ids::EntityId;
use shoal_proto::v1::{CacheStats, HealthReply, ShardsAnswered};
use utoipa::ToSchema;

use crate::answer::SourceContribution;

/// A number when the data set's ids are integers, else a text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Id {
    Integer(i64),
    Text(String),
}

impl From<&EntityId> for Id {
    fn from(id: &EntityId) -> Self {
        match id {
            EntityId::Integer(value) => Self::Integer(*value),
            EntityId::Text(text) => Self::Text(text.to_string()),
        }
    }
}

/// How many shards of the catalogue the answer is from.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Shards {
    total: u32,
    ok: u32,
    /// What these shards have is missing from the answer.
    failed: u32,
}

impl From<ShardsAnswered> for Shards {
    fn from(shards: ShardsAnswered) -> Self {
        Self { total: shards.total, ok: shards.ok, failed: shards.failed }
    }
}

/// What a source of a blend adds to a score.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceBody {
    /// A model's name or `popularity`.
    model: String,
    /// How far up the source's own scores this one stands; 0 where the source knows nothing.
    #[schema(minimum = 0, maximum = 1)]
    level: f32,
    /// What the source counts for in the blend.
    weight: f32,
    /// Weight times level.
    contribution: f32,
}

impl From<&SourceContribution> for SourceBody {
    fn from(source: &SourceContribution) -> Self {
        let SourceContribution { model, level, weight, contribution } = source.clone();
        Self { model, level, weight, contribution }
    }
}

/// The shards of the live version, of both sides.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShardsServed {
    served: u32,
    total: u32,
}

/// The router's cache of answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CacheStatsBody {
    /// How many answers are kept.
    size: u64,
    /// Answers kept at most; 0 when there is no cache.
    max_size: u64,
    ttl_hours: f64,
    hits: u64,
    misses: u64,
    /// Answers dropped for room or age.
    evictions: u64,
}

impl From<CacheStats> for CacheStatsBody {
    fn from(stats: CacheStats) -> Self {
        let CacheStats { size, max_size, ttl_hours, hits, misses, evictions } = stats;
        Self { size, max_size, ttl_hours, hits, misses, evictions }
    }
}

/// Whether and how well queries can be answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthAnswer {
    /// `healthy`, `degraded` or `no_model`.
    status: String,
    model_loaded: bool,
    /// The live version; null before the first promote.
    model_version: Option<String>,
    /// ISO 8601, UTC.
    timestamp: String,
    shards: ShardsServed,
    cache_stats: CacheStatsBody,
}

impl From<HealthReply> for HealthAnswer {
    fn from(health: HealthReply) -> Self {
        Self {
            status: health.status,
            model_loaded: health.model_loaded,
            model_version: Some(health.model_version).filter(|version| !version.is_empty()),
            timestamp: health.timestamp,
            shards: ShardsServed { served: health.shards_served, total: health.shards_total },
            cache_stats: health.cache_stats.unwrap_or_default().into(),
        }
    }
}

/// Whether queries should be sent here, and how well they can be answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReadinessAnswer {
    pub(super) ready: bool,
    /// Why it is not ready, in a sentence; null when it is.
    pub(super) waits_for: Option<String>,
    #[serde(flatten)]
    pub(super) health: HealthAnswer,
}

/// What this service is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IndexAnswer {
    pub(super) service: &'static str,
    pub(super) version: &'static str,
    pub(super) routes: Vec<String>,
}

/// The body of every refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "detail": "parameter 'n' is not valid: it is 0; it must be a whole number from 1 to 100" }))]
pub(super) struct ErrorAnswer {
    /// What is wrong and what to do, in one sentence.
    pub(super) detail: String,
}
