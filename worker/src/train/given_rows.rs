//! Held-out pairs by own row of a side, sorted. Pure.
//!
//! Pairs come in pieces, in the order of a file. Each piece is divided by blocks of rows; then each block, which fits a core's
//! cache, is put in order by itself. Both are done for several pieces or blocks at a time, and in memory
//! each pair is written three times.

use std::ops::Range;

use rayon::prelude::*;

/// Pairs of a block, about: with what they become less than a core's second cache.
const BLOCK_PAIRS: usize = 32 * 1024;

/// More blocks are more places that a piece is divided to than a core keeps at hand.
const BLOCKS_MAX: usize = 1024;

/// The held-out pairs of one side's own rows.
#[derive(Debug)]
pub(super) struct GivenRows {
    /// Own rows + 1 offsets.
    pub(super) indptr: Vec<u64>,
    /// Global rows of the other side, ascending within a row.
    pub(super) others: Vec<u32>,
    /// One per pair.
    pub(super) ratings: Vec<f32>,
}

/// A pair as one side sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    /// Its place among the own rows.
    pub(super) row: u32,
    /// Global row of the other side.
    pub(super) other: u32,
    pub(super) rating: f32,
}

/// The cells of a piece, by block, and in the piece's order within a block.
struct Divided {
    /// Blocks + 1 offsets.
    begins: Vec<usize>,
    cells: Vec<Cell>,
}

impl Divided {
    fn of_block(&self, block: usize) -> &[Cell] {
        &self.cells[self.begins[block]..self.begins[block + 1]]
    }
}

impl GivenRows {
    /// Of so many own rows, from the pairs that have a cell here. Of cells of the same rows the first counts.
    pub(super) fn new<P: Sync>(
        rows: usize,
        pieces: &[Vec<P>],
        cell: impl Fn(&P) -> Option<Cell> + Sync,
    ) -> Self {
        let pairs: usize = pieces.iter().map(Vec::len).sum();
        let blocks = (pairs / BLOCK_PAIRS).clamp(1, BLOCKS_MAX);
        // Blocks of a power of two of rows, of which there is at least one.
        let shift = rows.div_ceil(blocks).next_power_of_two().trailing_zeros();
        let blocks = rows.div_ceil(1 << shift);
        let divided: Vec<Divided> =
            pieces.par_iter().map(|piece| divide(piece, &cell, blocks, shift)).collect();
        let counts = (0..blocks).map(|block| divided.iter().map(|piece| piece.of_block(block).len()).sum());
        let counts: Vec<usize> = counts.collect();
        let cells = counts.iter().sum();
        let (mut others, mut ratings) = (vec![0; cells], vec![0.0; cells]);
        let places = split(&mut others, &counts).into_par_iter().zip(split(&mut ratings, &counts));
        let lengths: Vec<Vec<usize>> = places
            .enumerate()
            .map(|(block, (others, ratings))| {
                let first = block << shift;
                let pieces: Vec<&[Cell]> = divided.iter().map(|piece| piece.of_block(block)).collect();
                sort(first..rows.min(first + (1 << shift)), &pieces, others, ratings)
            })
            .collect();
        // Where pairs came again there are gaps behind the blocks.
        let (mut begin, mut end) = (0, 0);
        for (lengths, count) in lengths.iter().zip(counts) {
            let length = lengths.iter().sum::<usize>();
            if begin > end {
                others.copy_within(begin..begin + length, end);
                ratings.copy_within(begin..begin + length, end);
            }
            begin += count;
            end += length;
        }
        others.truncate(end);
        ratings.truncate(end);
        let mut indptr = Vec::with_capacity(rows + 1);
        indptr.push(0);
        let mut end = 0;
        for length in lengths.into_iter().flatten() {
            end += length as u64;
            indptr.push(end);
        }
        Self { indptr, others, ratings }
    }

    /// What is held out of an own row: global rows of the other side, ascending.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        &self.others[self.indptr[row] as usize..self.indptr[row + 1] as usize]
    }
}

/// The cells of a piece by blocks of `1 << shift` rows.
fn divide<P>(piece: &[P], cell: impl Fn(&P) -> Option<Cell>, blocks: usize, shift: u32) -> Divided {
    let mut begins = vec![0; blocks + 1];
    for cell in piece.iter().filter_map(&cell) {
        begins[(cell.row >> shift) as usize + 1] += 1;
    }
    add_up(&mut begins);
    let mut next = begins.clone();
    let mut cells = vec![Cell::default(); begins[blocks]];
    for cell in piece.iter().filter_map(&cell) {
        let at = &mut next[(cell.row >> shift) as usize];
        cells[*at] = cell;
        *at += 1;
    }
    Divided { begins, cells }
}

