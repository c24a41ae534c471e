//! The calls that queries make: a user's or item's own side from its owner, the best items from all
//! item shards.

use std::sync::Arc;

use bytes::Bytes;
use shoal_common::{
    ids::EntityId,
    rpc::{MESSAGE_BYTES_MAX, with_deadline},
};
use shoal_proto::v1::{
    ItemHit, LookupItemReply, LookupItemRequest, LookupUserReply, LookupUserRequest, ShardHits, Side,
    TopItemsRequest, worker_serving_client::WorkerServingClient,
};
use tonic::{Code, Status, transport::Channel};

use super::{Query, QueryError};
use crate::{
    fanout::{Answers, ShardAnswer},
    merge::{Hit, merge},
    replicas::Replica,
};

/// Merged hits, and how many shards did not contribute.
pub(super) struct Best {
    pub(super) hits: Vec<Hit>,
    pub(super) failed: usize,
    pub(super) total: usize,
}

impl Query {
    pub(super) async fn lookup_user(&self, user: &EntityId) -> Result<LookupUserReply, QueryError> {
        let request = LookupUserRequest { version: self.version()?, user: Some(user.clone().into()) };
        let call = |mut client: WorkerServingClient<Channel>| {
            let request = with_deadline(request.clone(), self.deadline, self.margin);
            async move { client.lookup_user(request).await.map(tonic::Response::into_inner) }
        };
        self.lookup(Side::Users, user, call).await
    }

    pub(super) async fn lookup_item(&self, item: &EntityId) -> Result<LookupItemReply, QueryError> {
        let request = LookupItemRequest { version: self.version()?, item: Some(item.clone().into()) };
        let call = |mut client: WorkerServingClient<Channel>| {
            let request = with_deadline(request.clone(), self.deadline, self.margin);
            async move { client.lookup_item(request).await.map(tonic::Response::into_inner) }
        };
        self.lookup(Side::Items, item, call).await
    }

    /// Asks the owners of one id's shard.
    async fn lookup<T, F>(
        &self,
        side: Side,
        id: &EntityId,
        call: impl Fn(WorkerServingClient<Channel>) -> F + Send + Sync,
    ) -> Result<T, QueryError>
    where
        T: Send,
        F: Future<Output = Result<T, Status>> + Send,
    {
        let shards = self.live()?.shards(side);
        let shard = id.shard(shards.len() as u32);
        let ask = |worker: Arc<Replica>, _| {
            let reply = self.client(&worker).map(&call);
            async move { Ok(vec![(shard, ShardAnswer::Answered(reply?.await?))]) }
        };
        let candidates = vec![(shard, shards[shard as usize].clone())];
        let answers = self.queries.fanout.run(candidates, self.deadline, ask).await;
        let what = if side == Side::Items { "movie" } else { "user" };
        let (failure, stale) = (answers.failure.clone(), answers.stale);
        let answer = answers.answers.into_iter().next().map(|(_, answer)| answer);
        answer
            .ok_or_else(|| unavailable(&format!("the shard of {what} {id} does not answer"), failure, stale))
    }

    /// The best items of every item shard, merged. `complete` refuses an answer that lacks a shard.
    pub(super) async fn best_items(
        &self,
        request: TopItemsRequest,
        complete: bool,
    ) -> Result<Best, QueryError> {
        let request = TopItemsRequest { version: self.version()?, ..request };
        let shards = self.live()?.shards(Side::Items);
        let all: Vec<_> = (0..).zip(shards.iter().cloned()).collect();
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let client = self.client(&worker);
            let request = TopItemsRequest { shards, ..request.clone() };
            let version = request.version.clone();
            let request = with_deadline(request, self.deadline, self.margin);
            async move {
                let reply = client?.top_items(request).await?.into_inner();
                if reply.version != version {
                    return Err(Status::internal(format!(
                        "worker '{}' answered from another version",
                        worker.name
                    )));
                }
                Ok(reply.shards.into_iter().map(answer_of).collect())
            }
        };
        let Answers { answers, failed, failure, stale } =
            self.queries.fanout.run(all, self.deadline, ask).await;
        let total = shards.len();
        let what = format!("{failed} of {total} item shards do not answer");
        if failed == total {
            return Err(unavailable(&what, failure, stale));
        }
        if failed > 0 && (complete || (stale && !self.last)) {
            let why = failure.map(|status| format!(" ({})", status.message())).unwrap_or_default();
            return Err(QueryError::Unavailable { reason: what + &why, stale });
        }
        let lists: Vec<Vec<ItemHit>> = answers.into_iter().map(|(_, hits)| hits).collect();
        Ok(Best { hits: merge(lists, request.n as usize), failed, total })
    }

    fn client(&self, worker: &Replica) -> Result<WorkerServingClient<Channel>, Status> {
        let channel = self.queries.channels.get(&worker.address)?;
        Ok(WorkerServingClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn version(&self) -> Result<String, QueryError> {
        Ok(self.live()?.version.name.clone())
    }
}

fn answer_of(hits: ShardHits) -> (u32, ShardAnswer<Vec<ItemHit>>) {
    let answer = match (hits.error.is_empty(), hits.retryable) {
        (true, _) => ShardAnswer::Answered(hits.hits),
        (false, true) => ShardAnswer::Retryable(hits.error),
        (false, false) => ShardAnswer::Final(hits.error),
    };
    (hits.shard, answer)
}

fn unavailable(reason: &str, failure: Option<Status>, stale: bool) -> QueryError {
    match failure {
        Some(status) if status.code() == Code::DeadlineExceeded => QueryError::Timeout,
        Some(status) if status.code() == Code::ResourceExhausted => {
            let retry_after =
                shoal_common::rpc::retry_after(&status).unwrap_or(std::time::Duration::from_secs(1));
            QueryError::Overloaded { retry_after }
        }
        Some(status) => QueryError::Unavailable { reason: format!("{reason} ({})", status.message()), stale },
        None => QueryError::Unavailable { reason: reason.to_owned(), stale },
    }
}

/// Numbers of a message field.
pub(super) fn floats(bytes: &Bytes) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().map(|value| f32::from_le_bytes(*value)).collect()
}
