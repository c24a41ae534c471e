//! Weights: which entries of B are kept.
//!
//! Scores of one list are compared with each other, whatever their items, so entries are too: kept are the largest of all of B
//! by size, as many as are asked for per item on average, and besides the largest few of each column, so that every item has
//! neighbours. The least size that is kept is found by counting ([`Sizes`]), so no owner needs more of B than it has.
//!
//! What it costs on `ml-latest-small` (8,973 items, λ = 100, likings by height, a fifth held out): ndcg@20 is 0.3506 with all weights,
//! 0.3485 with 200 per item, 0.3414 with 50. With the largest 200 of each item it would be 0.3373: popular items need more weights
//! than others.

use rayon::prelude::*;
use shoal_core::topk::TopK;

use super::{
    grid::{SIDE, Tile},
    pivot::place,
    share::Share,
};

/// Of each column the largest so many entries are kept, however small.
const LEAST: usize = 20;

/// Entries of a column of B, which is what speaks for and against one item: weight and model row of the other item, the largest
/// by size first, ties by row. The diagonal is not among them.
pub type Entries = Vec<(f32, u32)>;

/// How many weights there are of each size, by the upper half of their bits: each bucket's sizes are within 0.8 % of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes(Vec<u64>);

impl Sizes {
    const BITS_PASSED_OVER: u32 = 16;
    /// One bit less than is left: the sign does not count.
    const BUCKETS: usize = 1 << (u32::BITS - Self::BITS_PASSED_OVER - 1);

    fn bucket(weight: f32) -> usize {
        (weight.abs().to_bits() >> Self::BITS_PASSED_OVER) as usize
    }

    fn least_of(bucket: usize) -> f32 {
        // Buckets are fewer than 2¹⁵.
        f32::from_bits((bucket as u32) << Self::BITS_PASSED_OVER)
    }

    /// How many weights each bucket has, from the smallest sizes to the largest.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.0
    }

    /// Of what another owner has told; `None` when it has not as many buckets.
    #[must_use]
    pub fn from_counts(counts: Vec<u64>) -> Option<Self> {
        (counts.len() == Self::BUCKETS).then_some(Self(counts))
    }

    /// Counts one more weight by its size.
    pub fn add(&mut self, weight: f32) {
        self.0[Self::bucket(weight)] += 1;
    }

    /// Adds what another owner has counted.
    pub fn merge(&mut self, other: &Self) {
        // Only counts that no matrix has are beyond a u64.
        self.0.iter_mut().zip(&other.0).for_each(|(count, others)| *count = count.saturating_add(*others));
    }

    /// What is kept of `items` items with so many weights per item on average: as many whole buckets as there is room for.
    #[must_use]
    pub fn selection(&self, items: u32, neighbours: usize) -> Selection {
        let room = u64::from(items) * neighbours as u64;
        let (mut kept, mut size_min) = (0_u64, f32::INFINITY);
        // The lowest bucket has the zeros.
        for (bucket, count) in self.0.iter().enumerate().skip(1).rev().filter(|(_, count)| **count > 0) {
            kept = kept.saturating_add(*count);
            if kept > room {
                break;
            }
            size_min = Self::least_of(bucket);
        }
        Selection { size_min, least: neighbours.min(LEAST) }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self(vec![0; Self::BUCKETS])
    }
}

/// Which weights are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// Those of at least this size.
    pub size_min: f32,
    /// Of each item so many, however small.
    pub least: usize,
}

/// What is kept of one item's weights.
#[derive(Debug)]
struct Selected {
    size_min: f32,
    large: Entries,
    largest: TopK<Other>,
}

/// An entry's model row and sign; they come in the order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Other {
    row: u32,
    is_negative: bool,
}

impl Selected {
    fn new(selection: Selection) -> Self {
        Self { size_min: selection.size_min, large: Vec::new(), largest: TopK::new(selection.least) }
    }

    /// Offers a weight; zeros say nothing and are passed over.
    fn offer(&mut self, weight: f32, row: u32) {
        let size = weight.abs();
        if size >= self.size_min {
            self.large.push((weight, row));
        }
        if size > 0.0 && size >= self.largest.threshold() {
            self.largest.push(size, Other { row, is_negative: weight < 0.0 });
        }
    }

