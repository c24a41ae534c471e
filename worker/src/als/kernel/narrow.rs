//! Sums of outer products of rows so short that one pass over them has registers for every sum: they are
//! multiplied where they lie, and not packed.
//!
//! The sums are to the bit those that [`super::normal`] makes of the same rows when they are packed.

use super::{
    Kernel, LANES, Task,
    blocks::{self, BLOCK, side},
    normal::Ahead,
    pack::Rows,
    products::InstructionSet,
    vector::{Lanes as _, Vector, ZEROS},
};

const HALF: usize = LANES / 2;

/// Columns beyond a block that there are registers for.
const MORE: usize = 4;

impl Kernel {
    /// Whether sums of so short rows are made faster without packing: with fewer registers, or of shorter rows, most
    /// of what is computed in one pass would be of no use.
    #[must_use]
    pub fn is_narrow(self, width: usize) -> bool {
        self.has_many_registers() && (HALF + 1..=LANES + MORE).contains(&width)
    }

    /// Adds Σᵣ xᵣ xᵣᵀ over the rows that `slots` names, of at most twenty columns, to `normal` (see [`blocks`]), and
    /// Σᵣ fᵣ xᵣ to each of `SIDES` right-hand sides. `factors` has as many numbers per row as there are sides, which
    /// stand one after the other in `sides`, padded to whole blocks.
    ///
    /// # Panics
    /// When a slot names no row, or a slice has another length than the width and `slots` ask for.
    pub fn add_rows<const SIDES: usize>(
        self,
        rows: Rows<'_>,
        slots: &[u32],
        factors: &[f32],
        ahead: &[u32],
        normal: &mut [f32],
        sides: &mut [f32],
    ) {
        let width = rows.width();
        assert!(width <= LANES + MORE);
        rows.check(slots);
        assert_eq!(normal.len(), blocks::len(width));
        assert_eq!(factors.len(), SIDES * slots.len());
        assert_eq!(sides.len(), SIDES * side(width) * LANES);
        self.run(AddRows::<SIDES> { slots, factors, ahead: Ahead { rows, slots: ahead }, normal, sides });
    }
}

struct AddRows<'a, const SIDES: usize> {
    slots: &'a [u32],
    factors: &'a [f32],
    /// The rows, and which of them come next.
    ahead: Ahead<'a>,
    normal: &'a mut [f32],
    sides: &'a mut [f32],
}

impl<const SIDES: usize> Task for AddRows<'_, SIDES> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        // SAFETY: as of this function.
        unsafe {
            if self.ahead.rows.width() > LANES {
                self.sum::<S, MORE>();
            } else {
                self.sum::<S, 0>();
            }
        }
    }
}

/// Every sum of one pass. What is beyond the rows' width is garbage.
struct Sums<S: InstructionSet, const FURTHER: usize, const SIDES: usize> {
    /// The first columns, all rows of the first block.
    columns: [S::Full; HALF],
    /// The other columns of the first block, the second half of its rows.
    corner: [S::Half; HALF],
    /// The rows below the first block, all columns of it: by row.
    below: [S::Full; FURTHER],
    /// The columns and rows beyond the first block.
    last: [S::Half; FURTHER],
    /// The right-hand sides, in the first block and beyond.
    sides: [S::Full; SIDES],
    further_sides: [S::Half; SIDES],
}

impl<const SIDES: usize> AddRows<'_, SIDES> {
    #[inline(always)]
    unsafe fn sum<S: InstructionSet, const FURTHER: usize>(self) {
        let Ahead { rows, slots: ahead } = self.ahead;
        // SAFETY: the caller vouches for the instruction set. Slots and lengths were checked. Three half blocks are read
        // of every row, whatever its width: of rows that are not followed by as much, of a copy.
        unsafe {
            let mut sums = Sums::<S, FURTHER, SIDES> {
                columns: [S::Full::splat(0.0); HALF],
                corner: [S::Half::splat(0.0); HALF],
                below: [S::Full::splat(0.0); FURTHER],
                last: [S::Half::splat(0.0); FURTHER],
                sides: [S::Full::splat(0.0); SIDES],
                further_sides: [S::Half::splat(0.0); SIDES],
            };
            let whole = rows.followed_by(LANES + HALF);
            let mut copy = [0.0_f32; LANES + HALF];
            for (at, &slot) in self.slots.iter().enumerate() {
                if let Some(&next) = ahead.get(at) {
                    rows.prefetch::<S::Full>(next);
                }
                let mut row = rows.at(slot);
                if slot as usize >= whole {
                    std::ptr::copy_nonoverlapping(row, copy.as_mut_ptr(), rows.width());
                    row = copy.as_ptr();
                }
                sums.add(row, self.factors.as_ptr().add(at * SIDES));
            }
            sums.put(rows.width(), self.normal.as_mut_ptr(), self.sides.as_mut_ptr());
        }
    }
}

