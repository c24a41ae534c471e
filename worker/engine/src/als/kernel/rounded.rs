//! Panels rounded to bf16, and sums of their outer products: where the processor has instructions for them they take
//! half the time of f32, and their sums are f32. Good enough to start from, not to end with: see [`crate::als::refined`].
//!
//! A step of such a panel holds two steps of the depth: sixteen *pairs*, of which the first number is in the lower
//! half of a word. A product of pairs is the sum of two products. Numbers are rounded to nearest, ties to even.

use super::{
    Kernel, LANES,
    blocks::{self, offset, side},
    dense::store_first,
    normal::Ahead,
    pack::Rows,
    portable::Array,
    vector::{Lanes, Vector, ZEROS},
};

/// Numbers in a step.
pub(super) const PAIRED: usize = 2 * LANES;

/// A vector of sums.
pub(super) trait PairSums: Vector {
    /// Adds to lane i the product of `pairs[i]` with `pair`; there is one pair for each lane.
    unsafe fn add_pairs(self, pairs: *const u32, pair: u32) -> Self;
}

/// How an instruction set rounds.
pub(super) trait Rounding {
    /// Sums of a whole side of a block.
    type Full: PairSums + Lanes;
    /// Of half a side.
    type Half: PairSums;

    /// Writes the pairs of the lanes of two vectors.
    unsafe fn pair(first: Self::Full, second: Self::Full, to: *mut u32);

    /// Writes the transpose of [`LANES`] rows of [`PAIRED`] numbers, of which the first `count` are there and the others
    /// zero: pair j of row i goes to `to[j · LANES + i]`. Numbers are multiplied by their column's and their row's.
    unsafe fn pair_columns(
        rows: &[*const f32; LANES],
        count: usize,
        column_scales: &[f32; PAIRED],
        row_scales: &[f32; LANES],
        to: *mut u32,
    );
}

/// Work on rounded panels, compiled for those instructions or for arrays.
pub(super) trait RoundedTask {
    /// Does the work. Implementations are `#[inline(always)]`: that is how they get the caller's features.
    ///
    /// # Safety
    /// The processor has the instruction set, and the task's slices have been checked.
    unsafe fn run<R: Rounding>(self);
}

/// Panels of gathered numbers, rounded.
#[derive(Debug, Default)]
pub struct RoundedPanels {
    /// Two numbers of bf16 in each word, panel after panel.
    values: Vec<u32>,
    stride: usize,
    /// Steps of a panel: pairs of rows.
    depth: usize,
}

impl RoundedPanels {
    /// Makes room for `count` panels of `depth` steps; what they hold is undefined.
    fn reshape(&mut self, count: usize, depth: usize) {
        // Whole blocks of steps are written; and a line more, as in panels of f32.
        self.stride = (depth.next_multiple_of(LANES) + 1) * LANES;
        self.depth = depth;
        let needed = count * self.stride;
        if self.values.len() < needed {
            self.values.resize(needed, 0);
        }
    }
}

#[cfg(test)]
impl RoundedPanels {
    /// The pair of a column and a step.
    pub(super) fn pair(&self, column: usize, step: usize) -> u32 {
        self.values[column / LANES * self.stride + step * LANES + column % LANES]
    }
}

impl Kernel {
    /// Gathers the rows that `slots` names, each times its number in `scales` where they are given, and adds them up before
    /// they are rounded: each times its number in `factors`, in the order given, to `side`.
    ///
    /// # Panics
    /// When a slot names no row, or a length does not fit.
    pub fn pack_rounded_rows(
        self,
        rows: Rows<'_>,
        slots: &[u32],
        scales: Option<&[f32]>,
        factors: &[f32],
        panels: &mut RoundedPanels,
        side: &mut [f32],
    ) {
        rows.check(slots);
        assert!(scales.is_none_or(|scales| scales.len() == slots.len()) && factors.len() == slots.len());
        assert_eq!(side.len(), rows.width());
        panels.reshape(blocks::side(rows.width()), slots.len().div_ceil(2));
        self.run_rounded(PackRows { rows, slots, scales, factors, panels, side });
    }

