//! The use cases, shared by HTTP and gRPC: one snapshot and one version from start to end.

mod batch;
mod cursor;
mod error;
mod explain;
mod facts;
mod filter;
mod items;
mod list;
mod model;
mod options;
mod popular;
mod predict;
mod recommend;
mod similar;
mod workers;

use std::{sync::Arc, time::Duration};

use shoal_common::{
    clock::{Clock, UtcTime},
    ids::{EntityId, IdKind},
    rpc::{Channels, remaining},
    shutdown::Shutdown,
};
use shoal_proto::v1::{HealthReply, ShardsAnswered};
use tokio::{sync::watch, time::Instant};

use crate::{
    admission::{Admission, Overloaded},
    cache::AnswerCache,
    fanout::{DEADLINE_MARGIN, FanOut},
    snapshot::{Live, Snapshot},
};

pub use self::{
    batch::{BATCH_TIMEOUT, BATCH_USERS_MAX, RecommendBatch, RecommendedBatch, UserRecommendations},
    error::QueryError,
    explain::{Contribution, Explanation, SourceContribution},
    filter::{FILTER_GENRES_MAX, FILTER_IDS_MAX, Filter},
    items::{RATED_ITEMS_MAX, RatedMovie, RecommendForItems},
    model::Model,
    options::{Options, RECOMMEND_COUNT},
    popular::{Popular, PopularMovie, PopularMovies, PopularOrder, TREND_DAYS, WINDOW_DAYS_MAX},
    predict::{Predict, Predicted, SOURCE_BASELINE},
    recommend::{Recommend, Recommendation, Recommended, SOURCE_CACHE, SOURCE_FALLBACK, SOURCE_MODEL},
    similar::{SIMILAR_COUNT, Similar, SimilarItems, SimilarMovie},
};
use self::{facts::KnownFacts, options::CheckedOptions};

/// Answers queries. Clones share everything.
#[derive(Debug, Clone)]
pub struct Queries {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    channels: Channels,
    clock: Arc<dyn Clock>,
    fanout: Arc<FanOut>,
    admission: Admission,
    cache: AnswerCache,
    facts: KnownFacts,
    timeout: Duration,
}

/// What a query asks: a version, else a model's live one, else the default model's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) version: Option<String>,
    pub(crate) model: Option<Model>,
}

impl Target {
    fn model(model: Option<Model>) -> Self {
        Self { version: None, model }
    }
}

/// One query under way.
struct Query {
    queries: Queries,
    snapshot: Arc<Snapshot>,
    target: Target,
    deadline: Instant,
    /// Given back for the way from the worker to the client.
    margin: Duration,
    /// Whether nothing is left but to answer from this snapshot, outdated or not.
    last: bool,
}

impl Query {
    /// The version that every call of the query names.
    fn live(&self) -> Result<&Live, QueryError> {
        self.snapshot.serving(&self.target)
    }
}

impl Queries {
    /// Answers from the newest snapshot, within `timeout`.
    #[must_use]
    pub fn new(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        channels: Channels,
        clock: Arc<dyn Clock>,
        fanout: FanOut,
        admission: Admission,
        cache: AnswerCache,
        timeout: Duration,
    ) -> Self {
        let (fanout, facts) = (Arc::new(fanout), KnownFacts::default());
        Self { snapshots, channels, clock, fanout, admission, cache, facts, timeout }
    }

