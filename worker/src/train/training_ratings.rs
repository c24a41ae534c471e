//! The training ratings of the owned blocks, cut free of the held-out pairs, on this worker's own disk
//! and mapped.
//!
//! A first pass over the blocks counts, and notes which rows of the other side are needed; with their
//! slots known a second pass writes. Which pairs are held out is found out anew in each pass, from hashes, the
//! times at which users' held-out ratings begin or the pairs that a file names, so that nothing is kept per training rating. Blocks are in memory while
//! they are gone through, and not for longer.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use rayon::prelude::*;
use shoal_common::private_files;
use shoal_format::{
    blocks::RatingBlock,
    tensor_file::{TensorFile, TensorFileError},
    tensor_pieces::{TensorPieces, Vector, VectorWriter},
};
use shoal_proto::v1::Side;

use super::{
    held_out_file::Given,
    held_out_rows::HeldOutRows,
    split::{Fate, Split, Test},
};
use crate::exchange::routing::SideShards;

const SLOTS: &str = "slots";
const RATINGS: &str = "ratings";
const HELD_ITEMS: &str = "held_items";
const HELD_RATINGS: &str = "held_ratings";
const FOLDED_SLOTS: &str = "folded_slots";
const FOLDED_RATINGS: &str = "folded_ratings";

/// The owned blocks of one side.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) side: Side,
    pub(super) shards: SideShards,
    /// Each block with the number of its shard, ascending.
    pub(super) blocks: Vec<(u32, RatingBlock)>,
}

/// How a side's pairs are split.
#[derive(Debug)]
pub(super) struct PairSplit<'a> {
    pub(super) split: &'a Split,
    /// Of every row of the other side; empty where hashes decide nothing.
    pub(super) other_hashes: Vec<u64>,
    /// The pairs that a held-out file names.
    pub(super) given: Option<&'a HeldOutRows>,
    /// Whether the users that an item's training ratings lack are kept, of items.
    pub(super) keeps_untrained: bool,
}

/// A set of rows of a side: one bit each.
#[derive(Debug)]
pub(super) struct RowSet(Vec<AtomicU64>);

impl RowSet {
    fn new(rows: u64) -> Self {
        Self((0..rows.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    fn insert(&self, row: u32) {
        let (word, bit) = (&self.0[row as usize / 64], 1 << (row % 64));
        // Most rows are needed many times: a look is cheaper than a write.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// The rows, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let word = word.load(Ordering::Relaxed);
            // Rows are counted in a u32.
            (0..64_u32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at as u32 * 64 + bit)
        })
    }
}

/// Ratings of one row.
#[derive(Debug, Clone, Copy, Default)]
struct RowCounts {
    trained: u64,
    held: u64,
    folded: u64,
}

/// What the first pass finds.
#[derive(Debug)]
pub(super) struct Counted {
    /// Own rows + 1 offsets of the training ratings.
    pub(super) indptr: Vec<u64>,
    /// Own rows + 1 offsets of the held-out ones.
    pub(super) held_indptr: Vec<u64>,
    /// Of users, own rows + 1 offsets of the ratings that are folded in; empty where there are none.
    pub(super) folded_indptr: Vec<u64>,
    /// Rows of the other side that training ratings, or those folded in, name.
    pub(super) needed: RowSet,
}

/// The mapped arrays of one side.
#[derive(Debug)]
pub(super) struct RatingFile(TensorFile);

impl RatingFile {
    /// Lets the memory go that it is mapped to: see [`TensorFile::release`].
    pub(super) fn release(&self) {
        self.0.release();
    }

    /// How many bytes of the file are mapped.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes().len()
    }

    /// For each training rating, row after row, the slot of the other side's row.
    pub(super) fn slots(&self) -> &[u32] {
        // Written under this name and type by `write`: the default is never taken, here and below.
        self.0.vector(SLOTS).unwrap_or_default()
    }

    /// For each training rating, the rating.
    pub(super) fn ratings(&self) -> &[f32] {
        self.0.vector(RATINGS).unwrap_or_default()
    }

    /// For each held-out rating, row after row, the global row of the other side, ascending within a row; of items for
    /// each rating that is not trained on, where they are kept.
    pub(super) fn held_items(&self) -> &[u32] {
        self.0.vector(HELD_ITEMS).unwrap_or_default()
    }

    /// For each rating of users that is folded in, row after row, the slot of the item.
    pub(super) fn folded_slots(&self) -> &[u32] {
        self.0.vector(FOLDED_SLOTS).unwrap_or_default()
    }

