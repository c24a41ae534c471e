//! The instruction sets, and how each cuts products into register blocks.

use super::{
    LANES,
    factor::solve_triangle,
    portable::Array,
    products::{InstructionSet, Sides, Sign, columns, columns_of_two, triangle},
};

/// Any processor: vectors are arrays, which the compiler may vectorise.
pub(super) struct Portable;

impl InstructionSet for Portable {
    type Full = Array<LANES>;
    type Half = Array<8>;

    #[inline(always)]
    unsafe fn block(sign: Sign, depth: usize, left: *const f32, right: *const f32, target: *mut f32) {
        for first in (0..LANES).step_by(2) {
            // SAFETY: what the caller vouches for; the columns are within the block.
            unsafe {
                columns::<Array<LANES>, 2>(sign, depth, left.add(first), right, target.add(first * LANES))
            }
        }
    }

    #[inline(always)]
    unsafe fn half_block(sign: Sign, depth: usize, left: *const f32, right: *const f32, target: *mut f32) {
        for first in (0..LANES).step_by(4) {
            // SAFETY: what the caller vouches for; the columns are within the block.
            unsafe { columns::<Array<8>, 4>(sign, depth, left.add(first), right, target.add(first * LANES)) }
        }
    }

    #[inline(always)]
    unsafe fn diagonal<const SIDES: usize>(
        sign: Sign,
        depth: usize,
        left: *const f32,
        right: *const f32,
        target: *mut f32,
        sides: Sides,
    ) {
        // SAFETY: what the caller vouches for; the columns are within the block.
        unsafe {
            triangle::<Array<LANES>, Array<8>, 0, 0, SIDES>(sign, depth, left, right, target, sides);
            for first in [0, 2, 4, 6] {
                columns::<Array<LANES>, 2>(sign, depth, left.add(first), right, target.add(first * LANES));
            }
            for first in [8, 12] {
                let target = target.add(first * LANES + 8);
                columns::<Array<8>, 4>(sign, depth, left.add(first), right.add(8), target);
            }
        }
    }

