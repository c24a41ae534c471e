//! Held-out pairs by own row of a side, sorted. Pure.
//!
//! Pairs come in pieces, in the order of a file. Each piece is divided by blocks of rows ([`RowBlocks::divide`]) as soon as
//! it is there; then each block, which fits a core's cache, is put in order by itself ([`RowBlocks::sort`]).
//! Memory that was never used costs more than what is done in it: a pair is kept once as a cell, and once in its place.

use std::ops::Range;

use rayon::prelude::*;

/// Pairs of a block, about: with what they become less than a core's second cache.
const BLOCK_PAIRS: usize = 32 * 1024;

/// More blocks are more places that a piece is divided to than a core keeps at hand.
const BLOCKS_MAX: usize = 1024;

/// The held-out pairs of one side's own rows.
#[derive(Debug)]
pub(super) struct HeldOutRows {
    /// Own rows + 1 offsets.
    pub(super) indptr: Vec<u64>,
    /// Global rows of the other side, ascending within a row.
    pub(super) others: Vec<u32>,
}

/// A pair as one side sees it, with what is kept of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell<V> {
    /// Its place among the own rows.
    pub(super) row: u32,
    /// Global row of the other side.
    pub(super) other: u32,
    pub(super) value: V,
}

/// A side's own rows in blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowBlocks {
    rows: usize,
    /// A block has `1 << shift` rows.
    shift: u32,
}

/// The cells of a piece, by block, and in the piece's order within a block.
#[derive(Debug)]
pub(super) struct Divided<V> {
    /// Blocks + 1 offsets.
    begins: Vec<usize>,
    cells: Vec<Cell<V>>,
}

impl<V> Divided<V> {
    /// Cells of all blocks.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    fn of_block(&self, block: usize) -> &[Cell<V>] {
        &self.cells[self.begins[block]..self.begins[block + 1]]
    }
}

impl HeldOutRows {
    /// What is held out of an own row: global rows of the other side, ascending.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        &self.others[self.indptr[row] as usize..self.indptr[row + 1] as usize]
    }
}

impl RowBlocks {
    /// For about so many pairs of so many own rows.
    pub(super) fn new(rows: usize, pairs: usize) -> Self {
        let blocks = (pairs / BLOCK_PAIRS).clamp(1, BLOCKS_MAX);
        Self { rows, shift: rows.div_ceil(blocks).next_power_of_two().trailing_zeros() }
    }

    fn count(self) -> usize {
        self.rows.div_ceil(1 << self.shift)
    }

    fn block(self, block: usize) -> Range<usize> {
        let first = block << self.shift;
        first..self.rows.min(first + (1 << self.shift))
    }

    /// The cells of a piece, of the pairs that have one here, by block.
    pub(super) fn divide<P, V: Copy + Default>(
        self,
        pairs: &[P],
        cell: impl Fn(&P) -> Option<Cell<V>>,
    ) -> Divided<V> {
        let mut begins = vec![0; self.count() + 1];
        for cell in pairs.iter().filter_map(&cell) {
            begins[(cell.row >> self.shift) as usize + 1] += 1;
        }
        add_up(&mut begins);
        let mut next = begins.clone();
        let mut cells = vec![Cell::default(); begins[self.count()]];
        for cell in pairs.iter().filter_map(&cell) {
            let at = &mut next[(cell.row >> self.shift) as usize];
            cells[*at] = cell;
            *at += 1;
        }
        Divided { begins, cells }
    }

