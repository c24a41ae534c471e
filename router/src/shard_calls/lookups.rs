//! Users' and items' own sides, from the owners of their shards.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use shoal_common::ids::EntityId;
use shoal_proto::v1::{
    LookupItemReply, LookupItemRequest, LookupItemsRequest, LookupUserReply, LookupUserRequest,
    LookupUsersRequest, ShardItems, ShardUsers, Side, worker_serving_client::WorkerServingClient,
};
use tokio::time::Instant;
use tonic::{Response, Status, transport::Channel};

use super::{ShardCalls, answer_of, same_version, unavailable};
use crate::{
    error::{QueryError, Reason},
    fanout::ShardAnswer,
    replicas::Replica,
    wire_numbers::bytes_of_rows,
};

impl ShardCalls {
    /// What is known of a user, with the user's ratings where they are asked for.
    pub(crate) async fn lookup_user(
        &self,
        user: &EntityId,
        with_ratings: bool,
    ) -> Result<LookupUserReply, QueryError> {
        if with_ratings {
            let found = self.lookup_users_in_order(std::slice::from_ref(user), true).await?;
            return Ok(found.into_iter().next().unwrap_or_default());
        }
        let request = LookupUserRequest { version: self.version(), user: Some(user.clone().into()) };
        let call = |mut client: WorkerServingClient<Channel>| {
            let request = self.timed(request.clone());
            async move { client.lookup_user(request).await.map(Response::into_inner) }
        };
        let silent = Reason::from(format!("the shard of user {user} does not answer"));
        self.lookup(Side::Users, user, silent, call).await
    }

    /// What is known of an item, with its neighbours.
    pub(crate) async fn lookup_item(&self, item: &EntityId) -> Result<LookupItemReply, QueryError> {
        let request = LookupItemRequest { version: self.version(), item: Some(item.clone().into()) };
        let call = |mut client: WorkerServingClient<Channel>| {
            let request = self.timed(request.clone());
            async move { client.lookup_item(request).await.map(Response::into_inner) }
        };
        self.lookup(Side::Items, item, Reason::ItemSilent(item.clone()), call).await
    }

    /// Asks the owners of one id's shard; `silent` is what is said when they do not answer.
    async fn lookup<T, F>(
        &self,
        side: Side,
        id: &EntityId,
        silent: Reason,
        call: impl Fn(WorkerServingClient<Channel>) -> F + Send + Sync,
    ) -> Result<T, QueryError>
    where
        T: Send,
        F: Future<Output = Result<T, Status>> + Send,
    {
        let shards = self.live.shards(side);
        let shard = id.shard(shards.len() as u32);
        let ask = |worker: Arc<Replica>, _| {
            let reply = self.client(&worker).map(&call);
            async move { Ok(vec![(shard, ShardAnswer::Answered(reply?.await?))]) }
        };
        let candidates = vec![(shard, shards[shard as usize].clone())];
        let started = Instant::now();
        let answers = self.fanout.run(candidates, self.deadline, ask).await;
        metrics::histogram!("shoal_router_call_seconds", "call" => "lookup").record(started.elapsed());
        let (failure, stale) = (answers.failure.clone(), answers.stale);
        let answer = answers.answers.into_iter().next().map(|(_, answer)| answer);
        answer.ok_or_else(|| unavailable(silent, failure, stale))
    }

    /// What is known of each of these users, in their order.
    pub(crate) async fn lookup_users_in_order(
        &self,
        users: &[EntityId],
        with_ratings: bool,
    ) -> Result<Vec<LookupUserReply>, QueryError> {
        let version = self.version();
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let request = LookupUsersRequest {
                version: version.clone(),
                users: self.of_shards(Side::Users, users, &shards),
                shards,
                with_ratings,
            };
            let client = self.client(&worker);
            let request = self.timed(request);
            let version = version.clone();
            async move {
                let reply = client?.lookup_users(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |of: ShardUsers| (of.shard, answer_of(of.users, of.error));
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let answers = self.ask_owners(Side::Users, users, &[], ask).await?;
        self.in_order(Side::Users, users, answers)
    }

    /// What is known of each of these items, in their order.
    pub(crate) async fn lookup_items_in_order(
        &self,
        items: &[EntityId],
    ) -> Result<Vec<LookupItemReply>, QueryError> {
        let answers = self.ask_items(items, &[]).await?;
        self.in_order(Side::Items, items, answers)
    }

    /// The items of these ascending global rows, in the same order.
    pub(crate) async fn lookup_rows(&self, rows: &[u32]) -> Result<Vec<LookupItemReply>, QueryError> {
        let found = self.ask_items(&[], rows).await?.into_iter().flat_map(|(_, items)| items);
        let mut by_row: HashMap<u32, LookupItemReply> = found.map(|item| (item.row, item)).collect();
        let missing = || QueryError::unavailable(Reason::RatedItemsSilent);
        rows.iter().map(|row| by_row.remove(row).ok_or_else(missing)).collect()
    }

    async fn ask_items(
        &self,
        items: &[EntityId],
        rows: &[u32],
    ) -> Result<Vec<(u32, Vec<LookupItemReply>)>, QueryError> {
        let version = self.version();
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let request = LookupItemsRequest {
                version: version.clone(),
                items: self.of_shards(Side::Items, items, &shards),
                rows: bytes_of_rows(rows),
                shards,
            };
            let client = self.client(&worker);
            let request = self.timed(request);
            let version = version.clone();
            async move {
                let reply = client?.lookup_items(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |of: ShardItems| (of.shard, answer_of(of.items, of.error));
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
        let shards = self.live.shards(side);
        let count = shards.len() as u32;
        let named: BTreeSet<u32> = if rows.is_empty() {
            ids.iter().map(|id| id.shard(count)).collect()
        } else {
            (0..count).collect()
        };
        let total = named.len();
        let candidates = named.into_iter().map(|shard| (shard, shards[shard as usize].clone())).collect();
        let answers = self.fanout.run(candidates, self.deadline, ask).await;
        self.enough(side, answers, total, true)
    }

    fn of_shards(&self, side: Side, ids: &[EntityId], shards: &[u32]) -> Vec<shoal_proto::v1::EntityId> {
        let count = self.live.shards(side).len() as u32;
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
        let count = self.live.shards(side).len() as u32;
        let mut by_shard: HashMap<u32, std::vec::IntoIter<T>> =
            answers.into_iter().map(|(shard, found)| (shard, found.into_iter())).collect();
        let next = |id: &EntityId| by_shard.get_mut(&id.shard(count)).and_then(Iterator::next);
        let found = ids.iter().map(next).collect::<Option<Vec<T>>>();
        found.ok_or_else(|| QueryError::unavailable("a worker did not answer for every id"))
    }
}
