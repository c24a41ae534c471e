//! One side's training ratings on this worker, and the factors held of it.

use std::ops::Range;

use rayon::prelude::*;
use shoal_engine::{
    als::{
        fit::{RatingRows, Row},
        init::{self, Stream},
        problem::Solver,
    },
    large_pages::LargePages,
};
use shoal_format::id_column::IdColumn;
use shoal_proto::v1::{Objective, Side};

use super::{
    settings::Settings,
    training_ratings::{Blocks, Counted, RatingFile},
};
use crate::exchange::routing::{SideShards, SlotTable};

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
    /// Own rows + 1 offsets of the training ratings.
    pub(super) indptr: Vec<u64>,
    /// Own rows + 1 offsets of the held-out ratings.
    pub(super) held_indptr: Vec<u64>,
    /// Of users, own rows + 1 offsets of the ratings that are folded in; empty where there are none.
    folded_indptr: Vec<u64>,
    /// The ratings of the own rows; slots are the other side's.
    pub(super) file: RatingFile,
}

impl TrainingSide {
    /// The side whose training ratings were cut out of these blocks.
    pub(super) fn new(blocks: Blocks, table: SlotTable, counted: Counted, file: RatingFile) -> Self {
        let mut first = 0;
        let owned = blocks.blocks.iter().map(|(shard, block)| {
            let rows = first..first + block.rows();
            first = rows.end;
            OwnedShard { shard: *shard, rows, ids: block.ids().clone() }
        });
        let owned = owned.collect();
        let Counted { indptr, held_indptr, folded_indptr, needed: _ } = counted;
        let (side, shards) = (blocks.side, blocks.shards);
        Self { side, shards, owned, table, indptr, held_indptr, folded_indptr, file }
    }

    pub(super) fn rating_rows(&self) -> RatingRows<'_> {
        RatingRows { indptr: &self.indptr, slots: self.file.slots(), ratings: self.file.ratings() }
    }

    /// What was folded in of the own users who are held out; unset where nothing was.
    pub(super) fn folded_rows(&self) -> Option<RatingRows<'_>> {
        (!self.folded_indptr.is_empty()).then(|| RatingRows {
            indptr: &self.folded_indptr,
            slots: self.file.folded_slots(),
            ratings: self.file.folded_ratings(),
        })
    }

    /// What is known of an own row when it is measured: its training ratings, or of a user who is held out, and has no
    /// training rating, what was folded in.
    pub(super) fn known(&self, row: usize) -> Row<'_> {
        let trained = self.rating_rows().row(row);
        match self.folded_rows() {
            Some(folded) if trained.slots.is_empty() => folded.row(row),
            _ => trained,
        }
    }

    /// How many ratings are known of each row in `rows`: see [`TrainingSide::known`].
    pub(super) fn known_counts(&self, rows: Range<usize>) -> Vec<u32> {
        // A row has at most one rating per row of the other side, which are counted in a u32.
        rows.map(|row| self.known(row).slots.len() as u32).collect()
    }

    /// The held-out pairs of the own rows, kept for users only.
    pub(super) fn held_out(&self) -> HeldOut<'_> {
        HeldOut {
            indptr: &self.held_indptr,
            items: self.file.held_items(),
            ratings: self.file.held_ratings(),
        }
    }

    /// Global rows of the users whose ratings of an own item are not trained on, ascending. Of items only, and where they
    /// were kept.
    pub(super) fn untrained_users(&self, row: usize) -> &[u32] {
        let range = self.held_indptr[row] as usize..self.held_indptr[row + 1] as usize;
        self.file.held_items().get(range).unwrap_or_default()
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
        shard_of(&self.owned, row)
    }

    /// The global row of each slot.
    pub(super) fn global_rows(&self, workers: usize) -> Vec<u32> {
        let own = self.owned.iter().flat_map(|owned| self.shards.shard_rows(owned.shard));
        let remote = (0..workers).flat_map(|worker| self.table.needed_of(worker).1.iter().copied());
        own.chain(remote).collect()
    }

    /// Bytes in memory and mapped.
    pub(super) fn memory_bytes(&self) -> usize {
        let offsets = [&self.indptr, &self.held_indptr, &self.folded_indptr];
        offsets.map(|offsets| size_of_val(&**offsets)).iter().sum::<usize>() + self.file.bytes()
    }
}

