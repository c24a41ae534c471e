//! The use cases, shared by every face: one snapshot and one version from start to end.
//!
//! A use case is checked for the version that is to answer, then answered from its shards: a file for each.

mod batch;
mod cursor;
mod explain;
mod filter;
mod given;
mod item;
mod list;
mod options;
mod popular;
mod predict;
mod ratings;
mod recommend;
mod search;
mod session;
mod similar;

use std::{sync::Arc, time::Duration};

use shoal_common::{
    access::Holder,
    clock::{Clock, UtcTime},
    rpc::{Channels, remaining},
    shutdown::Shutdown,
};
use shoal_core::ModelKind;
use shoal_proto::v1::HealthReply;
use tokio::{sync::watch, time::Instant};

use crate::{
    admission::{Admission, Cost, Overloaded},
    cache::AnswerCache,
    error::{Parameter, QueryError},
    fanout::{DEADLINE_MARGIN, FanOut},
    held,
    readiness::Readiness,
    shard_calls::{KnownSums, ShardCalls},
    snapshot::{Live, Snapshot, Target},
    tokens::{Exhausted, TokenBalances},
};

#[doc(hidden)]
pub use self::cursor::reread_cursor;
use self::options::CheckedOptions;
pub use self::{
    batch::{BATCH_TIMEOUT, BATCH_USERS_MAX, RecommendBatch},
    filter::{FILTER_GENRES_MAX, FILTER_IDS_MAX, Filter},
    given::{CountRange, GivenId},
    item::AboutItem,
    options::{Options, RECOMMEND_COUNT},
    popular::{Popular, PopularOrder, TREND_DAYS, WINDOW_DAYS_MAX},
    predict::Predict,
    ratings::{RATINGS_COUNT, RatingsOf},
    recommend::Recommend,
    search::{SEARCH_CHARACTERS_MAX, SEARCH_COUNT, SEARCH_WORDS_MAX, Search},
    session::{RATED_ITEMS_MAX, RatedItem, RecommendForItems},
    similar::{SIMILAR_COUNT, Similar},
};

/// What a blend costs, in lists of one of its models.
const BLEND_COST: u32 = 4;

/// Reads a model's name, in any letter case; an empty one names no model.
///
/// # Errors
/// When there is no such model.
pub(crate) fn parse_model(name: &str) -> Result<Option<ModelKind>, QueryError> {
    if name.is_empty() {
        return Ok(None);
    }
    ModelKind::parse_typed(name).map(Some).map_err(|_| {
        let names = ModelKind::ALL.map(|model| format!("'{model}'"));
        let (last, others) = names.split_last().unwrap_or((&names[0], &[]));
        let reason = format!("'{name}' is not one of {} and {last}", others.join(", "));
        QueryError::invalid(Parameter::Model, reason)
    })
}

