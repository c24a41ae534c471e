//! The calls that queries make: a user's or item's own side from its owner, the best items from all
//! item shards.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use shoal_common::{
    ids::EntityId,
    rpc::{MESSAGE_BYTES_MAX, with_deadline},
};
use shoal_proto::v1::{
    FoldInReply, FoldInRequest, Hits, ItemFactsRequest, ItemHit, LookupItemReply, LookupItemRequest,
    LookupItemsRequest, LookupUserReply, LookupUserRequest, LookupUsersRequest, ProfileRequest, ShardFacts,
    ShardHits, ShardHitsMany, ShardItems, ShardProfile, ShardUsers, Side, TopItemsManyRequest,
    TopItemsRequest, worker_serving_client::WorkerServingClient,
};
use tokio::time::Instant;
use tonic::{Code, Status, transport::Channel};

use super::{Query, QueryError, explain::RatedRows, facts::ItemFacts, filter::unknown_genres};
use crate::{
    fanout::{Answers, ShardAnswer},
    merge::{Hit, merge},
    replicas::Replica,
};

/// A shard and who can be asked for it.
type ShardCandidates = (u32, Vec<Arc<Replica>>);

/// Merged hits, and how many shards did not contribute.
pub(super) struct Best {
    pub(super) hits: Vec<Hit>,
    pub(super) failed: usize,
    pub(super) total: usize,
    /// Of the genres that the filter names those that no shard's items have, which contributed.
    pub(super) unknown_genres: Vec<String>,
}

/// The same for many queries of one filter.
pub(super) struct BestOfMany {
    pub(super) lists: Vec<Vec<Hit>>,
    pub(super) failed: usize,
    pub(super) unknown_genres: Vec<String>,
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

