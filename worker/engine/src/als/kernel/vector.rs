//! Vectors of f32 as the kernels see them: one trait, implemented for the registers of each instruction
//! set and for plain arrays. The loops over it are written once.

use super::LANES;

/// A vector of numbers, in one register or a few.
///
/// # Safety
/// Every method may use instructions of the implementation's instruction set: the caller makes sure that
/// the processor has them. Those that take pointers read or write as many numbers as they say.
pub(super) trait Vector: Copy {
    /// Reads as many numbers as there are lanes.
    unsafe fn load(from: *const f32) -> Self;

    /// Reads the first `count` numbers, at most one per lane; the others are zero and their memory is not touched.
    unsafe fn load_first(from: *const f32, count: usize) -> Self;

    /// Writes all lanes to consecutive numbers from `to` on.
    unsafe fn store(self, to: *mut f32);

    /// The same number in every lane.
    unsafe fn splat(value: f32) -> Self;

    /// Sum, lane by lane.
    unsafe fn add(self, other: Self) -> Self;

    /// Difference, lane by lane.
    unsafe fn sub(self, other: Self) -> Self;

    /// Product, lane by lane.
    unsafe fn mul(self, other: Self) -> Self;

    /// `self · factor + addend`, fused where the instruction set fuses.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// `addend − self · factor`, likewise.
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self;
}

/// A vector of [`LANES`] numbers: a side of a block.
pub(super) trait Lanes: Vector {
    /// Quotient, lane by lane.
    unsafe fn div(self, other: Self) -> Self;

    /// Square root of every lane.
    unsafe fn sqrt(self) -> Self;

    /// The number in lane 0.
    unsafe fn first(self) -> f32;

    /// Lane `lane` in every lane.
    unsafe fn broadcast_lane(self, lane: usize) -> Self;

    /// Four numbers, in each quarter of the lanes.
    unsafe fn load_quad(from: *const f32) -> Self;

    /// For a quad in each quarter: its number q in all lanes of quarter q.
    unsafe fn spread_quad(self) -> Self;

    /// The lanes after `lane`; zero up to and including it, whatever stood there.
    unsafe fn after(self, lane: usize) -> Self;

    /// Transposes a block: number j of row i, which begins at `rows[i]`, goes to `to[j · LANES + i]`. Of each row
    /// the first `count` numbers are read; the rest of the block becomes zero.
    unsafe fn transpose(rows: &[*const f32; LANES], count: usize, to: *mut f32);

    /// The same for a whole block, of which number j of row i is multiplied by `column_scales[j] · row_scales[i]`.
    #[inline(always)]
    unsafe fn transpose_scaled(
        rows: &[*const f32; LANES],
        column_scales: &[f32; LANES],
        row_scales: Self,
        to: *mut f32,
    ) {
        // SAFETY: the caller vouches for the instruction set, whole blocks in the rows and one at `to`.
        unsafe {
            Self::transpose(rows, LANES, to);
            for (column, &scale) in column_scales.iter().enumerate() {
                let at = to.add(column * LANES);
                Self::load(at).mul(row_scales.mul(Self::splat(scale))).store(at);
            }
        }
    }

    /// Asks for the cache line at `at`, which need not exist, for use soon.
    unsafe fn prefetch(at: *const f32);

    /// The same, but into the second cache: for what is used later, while the first one is full of other things.
    unsafe fn prefetch_second(at: *const f32);
}

/// Zeros to read where a row is missing: two vectors of them.
pub(super) static ZEROS: [f32; 2 * LANES] = [0.0; 2 * LANES];