    /// Gathers the rows that `slots` names as columns: panel p has the rows p · [`LANES`] to p · `LANES` + 15 of the list,
    /// two columns of the matrix per step. Each number is multiplied by its column's number in `columns`, and its row's in
    /// `scales` where they are given. Rows beyond the list are zero.
    ///
    /// # Panics
    /// When a slot names no row, or there is another number of scales.
    pub fn pack_rounded_columns(
        self,
        rows: Rows<'_>,
        slots: &[u32],
        columns: &[f32],
        scales: Option<&[f32]>,
        panels: &mut RoundedPanels,
    ) {
        rows.check(slots);
        assert!(scales.is_none_or(|scales| scales.len() == slots.len()) && columns.len() == rows.width());
        panels.reshape(side(slots.len()), rows.width().div_ceil(2));
        self.run_rounded(PackColumns { rows, slots, columns, scales, panels });
    }

    /// Adds Σᵣ xᵣ xᵣᵀ to `normal` (see [`blocks`]) for the packed rows xᵣ of `order` numbers. Meanwhile `ahead` is fetched.
    ///
    /// # Panics
    /// When a slice has another length than the order and the panels ask for.
    pub fn add_rounded_products(
        self,
        order: usize,
        panels: &RoundedPanels,
        ahead: Ahead<'_>,
        normal: &mut [f32],
    ) {
        assert!(panels.values.len() >= side(order) * panels.stride);
        assert_eq!(normal.len(), blocks::len(order));
        self.run_rounded(AddProducts { order, panels, ahead, normal });
    }
}

/// The bits of the nearest bf16.
fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() {
        return bits >> 16 | 0x40;
    }
    // Up to the largest number this cannot overflow: infinity has no bits to round.
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

struct PackRows<'a> {
    rows: Rows<'a>,
    slots: &'a [u32],
    scales: Option<&'a [f32]>,
    factors: &'a [f32],
    panels: &'a mut RoundedPanels,
    side: &'a mut [f32],
}

impl RoundedTask for PackRows<'_> {
    #[inline(always)]
    unsafe fn run<R: Rounding>(mut self) {
        /// Panels whose sums are in registers at once.
        const TOGETHER: usize = 8;
        let (whole, rest) = (self.rows.width() / LANES, self.rows.width() % LANES);
        let mut first = 0;
        // SAFETY: slots and lengths were checked; the panels are those of the width.
        unsafe {
            while first + TOGETHER <= whole {
                self.panels_of::<R, TOGETHER>(first, LANES);
                first += TOGETHER;
            }
            while first < whole {
                self.panels_of::<R, 1>(first, LANES);
                first += 1;
            }
            if rest > 0 {
                self.panels_of::<R, 1>(whole, rest);
            }
        }
    }
}

impl PackRows<'_> {
    /// Some panels from `first` on, of which each has `width` columns.
    #[inline(always)]
    unsafe fn panels_of<R: Rounding, const COUNT: usize>(&mut self, first: usize, width: usize) {
        let stride = self.panels.stride;
        // SAFETY: the caller vouches for the instruction set, checked slots and lengths, and the columns. A step takes
        // sixteen of the `stride` pairs that a panel has.
        unsafe {
            let to = self.panels.values.as_mut_ptr().add(first * stride);
            let side = self.side.as_mut_ptr().add(first * LANES);
            let mut sums: [R::Full; COUNT] = std::array::from_fn(|at| load::<R>(side.add(at * LANES), width));
            let row = |at: usize| {
                let begin = self.rows.at(*self.slots.get_unchecked(at)).add(first * LANES);
                let factor = R::Full::splat(*self.factors.get_unchecked(at));
                (begin, self.scales.map(|scales| R::Full::splat(*scales.get_unchecked(at))), factor)
            };
            let scaled = |(begin, scale, _): (*const f32, Option<R::Full>, _), panel: usize| {
                let numbers = load::<R>(begin.add(panel * LANES), width);
                scale.map_or(numbers, |scale| numbers.mul(scale))
            };
            for step in 0..self.slots.len() / 2 {
                let both = [row(2 * step), row(2 * step + 1)];
                for (panel, sum) in sums.iter_mut().enumerate() {
                    let numbers = both.map(|row| scaled(row, panel));
                    *sum = numbers[1].mul_add(both[1].2, numbers[0].mul_add(both[0].2, *sum));
                    R::pair(numbers[0], numbers[1], to.add(panel * stride + step * LANES));
                }
            }
            if !self.slots.len().is_multiple_of(2) {
                let last = row(self.slots.len() - 1);
                for (panel, sum) in sums.iter_mut().enumerate() {
                    let numbers = scaled(last, panel);
                    *sum = numbers.mul_add(last.2, *sum);
                    let step = self.slots.len() / 2;
                    R::pair(numbers, R::Full::splat(0.0), to.add(panel * stride + step * LANES));
                }
            }
            for (at, sum) in sums.into_iter().enumerate() {
                store_first(sum, side.add(at * LANES), width);
            }
        }
    }
}