    /// The same with no more than this time for each query.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self { timeout: timeout.min(self.timeout), ..self.clone() }
    }

    /// The same with this time for each query.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// How long a query may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// ISO 8601, UTC.
    #[must_use]
    pub fn timestamp(&self) -> String {
        UtcTime::from_unix_ms(self.clock.now_unix_ms()).iso_8601()
    }

    /// The current state of the cluster.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Whether and how well queries can be answered.
    #[must_use]
    pub fn health(&self) -> HealthReply {
        let snapshot = self.snapshot();
        let timestamp = self.timestamp();
        let cache_stats = Some(self.cache.stats());
        let Some(live) = &snapshot.live else {
            let status = "no_model".to_owned();
            return HealthReply { status, timestamp, cache_stats, ..HealthReply::default() };
        };
        let (served, total) = (live.shards_served(), live.shards_total());
        HealthReply {
            status: if served == total { "healthy" } else { "degraded" }.to_owned(),
            model_loaded: served > 0,
            model_version: live.version.name.clone(),
            timestamp,
            shards_served: served as u32,
            shards_total: total as u32,
            cache_stats,
            live_versions: snapshot.live_versions(),
        }
    }

    /// Drops kept answers whenever another version becomes live, or another model the default, until asked to stop.
    pub async fn clear_cache_on_switch(mut self, stop: Shutdown) {
        let live = |snapshot: &Snapshot| snapshot.live_versions();
        let mut known = live(&self.snapshots.borrow_and_update());
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => return,
                changed = self.snapshots.changed() => if changed.is_err() { return },
            }
            let current = live(&self.snapshots.borrow_and_update());
            if current != known {
                self.cache.clear();
                known = current;
            }
        }
    }

    /// Runs a query on one snapshot; when workers turn out not to hold its version any more, once
    /// again, whole, on the newer one.
    async fn run<T, F>(&self, target: Target, query: impl Fn(Query) -> F + Send) -> Result<T, QueryError>
    where
        F: Future<Output = Result<T, QueryError>> + Send,
        T: Send,
    {
        // The wait for a place is part of the query's time.
        let deadline = Instant::now() + self.timeout;
        let admitted = self.admission.admit(self.timeout).await;
        let _admitted =
            admitted.map_err(|Overloaded { retry_after }| QueryError::Overloaded { retry_after })?;
        let margin = DEADLINE_MARGIN.min(self.timeout / 4);
        let on = |snapshot, last| {
            let (queries, target) = (self.clone(), target.clone());
            query(Query { queries, snapshot, target, deadline, margin, last })
        };
        let first = self.snapshot();
        let outcome = on(Arc::clone(&first), false).await;
        let Err(QueryError::Unavailable { stale: true, .. }) = &outcome else { return outcome };
        on(self.newer(first, deadline).await, true).await
    }

    /// A snapshot newer than this one, if one comes while there is time enough to use it.
    async fn newer(&self, known: Arc<Snapshot>, deadline: Instant) -> Arc<Snapshot> {
        let patience = remaining(deadline) / 4;
        let mut snapshots = self.snapshots.clone();
        let newer = snapshots.wait_for(|snapshot| snapshot.revision > known.revision);
        match tokio::time::timeout(patience, newer).await {
            Ok(Ok(snapshot)) => Arc::clone(&snapshot),
            Ok(Err(_)) | Err(_) => known,
        }
    }
}

/// Reads an id from a path or a text field.
fn parse_id(text: &str, kind: IdKind, parameter: &'static str) -> Result<EntityId, QueryError> {
    EntityId::parse(text, kind).map_err(|error| QueryError::invalid(parameter, error.to_string()))
}

/// An id that a client gave as a number or as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenId {
    /// From a path, a JSON string, or a gRPC text.
    Text(String),
    /// From a JSON number or a gRPC integer.
    Integer(i64),
    /// From a JSON number that is whole and beyond 64 bits: as it was written.
    LongNumber(String),
}

impl GivenId {
    /// The id of the kind that the data set has.
    ///
    /// # Errors
    /// When it cannot be one.
    pub(crate) fn resolve(&self, kind: IdKind, parameter: &'static str) -> Result<EntityId, QueryError> {
        match self {
            Self::Integer(value) if kind == IdKind::Integer => Ok(EntityId::Integer(*value)),
            Self::Integer(value) => Ok(EntityId::Text(value.to_string().into())),
            Self::Text(text) | Self::LongNumber(text) => parse_id(text, kind, parameter),
        }
    }
}

/// How many results a query may ask for.
#[derive(Debug, Clone, Copy)]
pub struct CountRange {
    default: u32,
    max: u32,
}

impl CountRange {
    /// `n`, or the default, if it is in range.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn check(self, n: Option<i64>) -> Result<u32, QueryError> {
        let Some(n) = n else { return Ok(self.default) };
        let in_range = u32::try_from(n).ok().filter(|n| (1..=self.max).contains(n));
        in_range.ok_or_else(|| self.wrong(&n.to_string()))
    }

    /// What is said of a count that is not one.
    pub(crate) fn wrong(self, given: &str) -> QueryError {
        QueryError::invalid("n", format!("it is {given}; it must be a whole number from 1 to {}", self.max))
    }
}

fn shards_answered(total: usize, failed: usize) -> ShardsAnswered {
    ShardsAnswered { total: total as u32, ok: (total - failed) as u32, failed: failed as u32 }
}
