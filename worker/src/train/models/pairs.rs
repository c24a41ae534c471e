//! Rows of pairs between workers: the owner of an item shard pulls them from the owners of users.
//!
//! Rows come in blocks of consecutive items, cut alike everywhere, so that the owner holds one block of each
//! peer at a time whatever the size of the catalogue. Blocks are made when they are asked for: a stream
//! that nobody reads costs one block of memory. No thread of the pool ever waits for a peer.
//!
//! Where every worker sums over all users it pulls their ratings instead, in blocks of users.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use rayon::prelude::*;
use shoal_common::{rpc::MESSAGE_BYTES_MAX, tls::PeerRole};
use shoal_engine::item_cf::encode_row;
use shoal_proto::v1::{PairsChunk, PairsRequest, worker_exchange_client::WorkerExchangeClient};
use tonic::{Status, Streaming};

use super::{attempt::ModelAttempt, item_cf::CoRatings};
use crate::{exchange::push::PushError, train::TrainError};

/// Sums of a block's rows over one worker's users, before they are made bytes, at the most.
const BLOCK_BYTES: usize = 16 * 1024 * 1024;

/// Items of a block, at the most.
const BLOCK_ITEMS: usize = 256;

/// Bytes of a message.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// Blocks that are made ahead of the one being sent.
const BLOCKS_AHEAD: usize = 2;

/// Users of a block.
const BLOCK_USERS: usize = 4_096;

/// What a peer is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    /// The rows of an item shard's pairs.
    Pairs(u32),
    /// The totals of an item shard, in one block.
    Totals(u32),
    /// The ratings of its users, in the blocks of [`user_blocks`].
    UserRatings,
    /// What its tiles keep of the weights of an item shard.
    Weights(u32),
}

/// The blocks of so many users.
pub(super) fn user_blocks(users: usize) -> impl Iterator<Item = Range<usize>> {
    (0..users).step_by(BLOCK_USERS).map(move |begin| begin..users.min(begin + BLOCK_USERS))
}

/// The blocks of a shard's items: as many at a time as [`BLOCK_BYTES`] hold even if each of them is in a pair
/// with every item.
pub(super) fn blocks(rows: Range<u32>, items: usize, width: usize) -> Vec<Range<u32>> {
    let row_bytes = items * (size_of::<u32>() + width * size_of::<i64>());
    let count = (BLOCK_BYTES / row_bytes.max(1)).clamp(1, BLOCK_ITEMS);
    let starts = rows.clone().step_by(count);
    starts.map(|start| start..rows.end.min(start.saturating_add(count as u32))).collect()
}

/// The streams of all peers.
pub(super) struct PeerPairs {
    peers: Vec<PeerStream>,
}

/// The stream of one peer.
pub(super) struct PeerStream {
    /// Its place among the workers.
    pub(super) worker: usize,
    node: String,
    chunks: Streaming<PairsChunk>,
}

impl PeerPairs {
    /// Asks every other worker for its sums, and holds the streams that come.
    pub(super) async fn open(attempt: &ModelAttempt, asked: Asked) -> Result<Self, TrainError> {
        let mut peers = Vec::new();
        for (worker, peer) in attempt.peers.iter().enumerate().filter(|(at, _)| *at != attempt.me) {
            let node = peer.node.clone();
            let channel = attempt
                .context
                .job
                .channels
                .get(&peer.address, PeerRole::Worker)
                .map_err(|source| PushError::Address { node: node.clone(), source })?;
            let mut client = WorkerExchangeClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
            let request = PairsRequest {
                cluster_id: attempt.context.job.cluster_id.clone(),
                job_id: attempt.job_id.clone(),
                attempt: attempt.attempt,
                item_shard: match asked {
                    Asked::Pairs(shard) | Asked::Totals(shard) | Asked::Weights(shard) => shard,
                    Asked::UserRatings => 0,
                },
                totals: matches!(asked, Asked::Totals(_)),
                user_ratings: matches!(asked, Asked::UserRatings),
                weights: matches!(asked, Asked::Weights(_)),
            };
            let opened = client.pull_pairs(request).await;
            let chunks = opened.map_err(|status| refused(&node, status))?.into_inner();
            peers.push(PeerStream { worker, node, chunks });
        }
        Ok(Self { peers })
    }

    /// Each peer by itself.
    pub(super) fn streams(self) -> Vec<PeerStream> {
        self.peers
    }

    /// The next block of every peer, as bytes.
    pub(super) async fn next_block(&mut self) -> Result<Vec<Vec<u8>>, TrainError> {
        futures::future::try_join_all(self.peers.iter_mut().map(PeerStream::next_block)).await
    }
}

impl PeerStream {
    /// Its next block, as bytes.
    pub(super) async fn next_block(&mut self) -> Result<Vec<u8>, TrainError> {
        let Self { node, chunks, .. } = self;
        let mut block = Vec::new();
        loop {
            let chunk = chunks.message().await.map_err(|status| refused(node, status))?;
            let chunk =
                chunk.ok_or_else(|| refused(node, Status::aborted("it sent too few rows of pairs")))?;
            block.extend_from_slice(&chunk.rows);
            if chunk.last {
                return Ok(block);
            }
        }
    }
}

