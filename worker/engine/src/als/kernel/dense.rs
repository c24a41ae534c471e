//! What acts on whole rows: inner products, sums of rows, products with a matrix.

use super::{
    Kernel, LANES, Task,
    blocks::{BLOCK, side},
    pack::{ColumnScales, Panels, Rows},
    products::{InstructionSet, Sign},
    vector::{Lanes, Vector},
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

    /// `products[i] = row(slotᵢ) · vector`.
    ///
    /// # Panics
    /// When a slot names no row or a length does not fit.
    pub fn project_rows(self, rows: Rows<'_>, slots: &[u32], vector: &[f32], products: &mut [f32]) {
        rows.check(slots);
        assert!(slots.len() == products.len() && vector.len() == rows.width());
        self.run(ProjectRows { rows, slots, vector, products });
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
pub(super) unsafe fn store_first<V: Vector>(values: V, to: *mut f32, count: usize) {
    let mut buffer = [0.0_f32; LANES];
    // SAFETY: the caller vouches for the instruction set and room for `count` numbers, at most one per lane.
    unsafe {
        values.store(buffer.as_mut_ptr());
        std::ptr::copy_nonoverlapping(buffer.as_ptr(), to, count);
    }
}

/// The arguments of [`Kernel::add_projections`].
#[derive(Debug, Clone, Copy)]
pub struct Projections<'a> {
    /// Rows to project on.
    pub rows: Rows<'a>,
    /// The slots of the rows that are projected on.
    pub slots: &'a [u32],
    /// What is added to each projection, after its weight.
    pub pulls: &'a [f32],
    /// What each projection is multiplied with.
    pub weights: &'a [f32],
    /// The vector that is projected: as long as a row.
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
        let Projections { rows, slots, pulls, weights, vector, offset } = self.projections;
        // SAFETY: the caller vouches for the instruction set.
        let mut totals = unsafe { S::Full::splat(0.0) };
        for (at, from) in Blocks::new(rows, slots).enumerate() {
            let (first, count) = (at * LANES, (slots.len() - at * LANES).min(LANES));
            let mut factors = [0.0; LANES];
            // SAFETY: slots and lengths were checked: rows have as many numbers as the vector and the target.
            unsafe {
                let projections = project_block::<S>(&from, vector).add(S::Full::splat(offset));
                let weights = S::Full::load_first(weights.as_ptr().add(first), count);
                let pulls = S::Full::load_first(pulls.as_ptr().add(first), count);
                projections.mul_add(weights, pulls).store(factors.as_mut_ptr());
                totals = totals.add(S::Full::load_first(factors.as_ptr(), count));
                add_rows::<S>(&from.rows[..count], &factors, self.target);
            }
        }
        let mut lanes = [0.0_f32; LANES];
        // SAFETY: an array of as many numbers as there are lanes.
        unsafe { totals.store(lanes.as_mut_ptr()) };
        lanes.iter().sum()
    }
}

struct ProjectRows<'a> {
    rows: Rows<'a>,
    slots: &'a [u32],
    vector: &'a [f32],
    products: &'a mut [f32],
}

impl Task for ProjectRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: InstructionSet>(self) {
        let blocks = Blocks::new(self.rows, self.slots);
        for (from, products) in blocks.zip(self.products.chunks_mut(LANES)) {
            // SAFETY: slots and lengths were checked: rows have as many numbers as the vector.
            unsafe {
                let projections = project_block::<S>(&from, self.vector);
                store_first(projections, products.as_mut_ptr(), products.len());
            }
        }
    }
}

/// Rows in blocks of [`LANES`].
struct Blocks<'a> {
    rows: Rows<'a>,
    slots: &'a [u32],
    is_far: bool,
}

/// Where the rows of a block begin; the last block is filled up with its first row.
struct Block<'a> {
    rows: [*const f32; LANES],
    all: Rows<'a>,
    /// Those of the next block, where it pays to ask for them.
    next: &'a [u32],
}

