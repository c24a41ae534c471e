//! Items by the words of their titles.

use std::sync::Arc;

use shoal_proto::v1::{ItemDescription, ItemMatch, SearchItemsReply, SearchItemsRequest, ShardMatches};
use tonic::Status;

use super::{Serving, describe, invalid, item_shards, not_loaded};
use crate::serve::{ItemShard, LoadedVersion, Matches, N_MAX, QueryError};

/// Words of one search.
const WORDS_MAX: usize = 32;
/// Bytes of all of them.
const WORDS_BYTES_MAX: usize = 4_096;

impl Serving {
    /// Runs on the serving pool: the first search of a version's titles makes their index.
    pub(super) async fn search(
        &self,
        version: Arc<LoadedVersion>,
        request: SearchItemsRequest,
    ) -> Result<SearchItemsReply, Status> {
        let SearchItemsRequest { version: name, shards, words, n } = request;
        let found = item_shards(&version, &shards)?;
        if !(1..=N_MAX).contains(&n) {
            return Err(invalid(QueryError::N(n)));
        }
        let bytes: usize = words.iter().map(String::len).sum();
        if words.is_empty() || words.len() > WORDS_MAX || bytes > WORDS_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "there are {} words of {bytes} bytes; there must be 1 to {WORDS_MAX} of up to {WORDS_BYTES_MAX} bytes",
                words.len()
            )));
        }
        let matches = self.compute.run(move || {
            let of_shard = |(shard, found): (u32, Option<Arc<ItemShard>>)| match found {
                Some(found) => {
                    let Matches { rows, matched } = found.search(&words, n as usize);
                    let item = |(row, of)| ItemMatch {
                        item: Some(description(&found, row)),
                        r#match: i32::from(of),
                    };
                    let items = rows.into_iter().map(item).collect();
                    ShardMatches { shard, items, matched, ..ShardMatches::default() }
                }
                None => {
                    let error = Some(not_loaded(&version.name, shard));
                    ShardMatches { shard, error, ..ShardMatches::default() }
                }
            };
            found.into_iter().map(of_shard).collect()
        });
        let shards = matches.await.map_err(|error| Status::internal(error.to_string()))?;
        Ok(SearchItemsReply { version: name, shards })
    }
}

fn description(shard: &ItemShard, row: usize) -> ItemDescription {
    let (title, genres) = describe(shard, row);
    let (ratings, damped_mean) = shard.popularity(row);
    ItemDescription {
        item: Some(shard.id(row).into()),
        title,
        genres,
        year: shard.descriptions().year(row),
        ratings: u64::from(ratings),
        damped_mean,
        ..ItemDescription::default()
    }
}