fn refused(node: &str, status: Status) -> TrainError {
    PushError::Refused { node: node.to_owned(), source: Box::new(status) }.into()
}

impl ModelAttempt {
    /// The rows (or the totals) of an item shard's pairs over the own users, for its owner; or what the own users have rated.
    ///
    /// # Errors
    /// When there is no such shard, or the ratings are not laid out yet.
    pub fn serve_pairs(
        self: &Arc<Self>,
        request: &PairsRequest,
    ) -> Result<BoxStream<'static, Result<PairsChunk, TrainError>>, TrainError> {
        if request.item_shard >= self.items.shards.count() {
            return Err(TrainError::Request(format!("there is no item shard {}", request.item_shard)));
        }
        if request.weights {
            return self.serve_weights(request.item_shard);
        }
        let co_ratings = self.co_ratings()?;
        let rows = self.items.shards.shard_rows(request.item_shard);
        let compute = self.context.job.compute.clone();
        if request.user_ratings {
            let blocks = user_blocks(co_ratings.own_users);
            return Ok(sent(blocks, move |block| {
                let (compute, co_ratings) = (compute.clone(), Arc::clone(&co_ratings));
                async move { Ok(compute.run(move || co_ratings.raters.encode_users(block)).await?) }
            }));
        }
        if request.totals {
            let totals = co_ratings.raters.totals(rows.start as usize..rows.end as usize).to_bytes();
            let chunks = chunks(0, Ok(totals));
            return Ok(futures::stream::iter(chunks).boxed());
        }
        let blocks = blocks(rows, co_ratings.raters.items(), co_ratings.raters.width());
        Ok(sent(blocks.into_iter(), move |block| {
            let (compute, co_ratings) = (compute.clone(), Arc::clone(&co_ratings));
            async move { Ok(compute.run(move || block_bytes(&co_ratings, block)).await?) }
        }))
    }
}

/// Blocks in messages, each made when it is asked for, some ahead.
pub(super) fn sent<B, M>(
    blocks: impl Iterator<Item = B> + Send + 'static,
    make: impl Fn(B) -> M + Send + 'static,
) -> BoxStream<'static, Result<PairsChunk, TrainError>>
where
    M: Future<Output = Result<Vec<u8>, TrainError>> + Send + 'static,
{
    let made = futures::stream::iter(blocks).map(make).buffered(BLOCKS_AHEAD);
    made.enumerate().flat_map(|(number, block)| futures::stream::iter(chunks(number, block))).boxed()
}

/// The rows of a block's items over the own users.
fn block_bytes(co_ratings: &CoRatings, block: Range<u32>) -> Vec<u8> {
    let encode = |item| {
        let row = co_ratings.with_accumulator(|pairs| {
            pairs.add_users(&co_ratings.raters, item);
            pairs.take(item)
        });
        let mut bytes = Vec::new();
        encode_row(&row, co_ratings.raters.width(), &mut bytes);
        bytes
    };
    let rows: Vec<Vec<u8>> = block.into_par_iter().map(encode).collect();
    rows.concat()
}

/// A block in messages.
fn chunks(number: usize, block: Result<Vec<u8>, TrainError>) -> Vec<Result<PairsChunk, TrainError>> {
    let block = match block {
        Ok(block) => Bytes::from(block),
        Err(error) => return vec![Err(error)],
    };
    // Blocks of a shard are fewer than its items, which are counted in a u32.
    let number = number as u32;
    // A block of no bytes is a message too: the receiver counts blocks.
    let starts = (0..block.len().max(1)).step_by(MESSAGE_BYTES);
    let chunk = |start: usize| {
        let end = block.len().min(start + MESSAGE_BYTES);
        Ok(PairsChunk { block: number, rows: block.slice(start..end), last: end == block.len() })
    };
    starts.map(chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_shard_and_fit_the_memory() {
        for (rows, items, width) in [(5..5, 10, 2), (3..1_000, 1_000, 4), (0..7, 40_000_000, 6)] {
            let blocks = blocks(rows.clone(), items, width);
            assert_eq!(
                blocks.iter().flat_map(Clone::clone).collect::<Vec<u32>>(),
                rows.collect::<Vec<u32>>()
            );
            let fits =
                |block: &Range<u32>| block.len() == 1 || block.len() * items * (4 + 8 * width) <= BLOCK_BYTES;
            assert!(blocks.iter().all(fits));
        }
    }

    #[test]
    fn a_block_is_cut_into_messages_that_say_which_is_the_last() {
        for bytes in [0, 1, MESSAGE_BYTES, MESSAGE_BYTES + 1, 3 * MESSAGE_BYTES] {
            let block: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
            let chunks: Vec<PairsChunk> =
                chunks(7, Ok(block.clone())).into_iter().map(Result::unwrap).collect();
            assert_eq!(chunks.iter().flat_map(|chunk| chunk.rows.to_vec()).collect::<Vec<u8>>(), block);
            assert!(chunks.iter().all(|chunk| chunk.block == 7 && chunk.rows.len() <= MESSAGE_BYTES));
            let (last, before) = chunks.split_last().unwrap();
            assert!(last.last && before.iter().all(|chunk| !chunk.last));
        }
    }
}
