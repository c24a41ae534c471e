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
        assert!(slots.len() == factors.len() && target.len() == rows.width());
        target.fill(0.0);
        for (&slot, &factor) in slots.iter().zip(factors) {
            self.add_scaled(factor, rows.row(slot as usize), target);
        }
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
        let (whole, rest) = (self.a.len() / LANES, self.a.len() % LANES);
        let (a, b) = (self.a.as_ptr(), self.b.as_ptr());
        let mut lanes = [0.0_f32; LANES];
        // SAFETY: both slices have `whole · LANES + rest` numbers.
        unsafe {
            let mut sum = if rest > 0 {
                let at = whole * LANES;
                S::Full::load_first(a.add(at), rest).mul(S::Full::load_first(b.add(at), rest))
            } else {
                S::Full::splat(0.0)
            };
            for block in 0..whole {
                let at = block * LANES;
                sum = S::Full::load(a.add(at)).mul_add(S::Full::load(b.add(at)), sum);
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
        let (whole, rest) = (self.source.len() / LANES, self.source.len() % LANES);
        let (source, target) = (self.source.as_ptr(), self.target.as_mut_ptr());
        // SAFETY: both slices have `whole · LANES + rest` numbers; the rest goes through a buffer.
        unsafe {
            let scale = S::Full::splat(self.scale);
            for block in 0..whole {
                let at = target.add(block * LANES);
                S::Full::load(source.add(block * LANES)).mul_add(scale, S::Full::load(at)).store(at);
            }
            if rest > 0 {
                let (source, at) = (source.add(whole * LANES), target.add(whole * LANES));
                let mut last = [0.0_f32; LANES];
                let sum = S::Full::load_first(source, rest).mul_add(scale, S::Full::load_first(at, rest));
                sum.store(last.as_mut_ptr());
                std::ptr::copy_nonoverlapping(last.as_ptr(), at, rest);
            }
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
