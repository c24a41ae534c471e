//! One side's training ratings on this worker, and the factors held of it.

use std::ops::Range;

use shoal_proto::v1::{Objective, Side};

use super::settings::Settings;
use crate::{
    als::{
        fit::RatingRows,
        init::{self, Stream},
    },
    exchange::routing::{SideShards, SlotTable},
    id_column::IdColumn,
};

/// A shard owned by this worker.
#[derive(Debug)]
pub(super) struct OwnedShard {
    pub(super) shard: u32,
    /// Its rows among this worker's own.
    pub(super) rows: Range<usize>,
    pub(super) ids: IdColumn,
}

/// The training ratings of the owned shards of one side, and its slots.
#[derive(Debug)]
pub(super) struct TrainingSide {
    pub(super) side: Side,
    /// Every shard of the side.
    pub(super) shards: SideShards,
    /// Ascending by shard: own rows are in global order.
    pub(super) owned: Vec<OwnedShard>,
    /// This side's rows that are held here.
    pub(super) table: SlotTable,
    /// The ratings of the own rows; slots are the other side's.
    pub(super) indptr: Vec<u64>,
    pub(super) slots: Vec<u32>,
    pub(super) ratings: Vec<f32>,
}

impl TrainingSide {
    pub(super) fn rating_rows(&self) -> RatingRows<'_> {
        RatingRows { indptr: &self.indptr, slots: &self.slots, ratings: &self.ratings }
    }

    /// Training ratings of each row in `rows`.
    pub(super) fn train_counts(&self, rows: Range<usize>) -> Vec<u32> {
        self.indptr[rows.start..=rows.end]
            .windows(2)
            // A row has at most one rating per row of the other side, which are counted in a u32.
            .map(|pair| (pair[1] - pair[0]) as u32)
            .collect()
    }

    /// The shard of an own row.
    pub(super) fn shard_of_own_row(&self, row: usize) -> u32 {
        let at = self.owned.partition_point(|owned| owned.rows.end <= row);
        self.owned[at].shard
    }

    /// The global row of each slot.
    pub(super) fn global_rows(&self, workers: usize) -> Vec<u32> {
        let own = self.owned.iter().flat_map(|owned| self.shards.shard_rows(owned.shard));
        let remote = (0..workers).flat_map(|worker| self.table.needed_of(worker).1.iter().copied());
        own.chain(remote).collect()
    }

    /// Bytes of the ratings in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.indptr) + size_of_val(&*self.slots) + size_of_val(&*self.ratings)
    }
}

/// Held-out pairs of the own user rows.
#[derive(Debug, Default)]
pub(super) struct HeldOut {
    /// Own user rows + 1 offsets.
    pub(super) indptr: Vec<u64>,
    /// Global item rows, ascending within a user.
    pub(super) items: Vec<u32>,
    pub(super) ratings: Vec<f32>,
}

impl HeldOut {
    pub(super) fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.indptr[row] as usize..self.indptr[row + 1] as usize;
        (&self.items[range.clone()], &self.ratings[range])
    }
}

/// The factors held of one side: one stored row per slot, for each objective.
#[derive(Debug, Default)]
pub(super) struct Factors {
    pub(super) rating: Vec<f32>,
    pub(super) ranking: Vec<f32>,
}

impl Factors {
    /// Own rows at their starting values, remote rows zero until their owners send them.
    pub(super) fn initial(side: &TrainingSide, settings: &Settings) -> Self {
        let mut factors = Self::default();
        for (objective, width) in settings.widths() {
            let mut values = vec![0.0; side.table.slots() * width];
            let stream = Stream {
                seed: settings.seed,
                users: side.side == Side::Users,
                ranking: objective == Objective::Ranking,
            };
            for owned in &side.owned {
                for (row, slot) in owned.rows.clone().enumerate() {
                    // A bias, the last element of a stored rating row, starts at zero.
                    let factors = &mut values[slot * width..][..settings.rank];
                    init::fill_row(stream, owned.ids.hash64(row), factors);
                    settings.exchange.round(factors);
                }
            }
            *factors.of_mut(objective) = values;
        }
        factors
    }

    pub(super) fn of(&self, objective: Objective) -> &[f32] {
        if objective == Objective::Ranking { &self.ranking } else { &self.rating }
    }

    pub(super) fn of_mut(&mut self, objective: Objective) -> &mut Vec<f32> {
        if objective == Objective::Ranking { &mut self.ranking } else { &mut self.rating }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.rating) + size_of_val(&*self.ranking)
    }
}