/// As many numbers as a panel has columns.
#[inline(always)]
unsafe fn load<R: Rounding>(from: *const f32, width: usize) -> R::Full {
    // SAFETY: the caller vouches for the instruction set and the numbers.
    unsafe { if width == LANES { R::Full::load(from) } else { R::Full::load_first(from, width) } }
}

struct PackColumns<'a> {
    rows: Rows<'a>,
    slots: &'a [u32],
    columns: &'a [f32],
    scales: Option<&'a [f32]>,
    panels: &'a mut RoundedPanels,
}

impl RoundedTask for PackColumns<'_> {
    #[inline(always)]
    unsafe fn run<R: Rounding>(self) {
        let width = self.rows.width();
        for (panel, slots) in self.slots.chunks(LANES).enumerate() {
            let mut from = [ZEROS.as_ptr(); LANES];
            for (from, &slot) in from.iter_mut().zip(slots) {
                // SAFETY: slots were checked.
                *from = unsafe { self.rows.at(slot) };
            }
            let mut row_scales = [1.0_f32; LANES];
            if let Some(scales) = self.scales {
                row_scales[..slots.len()].copy_from_slice(&scales[panel * LANES..][..slots.len()]);
            }
            for first in (0..width).step_by(PAIRED) {
                let count = (width - first).min(PAIRED);
                let mut column_scales = [0.0_f32; PAIRED];
                column_scales[..count].copy_from_slice(&self.columns[first..first + count]);
                let mut at = from;
                for row in &mut at[..slots.len()] {
                    *row = row.wrapping_add(first);
                }
                // SAFETY: rows have `count` numbers from there and missing ones are not advanced, zeros enough for a step;
                // a panel has room for whole blocks of steps.
                unsafe {
                    let to =
                        self.panels.values.as_mut_ptr().add(panel * self.panels.stride + first / 2 * LANES);
                    R::pair_columns(&at, count, &column_scales, &row_scales, to);
                }
            }
        }
    }
}

struct AddProducts<'a> {
    order: usize,
    panels: &'a RoundedPanels,
    ahead: Ahead<'a>,
    normal: &'a mut [f32],
}

impl RoundedTask for AddProducts<'_> {
    #[inline(always)]
    unsafe fn run<R: Rounding>(self) {
        let Self { order, panels, ahead, .. } = self;
        let count = side(order);
        let total = count * (count + 1) / 2;
        let mut done = 0;
        for row in 0..count {
            // In the last block row only the first half of the rows may exist.
            let half = order - row * LANES <= LANES / 2;
            for column in 0..=row {
                let part = |blocks: usize| ahead.slots.len() * blocks / total;
                for &slot in &ahead.slots[part(done)..part(done + 1)] {
                    // SAFETY: a prefetch may have any address.
                    unsafe { ahead.rows.prefetch_second::<R::Full>(slot) };
                }
                done += 1;
                // SAFETY: lengths were checked; panels and blocks are within their slices.
                unsafe {
                    let panel = |at: usize| panels.values.as_ptr().add(at * panels.stride);
                    let (depth, left, right) = (panels.depth, panel(column), panel(row));
                    let target = self.normal.as_mut_ptr().add(offset(row, column));
                    match (column < row, half) {
                        (true, false) => triangle::<R::Full, R::Half, LANES, 0>(depth, left, right, target),
                        (true, true) => triangle::<R::Half, R::Half, LANES, 0>(depth, left, right, target),
                        (false, false) => triangle::<R::Full, R::Half, 8, 8>(depth, left, right, target),
                        (false, true) => triangle::<R::Half, R::Half, 8, 0>(depth, left, right, target),
                    }
                }
            }
        }
    }
}