    /// The same with the user's ratings.
    pub(super) async fn lookup_user_with_ratings(
        &self,
        user: &EntityId,
    ) -> Result<LookupUserReply, QueryError> {
        let found = self.lookup_users_in_order(std::slice::from_ref(user), true).await?;
        Ok(found.into_iter().next().unwrap_or_default())
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
        let started = Instant::now();
        let answers = self.queries.fanout.run(candidates, self.deadline, ask).await;
        metrics::histogram!("shoal_router_call_seconds", "call" => "lookup").record(started.elapsed());
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
        let all = self.all_items()?;
        let total = all.len();
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let client = self.client(&worker);
            let request = TopItemsRequest { shards, ..request.clone() };
            let version = request.version.clone();
            let request = with_deadline(request, self.deadline, self.margin);
            async move {
                let reply = client?.top_items(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |of: ShardHits| {
                    let found = Hits { hits: of.hits, known_genres: of.known_genres };
                    (of.shard, answer_of(found, of.error, of.retryable))
                };
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let started = Instant::now();
        let answers = self.queries.fanout.run(all, self.deadline, ask).await;
        metrics::histogram!("shoal_router_call_seconds", "call" => "top_items").record(started.elapsed());
        let answers = self.enough(Side::Items, answers, total, complete)?;
        let failed = total - answers.len();
        let known = answers.iter().map(|(_, found)| found.known_genres.as_ref());
        let unknown_genres = unknown_genres(request.filter.as_ref(), known);
        let lists: Vec<Vec<ItemHit>> = answers.into_iter().map(|(_, found)| found.hits).collect();
        Ok(Best { hits: merge(lists, request.n as usize), failed, total, unknown_genres })
    }

    /// The best items of every item shard for each of the queries, merged. All of them have the same filter.
    pub(super) async fn best_items_many(
        &self,
        queries: Vec<TopItemsRequest>,
        complete: bool,
    ) -> Result<BestOfMany, QueryError> {
        let request = TopItemsManyRequest { version: self.version()?, queries, shards: Vec::new() };
        let all = self.all_items()?;
        let total = all.len();
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let client = self.client(&worker);
            let request = TopItemsManyRequest { shards, ..request.clone() };
            let version = request.version.clone();
            let request = with_deadline(request, self.deadline, self.margin);
            async move {
                let reply = client?.top_items_many(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer =
                    |hits: ShardHitsMany| (hits.shard, answer_of(hits.queries, hits.error, hits.retryable));
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let answers = self.queries.fanout.run(all, self.deadline, ask).await;
        let answers = self.enough(Side::Items, answers, total, complete)?;
        let failed = total - answers.len();
        let known = answers.iter().map(|(_, found)| found.first()?.known_genres.as_ref());
        let filter = request.queries.first().and_then(|query| query.filter.as_ref());
        let unknown_genres = unknown_genres(filter, known);
        let mut lists: Vec<Vec<Vec<ItemHit>>> = vec![Vec::with_capacity(total); request.queries.len()];
        for (_, queries) in answers {
            for (list, hits) in lists.iter_mut().zip(queries) {
                list.push(hits.hits);
            }
        }
        let merged = lists.into_iter().zip(&request.queries);
        let lists = merged.map(|(lists, query)| merge(lists, query.n as usize)).collect();
        Ok(BestOfMany { lists, failed, unknown_genres })
    }

    /// What is known of each of these users, in their order.
    pub(super) async fn lookup_users_in_order(
        &self,
        users: &[EntityId],
        with_ratings: bool,
    ) -> Result<Vec<LookupUserReply>, QueryError> {
        let version = self.version()?;
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let request = LookupUsersRequest {
                version: version.clone(),
                users: self.of_shards(Side::Users, users, &shards),
                shards,
                with_ratings,
            };
            let client = self.client(&worker);
            let request = with_deadline(request, self.deadline, self.margin);
            let version = version.clone();
            async move {
                let reply = client?.lookup_users(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |of: ShardUsers| (of.shard, answer_of(of.users, of.error, of.retryable));
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let answers = self.ask_owners(Side::Users, users, &[], ask).await?;
        self.in_order(Side::Users, users, answers)
    }

    /// What is known of each of these items, in their order.
    pub(super) async fn lookup_items_in_order(
        &self,
        items: &[EntityId],
    ) -> Result<Vec<LookupItemReply>, QueryError> {
        let answers = self.ask_items(items, &[]).await?;
        self.in_order(Side::Items, items, answers)
    }

    /// The items of these ascending global rows, in no particular order.
    pub(super) async fn lookup_rows_unordered(
        &self,
        rows: &[u32],
    ) -> Result<Vec<LookupItemReply>, QueryError> {
        let answers = self.ask_items(&[], rows).await?;
        Ok(answers.into_iter().flat_map(|(_, items)| items).collect())
    }

    async fn ask_items(
        &self,
        items: &[EntityId],
        rows: &[u32],
    ) -> Result<Vec<(u32, Vec<LookupItemReply>)>, QueryError> {
        let version = self.version()?;
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let request = LookupItemsRequest {
                version: version.clone(),
                items: self.of_shards(Side::Items, items, &shards),
                rows: rows.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<u8>>().into(),
                shards,
            };
            let client = self.client(&worker);
            let request = with_deadline(request, self.deadline, self.margin);
            let version = version.clone();
            async move {
                let reply = client?.lookup_items(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |of: ShardItems| (of.shard, answer_of(of.items, of.error, of.retryable));
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        self.ask_owners(Side::Items, items, rows, ask).await
    }

    /// Asks the shards of these ids (all of them where rows are asked for, whose shards are not known
    /// here); every one of them has to answer.
    async fn ask_owners<T, F>(
        &self,
        side: Side,
        ids: &[EntityId],
        rows: &[u32],
        ask: impl Fn(Arc<Replica>, Vec<u32>) -> F + Send,
    ) -> Result<Vec<(u32, T)>, QueryError>
    where
        T: Send,
        F: Future<Output = Result<Vec<(u32, ShardAnswer<T>)>, Status>> + Send,
    {
        let shards = self.live()?.shards(side);
        let count = shards.len() as u32;
        let named: BTreeSet<u32> = if rows.is_empty() {
            ids.iter().map(|id| id.shard(count)).collect()
        } else {
            (0..count).collect()
        };
        let total = named.len();
        let candidates = named.into_iter().map(|shard| (shard, shards[shard as usize].clone())).collect();
        let answers = self.queries.fanout.run(candidates, self.deadline, ask).await;
        self.enough(side, answers, total, true)
    }

    fn of_shards(&self, side: Side, ids: &[EntityId], shards: &[u32]) -> Vec<shoal_proto::v1::EntityId> {
        let count = self.live().map_or(1, |live| live.shards(side).len() as u32);
        let own = ids.iter().filter(|id| shards.contains(&id.shard(count)));
        own.map(|id| id.clone().into()).collect()
    }

    /// Puts what shards said of their ids into the order of all ids.
    fn in_order<T>(
        &self,
        side: Side,
        ids: &[EntityId],
        answers: Vec<(u32, Vec<T>)>,
    ) -> Result<Vec<T>, QueryError> {
        let count = self.live()?.shards(side).len() as u32;
        let mut by_shard: HashMap<u32, std::vec::IntoIter<T>> =
            answers.into_iter().map(|(shard, found)| (shard, found.into_iter())).collect();
        let next = |id: &EntityId| by_shard.get_mut(&id.shard(count)).and_then(Iterator::next);
        ids.iter().map(next).collect::<Option<Vec<T>>>().ok_or_else(|| QueryError::Unavailable {
            reason: "a worker did not answer for every id".to_owned(),
            stale: false,
        })
    }

    /// What the version's items have in sum; asked for once a version.
    pub(super) async fn facts(&self) -> Result<Arc<ItemFacts>, QueryError> {
        let version = self.version()?;
        if let Some(known) = self.queries.facts.get(&version) {
            return Ok(known);
        }
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let request = ItemFactsRequest { version: version.clone(), shards };
            let client = self.client(&worker);
            let request = with_deadline(request, self.deadline, self.margin);
            let version = version.clone();
            async move {
                let reply = client?.item_facts(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |of: ShardFacts| {
                    let (error, retryable) = (of.error.clone(), of.retryable);
                    (of.shard, answer_of(of, error, retryable))
                };
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let all = self.all_items()?;
        let total = all.len();
        let answers = self.queries.fanout.run(all, self.deadline, ask).await;
        let facts = Arc::new(ItemFacts::add(self.enough(Side::Items, answers, total, true)?));
        self.queries.facts.put(version, Arc::clone(&facts));
        Ok(facts)
    }

    /// What the user has rated as a profile of features; every shard has to say its part. An item that was named without
    /// a rating is no part of it.
    pub(super) async fn profile(&self, user: &LookupUserReply) -> Result<Bytes, QueryError> {
        let version = self.version()?;
        let RatedRows { rows, ratings } = RatedRows::of_user(user).with_ratings();
        let rows: Bytes = rows.iter().flat_map(|row| row.to_le_bytes()).collect::<Vec<u8>>().into();
        let ratings = bytes_of(&ratings);
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let request = ProfileRequest {
                version: version.clone(),
                shards,
                rated_rows: rows.clone(),
                ratings: ratings.clone(),
            };
            let client = self.client(&worker);
            let request = with_deadline(request, self.deadline, self.margin);
            let version = version.clone();
            async move {
                let reply = client?.profile(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |of: ShardProfile| (of.shard, answer_of(of.part, of.error, of.retryable));
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let all = self.all_items()?;
        let total = all.len();
        let answers = self.queries.fanout.run(all, self.deadline, ask).await;
        let mut parts = self.enough(Side::Items, answers, total, true)?;
        // As it is measured, so that the sum has the same bits.
        parts.sort_by_key(|(shard, _)| *shard);
        let parts: Vec<Vec<f32>> = parts.iter().map(|(_, part)| floats(part)).collect();
        let mut sum = vec![0.0; parts.iter().map(Vec::len).max().unwrap_or_default()];
        for part in &parts {
            sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        Ok(bytes_of(&sum))
    }

    /// Has a row solved, by any worker that holds some of the version's items.
    pub(super) async fn fold_in(&self, request: FoldInRequest) -> Result<FoldInReply, QueryError> {
        let request = FoldInRequest { version: self.version()?, ..request };
        let ask = |worker: Arc<Replica>, _| {
            let client = self.client(&worker);
            let request = with_deadline(request.clone(), self.deadline, self.margin);
            async move { Ok(vec![(0, ShardAnswer::Answered(client?.fold_in(request).await?.into_inner()))]) }
        };
        let mut anybody: Vec<Arc<Replica>> = self.live()?.item_shards.iter().flatten().cloned().collect();
        anybody.sort_by(|a, b| a.name.cmp(&b.name));
        anybody.dedup_by(|a, b| a.name == b.name);
        let answers = self.queries.fanout.run(vec![(0, anybody)], self.deadline, ask).await;
        let (failure, stale) = (answers.failure.clone(), answers.stale);
        if let Some(status) = &failure
            && matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument)
        {
            return Err(QueryError::Unsupported { reason: status.message().to_owned() });
        }
        let answer = answers.answers.into_iter().next().map(|(_, answer)| answer);
        answer.ok_or_else(|| unavailable("no worker solves the row", failure, stale))
    }

    fn all_items(&self) -> Result<Vec<ShardCandidates>, QueryError> {
        Ok((0..).zip(self.live()?.shards(Side::Items).iter().cloned()).collect())
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
            return Err(unavailable(&what, failure, stale));
        }
        if failed > 0 && (complete || (stale && !self.last)) {
            let why = failure.map(|status| format!(" ({})", status.message())).unwrap_or_default();
            return Err(QueryError::Unavailable { reason: what + &why, stale });
        }
        Ok(answers)
    }

    fn client(&self, worker: &Replica) -> Result<WorkerServingClient<Channel>, Status> {
        let channel = self.queries.channels.get(&worker.address)?;
        Ok(WorkerServingClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn version(&self) -> Result<String, QueryError> {
        Ok(self.live()?.version.name.clone())
    }
}

fn answer_of<T>(value: T, error: String, retryable: bool) -> ShardAnswer<T> {
    match (error.is_empty(), retryable) {
        (true, _) => ShardAnswer::Answered(value),
        (false, true) => ShardAnswer::Absent(error),
        (false, false) => ShardAnswer::Final(error),
    }
}

fn same_version(worker: &Replica, asked: &str, answered: &str) -> Result<(), Status> {
    if asked == answered {
        return Ok(());
    }
    Err(Status::internal(format!("worker '{}' answered from another version", worker.name)))
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

/// Little-endian f32s of a message field.
pub(super) fn floats(bytes: &Bytes) -> Vec<f32> {
    numbers(bytes, f32::from_le_bytes)
}

/// Little-endian 4-byte numbers of a message field.
pub(super) fn numbers<T>(bytes: &Bytes, read: fn([u8; 4]) -> T) -> Vec<T> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().map(|value| read(*value)).collect()
}

/// Floats as a message field.
pub(super) fn bytes_of(values: &[f32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
}