/// The shard among those owned that an own row is of.
fn shard_of(owned: &[OwnedShard], row: usize) -> u32 {
    owned[owned.partition_point(|owned| owned.rows.end <= row)].shard
}

/// Held-out pairs of the own user rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldOut<'a> {
    /// Own user rows + 1 offsets.
    pub(super) indptr: &'a [u64],
    /// Global item rows, ascending within a user.
    pub(super) items: &'a [u32],
    pub(super) ratings: &'a [f32],
}

impl<'a> HeldOut<'a> {
    /// How many of the own user rows have held-out pairs.
    pub(super) fn users(&self) -> u64 {
        self.indptr.windows(2).filter(|pair| pair[0] < pair[1]).count() as u64
    }

    pub(super) fn row(&self, row: usize) -> (&'a [u32], &'a [f32]) {
        let range = self.indptr[row] as usize..self.indptr[row + 1] as usize;
        (&self.items[range.clone()], &self.ratings[range])
    }
}

/// The factors held of one side: one stored row per slot, for each objective.
#[derive(Debug, Default)]
pub(super) struct Factors {
    pub(super) rating: LargePages,
    pub(super) ranking: LargePages,
}

impl Factors {
    /// Own rows at their starting values, remote rows zero until their owners send them.
    pub(super) fn initial(side: &TrainingSide, settings: &Settings) -> Self {
        let mut factors = Self::zeroed(side.table.slots(), settings);
        for (objective, width) in settings.widths() {
            let stream = Stream {
                seed: settings.seed,
                users: side.side == Side::Users,
                ranking: objective == Objective::Ranking,
            };
            let mut rest = factors.of_mut(objective);
            for owned in &side.owned {
                let (rows, after) = rest.split_at_mut(owned.rows.len() * width);
                rows.par_chunks_exact_mut(width).enumerate().for_each(|(row, stored)| {
                    // A bias, the last element of a stored rating row, starts at zero.
                    let row_factors = &mut stored[..settings.rank];
                    init::fill_row(stream, owned.ids.hash64(row), row_factors);
                    if settings.solver == Solver::Nonnegative {
                        // What begins on the other side of zero ends as zero.
                        row_factors.iter_mut().for_each(|value| *value = value.abs());
                    }
                    settings.exchange.round(row_factors);
                });
                rest = after;
            }
        }
        factors
    }

    /// So many rows of zeros, of the objectives that there are.
    pub(super) fn zeroed(rows: usize, settings: &Settings) -> Self {
        let mut factors = Self::default();
        for (objective, width) in settings.widths() {
            let values = LargePages::zeroed(rows * width);
            if objective == Objective::Ranking {
                factors.ranking = values;
            } else {
                factors.rating = values;
            }
        }
        factors
    }

    pub(super) fn of(&self, objective: Objective) -> &[f32] {
        if objective == Objective::Ranking { &self.ranking } else { &self.rating }
    }

    pub(super) fn of_mut(&mut self, objective: Objective) -> &mut [f32] {
        if objective == Objective::Ranking { &mut self.ranking } else { &mut self.rating }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.rating) + size_of_val(&*self.ranking)
    }
}

#[cfg(test)]
mod tests {
    use shoal_common::ids::IdKind;

    use super::*;

    #[test]
    fn a_row_is_of_the_shard_that_has_it() {
        // The shard in the middle has no row.
        let owned = [(2, 0..2), (3, 2..2), (7, 2..5)].map(|(shard, rows)| OwnedShard {
            shard,
            rows,
            ids: IdColumn::empty(IdKind::Integer),
        });
        assert_eq!([0, 1, 2, 3, 4].map(|row| shard_of(&owned, row)), [2, 2, 7, 7, 7]);
    }
}