/// As [`super::products::triangle`], over steps of pairs: `FULL` columns of all rows that `V` holds, and `HALF` columns (from
/// column 8 on) of the eight rows from row 8.
#[inline(always)]
unsafe fn triangle<V, H, const FULL: usize, const HALF: usize>(
    depth: usize,
    left: *const u32,
    right: *const u32,
    target: *mut f32,
) where
    V: PairSums,
    H: PairSums,
{
    const MIDDLE: usize = LANES / 2;
    // SAFETY: the caller vouches for the instruction set, `depth` steps in both panels and a block at `target`.
    unsafe {
        let mut full = [V::splat(0.0); FULL];
        let mut half = [H::splat(0.0); HALF];
        for step in 0..depth {
            let (left, right) = (left.add(step * LANES), right.add(step * LANES));
            for (column, sum) in full.iter_mut().enumerate() {
                *sum = sum.add_pairs(right, *left.add(column));
            }
            for (column, sum) in half.iter_mut().enumerate() {
                *sum = sum.add_pairs(right.add(MIDDLE), *left.add(MIDDLE + column));
            }
        }
        for (column, sum) in full.into_iter().enumerate() {
            let at = target.add(column * LANES);
            V::load(at).add(sum).store(at);
        }
        for (column, sum) in half.into_iter().enumerate() {
            let at = target.add((MIDDLE + column) * LANES + MIDDLE);
            H::load(at).add(sum).store(at);
        }
    }
}

/// Rounds without instructions for bf16, in arrays.
pub(super) struct Arrays;

impl<const COUNT: usize> PairSums for Array<COUNT> {
    #[inline(always)]
    unsafe fn add_pairs(self, pairs: *const u32, pair: u32) -> Self {
        let (high, low) =
            (|pair: u32| f32::from_bits(pair & 0xffff_0000), |pair: u32| f32::from_bits(pair << 16));
        let products: [f32; COUNT] = std::array::from_fn(|lane| {
            // SAFETY: the caller vouches for COUNT pairs.
            let other = unsafe { *pairs.add(lane) };
            low(other) * low(pair) + high(other) * high(pair)
        });
        // SAFETY: arrays need no feature, and the products are as many as there are lanes.
        unsafe { self.add(Self::load(products.as_ptr())) }
    }
}

impl Rounding for Arrays {
    type Full = Array<LANES>;
    type Half = Array<8>;

    #[inline(always)]
    unsafe fn pair(first: Self::Full, second: Self::Full, to: *mut u32) {
        let (mut low, mut high) = ([0.0; LANES], [0.0; LANES]);
        // SAFETY: the caller vouches for room for sixteen pairs.
        unsafe {
            first.store(low.as_mut_ptr());
            second.store(high.as_mut_ptr());
            for (lane, (&low, &high)) in low.iter().zip(&high).enumerate() {
                *to.add(lane) = rounded(low) | rounded(high) << 16;
            }
        }
    }

    #[inline(always)]
    unsafe fn pair_columns(
        rows: &[*const f32; LANES],
        count: usize,
        column_scales: &[f32; PAIRED],
        row_scales: &[f32; LANES],
        to: *mut u32,
    ) {
        for (i, (&row, scale)) in rows.iter().zip(row_scales).enumerate() {
            let number = |at: usize| {
                // SAFETY: the caller vouches for `count` numbers in each row.
                if at < count { unsafe { *row.add(at) * (scale * column_scales[at]) } } else { 0.0 }
            };
            for j in 0..LANES {
                // SAFETY: the caller vouches for a block at `to`.
                unsafe { *to.add(j * LANES + i) = rounded(number(2 * j)) | rounded(number(2 * j + 1)) << 16 };
            }
        }
    }
}