/// Answers queries. Clones share everything.
#[derive(Debug, Clone)]
pub struct Queries {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    channels: Channels,
    clock: Arc<dyn Clock>,
    fanout: Arc<FanOut>,
    admission: Admission,
    cache: AnswerCache,
    sums: KnownSums,
    readiness: Readiness,
    timeout: Duration,
    /// Of the query that is asked, for a model of one score.
    cost: Cost,
    /// Whose token the query came with.
    asked_by: Option<Holder>,
    balances: TokenBalances,
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
        let (fanout, sums, readiness) = (Arc::new(fanout), KnownSums::default(), Readiness::new());
        let cost = Cost::ONE;
        let (asked_by, balances) = (None, TokenBalances::default());
        Self {
            snapshots,
            channels,
            clock,
            fanout,
            admission,
            cache,
            sums,
            readiness,
            timeout,
            cost,
            asked_by,
            balances,
        }
    }

    /// As these, with no more than this time for each query.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        Self { timeout: timeout.min(self.timeout), ..self.clone() }
    }

    /// As these, with this time for each query.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// As these, for the holder of a token, whose limit they count on.
    #[must_use]
    pub fn asked_by(&self, holder: Option<&Holder>) -> Self {
        Self { asked_by: holder.cloned(), ..self.clone() }
    }

    /// As these, for so many lists of `n` items.
    #[must_use]
    fn for_lists(&self, lists: usize, n: Option<i64>) -> Self {
        let n = n.and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
        Self { cost: Cost::of_lists(lists, n), ..self.clone() }
    }

    /// How long a query may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The time of now as ISO 8601, in UTC.
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
        let reply = HealthReply {
            timestamp: self.timestamp(),
            cache_stats: Some(self.cache.stats()),
            live_versions: snapshot.live_versions(),
            ..HealthReply::default()
        };
        let Some(live) = &snapshot.live else {
            if snapshot.default_is_unknown() {
                // Something is live, and this router cannot ask it.
                let model_version = snapshot.default_version().to_owned();
                return HealthReply { status: "degraded".to_owned(), model_version, ..reply };
            }
            return HealthReply { status: "no_model".to_owned(), live_versions: Vec::new(), ..reply };
        };
        let (served, total) = (live.shards_served(), live.shards_total());
        HealthReply {
            status: if served == total { "healthy" } else { "degraded" }.to_owned(),
            model_loaded: served > 0,
            model_version: live.version.name.clone(),
            shards_served: served as u32,
            shards_total: total as u32,
            ..reply
        }
    }

    /// Looks for workers while queries do not tell whether they answer, until asked to stop.
    pub async fn look_for_workers(self, stop: Shutdown) {
        let reach = self.readiness.reach().clone();
        reach.follow(self.snapshots.clone(), self.channels.clone(), stop).await;
    }

    /// Says in metrics how full the cache is.
    pub fn tell_cache(&self) {
        // Reading the counts sets the gauges.
        let _ = self.cache.stats();
    }

    /// What queries should not be sent to this router for before it is there, in a sentence; `None` when it is ready.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        self.readiness.waits_for(&self.snapshot())
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

    /// Runs a query: `check` checks it for the version that is to answer, `answer` makes the answer by calls to that
    /// version's shards.
    async fn run<C, T, F>(
        &self,
        target: &Target,
        check: impl Fn(&Live) -> Result<C, QueryError> + Send,
        answer: impl Fn(ShardCalls, C) -> F + Send,
    ) -> Result<T, QueryError>
    where
        C: Send,
        F: Future<Output = Result<T, QueryError>> + Send,
        T: Send,
    {
        self.run_unless_kept(target, check, |_, _| None, answer).await
    }

    /// As [`Queries::run`], unless an answer was kept: that needs no place among the queries under way.
    ///
    /// When workers turn out not to hold the version any more, the query is checked and answered once again, whole,
    /// on the newer snapshot.
    async fn run_unless_kept<C, T, F>(
        &self,
        target: &Target,
        check: impl Fn(&Live) -> Result<C, QueryError> + Send,
        kept: impl Fn(&Live, &C) -> Option<T> + Send,
        answer: impl Fn(ShardCalls, C) -> F + Send,
    ) -> Result<T, QueryError>
    where
        C: Send,
        F: Future<Output = Result<T, QueryError>> + Send,
        T: Send,
    {
        // The wait for a place is part of the query's time.
        let deadline = Instant::now() + self.timeout;
        let first = self.snapshot();
        let live = first.serving(target)?;
        let checked = check(live)?;
        if let Some(kept) = kept(live, &checked) {
            return Ok(kept);
        }
        let cost = self.cost.times(if live.model == ModelKind::Hybrid { BLEND_COST } else { 1 });
        if let Some(holder) = &self.asked_by {
            let charged = self.balances.charge(holder, cost);
            charged.map_err(|Exhausted { retry_after }| QueryError::TokenExhausted { retry_after })?;
        }
        let admitted = self.admission.admit(cost, self.timeout).await;
        let admitted =
            admitted.map_err(|Overloaded { retry_after }| QueryError::Overloaded { retry_after })?;
        let outcome = async {
            let outcome = answer(self.calls(live, deadline, false), checked).await;
            let Err(QueryError::Unavailable { stale: true, .. }) = &outcome else { return outcome };
            let newer = self.newer(Arc::clone(&first), deadline).await;
            let live = newer.serving(target)?;
            answer(self.calls(live, deadline, true), check(live)?).await
        };
        let outcome = outcome.await;
        // An answer that nobody takes is work as well.
        held::hold(admitted);
        outcome
    }

    fn calls(&self, live: &Arc<Live>, deadline: Instant, last: bool) -> ShardCalls {
        ShardCalls {
            live: Arc::clone(live),
            fanout: Arc::clone(&self.fanout),
            channels: self.channels.clone(),
            sums: self.sums.clone(),
            deadline,
            margin: DEADLINE_MARGIN.min(self.timeout / 4),
            last,
        }
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