/// Puts the cells of these rows in order, and says how many each row has. What they leave of `others` and
/// `ratings`, which have room for all of them, is the end.
fn sort(rows: Range<usize>, pieces: &[&[Cell]], others: &mut [u32], ratings: &mut [f32]) -> Vec<usize> {
    let mut begins = vec![0; rows.len() + 1];
    for cell in pieces.iter().copied().flatten() {
        begins[cell.row as usize - rows.start + 1] += 1;
    }
    add_up(&mut begins);
    let mut next = begins.clone();
    // Rows of the other side, and after them places, which ascend in the file: the first of equal ones stays in front.
    let mut keys = vec![0; others.len()];
    let mut values = vec![0.0; others.len()];
    for piece in pieces {
        for cell in *piece {
            let at = &mut next[cell.row as usize - rows.start];
            keys[*at] = u64::from(cell.other) << 32 | *at as u64;
            values[*at] = cell.rating;
            *at += 1;
        }
    }
    let mut end = 0;
    let of_row = |row: &[usize]| {
        let keys = &mut keys[row[0]..row[1]];
        keys.sort_unstable();
        let begin = end;
        for &key in &*keys {
            let (other, at) = ((key >> 32) as u32, key as u32);
            if end == begin || others[end - 1] != other {
                others[end] = other;
                ratings[end] = values[at as usize];
                end += 1;
            }
        }
        end - begin
    };
    begins.windows(2).map(of_row).collect()
}

/// Makes counts, each in the place after its own, the places where each begins and the last one ends.
fn add_up(counts: &mut [usize]) {
    let mut sum = 0;
    for count in counts {
        sum += *count;
        *count = sum;
    }
}

/// `values` in parts of these lengths.
fn split<'a, T>(values: &'a mut [T], lengths: &[usize]) -> Vec<&'a mut [T]> {
    let mut rest = values;
    let mut parts = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (part, after) = rest.split_at_mut(length);
        parts.push(part);
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_have_every_own_pair_once_with_its_first_rating(
            rows in 0_u32..9,
            pieces in prop::collection::vec(
                prop::collection::vec((0_u32..9, 0_u32..9, 0_u8..10), 0..30),
                0..5,
            ),
        ) {
            let mut first = BTreeMap::new();
            for &(row, other, rating) in pieces.iter().flatten().filter(|pair| pair.0 < rows) {
                first.entry((row, other)).or_insert(f32::from(rating));
            }
            let given = GivenRows::new(rows as usize, &pieces, |&(row, other, rating)| {
                (row < rows).then(|| Cell { row, other, rating: rating.into() })
            });
            let found = (0..rows).flat_map(|row| given.row(row as usize).iter().map(move |&other| (row, other)));
            let found: Vec<((u32, u32), f32)> = found.zip(given.ratings.iter().copied()).collect();
            prop_assert_eq!(found, first.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(given.indptr.len(), rows as usize + 1);
            prop_assert_eq!(given.others.len(), given.ratings.len());
        }
    }

    #[test]
    fn many_blocks_are_as_one() {
        // A last block that is not full, rows without pairs, and pairs that come again in other pieces.
        let (rows, pairs) = (1_000, 5 * BLOCK_PAIRS as u32);
        let pair =
            |at: u32| (at.wrapping_mul(2_654_435_761) % rows / 3 * 3, at.wrapping_mul(40_503) % 97, at);
        let pieces: Vec<Vec<(u32, u32, u32)>> =
            (0..5).map(|piece| (0..pairs).filter(|at| at % 5 == piece).map(pair).collect()).collect();
        let mut first = BTreeMap::new();
        for &(row, other, rating) in pieces.iter().flatten() {
            first.entry((row, other)).or_insert(rating as f32);
        }
        let given = GivenRows::new(rows as usize, &pieces, |&(row, other, rating)| {
            Some(Cell { row, other, rating: rating as f32 })
        });
        let found = (0..rows).flat_map(|row| given.row(row as usize).iter().map(move |&other| (row, other)));
        let found: Vec<((u32, u32), f32)> = found.zip(given.ratings.iter().copied()).collect();
        assert_eq!(found, first.into_iter().collect::<Vec<_>>());
    }
}
