//! The ids of all items of a data set, by global row.

use shoal_format::{id_column::IdColumn, row::IdRef};

/// The ids of all shards, in their order.
pub(super) struct ItemIds {
    shards: Vec<IdColumn>,
    /// The global row of each shard's first item.
    firsts: Vec<usize>,
}

impl ItemIds {
    pub(super) fn new(shards: Vec<IdColumn>) -> Self {
        let mut next = 0;
        let first = |ids: &IdColumn| {
            let first = next;
            next += ids.len();
            first
        };
        let firsts = shards.iter().map(first).collect();
        Self { shards, firsts }
    }

    /// The id of a global row.
    ///
    /// # Panics
    /// When there is no such row.
    pub(super) fn of(&self, row: u32) -> IdRef<'_> {
        let row = row as usize;
        // Of shards that begin at one row all but the last are empty.
        let shard = self.firsts.partition_point(|first| *first <= row) - 1;
        self.shards[shard].get_ref(row - self.firsts[shard])
    }
}