    /// For each rating that is folded in, the rating.
    pub(super) fn folded_ratings(&self) -> &[f32] {
        self.0.vector(FOLDED_RATINGS).unwrap_or_default()
    }

    /// For each held-out rating, the rating.
    pub(super) fn held_ratings(&self) -> &[f32] {
        self.0.vector(HELD_RATINGS).unwrap_or_default()
    }
}

impl PairSplit<'_> {
    /// Says what becomes of the ratings of a block's row, the own row `own_row` and of all rows `global_row`, when
    /// asked in their order.
    fn of_row<'a>(
        &'a self,
        side: Side,
        block: &'a RatingBlock,
        row: usize,
        own_row: usize,
        global_row: u32,
    ) -> impl FnMut(u32) -> Fate + 'a {
        let own = if self.other_hashes.is_empty() { 0 } else { block.ids().hash64(row) };
        let newest = match &self.split.test {
            Test::Newest(cuts) => Some((cuts, &block.timestamps()[block.span(row)])),
            Test::Ratio { .. } | Test::OfUsers(_) | Test::Given => None,
        };
        let mut at = 0;
        let mut given = self.given.map_or(&[][..], |given| given.row(own_row));
        move |index: u32| {
            while given.first().is_some_and(|&first| first < index) {
                given = &given[1..];
            }
            let is_given = given.first() == Some(&index);
            let Some(&other) = self.other_hashes.get(index as usize) else {
                return if is_given { Fate::HeldOut } else { Fate::Trained };
            };
            let (user, item) = if side == Side::Items { (other, own) } else { (own, other) };
            let is_newest = newest.is_some_and(|(cuts, times)| {
                let user_row = if side == Side::Items { index } else { global_row };
                cuts.hold_out(user_row, times[at], user, item)
            });
            at += 1;
            self.split.fate(user, item, is_given || is_newest)
        }
    }
}

impl Blocks {
    pub(super) fn rows(&self) -> usize {
        self.blocks.iter().map(|(_, block)| block.rows()).sum()
    }

    /// The first own row of each block.
    fn first_rows(&self) -> Vec<usize> {
        let sum = |next: &mut usize, (_, block): &(u32, RatingBlock)| {
            let first = *next;
            *next += block.rows();
            Some(first)
        };
        self.blocks.iter().scan(0, sum).collect()
    }

    /// The first pass. `other_rows` counts all rows of the other side.
    pub(super) fn count(&self, split: &PairSplit<'_>, other_rows: u64) -> Counted {
        let needed = RowSet::new(other_rows);
        let of_users = self.side == Side::Users;
        let counts: Vec<Vec<RowCounts>> = self
            .blocks
            .par_iter()
            .zip(self.first_rows())
            .map(|((shard, block), first)| {
                let first_global = self.shards.shard_rows(*shard).start;
                let indices = block.indices();
                let row_counts = |row| {
                    let global_row = first_global + row as u32;
                    let mut fate = split.of_row(self.side, block, row, first + row, global_row);
                    let mut counts = RowCounts::default();
                    for &index in &indices[block.span(row)] {
                        match fate(index) {
                            Fate::Trained => {
                                counts.trained += 1;
                                needed.insert(index);
                            }
                            Fate::FoldedIn if of_users => {
                                counts.folded += 1;
                                needed.insert(index);
                            }
                            Fate::HeldOut => counts.held += 1,
                            Fate::LeftOut => counts.held += u64::from(split.keeps_untrained),
                            Fate::FoldedIn | Fate::Passed => {}
                        }
                    }
                    counts
                };
                let counts = (0..block.rows()).map(row_counts).collect();
                block.release();
                counts
            })
            .collect();
        let offsets = |of: fn(&RowCounts) -> u64| {
            let mut offsets = Vec::with_capacity(self.rows() + 1);
            let mut sum = 0;
            offsets.push(sum);
            for counts in counts.iter().flatten() {
                sum += of(counts);
                offsets.push(sum);
            }
            offsets
        };
        let any_folded = counts.iter().flatten().any(|counts| counts.folded > 0);
        Counted {
            indptr: offsets(|counts| counts.trained),
            held_indptr: offsets(|counts| counts.held),
            folded_indptr: if any_folded { offsets(|counts| counts.folded) } else { Vec::new() },
            needed,
        }
    }

