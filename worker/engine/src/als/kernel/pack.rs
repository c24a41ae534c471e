//! Gathering: rows from all over a matrix into panels that stay in cache while they are multiplied.

use super::{
    Kernel, LANES, Task,
    blocks::side,
    products::InstructionSet,
    vector::{Lanes, Vector, ZEROS},
};

/// Rows to gather from, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
    /// The first number of a stored row that counts.
    first: usize,
    width: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `width` numbers that begin `stride` apart.
    ///
    /// # Panics
    /// When a row is longer than the stride, or empty, or the last row is torn.
    #[must_use]
    pub fn new(values: &'a [f32], stride: usize, width: usize) -> Self {
        assert!((1..=stride).contains(&width) && values.len().is_multiple_of(stride));
        Self { values, stride, first: 0, width }
    }

    /// Only some of the columns.
    ///
    /// # Panics
    /// When they are not within the width, or none.
    #[must_use]
    pub fn columns(&self, columns: std::ops::Range<usize>) -> Self {
        assert!(!columns.is_empty() && columns.end <= self.width);
        Self { first: self.first + columns.start, width: columns.len(), ..*self }
    }

    /// Numbers of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows the matrix has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.values.len() / self.stride
    }

    /// The numbers of one row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, at: usize) -> &'a [f32] {
        &self.values[at * self.stride + self.first..][..self.width]
    }

    pub(super) fn check(&self, slots: &[u32]) {
        let rows = self.count();
        // Without a way out in the middle this is done for many slots at a time.
        let beyond = slots.iter().fold(false, |beyond, &slot| beyond | (slot as usize >= rows));
        assert!(!beyond, "a slot is beyond the rows");
    }

    /// How many rows there are from whose beginning on at least so many numbers can be read.
    pub(super) fn followed_by(&self, numbers: usize) -> usize {
        let last = self.values.len().checked_sub(self.first + numbers);
        last.map_or(0, |last| (last / self.stride + 1).min(self.count()))
    }

    /// Where a checked row begins.
    #[inline(always)]
    pub(super) unsafe fn at(&self, slot: u32) -> *const f32 {
        // SAFETY: the caller has checked the slot, and the columns are within the stride.
        unsafe { self.values.as_ptr().add(slot as usize * self.stride + self.first) }
    }

    /// Asks for the cache lines of a row.
    #[inline(always)]
    pub(super) unsafe fn prefetch<V: Lanes>(&self, slot: u32) {
        // SAFETY: a prefetch may have any address.
        self.lines(slot, |at| unsafe { V::prefetch(at) });
    }

    /// The same, into the second cache.
    #[inline(always)]
    pub(super) unsafe fn prefetch_second<V: Lanes>(&self, slot: u32) {
        // SAFETY: a prefetch may have any address.
        self.lines(slot, |at| unsafe { V::prefetch_second(at) });
    }

    /// An address in each of a row's cache lines.
    #[inline(always)]
    fn lines(&self, slot: u32, line: impl Fn(*const f32)) {
        let begin = self.values.as_ptr().wrapping_add(slot as usize * self.stride + self.first);
        // What is stored right behind the columns, a bias, is read too.
        let length = (self.width + 1).min(self.stride - self.first);
        for at in (0..length).step_by(LANES) {
            line(begin.wrapping_add(at));
        }
        // A row that does not begin with a line ends in one line more.
        line(begin.wrapping_add(length - 1));
    }
}

/// Panels of gathered rows: panel p has the columns from p · [`LANES`], one gathered row per step of its depth. In
/// cache, panels begin one line further apart than their depth asks for: else the same row of all of them would
/// compete for the same few places.
#[derive(Debug, Default)]
pub struct Panels {
    pub(super) values: Vec<f32>,
    pub(super) stride: usize,
    pub(super) depth: usize,
}

impl Panels {
    /// Makes room for `count` panels of `depth`; what they hold is undefined.
    pub(super) fn reshape(&mut self, count: usize, depth: usize) {
        self.stride = (depth + 1) * LANES;
        self.depth = depth;
        let needed = count * self.stride;
        if self.values.len() < needed {
            self.values.resize(needed, 0.0);
        }
    }

    /// Steps of the depth.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }
}

impl Kernel {
    /// Gathers the rows that `slots` names, each times its number in `scales` where they are given. Columns beyond the
    /// width are zero.
    ///
    /// # Panics
    /// When a slot names no row, or there is another number of scales.
    pub fn pack_rows(self, rows: Rows<'_>, slots: &[u32], scales: Option<&[f32]>, panels: &mut Panels) {
        rows.check(slots);
        assert!(scales.is_none_or(|scales| scales.len() == slots.len()));
        panels.reshape(side(rows.width), slots.len());
        self.run(PackRows { rows, slots, scales, panels });
    }

