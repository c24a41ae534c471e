//! Sums over a version's items, and rows solved from some of them.

use std::sync::Arc;

use bytes::Bytes;
use shoal_proto::v1::{
    FoldInReply, FoldInRequest, ItemFactsRequest, LookupUserReply, ProfileRequest, ShardFacts, ShardProfile,
};
use tonic::Code;

use super::{CatalogueSums, ShardCalls, answer_of, same_version, unavailable};
use crate::{
    error::QueryError,
    fanout::ShardAnswer,
    rated_rows::RatedRows,
    replicas::Replica,
    wire_numbers::{bytes_of, bytes_of_rows, floats},
};

impl ShardCalls {
    /// What the version's items have in sum; asked for once a version.
    pub(crate) async fn catalogue_sums(&self) -> Result<Arc<CatalogueSums>, QueryError> {
        let version = self.version();
        if let Some(known) = self.sums.get(&version) {
            return Ok(known);
        }
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let request = ItemFactsRequest { version: version.clone(), shards };
            let client = self.client(&worker);
            let request = self.timed(request);
            let version = version.clone();
            async move {
                let reply = client?.item_facts(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |mut of: ShardFacts| {
                    let error = of.error.take();
                    (of.shard, answer_of(of, error))
                };
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let sums = Arc::new(CatalogueSums::add(self.ask_all_items(true, ask).await?));
        self.sums.put(version, Arc::clone(&sums));
        Ok(sums)
    }

    /// What the user has rated as a profile of features; every shard has to say its part. An item that was named without
    /// a rating is no part of it.
    pub(crate) async fn profile(&self, user: &LookupUserReply) -> Result<Bytes, QueryError> {
        let version = self.version();
        let RatedRows { rows, ratings } = RatedRows::of_user(user).with_ratings();
        let (rows, ratings) = (bytes_of_rows(&rows), bytes_of(&ratings));
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let request = ProfileRequest {
                version: version.clone(),
                shards,
                rated_rows: rows.clone(),
                ratings: ratings.clone(),
            };
            let client = self.client(&worker);
            let request = self.timed(request);
            let version = version.clone();
            async move {
                let reply = client?.profile(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |of: ShardProfile| (of.shard, answer_of(of.part, of.error));
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let mut parts: Vec<(u32, Bytes)> = self.ask_all_items(true, ask).await?;
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
    pub(crate) async fn fold_in(&self, request: FoldInRequest) -> Result<FoldInReply, QueryError> {
        let request = FoldInRequest { version: self.version(), ..request };
        let ask = |worker: Arc<Replica>, _| {
            let client = self.client(&worker);
            let request = self.timed(request.clone());
            async move { Ok(vec![(0, ShardAnswer::Answered(client?.fold_in(request).await?.into_inner()))]) }
        };
        let mut anybody: Vec<Arc<Replica>> = self.live.item_shards.iter().flatten().cloned().collect();
        anybody.sort_by(|a, b| a.name.cmp(&b.name));
        anybody.dedup_by(|a, b| a.name == b.name);
        let answers = self.fanout.run(vec![(0, anybody)], self.deadline, ask).await;
        let (failure, stale) = (answers.failure.clone(), answers.stale);
        if let Some(status) = &failure
            && matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument)
        {
            return Err(QueryError::Unsupported { reason: status.message().to_owned() });
        }
        let answer = answers.answers.into_iter().next().map(|(_, answer)| answer);
        answer.ok_or_else(|| unavailable("no worker solves the row", failure, stale))
    }
}
