//! What acts on whole rows: inner products, sums of rows, products with a matrix.

use super::{
    Kernel, LANES, Task,
    blocks::{BLOCK, side},
    pack::{ColumnScales, Panels, Rows},
    products::{InstructionSet, Sign},
    vector::Vector,
};

impl Kernel {
    /// Σ aᵢ bᵢ, in [`LANES`] partial sums that are then added pairwise.
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    pub fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        self.run(Dot { a, b })
    }

    /// `target += scale · source`, element by element.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn add_scaled(self, scale: f32, source: &[f32], target: &mut [f32]) {
        assert_eq!(source.len(), target.len());
        self.run(AddScaled { scale, source, target });
    }

    /// `target = Σᵢ factorᵢ · row(slotᵢ)`, in the order given.
    ///
    /// # Panics
    /// When a slot names no row or a length does not fit.
    pub fn sum_rows(self, rows: Rows<'_>, slots: &[u32], factors: &[f32], target: &mut [f32]) {
        rows.check(slots);
        assert!(slots.len() == factors.len() && target.len() == rows.width());
        self.run(SumRows { rows, slots, factors, target });
    }

    /// With pᵢ = row(slotᵢ) · `vector` + `offset` and fᵢ = pullᵢ + weightᵢ pᵢ: adds Σᵢ fᵢ · row(slotᵢ) to `target`, in the order
    /// given, and returns Σᵢ fᵢ.
    ///
    /// # Panics
    /// When a slot names no row or a length does not fit.
    pub fn add_projections(self, projections: Projections<'_>, target: &mut [f32]) -> f32 {
        let Projections { rows, slots, pulls, weights, vector, .. } = projections;
        rows.check(slots);
        assert!(slots.len() == pulls.len() && slots.len() == weights.len());
        assert!(vector.len() == rows.width() && target.len() == rows.width());
        self.run(AddProjections { projections, target })
    }

    /// Multiplies the rows that `slots` names with a matrix of as many rows as they have columns, packed as rows
    /// ([`Kernel::pack_rows`]); `columns` numbers of each product are written to `target`, one after the other.
    ///
    /// # Panics
    /// When a slot names no row or a length does not fit.
    pub fn multiply(
        self,
        rows: Rows<'_>,
        slots: &[u32],
        matrix: &Panels,
        target: &mut [f32],
        scratch: &mut Panels,
    ) {
        let columns = target.len() / slots.len().max(1);
        assert!(target.len() == columns * slots.len() && matrix.depth == rows.width());
        assert!(matrix.values.len() >= side(columns) * matrix.stride);
        if columns == 0 {
            return;
        }
        for (slots, target) in slots.chunks(LANES).zip(target.chunks_mut(LANES * columns)) {
            self.pack_columns(rows, slots, ColumnScales::default(), scratch);
            self.run(Multiply { packed: scratch, matrix, columns, target });
        }
    }
}

struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Task for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) -> f32 {
        // SAFETY: the lengths are the same.
        unsafe { project::<S>(self.a.as_ptr(), self.b) }
    }
}

struct AddScaled<'a> {
    scale: f32,
    source: &'a [f32],
    target: &'a mut [f32],
}

impl Task for AddScaled<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        // SAFETY: the lengths are the same.
        unsafe { add_rows::<S>(&[self.source.as_ptr()], &[self.scale], self.target) };
    }
}

struct SumRows<'a> {
    rows: Rows<'a>,
    slots: &'a [u32],
    factors: &'a [f32],
    target: &'a mut [f32],
}

impl Task for SumRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        const TOGETHER: usize = 4;
        let (width, target) = (self.rows.width(), self.target.as_mut_ptr());
        let mut first = 0;
        // SAFETY: slots and lengths were checked; every vector read or written is within the width.
        unsafe {
            while first + TOGETHER * LANES <= width {
                let sums = self.columns::<S, TOGETHER>(first);
                for (at, sum) in sums.into_iter().enumerate() {
                    sum.store(target.add(first + at * LANES));
                }
                first += TOGETHER * LANES;
            }
            while first + LANES <= width {
                let [sum] = self.columns::<S, 1>(first);
                sum.store(target.add(first));
                first += LANES;
            }
            let rest = width - first;
            if rest > 0 {
                let mut sum = S::Full::splat(0.0);
                for (&slot, &factor) in self.slots.iter().zip(self.factors) {
                    let values = S::Full::load_first(self.rows.at(slot).add(first), rest);
                    sum = values.mul_add(S::Full::splat(factor), sum);
                }
                store_first(sum, target.add(first), rest);
            }
        }
    }
}

impl SumRows<'_> {
    /// The sums of some whole vectors of columns.
    #[inline(always)]
    unsafe fn columns<S: InstructionSet, const VECTORS: usize>(&self, first: usize) -> [S::Full; VECTORS] {
        // SAFETY: the caller vouches for the instruction set and the columns.
        unsafe {
            let mut sums = [S::Full::splat(0.0); VECTORS];
            for (&slot, &factor) in self.slots.iter().zip(self.factors) {
                let (from, factor) = (self.rows.at(slot).add(first), S::Full::splat(factor));
                for (at, sum) in sums.iter_mut().enumerate() {
                    *sum = S::Full::load(from.add(at * LANES)).mul_add(factor, *sum);
                }
            }
            sums
        }
    }
}