impl<S: InstructionSet, const FURTHER: usize, const SIDES: usize> Sums<S, FURTHER, SIDES> {
    /// Adds a row of which three half blocks can be read, and `SIDES` factors.
    #[inline(always)]
    unsafe fn add(&mut self, row: *const f32, factors: *const f32) {
        // SAFETY: what the caller vouches for.
        unsafe {
            let (head, high) = (S::Full::load(row), S::Half::load(row.add(HALF)));
            for (column, sum) in self.columns.iter_mut().enumerate() {
                *sum = head.mul_add(S::Full::splat(*row.add(column)), *sum);
            }
            for (column, sum) in self.corner.iter_mut().enumerate() {
                *sum = high.mul_add(S::Half::splat(*row.add(HALF + column)), *sum);
            }
            for (side, sum) in self.sides.iter_mut().enumerate() {
                *sum = head.mul_add(S::Full::splat(*factors.add(side)), *sum);
            }
            if FURTHER == 0 {
                return;
            }
            let tail = S::Half::load(row.add(LANES));
            for (below, sum) in self.below.iter_mut().enumerate() {
                *sum = head.mul_add(S::Full::splat(*row.add(LANES + below)), *sum);
            }
            for (column, sum) in self.last.iter_mut().enumerate() {
                *sum = tail.mul_add(S::Half::splat(*row.add(LANES + column)), *sum);
            }
            for (side, sum) in self.further_sides.iter_mut().enumerate() {
                *sum = tail.mul_add(S::Half::splat(*factors.add(side)), *sum);
            }
        }
    }

    /// Adds the sums to a matrix of this order in [`blocks`] and to right-hand sides.
    #[inline(always)]
    unsafe fn put(self, width: usize, normal: *mut f32, sides: *mut f32) {
        let (first, rest) = (width.min(LANES), width.saturating_sub(LANES));
        let stride = side(width) * LANES;
        // SAFETY: the caller vouches for the instruction set, a matrix of order `width` and as many right-hand sides.
        unsafe {
            for (column, sum) in self.columns.into_iter().enumerate() {
                add_first(sum, first, normal.add(column * LANES));
            }
            for (column, sum) in self.corner.into_iter().enumerate().take(first - HALF.min(first)) {
                add_first(sum, first - HALF, normal.add((HALF + column) * LANES + HALF));
            }
            for (side, sum) in self.sides.into_iter().enumerate() {
                add_first(sum, first, sides.add(side * stride));
            }
            if rest == 0 {
                return;
            }
            let mut below = [[0.0_f32; LANES]; FURTHER];
            let mut from = [ZEROS.as_ptr(); LANES];
            for ((sum, row), from) in self.below.into_iter().zip(&mut below).zip(&mut from).take(rest) {
                sum.store(row.as_mut_ptr());
                *from = row.as_ptr();
            }
            let mut block = [0.0_f32; BLOCK];
            S::Full::transpose(&from, LANES, block.as_mut_ptr());
            for column in 0..LANES {
                let sum = S::Half::load(block.as_ptr().add(column * LANES));
                let to = normal.add(BLOCK + column * LANES);
                S::Half::load(to).add(sum).store(to);
            }
            for (column, sum) in self.last.into_iter().enumerate().take(rest) {
                add_first(sum, rest, normal.add(2 * BLOCK + column * LANES));
            }
            for (side, sum) in self.further_sides.into_iter().enumerate() {
                add_first(sum, rest, sides.add(side * stride + LANES));
            }
        }
    }
}

/// Adds the first `count` lanes to what is at `to`, which has room for all.
#[inline(always)]
unsafe fn add_first<V: Vector>(sum: V, count: usize, to: *mut f32) {
    let mut lanes = [0.0_f32; LANES];
    // SAFETY: the caller vouches for the instruction set, and for as many numbers at `to` as there are lanes, which are
    // at most sixteen.
    unsafe {
        sum.store(lanes.as_mut_ptr());
        V::load(to).add(V::load_first(lanes.as_ptr(), count)).store(to);
    }
}
