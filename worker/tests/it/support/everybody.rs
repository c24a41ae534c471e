//! What all workers together are trained on, read by one.

use shoal_common::store::{PartKind, ids_part, part};
use shoal_core::hash::{is_held_out, pair_hash};
use shoal_format::{blocks::RatingBlock, id_column::IdColumn, tensor_file::TensorFile};
use shoal_proto::v1::{DatasetInfo, Side};

use super::{Workers, models::split};

/// The training ratings of the whole data set by user row, from what one worker is trained on.
#[derive(Debug)]
pub(crate) struct Everybody {
    pub(crate) indptr: Vec<u64>,
    pub(crate) items: Vec<u32>,
    pub(crate) ratings: Vec<f32>,
    pub(crate) hashes: Vec<u64>,
}

/// Reads the blocks of the data set and leaves out what the split holds out.
pub(crate) async fn everybody(workers: &Workers, dataset: &DatasetInfo) -> Everybody {
    let mut everybody =
        Everybody { indptr: vec![0], items: Vec::new(), ratings: Vec::new(), hashes: Vec::new() };
    let mut item_hashes = Vec::new();
    for stats in &dataset.item_shards {
        let ids = ids(workers, dataset, Side::Items, stats.shard).await;
        item_hashes.extend((0..ids.len()).map(|row| ids.hash64(row)));
    }
    for stats in &dataset.user_shards {
        let path = format!("{}/{}", dataset.path, part(PartKind::Ratings, Side::Users, stats.shard));
        let file = TensorFile::from_bytes(&path, &workers.store.get(&path).await.unwrap()).unwrap();
        let block = RatingBlock::open(file, stats.rows as usize, dataset.items).unwrap();
        for row in 0..block.rows() {
            let user = block.ids().hash64(row);
            for at in block.span(row) {
                let item = block.indices()[at];
                let pair = pair_hash(user, item_hashes[item as usize], split().seed);
                if !is_held_out(pair, split().test_ratio) {
                    everybody.items.push(item);
                    everybody.ratings.push(block.ratings()[at]);
                }
            }
            everybody.indptr.push(everybody.items.len() as u64);
            everybody.hashes.push(user);
        }
    }
    everybody
}

pub(crate) async fn ids(workers: &Workers, dataset: &DatasetInfo, side: Side, shard: u32) -> IdColumn {
    let path = format!("{}/{}", dataset.path, ids_part(side, shard));
    IdColumn::read(&TensorFile::from_bytes(&path, &workers.store.get(&path).await.unwrap()).unwrap()).unwrap()
}