    /// The second pass: writes `path` and maps it. `slot` gives the slot of a needed row of the other
    /// side. Held-out ratings are kept for users only; they are those of `given`, which `counted` then counts, or else
    /// those of the blocks. Of items the users are kept whose ratings are not trained on, where the split says so.
    pub(super) fn write(
        &self,
        path: &Path,
        split: &PairSplit<'_>,
        counted: &Counted,
        given: Option<&Given>,
        slot: impl Fn(u32) -> u32 + Sync,
    ) -> Result<RatingFile, TensorFileError> {
        let last = |indptr: &[u64]| indptr.last().copied().unwrap_or_default() as usize;
        let trained = last(&counted.indptr);
        let of_users = self.side == Side::Users;
        let held = if of_users || split.keeps_untrained { last(&counted.held_indptr) } else { 0 };
        let keeps_held_out = if of_users { given.is_none() } else { split.keeps_untrained };
        let vectors = [
            Vector::new::<u32>(SLOTS, trained),
            Vector::new::<f32>(RATINGS, trained),
            Vector::new::<u32>(HELD_ITEMS, held),
            Vector::new::<f32>(HELD_RATINGS, if of_users { held } else { 0 }),
            Vector::new::<u32>(FOLDED_SLOTS, last(&counted.folded_indptr)),
            Vector::new::<f32>(FOLDED_RATINGS, last(&counted.folded_indptr)),
        ];
        let pieces = TensorPieces::create(path, &vectors, private_files::create)?;
        let write_given = || {
            given.map_or(Ok(()), |given| {
                pieces.write(HELD_ITEMS, 0, &given.users.others)?;
                pieces.write(HELD_RATINGS, 0, &given.ratings)
            })
        };
        let write_block = |((shard, block), first): (&(u32, RatingBlock), usize)| {
            let first_global = self.shards.shard_rows(*shard).start;
            let at = counted.indptr[first] as usize;
            let held_at = if keeps_held_out { counted.held_indptr[first] as usize } else { 0 };
            let mut slots = VectorWriter::new(&pieces, SLOTS, at);
            let mut ratings = VectorWriter::new(&pieces, RATINGS, at);
            let mut held_items = VectorWriter::new(&pieces, HELD_ITEMS, held_at);
            let ratings_at = if of_users { held_at } else { 0 };
            let mut held_ratings = VectorWriter::new(&pieces, HELD_RATINGS, ratings_at);
            let folded_at = counted.folded_indptr.get(first).map_or(0, |&at| at as usize);
            let mut folded_slots = VectorWriter::new(&pieces, FOLDED_SLOTS, folded_at);
            let mut folded_ratings = VectorWriter::new(&pieces, FOLDED_RATINGS, folded_at);
            let (indices, values) = (block.indices(), block.ratings());
            for row in 0..block.rows() {
                let global_row = first_global + row as u32;
                let span = block.span(row);
                let (own_row, row_values) = (first + row, &values[span.clone()]);
                if counted.indptr[own_row + 1] - counted.indptr[own_row] == span.len() as u64 {
                    // All are trained on: nothing is left to find out.
                    for (&index, &rating) in indices[span].iter().zip(row_values) {
                        slots.push(slot(index))?;
                        ratings.push(rating)?;
                    }
                    continue;
                }
                let mut fate = split.of_row(self.side, block, row, own_row, global_row);
                for (&index, &rating) in indices[span].iter().zip(row_values) {
                    match fate(index) {
                        Fate::Trained => {
                            slots.push(slot(index))?;
                            ratings.push(rating)?;
                        }
                        Fate::HeldOut if keeps_held_out => {
                            held_items.push(index)?;
                            if of_users {
                                held_ratings.push(rating)?;
                            }
                        }
                        Fate::LeftOut if split.keeps_untrained => held_items.push(index)?,
                        Fate::FoldedIn if of_users => {
                            folded_slots.push(slot(index))?;
                            folded_ratings.push(rating)?;
                        }
                        Fate::HeldOut | Fate::LeftOut | Fate::FoldedIn | Fate::Passed => {}
                    }
                }
            }
            slots.flush()?;
            ratings.flush()?;
            held_items.flush()?;
            held_ratings.flush()?;
            folded_slots.flush()?;
            folded_ratings.flush()?;
            block.release();
            Ok(())
        };
        let write_blocks = || self.blocks.par_iter().zip(self.first_rows()).try_for_each(write_block);
        let (blocks, given) = rayon::join(write_blocks, write_given);
        blocks.and(given)?;
        TensorFile::map(path).map(RatingFile)
    }
}