    /// All pieces' pairs, and what is kept of each. Into the first of cells of the same rows the later ones are taken by
    /// `again`, in the order of the file.
    pub(super) fn sort<V: Copy + Default + Send + Sync>(
        self,
        pieces: &[Divided<V>],
        again: impl Fn(&mut V, V) + Sync,
    ) -> (HeldOutRows, Vec<V>) {
        let count_of = |block| pieces.iter().map(|piece| piece.of_block(block).len()).sum();
        let counts: Vec<usize> = (0..self.count()).map(count_of).collect();
        let cells = counts.iter().sum();
        let (mut others, mut values) = (vec![0; cells], vec![V::default(); cells]);
        let places = split(&mut others, &counts).into_par_iter().zip(split(&mut values, &counts));
        let lengths: Vec<Vec<usize>> = places
            .enumerate()
            .map(|(block, (others, values))| {
                let pieces: Vec<&[Cell<V>]> = pieces.iter().map(|piece| piece.of_block(block)).collect();
                sort(self.block(block), &pieces, others, values, &again)
            })
            .collect();
        // Where pairs came again there are gaps behind the blocks.
        let (mut begin, mut end) = (0, 0);
        for (lengths, count) in lengths.iter().zip(counts) {
            let length = lengths.iter().sum::<usize>();
            if begin > end {
                others.copy_within(begin..begin + length, end);
                values.copy_within(begin..begin + length, end);
            }
            begin += count;
            end += length;
        }
        others.truncate(end);
        values.truncate(end);
        let mut indptr = Vec::with_capacity(self.rows + 1);
        indptr.push(0);
        let mut end = 0;
        for length in lengths.into_iter().flatten() {
            end += length as u64;
            indptr.push(end);
        }
        (HeldOutRows { indptr, others }, values)
    }
}

/// Puts the cells of these rows in order, and says how many each row has. What they leave of `others` and
/// `values`, which have room for all of them, is the end.
fn sort<V: Copy + Default>(
    rows: Range<usize>,
    pieces: &[&[Cell<V>]],
    others: &mut [u32],
    values: &mut [V],
    again: &impl Fn(&mut V, V),
) -> Vec<usize> {
    let mut begins = vec![0; rows.len() + 1];
    for cell in pieces.iter().copied().flatten() {
        begins[cell.row as usize - rows.start + 1] += 1;
    }
    add_up(&mut begins);
    let mut next = begins.clone();
    // Rows of the other side, and after them places, which ascend in the file: equal ones stay in its order.
    let mut keys = vec![0; others.len()];
    let mut placed = vec![V::default(); others.len()];
    for piece in pieces {
        for cell in *piece {
            let at = &mut next[cell.row as usize - rows.start];
            keys[*at] = u64::from(cell.other) << 32 | *at as u64;
            placed[*at] = cell.value;
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
                values[end] = placed[at as usize];
                end += 1;
            } else {
                again(&mut values[end - 1], placed[at as usize]);
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
        fn rows_have_every_own_pair_once_with_all_that_came_of_it(
            rows in 0_u32..9,
            // Of one block, of blocks of some rows, and of a block for each.
            pairs in prop::sample::select(vec![0, 4 * BLOCK_PAIRS, 100 * BLOCK_PAIRS]),
            pieces in prop::collection::vec(
                prop::collection::vec((0_u32..9, 0_u32..9, 0_u8..10), 0..30),
                0..5,
            ),
        ) {
            // Digit by digit, so that the order is seen.
            let again = |kept: &mut f64, later: f64| *kept = 10.0 * *kept + later;
            let mut all = BTreeMap::new();
            for &(row, other, rating) in pieces.iter().flatten().filter(|pair| pair.0 < rows) {
                let rating = f64::from(rating);
                all.entry((row, other)).and_modify(|kept| again(kept, rating)).or_insert(rating);
            }
            let blocks = RowBlocks::new(rows as usize, pairs);
            let divided: Vec<Divided<f64>> = pieces
                .iter()
                .map(|piece| {
                    blocks.divide(piece, |&(row, other, rating)| {
                        (row < rows).then(|| Cell { row, other, value: rating.into() })
                    })
                })
                .collect();
            let (given, ratings) = blocks.sort(&divided, again);
            let found = (0..rows).flat_map(|row| given.row(row as usize).iter().map(move |&other| (row, other)));
            let found: Vec<((u32, u32), f64)> = found.zip(ratings.iter().copied()).collect();
            prop_assert_eq!(found, all.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(given.indptr.len(), rows as usize + 1);
            prop_assert_eq!(given.others.len(), ratings.len());
        }
    }
}