    fn into_entries(self) -> Entries {
        let Self { mut large, largest, .. } = self;
        let largest = largest.into_sorted();
        if large.len() < largest.len() {
            let signed =
                |(size, other): (f32, Other)| (if other.is_negative { -size } else { size }, other.row);
            return largest.into_iter().map(signed).collect();
        }
        large.sort_unstable_by(|a, b| b.0.abs().total_cmp(&a.0.abs()).then(a.1.cmp(&b.1)));
        large
    }
}

impl Share {
    /// Calls `each` with the weights of the items of a tile row that the own tiles have: the item's place in the tile row, the
    /// other item's row, and the weight. `diagonal` is that of P.
    fn for_each_weight(&self, line: u32, diagonal: &[f32], mut each: impl FnMut(usize, u32, f32)) {
        let of_line = &diagonal[line as usize * SIDE..];
        for other in 0..self.grid().side() {
            let Some(values) = self.tile(Tile::between(line, other)) else { continue };
            let first = other * SIDE as u32;
            let others = self.grid().extent(other);
            for (at, p) in of_line.iter().take(self.grid().extent(line)).enumerate() {
                // The other item is on the other side of the tile; on the diagonal, on that where the tile is defined.
                for (row, beside) in (first..).zip(0..others) {
                    let is_column = other < line || (other == line && beside < at);
                    let entry = if is_column { values[place(at, beside)] } else { values[place(beside, at)] };
                    if other != line || beside != at {
                        each(at, row, entry / p);
                    }
                }
            }
        }
    }

    /// Counts the weights that the own tiles have, on the threads of the current rayon pool. `diagonal` is that of P, of all
    /// owners ([`Share::diagonals`]).
    ///
    /// # Panics
    /// When it has another length than the matrix.
    #[must_use]
    pub fn sizes(&self, diagonal: &[f32]) -> Sizes {
        assert_eq!(diagonal.len(), self.grid().order() as usize);
        let count = |mut sizes: Sizes, line: u32| {
            self.for_each_weight(line, diagonal, |_, _, weight| sizes.add(weight));
            sizes
        };
        let counted = (0..self.grid().side()).into_par_iter().with_max_len(1).fold(Sizes::default, count);
        counted.reduce(Sizes::default, |mut one, other| {
            one.merge(&other);
            one
        })
    }

    /// For each item of a tile row, the weights that the own tiles have and that are kept, as far as they know: those of all
    /// owners still have to be merged ([`merge`]). Tile rows may be asked for side by side.
    ///
    /// # Panics
    /// When there is no such tile row, or the diagonal has another length than the matrix.
    #[must_use]
    pub fn selected(&self, line: u32, diagonal: &[f32], selection: Selection) -> Vec<Entries> {
        assert_eq!(diagonal.len(), self.grid().order() as usize);
        let mut selected: Vec<Selected> =
            (0..self.grid().extent(line)).map(|_| Selected::new(selection)).collect();
        self.for_each_weight(line, diagonal, |at, row, weight| selected[at].offer(weight, row));
        selected.into_iter().map(Selected::into_entries).collect()
    }

    /// The diagonal of P where the own tiles are on it: tile row and numbers.
    pub fn diagonals(&self) -> impl Iterator<Item = (u32, Vec<f32>)> {
        let own = self.tiles().iter().filter(|tile| tile.row == tile.column);
        own.filter_map(|tile| {
            let values = self.tile(*tile)?;
            let diagonal = (0..self.grid().extent(tile.row)).map(|at| -values[place(at, at)]);
            Some((tile.row, diagonal.collect()))
        })
    }
}

/// Of the weights that several owners have selected for one item, those that are kept.
#[must_use]
pub fn merge(selected: impl IntoIterator<Item = Entries>, selection: Selection) -> Entries {
    let mut merged = Selected::new(selection);
    selected.into_iter().flatten().for_each(|(weight, row)| merged.offer(weight, row));
    merged.into_entries()
}

/// The weights that are kept of a matrix that has one owner, by model row; `neighbours` per item on average.
#[must_use]
pub fn all_weights(share: &Share, neighbours: usize) -> Vec<Entries> {
    let diagonal: Vec<f32> = share.diagonals().flat_map(|(_, of_line)| of_line).collect();
    let selection = share.sizes(&diagonal).selection(share.grid().order(), neighbours);
    let lines = (0..share.grid().side()).into_par_iter().with_max_len(1);
    lines.flat_map_iter(|line| share.selected(line, &diagonal, selection)).collect()
}