    /// Gathers the rows that `slots` names as columns: panel p has the rows p · [`LANES`] to p · `LANES` + 15 of the
    /// list, one column of the matrix per step of the depth. Each number is multiplied by its column's number in
    /// `column_scales` and its row's in `row_scales`, where they are given; with `ones`, a column of ones follows.
    /// Rows beyond the list are zero.
    ///
    /// # Panics
    /// When a slot names no row, or there is another number of scales.
    pub fn pack_columns(self, rows: Rows<'_>, slots: &[u32], scales: ColumnScales<'_>, panels: &mut Panels) {
        rows.check(slots);
        assert!(scales.rows.is_none_or(|scales| scales.len() == slots.len()));
        assert!(scales.columns.is_none_or(|scales| scales.len() == rows.width));
        panels.reshape(side(slots.len()), rows.width + usize::from(scales.ones));
        self.run(PackColumns { rows, slots, scales, panels });
    }
}

/// What [`Kernel::pack_columns`] multiplies with and adds.
#[derive(Debug, Clone, Copy, Default)]
pub struct ColumnScales<'a> {
    /// A number per column of the matrix.
    pub columns: Option<&'a [f32]>,
    /// A number per gathered row.
    pub rows: Option<&'a [f32]>,
    /// Whether a column of ones follows.
    pub ones: bool,
}

struct PackRows<'a> {
    rows: Rows<'a>,
    slots: &'a [u32],
    scales: Option<&'a [f32]>,
    panels: &'a mut Panels,
}

impl Task for PackRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        let (whole, rest) = (self.rows.width / LANES, self.rows.width % LANES);
        let stride = self.panels.stride;
        for (at, &slot) in self.slots.iter().enumerate() {
            // SAFETY: slots were checked; panels have `stride` numbers each, of which step `at` takes sixteen.
            unsafe {
                let (from, to) = (self.rows.at(slot), self.panels.values.as_mut_ptr().add(at * LANES));
                let scale = self.scales.map(|scales| S::Full::splat(*scales.get_unchecked(at)));
                let scaled = |values: S::Full| scale.map_or(values, |scale| values.mul(scale));
                for panel in 0..whole {
                    scaled(S::Full::load(from.add(panel * LANES))).store(to.add(panel * stride));
                }
                if rest > 0 {
                    scaled(S::Full::load_first(from.add(whole * LANES), rest)).store(to.add(whole * stride));
                }
            }
        }
    }
}

struct PackColumns<'a> {
    rows: Rows<'a>,
    slots: &'a [u32],
    scales: ColumnScales<'a>,
    panels: &'a mut Panels,
}

impl Task for PackColumns<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        let width = self.rows.width;
        for (panel, slots) in self.slots.chunks(LANES).enumerate() {
            let mut from = [ZEROS.as_ptr(); LANES];
            for (from, &slot) in from.iter_mut().zip(slots) {
                // SAFETY: slots were checked.
                *from = unsafe { self.rows.at(slot) };
            }
            let present = slots.len();
            let mut ones = [0.0_f32; LANES];
            ones[..present].fill(1.0);
            // SAFETY: rows have `width` numbers and missing ones are not advanced; scales were checked; a panel has room
            // for `padded(width)` steps, because whole blocks are only written while they fit, and the last one through
            // a buffer.
            unsafe {
                let row_scales = match self.scales.rows {
                    Some(scales) => S::Full::load_first(scales.as_ptr().add(panel * LANES), present),
                    None => S::Full::load(ones.as_ptr()),
                };
                let to = self.panels.values.as_mut_ptr().add(panel * self.panels.stride);
                for first in (0..width).step_by(LANES) {
                    let count = (width - first).min(LANES);
                    let mut at = from;
                    for row in &mut at[..present] {
                        *row = row.add(first);
                    }
                    self.block::<S>(&at, first..first + count, row_scales, to.add(first * LANES));
                }
                if self.scales.ones {
                    S::Full::load(ones.as_ptr()).store(to.add(width * LANES));
                }
            }
        }
    }
}

impl PackColumns<'_> {
    /// Some columns, at most [`LANES`], of the rows that begin at `from`.
    #[inline(always)]
    unsafe fn block<S: InstructionSet>(
        &self,
        from: &[*const f32; LANES],
        columns: std::ops::Range<usize>,
        row_scales: S::Full,
        to: *mut f32,
    ) {
        let count = columns.len();
        let mut scales = [1.0_f32; LANES];
        if let Some(of_columns) = self.scales.columns {
            scales[..count].copy_from_slice(&of_columns[columns]);
        }
        let is_scaled = self.scales.columns.is_some() || self.scales.rows.is_some();
        // SAFETY: the caller vouches for the instruction set, `count` numbers in each row and as many steps at `to`.
        unsafe {
            if count < LANES {
                let mut block = [0.0_f32; LANES * LANES];
                S::Full::transpose(from, count, block.as_mut_ptr());
                if is_scaled {
                    for (column, scale) in scales.into_iter().enumerate() {
                        let at = block.as_mut_ptr().add(column * LANES);
                        S::Full::load(at).mul(row_scales.mul(S::Full::splat(scale))).store(at);
                    }
                }
                std::ptr::copy_nonoverlapping(block.as_ptr(), to, count * LANES);
            } else if is_scaled {
                S::Full::transpose_scaled(from, &scales, row_scales, to);
            } else {
                S::Full::transpose(from, LANES, to);
            }
        }
    }
}