/// Writes the first `count` lanes.
#[inline(always)]
unsafe fn store_first<V: Vector>(values: V, to: *mut f32, count: usize) {
    let mut buffer = [0.0_f32; LANES];
    // SAFETY: the caller vouches for the instruction set and room for `count` numbers, at most one per lane.
    unsafe {
        values.store(buffer.as_mut_ptr());
        std::ptr::copy_nonoverlapping(buffer.as_ptr(), to, count);
    }
}

/// What [`Kernel::add_projections`] projects.
#[derive(Debug, Clone, Copy)]
pub struct Projections<'a> {
    /// Rows to project on.
    pub rows: Rows<'a>,
    /// Which of them.
    pub slots: &'a [u32],
    /// What is added to each projection, after its weight.
    pub pulls: &'a [f32],
    /// What each projection is multiplied with.
    pub weights: &'a [f32],
    /// What is projected.
    pub vector: &'a [f32],
    /// What is added to each projection, before its weight.
    pub offset: f32,
}

struct AddProjections<'a> {
    projections: Projections<'a>,
    target: &'a mut [f32],
}

impl Task for AddProjections<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) -> f32 {
        /// Rows projected side by side, so that additions do not wait for each other.
        const TOGETHER: usize = 4;
        let Projections { rows, slots, pulls, weights, vector, offset } = self.projections;
        let mut total = 0.0;
        for (at, slots) in slots.chunks(TOGETHER).enumerate() {
            let mut from = [std::ptr::null(); TOGETHER];
            for (from, &slot) in from.iter_mut().zip(slots) {
                // SAFETY: slots were checked.
                *from = unsafe { rows.at(slot) };
            }
            let from = &from[..slots.len()];
            let mut factors = [0.0; TOGETHER];
            for ((factor, &row), rating) in factors.iter_mut().zip(from).zip(at * TOGETHER..) {
                // SAFETY: a row has as many numbers as the vector.
                let projection = unsafe { project::<S>(row, vector) } + offset;
                *factor = pulls[rating] + weights[rating] * projection;
                total += *factor;
            }
            // SAFETY: rows have as many numbers as the target.
            unsafe { add_rows::<S>(from, &factors, self.target) };
        }
        total
    }
}

/// An inner product, in [`LANES`] partial sums that are then added pairwise.
#[inline(always)]
unsafe fn project<S: InstructionSet>(row: *const f32, vector: &[f32]) -> f32 {
    let (whole, rest) = (vector.len() / LANES, vector.len() % LANES);
    let mut lanes = [0.0_f32; LANES];
    // SAFETY: the caller vouches for the instruction set and for a row as long as the vector.
    unsafe {
        let vector = vector.as_ptr();
        let mut sum = if rest > 0 {
            let at = whole * LANES;
            S::Full::load_first(row.add(at), rest).mul(S::Full::load_first(vector.add(at), rest))
        } else {
            S::Full::splat(0.0)
        };
        for block in 0..whole {
            let at = block * LANES;
            sum = S::Full::load(row.add(at)).mul_add(S::Full::load(vector.add(at)), sum);
        }
        sum.store(lanes.as_mut_ptr());
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `target += Σ factor · row`, row after row.
#[inline(always)]
unsafe fn add_rows<S: InstructionSet>(rows: &[*const f32], factors: &[f32], target: &mut [f32]) {
    let (whole, rest) = (target.len() / LANES, target.len() % LANES);
    let target = target.as_mut_ptr();
    // SAFETY: the caller vouches for the instruction set and for rows as long as the target.
    unsafe {
        for block in 0..whole {
            let at = target.add(block * LANES);
            let mut sum = S::Full::load(at);
            for (row, &factor) in rows.iter().zip(factors) {
                sum = S::Full::load(row.add(block * LANES)).mul_add(S::Full::splat(factor), sum);
            }
            sum.store(at);
        }
        if rest > 0 {
            let at = target.add(whole * LANES);
            let mut sum = S::Full::load_first(at, rest);
            for (row, &factor) in rows.iter().zip(factors) {
                let values = S::Full::load_first(row.add(whole * LANES), rest);
                sum = values.mul_add(S::Full::splat(factor), sum);
            }
            store_first(sum, at, rest);
        }
    }
}

struct Multiply<'a> {
    packed: &'a Panels,
    matrix: &'a Panels,
    columns: usize,
    target: &'a mut [f32],
}

impl Task for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        for panel in 0..side(self.columns) {
            let mut block = [0.0_f32; BLOCK];
            // SAFETY: both panels have `depth` steps: it was checked.
            unsafe {
                let right = self.matrix.values.as_ptr().add(panel * self.matrix.stride);
                S::block(
                    Sign::Plus,
                    self.matrix.depth,
                    self.packed.values.as_ptr(),
                    right,
                    block.as_mut_ptr(),
                );
            }
            let first = panel * LANES;
            let count = (self.columns - first).min(LANES);
            for (target, product) in self.target.chunks_exact_mut(self.columns).zip(block.chunks_exact(LANES))
            {
                target[first..first + count].copy_from_slice(&product[..count]);
            }
        }
    }
}
