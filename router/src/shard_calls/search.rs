//! Items by the words of their titles, from every item shard, merged.

use std::{cmp::Reverse, sync::Arc};

use shoal_common::ids::EntityId;
use shoal_proto::v1::{
    ItemDescription, ItemMatch, SearchItemsRequest, ShardMatches, ShardsAnswered, TitleMatch,
};

use super::{ShardCalls, answer_of, same_version};
use crate::{
    answer::{Description, FoundItem},
    error::QueryError,
    replicas::Replica,
};

/// Merged matches, and the shards that contributed.
#[derive(Debug)]
pub(crate) struct Matches {
    pub(crate) items: Vec<FoundItem>,
    /// How many items match, of the shards that answered.
    pub(crate) matched: u64,
    pub(crate) shards: ShardsAnswered,
}

impl ShardCalls {
    /// The first `n` items whose titles have these folded words. `complete` refuses an answer that lacks a shard.
    pub(crate) async fn search_items(
        &self,
        words: Vec<String>,
        n: u32,
        complete: bool,
    ) -> Result<Matches, QueryError> {
        let request = SearchItemsRequest { version: self.version(), shards: Vec::new(), words, n };
        let ask = |worker: Arc<Replica>, shards: Vec<u32>| {
            let client = self.client(&worker);
            let request = SearchItemsRequest { shards, ..request.clone() };
            let version = request.version.clone();
            let request = self.timed(request);
            async move {
                let reply = client?.search_items(request).await?.into_inner();
                same_version(&worker, &version, &reply.version)?;
                let answer = |mut of: ShardMatches| {
                    let error = of.error.take();
                    (of.shard, answer_of(of, error))
                };
                Ok(reply.shards.into_iter().map(answer).collect())
            }
        };
        let answers: Vec<(u32, ShardMatches)> = self.ask_all_items(complete, ask).await?;
        let shards = self.item_shards_answered(answers.len());
        let matched = answers.iter().map(|(_, found)| found.matched).sum();
        let found = answers.into_iter().flat_map(|(_, found)| found.items);
        let mut items: Vec<FoundItem> = found.filter_map(found_item).collect();
        items.sort_by(|a, b| key(a).cmp(&key(b)));
        items.truncate(n as usize);
        Ok(Matches { items, matched, shards })
    }
}

/// The closer first, then more ratings, then the smaller id: no two items have one key.
fn key(item: &FoundItem) -> (i32, Reverse<u64>, &EntityId) {
    let Description { ratings, item: id, .. } = &item.description;
    (item.title_match as i32, Reverse(*ratings), id)
}

/// An item without an id is none, as in every list of hits.
fn found_item(of: ItemMatch) -> Option<FoundItem> {
    let title_match = of.r#match();
    let ItemDescription { item, title, genres, year, ratings, damped_mean, categories: _ } = of.item?;
    let item = EntityId::try_from(item?).ok()?;
    let description = Description { item, title, genres, year, ratings, popularity: damped_mean };
    Some(FoundItem { description, title_match: known(title_match) })
}

/// A match that a later release has brought is further than all that are known here.
fn known(title_match: TitleMatch) -> TitleMatch {
    if title_match == TitleMatch::Unspecified { TitleMatch::Prefixes } else { title_match }
}