    #[inline(always)]
    unsafe fn half_diagonal<const SIDES: usize>(
        sign: Sign,
        depth: usize,
        left: *const f32,
        right: *const f32,
        target: *mut f32,
        sides: Sides,
    ) {
        // SAFETY: what the caller vouches for; the columns are within the block.
        unsafe {
            triangle::<Array<8>, Array<8>, 0, 0, SIDES>(sign, depth, left, right, target, sides);
            for first in [0, 4] {
                columns::<Array<8>, 4>(sign, depth, left.add(first), right, target.add(first * LANES));
            }
        }
    }
    #[inline(always)]
    unsafe fn solve_triangle(units: *const f32, inverse: *const f32, target: *mut f32) {
        for first in (0..LANES).step_by(4) {
            // SAFETY: what the caller vouches for; the rows are within the block.
            unsafe { solve_triangle::<Array<4>>(units, inverse, target.add(first)) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m256, __m512};

    use super::super::x86::Pair;
    use super::*;

    /// Sixteen registers of 256 bits: at most twelve accumulators, beside what they are made of.
    pub(in super::super) struct Avx2;

    impl InstructionSet for Avx2 {
        type Full = Pair;
        type Half = __m256;

        #[inline(always)]
        unsafe fn block(sign: Sign, depth: usize, left: *const f32, right: *const f32, target: *mut f32) {
            // SAFETY: what the caller vouches for; the columns are within the block.
            unsafe {
                columns::<Pair, 6>(sign, depth, left, right, target);
                columns::<Pair, 5>(sign, depth, left.add(6), right, target.add(6 * LANES));
                columns::<Pair, 5>(sign, depth, left.add(11), right, target.add(11 * LANES));
            }
        }

        #[inline(always)]
        unsafe fn half_block(
            sign: Sign,
            depth: usize,
            left: *const f32,
            right: *const f32,
            target: *mut f32,
        ) {
            // SAFETY: what the caller vouches for; the columns are within the block.
            unsafe {
                columns::<__m256, 8>(sign, depth, left, right, target);
                columns::<__m256, 8>(sign, depth, left.add(8), right, target.add(8 * LANES));
            }
        }

        #[inline(always)]
        unsafe fn diagonal<const SIDES: usize>(
            sign: Sign,
            depth: usize,
            left: *const f32,
            right: *const f32,
            target: *mut f32,
            sides: Sides,
        ) {
            // SAFETY: what the caller vouches for; the columns are within the block.
            unsafe {
                triangle::<Pair, __m256, 4, 0, SIDES>(sign, depth, left, right, target, sides);
                columns::<Pair, 4>(sign, depth, left.add(4), right, target.add(4 * LANES));
                columns::<__m256, 8>(sign, depth, left.add(8), right.add(8), target.add(8 * LANES + 8));
            }
        }

        #[inline(always)]
        unsafe fn half_diagonal<const SIDES: usize>(
            sign: Sign,
            depth: usize,
            left: *const f32,
            right: *const f32,
            target: *mut f32,
            sides: Sides,
        ) {
            // SAFETY: what the caller vouches for.
            unsafe { triangle::<__m256, __m256, 8, 0, SIDES>(sign, depth, left, right, target, sides) }
        }
        #[inline(always)]
        unsafe fn solve_triangle(units: *const f32, inverse: *const f32, target: *mut f32) {
            // SAFETY: what the caller vouches for; the rows are within the block.
            unsafe {
                solve_triangle::<__m256>(units, inverse, target);
                solve_triangle::<__m256>(units, inverse, target.add(8));
            }
        }
    }

    /// Thirty-two registers of 512 bits: a whole block and more.
    pub(in super::super) struct Avx512;

    impl InstructionSet for Avx512 {
        type Full = __m512;
        type Half = __m256;

        #[inline(always)]
        unsafe fn block(sign: Sign, depth: usize, left: *const f32, right: *const f32, target: *mut f32) {
            // SAFETY: what the caller vouches for.
            unsafe { columns::<__m512, LANES>(sign, depth, left, right, target) }
        }

        #[inline(always)]
        unsafe fn two_blocks(
            sign: Sign,
            depth: usize,
            left: *const f32,
            right: [*const f32; 2],
            target: [*mut f32; 2],
        ) {
            // One panel reads seventeen vectors for sixteen multiplications, two panels read ten.
            for first in [0, LANES / 2] {
                // SAFETY: what the caller vouches for; the columns are within the blocks.
                unsafe {
                    let target = target.map(|target| target.add(first * LANES));
                    columns_of_two::<__m512, 8>(sign, depth, left.add(first), right, target);
                }
            }
        }

        #[inline(always)]
        unsafe fn half_block(
            sign: Sign,
            depth: usize,
            left: *const f32,
            right: *const f32,
            target: *mut f32,
        ) {
            // SAFETY: what the caller vouches for.
            unsafe { columns::<__m256, LANES>(sign, depth, left, right, target) }
        }

        #[inline(always)]
        unsafe fn diagonal<const SIDES: usize>(
            sign: Sign,
            depth: usize,
            left: *const f32,
            right: *const f32,
            target: *mut f32,
            sides: Sides,
        ) {
            // SAFETY: what the caller vouches for.
            unsafe { triangle::<__m512, __m256, 8, 8, SIDES>(sign, depth, left, right, target, sides) }
        }

        #[inline(always)]
        unsafe fn half_diagonal<const SIDES: usize>(
            sign: Sign,
            depth: usize,
            left: *const f32,
            right: *const f32,
            target: *mut f32,
            sides: Sides,
        ) {
            // SAFETY: what the caller vouches for.
            unsafe { triangle::<__m256, __m256, 8, 0, SIDES>(sign, depth, left, right, target, sides) }
        }
        #[inline(always)]
        unsafe fn solve_triangle(units: *const f32, inverse: *const f32, target: *mut f32) {
            // SAFETY: what the caller vouches for.
            unsafe { solve_triangle::<__m512>(units, inverse, target) }
        }
    }
}
