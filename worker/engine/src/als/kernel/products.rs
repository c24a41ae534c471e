//! Products of packed panels: the one loop that a half-step spends its time in.
//!
//! A *panel* is a matrix of [`LANES`] columns stored row after row; its *depth* is its number of rows. A block of
//! `LANES` × `LANES` is stored column after column: number `c · LANES + r` is its row r and column c.
//! Every number of a result is one chain of additions in the order of the depth, whatever the shape of the
//! register block that holds it: results do not depend on how loops are cut.

use super::{LANES, vector::Vector};

/// The registers of an instruction set, and how many accumulators fit into them.
pub(super) trait InstructionSet {
    /// A whole side of a block.
    type Full: super::vector::Lanes;
    /// Half of a block's side.
    type Half: Vector;

    /// Adds `sign` · Σₚ right[p] left[p]ᵀ to the whole block at `target`.
    unsafe fn block(sign: Sign, depth: usize, left: *const f32, right: *const f32, target: *mut f32);

    /// The same for the rows of two panels at once: each has a block of its own.
    #[inline(always)]
    unsafe fn two_blocks(
        sign: Sign,
        depth: usize,
        left: *const f32,
        right: [*const f32; 2],
        target: [*mut f32; 2],
    ) {
        for (right, target) in right.into_iter().zip(target) {
            // SAFETY: what the caller vouches for, panel by panel.
            unsafe { Self::block(sign, depth, left, right, target) }
        }
    }

    /// The same where only the first half of the rows exists.
    unsafe fn half_block(sign: Sign, depth: usize, left: *const f32, right: *const f32, target: *mut f32);

    /// The lower triangle of a block on the diagonal (what is above is undefined), with `SIDES` further columns:
    /// those of `sides`, `SIDES` numbers per step of the depth, are added to `side_targets`, one vector each.
    unsafe fn diagonal<const SIDES: usize>(
        sign: Sign,
        depth: usize,
        left: *const f32,
        right: *const f32,
        target: *mut f32,
        sides: Sides,
    );

    /// The same where only the first half of the rows and columns exists.
    unsafe fn half_diagonal<const SIDES: usize>(
        sign: Sign,
        depth: usize,
        left: *const f32,
        right: *const f32,
        target: *mut f32,
        sides: Sides,
    );

    /// X (U S)ᵀ = A for a block: X takes the place of A. `units` holds U without its ones, `inverse` 1 / S.
    unsafe fn solve_triangle(units: *const f32, inverse: *const f32, target: *mut f32);
}

/// Whether products are added to what is there or taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
}

/// Further columns of a product with a diagonal block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides {
    /// The numbers of one step after those of the other.
    pub(super) values: *const f32,
    /// Where the first column's sums are.
    pub(super) target: *mut f32,
    /// From one column's sums to the next one's.
    pub(super) stride: usize,
}

impl Sides {
    /// For a product that has no further columns.
    pub(super) const NONE: Self = Self { values: std::ptr::null(), target: std::ptr::null_mut(), stride: 0 };
}

/// Adds `COLUMNS` columns of Σₚ right[p] left[p]ᵀ to `target`. `left` begins at the first of the columns, `right` and
/// `target` at the first of the rows.
#[inline(always)]
pub(super) unsafe fn columns<V: Vector, const COLUMNS: usize>(
    sign: Sign,
    depth: usize,
    left: *const f32,
    right: *const f32,
    target: *mut f32,
) {
    // SAFETY: as of `triangle`, of which this is the part without the second half and sides.
    unsafe { triangle::<V, V, COLUMNS, 0, 0>(sign, depth, left, right, target, Sides::NONE) }
}

/// Adds `COLUMNS` columns of Σₚ right[p] left[p]ᵀ to `target` for two panels of rows: each number of `left` is read once for
/// both. Each number of the results is the same chain of additions as in [`columns`].
#[inline(always)]
pub(super) unsafe fn columns_of_two<V: Vector, const COLUMNS: usize>(
    sign: Sign,
    depth: usize,
    left: *const f32,
    right: [*const f32; 2],
    target: [*mut f32; 2],
) {
    // SAFETY: the caller vouches for the instruction set, `depth` rows in every panel and a block at each target.
    unsafe {
        let mut first = [V::splat(0.0); COLUMNS];
        let mut second = [V::splat(0.0); COLUMNS];
        for step in 0..depth {
            let left = left.add(step * LANES);
            let rows = [V::load(right[0].add(step * LANES)), V::load(right[1].add(step * LANES))];
            for (column, (first, second)) in first.iter_mut().zip(&mut second).enumerate() {
                let factor = V::splat(*left.add(column));
                *first = rows[0].mul_add(factor, *first);
                *second = rows[1].mul_add(factor, *second);
            }
        }
        for (column, (first, second)) in first.into_iter().zip(second).enumerate() {
            put(sign, first, target[0].add(column * LANES));
            put(sign, second, target[1].add(column * LANES));
        }
    }
}

/// `FULL` columns of all rows that `V` holds, `HALF` columns (from column 8 on) of the eight rows from row 8, and
/// `SIDES` further columns of all rows, in one pass over the depth.
#[inline(always)]
pub(super) unsafe fn triangle<V, H, const FULL: usize, const HALF: usize, const SIDES: usize>(
    sign: Sign,
    depth: usize,
    left: *const f32,
    right: *const f32,
    target: *mut f32,
    sides: Sides,
) where
    V: Vector,
    H: Vector,
{
    const MIDDLE: usize = LANES / 2;
    // SAFETY: the caller vouches for the instruction set, `depth` rows in both panels, `SIDES · depth` numbers in
    // `sides.values`, a block at `target` and `SIDES` vectors at `sides.target`.
    unsafe {
        let mut full = [V::splat(0.0); FULL];
        let mut half = [H::splat(0.0); HALF];
        let mut side = [V::splat(0.0); SIDES];
        for step in 0..depth {
            let (left, right) = (left.add(step * LANES), right.add(step * LANES));
            let rows = V::load(right);
            for (column, sum) in full.iter_mut().enumerate() {
                *sum = rows.mul_add(V::splat(*left.add(column)), *sum);
            }
            if HALF > 0 {
                let rows = H::load(right.add(MIDDLE));
                for (column, sum) in half.iter_mut().enumerate() {
                    *sum = rows.mul_add(H::splat(*left.add(MIDDLE + column)), *sum);
                }
            }
            for (column, sum) in side.iter_mut().enumerate() {
                *sum = rows.mul_add(V::splat(*sides.values.add(step * SIDES + column)), *sum);
            }
        }
        for (column, sum) in full.into_iter().enumerate() {
            put(sign, sum, target.add(column * LANES));
        }
        for (column, sum) in half.into_iter().enumerate() {
            put(sign, sum, target.add((MIDDLE + column) * LANES + MIDDLE));
        }
        for (column, sum) in side.into_iter().enumerate() {
            put(sign, sum, sides.target.add(column * sides.stride));
        }
    }
}

#[inline(always)]
unsafe fn put<V: Vector>(sign: Sign, sum: V, target: *mut f32) {
    // SAFETY: the caller vouches for the instruction set and a vector at `target`.
    unsafe {
        let there = V::load(target);
        match sign {
            Sign::Plus => there.add(sum),
            Sign::Minus => there.sub(sum),
        }
        .store(target);
    }
}
