//! The best items of every item shard, merged.

use std::sync::Arc;

use shoal_proto::v1::{
    Hits, ItemFilter, ItemHit, KnownGenres, ShardHits, ShardHitsMany, ShardsAnswered, TopItemsManyRequest,
    TopItemsRequest,
};
use tokio::time::Instant;

use super::{ShardCalls, answer_of, same_version};
use crate::{
    error::QueryError,
    merge::{Hit, merge},
    replicas::Replica,
};

/// Merged hits, and the shards that contributed.
#[derive(Debug)]
pub(crate) struct Best {
    pub(crate) hits: Vec<Hit>,
    pub(crate) shards: ShardsAnswered,
    /// Genres of the filter that no item has of the shards that contributed, in lower case.
    pub(crate) unknown_genres: Vec<String>,
}

/// Merged hits of many queries that have one filter.
#[derive(Debug)]
pub(crate) struct BestOfMany {
    pub(crate) lists: Vec<Vec<Hit>>,
    pub(crate) shards: ShardsAnswered,
    /// As in [`Best`].
    pub(crate) unknown_genres: Vec<String>,
}

impl ShardCalls {
    /// The best items of every item shard, merged. `complete` refuses an answer that lacks a shard.
    pub(crate) async fn best_items(
        &self,
        request: TopItemsRequest,
        complete: bool,
    ) -> Result<Best, QueryError> {
        let request = TopItemsRequest { version: self.version(), ..request };
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let client = self.client(&worker);
            let request = TopItemsRequest { shards, ..request.clone() };
            let version = request.version.clone();
            let request = self.timed(request);
            async move {
                let reply = client?.top_items(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |of: ShardHits| {
                    let found = Hits { hits: of.hits, known_genres: of.known_genres };
                    (of.shard, answer_of(found, of.error))
                };
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let started = Instant::now();
        let answers = self.ask_all_items(complete, ask).await;
        metrics::histogram!("shoal_router_call_seconds", "call" => "top_items").record(started.elapsed());
        let answers = answers?;
        let shards = self.item_shards_answered(answers.len());
        let known = answers.iter().map(|(_, found)| found.known_genres.as_ref());
        let unknown_genres = unknown_genres(request.filter.as_ref(), known);
        let lists: Vec<Vec<ItemHit>> = answers.into_iter().map(|(_, found)| found.hits).collect();
        Ok(Best { hits: merge(lists, request.n as usize), shards, unknown_genres })
    }

    /// The best items of every item shard for each of the queries, merged. All of them have the same filter.
    pub(crate) async fn best_items_many(
        &self,
        queries: Vec<TopItemsRequest>,
        complete: bool,
    ) -> Result<BestOfMany, QueryError> {
        let request = TopItemsManyRequest { version: self.version(), queries, shards: Vec::new() };
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let client = self.client(&worker);
            let request = TopItemsManyRequest { shards, ..request.clone() };
            let version = request.version.clone();
            let request = self.timed(request);
            async move {
                let reply = client?.top_items_many(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |hits: ShardHitsMany| (hits.shard, answer_of(hits.queries, hits.error));
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let answers: Vec<(u32, Vec<Hits>)> = self.ask_all_items(complete, ask).await?;
        let shards = self.item_shards_answered(answers.len());
        let known = answers.iter().map(|(_, found)| found.first()?.known_genres.as_ref());
        let filter = request.queries.first().and_then(|query| query.filter.as_ref());
        let unknown_genres = unknown_genres(filter, known);
        let mut lists: Vec<Vec<Vec<ItemHit>>> =
            vec![Vec::with_capacity(answers.len()); request.queries.len()];
        for (_, queries) in answers {
            for (list, hits) in lists.iter_mut().zip(queries) {
                list.push(hits.hits);
            }
        }
        let merged = lists.into_iter().zip(&request.queries);
        let lists = merged.map(|(lists, query)| merge(lists, query.n as usize)).collect();
        Ok(BestOfMany { lists, shards, unknown_genres })
    }

    pub(super) fn item_shards_answered(&self, answered: usize) -> ShardsAnswered {
        let (total, ok) = (self.live.item_shards.len() as u32, answered as u32);
        ShardsAnswered { total, ok, failed: total - ok }
    }
}

/// The genres that the filter names and no item has of the shards that say so, each once; none where a shard does not say,
/// as a worker of an earlier build.
fn unknown_genres<'a>(
    filter: Option<&ItemFilter>,
    of_shards: impl Iterator<Item = Option<&'a KnownGenres>>,
) -> Vec<String> {
    let Some(filter) = filter else { return Vec::new() };
    let mut named: Vec<(&String, bool)> =
        filter.genres.iter().chain(&filter.exclude_genres).map(|name| (name, false)).collect();
    for known in of_shards {
        let Some(known) = known else { return Vec::new() };
        for position in &known.positions {
            if let Some((_, known)) = named.get_mut(*position as usize) {
                *known = true;
            }
        }
    }
    let mut unknown: Vec<String> =
        named.into_iter().filter(|(_, known)| !known).map(|(name, _)| name.clone()).collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}
