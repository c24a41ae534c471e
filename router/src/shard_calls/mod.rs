//! The calls that a query makes to workers: a user's or item's own side from its owner, the best items of all item
//! shards, sums over a version's items. All of one query's calls name one version and end at one deadline.
//!
//! `lookups` asks the owners of ids, `best` asks every item shard for its best, `search` for titles, `sums` adds over the item shards.

mod best;
mod catalogue_sums;
mod lookups;
mod search;
mod sums;

use std::{sync::Arc, time::Duration};

use shoal_common::{
    rpc::{Channels, MESSAGE_BYTES_MAX, with_deadline},
    tls::PeerRole,
};
use shoal_proto::v1::{ShardError, Side, worker_serving_client::WorkerServingClient};
use tokio::time::Instant;
use tonic::{Code, Request, Status, transport::Channel};

use crate::{
    error::{QueryError, Reason},
    fanout::{Answers, FanOut, ShardAnswer},
    replicas::Replica,
    snapshot::Live,
};

pub(crate) use self::{
    best::{Best, BestOfMany},
    catalogue_sums::{CatalogueSums, KnownSums},
    search::Matches,
};

/// A shard and who can be asked for it.
type ShardCandidates = (u32, Vec<Arc<Replica>>);

/// The calls of one query.
#[derive(Debug, Clone)]
pub(crate) struct ShardCalls {
    /// The version that every call names.
    pub(crate) live: Arc<Live>,
    pub(crate) fanout: Arc<FanOut>,
    pub(crate) channels: Channels,
    pub(crate) sums: KnownSums,
    pub(crate) deadline: Instant,
    /// Given back for the way from the worker to the client.
    pub(crate) margin: Duration,
    /// Whether nothing is left but to answer from this snapshot, outdated or not.
    pub(crate) last: bool,
}

impl ShardCalls {
    fn version(&self) -> String {
        self.live.version.name.clone()
    }

    /// The message with what is left of the query's time.
    fn timed<T>(&self, message: T) -> Request<T> {
        with_deadline(message, self.deadline, self.margin)
    }

    fn client(&self, worker: &Replica) -> Result<WorkerServingClient<Channel>, Status> {
        let channel = self.channels.get(&worker.address, PeerRole::Worker)?;
        Ok(WorkerServingClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn all_items(&self) -> Vec<ShardCandidates> {
        (0..).zip(self.live.shards(Side::Items).iter().cloned()).collect()
    }

    /// Asks every item shard; all of them have to answer for a complete answer, one of them for another.
    async fn ask_all_items<T, F>(
        &self,
        complete: bool,
        ask: impl Fn(Arc<Replica>, Vec<u32>) -> F + Send,
    ) -> Result<Vec<(u32, T)>, QueryError>
    where
        T: Send,
        F: Future<Output = Result<Vec<(u32, ShardAnswer<T>)>, Status>> + Send,
    {
        let all = self.all_items();
        let total = all.len();
        let answers = self.fanout.run(all, self.deadline, ask).await;
        self.enough(Side::Items, answers, total, complete)
    }

    /// The answers, if there are enough: one shard at least, all of them for a complete answer.
    fn enough<T>(
        &self,
        side: Side,
        answers: Answers<T>,
        total: usize,
        complete: bool,
    ) -> Result<Vec<(u32, T)>, QueryError> {
        let Answers { answers, failed, failure, stale } = answers;
        let side = if side == Side::Items { "item" } else { "user" };
        let what = format!("{failed} of {total} {side} shards do not answer");
        if failed == total && total > 0 {
            return Err(unavailable(what, failure, stale));
        }
        if failed > 0 && (complete || (stale && !self.last)) {
            let why = failure.map(|status| status.message().to_owned());
            return Err(QueryError::Unavailable { reason: what.into(), why, stale });
        }
        Ok(answers)
    }
}

fn answer_of<T>(value: T, error: Option<ShardError>) -> ShardAnswer<T> {
    match error {
        None => ShardAnswer::Answered(value),
        Some(ShardError { reason, retryable: true }) => ShardAnswer::Absent(reason),
        Some(ShardError { reason, retryable: false }) => ShardAnswer::Final(reason),
    }
}

fn same_version(worker: &Replica, asked: &str, answered: &str) -> Result<(), Status> {
    if asked == answered {
        return Ok(());
    }
    Err(Status::internal(format!("worker '{}' answered from another version", worker.name)))
}

fn unavailable(reason: impl Into<Reason>, failure: Option<Status>, stale: bool) -> QueryError {
    match failure {
        Some(status) if status.code() == Code::DeadlineExceeded => QueryError::Timeout,
        Some(status) if status.code() == Code::ResourceExhausted => {
            let retry_after =
                shoal_common::rpc::retry_after(&status).unwrap_or(std::time::Duration::from_secs(1));
            QueryError::Overloaded { retry_after }
        }
        failure => {
            let why = failure.map(|status| status.message().to_owned());
            QueryError::Unavailable { reason: reason.into(), why, stale }
        }
    }
}