impl<'a> Blocks<'a> {
    fn new(rows: Rows<'a>, slots: &'a [u32]) -> Self {
        /// From so many numbers on, rows that have just been gathered are no longer in a core's own caches.
        const FAR: usize = 1 << 16;
        Self { rows, slots, is_far: slots.len() * rows.width() >= FAR }
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Block<'a>> {
        let (slots, rest) = self.slots.split_at(self.slots.len().min(LANES));
        // SAFETY: whoever makes this has checked the slots.
        let mut rows = [unsafe { self.rows.at(*slots.first()?) }; LANES];
        for (row, &slot) in rows.iter_mut().zip(slots) {
            // SAFETY: likewise.
            *row = unsafe { self.rows.at(slot) };
        }
        self.slots = rest;
        let next = if self.is_far { &rest[..rest.len().min(LANES)] } else { &[] };
        Some(Block { rows, all: self.rows, next })
    }
}

/// The inner products of the rows of a block with a vector.
#[inline(always)]
unsafe fn project_block<S: InstructionSet>(from: &Block<'_>, vector: &[f32]) -> S::Full {
    /// Rows side by side, so that additions do not wait for each other.
    const TOGETHER: usize = 4;
    let (whole, rest) = (vector.len() / LANES, vector.len() % LANES);
    let (vector, rows) = (vector.as_ptr(), &from.rows);
    let mut partial = [0.0_f32; BLOCK];
    // SAFETY: the caller vouches for the instruction set and for rows as long as the vector.
    unsafe {
        for first in (0..LANES).step_by(TOGETHER) {
            for &slot in from.next.iter().skip(first).take(TOGETHER) {
                from.all.prefetch::<S::Full>(slot);
            }
            let mut sums = [S::Full::splat(0.0); TOGETHER];
            for block in 0..whole {
                let values = S::Full::load(vector.add(block * LANES));
                for (at, sum) in sums.iter_mut().enumerate() {
                    *sum = S::Full::load(rows[first + at].add(block * LANES)).mul_add(values, *sum);
                }
            }
            if rest > 0 {
                let values = S::Full::load_first(vector.add(whole * LANES), rest);
                for (at, sum) in sums.iter_mut().enumerate() {
                    let row = S::Full::load_first(rows[first + at].add(whole * LANES), rest);
                    *sum = row.mul_add(values, *sum);
                }
            }
            for (at, sum) in sums.into_iter().enumerate() {
                sum.store(partial.as_mut_ptr().add((first + at) * LANES));
            }
        }
        add_lanes(&partial)
    }
}

/// The sum of the lanes of each of [`LANES`] vectors.
#[inline(always)]
pub(super) unsafe fn add_lanes<V: Lanes>(vectors: &[f32; BLOCK]) -> V {
    const PARTS: usize = 4;
    // SAFETY: the caller vouches for the instruction set; both arrays are blocks.
    unsafe {
        // The rows of the transpose are added up.
        let rows = std::array::from_fn(|at| vectors.as_ptr().add(at * LANES));
        let mut transposed = [0.0_f32; BLOCK];
        V::transpose(&rows, LANES, transposed.as_mut_ptr());
        let mut sums = [V::splat(0.0); PARTS];
        for step in (0..LANES).step_by(PARTS) {
            for (part, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add(V::load(transposed.as_ptr().add((step + part) * LANES)));
            }
        }
        sums[0].add(sums[1]).add(sums[2].add(sums[3]))
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
    const TOGETHER: usize = 4;
    let (whole, rest) = (target.len() / LANES, target.len() % LANES);
    let target = target.as_mut_ptr();
    // SAFETY: the caller vouches for the instruction set and for rows as long as the target.
    unsafe {
        let mut block = 0;
        while block + TOGETHER <= whole {
            add_columns::<S, TOGETHER>(rows, factors, block * LANES, target);
            block += TOGETHER;
        }
        while block < whole {
            add_columns::<S, 1>(rows, factors, block * LANES, target);
            block += 1;
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

/// Some whole vectors of columns of [`add_rows`].
#[inline(always)]
unsafe fn add_columns<S: InstructionSet, const VECTORS: usize>(
    rows: &[*const f32],
    factors: &[f32],
    first: usize,
    target: *mut f32,
) {
    // SAFETY: the caller vouches for the instruction set and the columns.
    unsafe {
        let target = target.add(first);
        let mut sums = [S::Full::splat(0.0); VECTORS];
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum = S::Full::load(target.add(at * LANES));
        }
        for (row, &factor) in rows.iter().zip(factors) {
            let (from, factor) = (row.add(first), S::Full::splat(factor));
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = S::Full::load(from.add(at * LANES)).mul_add(factor, *sum);
            }
        }
        for (at, sum) in sums.into_iter().enumerate() {
            sum.store(target.add(at * LANES));
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
