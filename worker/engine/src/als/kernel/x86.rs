//! The registers of x86-64: one of AVX-512, or two of AVX2, for [`LANES`] numbers.

use std::{arch::x86_64::*, mem::transmute};

use super::{
    LANES,
    rounded::{PAIRED, PairSums, Rounding},
    vector::{Lanes, Vector},
};

impl Vector for __m256 {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX2 and eight numbers.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller vouches for AVX2 and `count` numbers; lanes that are masked off are not read.
        unsafe {
            let wanted = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lane_numbers());
            _mm256_maskload_ps(from, wanted)
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for AVX2 and room for eight numbers.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe { _mm256_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe { _mm256_sub_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe { _mm256_mul_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the caller vouches for FMA.
        unsafe { _mm256_fmadd_ps(self, factor, addend) }
    }

    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the caller vouches for FMA.
        unsafe { _mm256_fnmadd_ps(self, factor, addend) }
    }
}

/// The numbers 0 to 7, one in each lane.
#[inline(always)]
unsafe fn lane_numbers() -> __m256i {
    // SAFETY: the caller vouches for AVX2.
    unsafe { _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7) }
}

/// [`LANES`] numbers in two AVX2 registers, the lower half first.
#[derive(Clone, Copy)]
pub(super) struct Pair(__m256, __m256);

impl Vector for Pair {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX2 and sixteen numbers.
        unsafe { Self(__m256::load(from), __m256::load(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller vouches for AVX2 and `count` numbers. The second half's address is only made when it exists.
        unsafe {
            if count <= 8 {
                Self(__m256::load_first(from, count), _mm256_setzero_ps())
            } else {
                Self(__m256::load(from), __m256::load_first(from.add(8), count - 8))
            }
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for AVX2 and room for sixteen numbers.
        unsafe {
            self.0.store(to);
            self.1.store(to.add(8));
        }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe { Self(self.0.add(other.0), self.1.add(other.1)) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe { Self(self.0.sub(other.0), self.1.sub(other.1)) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe { Self(self.0.mul(other.0), self.1.mul(other.1)) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the caller vouches for FMA.
        unsafe { Self(self.0.mul_add(factor.0, addend.0), self.1.mul_add(factor.1, addend.1)) }
    }

    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the caller vouches for FMA.
        unsafe { Self(self.0.neg_mul_add(factor.0, addend.0), self.1.neg_mul_add(factor.1, addend.1)) }
    }
}

impl Lanes for Pair {
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe { Self(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
    }

    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe { Self(_mm256_sqrt_ps(self.0), _mm256_sqrt_ps(self.1)) }
    }

    #[inline(always)]
    unsafe fn first(self) -> f32 {
        // SAFETY: the caller vouches for AVX2.
        unsafe { _mm256_cvtss_f32(self.0) }
    }

    #[inline(always)]
    unsafe fn broadcast_lane(self, lane: usize) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe {
            let half = if lane < 8 { self.0 } else { self.1 };
            let value = _mm256_permutevar8x32_ps(half, _mm256_set1_epi32((lane % 8) as i32));
            Self(value, value)
        }
    }

    #[inline(always)]
    unsafe fn load_quad(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX2 and four numbers.
        unsafe {
            let quad = _mm_loadu_ps(from);
            let both = _mm256_set_m128(quad, quad);
            Self(both, both)
        }
    }

    #[inline(always)]
    unsafe fn spread_quad(self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe {
            let (lower, upper) =
                (_mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1), _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3));
            Self(_mm256_permutevar_ps(self.0, lower), _mm256_permutevar_ps(self.1, upper))
        }
    }

    #[inline(always)]
    unsafe fn after(self, lane: usize) -> Self {
        // SAFETY: the caller vouches for AVX2.
        unsafe {
            let lower = _mm256_cmpgt_epi32(lane_numbers(), _mm256_set1_epi32(lane as i32));
            let upper = _mm256_cmpgt_epi32(lane_numbers(), _mm256_set1_epi32(lane as i32 - 8));
            Self(
                _mm256_and_ps(self.0, _mm256_castsi256_ps(lower)),
                _mm256_and_ps(self.1, _mm256_castsi256_ps(upper)),
            )
        }
    }

    #[inline(always)]
    unsafe fn transpose(rows: &[*const f32; LANES], count: usize, to: *mut f32) {
        // SAFETY: the caller vouches for AVX2, `count` numbers in each row and a block at `to`. A quarter of a row
        // that is not read at all is not addressed either.
        unsafe {
            for column in [0, 8] {
                let here = count.saturating_sub(column).min(8);
                for first in [0, 8] {
                    let load = |i: usize| {
                        if here == 8 {
                            __m256::load(rows[first + i].add(column))
                        } else if here > 0 {
                            __m256::load_first(rows[first + i].add(column), here)
                        } else {
                            _mm256_setzero_ps()
                        }
                    };
                    let block = [load(0), load(1), load(2), load(3), load(4), load(5), load(6), load(7)];
                    for (j, row) in transposed(block).into_iter().enumerate() {
                        row.store(to.add((column + j) * LANES + first));
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        // SAFETY: a prefetch reads nothing that the program sees, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn prefetch_second(at: *const f32) {
        // SAFETY: likewise.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}

/// Eight rows of eight as eight columns.
#[inline(always)]
unsafe fn transposed(rows: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: the caller vouches for AVX2.
    unsafe {
        let mut pairs = rows;
        for i in [0, 2, 4, 6] {
            pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
        }
        let mut quads = pairs;
        for i in [0, 4] {
            quads[i] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[i], pairs[i + 2]);
            quads[i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[i], pairs[i + 2]);
            quads[i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(pairs[i + 1], pairs[i + 3]);
            quads[i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(pairs[i + 1], pairs[i + 3]);
        }
        let mut columns = quads;
        for i in 0..4 {
            columns[i] = _mm256_permute2f128_ps::<0x20>(quads[i], quads[i + 4]);
            columns[i + 4] = _mm256_permute2f128_ps::<0x31>(quads[i], quads[i + 4]);
        }
        columns
    }
}

impl Vector for __m512 {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX-512 and sixteen numbers.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        // SAFETY: the caller vouches for AVX-512 and `count` numbers; lanes that are masked off are not read.
        unsafe { _mm512_maskz_loadu_ps(((1_u32 << count) - 1) as __mmask16, from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for AVX-512 and room for sixteen numbers.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_sub_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_mul_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_fmadd_ps(self, factor, addend) }
    }

    #[inline(always)]
    unsafe fn neg_mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_fnmadd_ps(self, factor, addend) }
    }
}

impl Lanes for __m512 {
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_div_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_sqrt_ps(self) }
    }

    #[inline(always)]
    unsafe fn first(self) -> f32 {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_cvtss_f32(self) }
    }

    #[inline(always)]
    unsafe fn broadcast_lane(self, lane: usize) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_permutexvar_ps(_mm512_set1_epi32(lane as i32), self) }
    }

    #[inline(always)]
    unsafe fn load_quad(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX-512 and four numbers.
        unsafe { _mm512_broadcast_f32x4(_mm_loadu_ps(from)) }
    }

    #[inline(always)]
    unsafe fn spread_quad(self) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe {
            let lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
            _mm512_permutevar_ps(self, lanes)
        }
    }

    #[inline(always)]
    unsafe fn after(self, lane: usize) -> Self {
        // SAFETY: the caller vouches for AVX-512.
        unsafe { _mm512_maskz_mov_ps((0xfffe_u32 << lane) as __mmask16, self) }
    }

    #[inline(always)]
    unsafe fn transpose(rows: &[*const f32; LANES], count: usize, to: *mut f32) {
        // SAFETY: the caller vouches for AVX-512, `count` numbers in each row and a block at `to`.
        unsafe {
            let mut block = [_mm512_setzero_ps(); LANES];
            if count == LANES {
                for (vector, &row) in block.iter_mut().zip(rows) {
                    *vector = __m512::load(row);
                }
            } else {
                for (vector, &row) in block.iter_mut().zip(rows) {
                    *vector = __m512::load_first(row, count);
                }
            }
            for (j, column) in transposed_wide(block).into_iter().enumerate() {
                column.store(to.add(j * LANES));
            }
        }
    }

    #[inline(always)]
    unsafe fn transpose_scaled(
        rows: &[*const f32; LANES],
        column_scales: &[f32; LANES],
        row_scales: Self,
        to: *mut f32,
    ) {
        // SAFETY: the caller vouches for AVX-512, whole blocks in the rows and one at `to`.
        unsafe {
            let mut block = [_mm512_setzero_ps(); LANES];
            for (vector, &row) in block.iter_mut().zip(rows) {
                *vector = __m512::load(row);
            }
            // On the way to memory: a pass over what has been stored would take as long as the transposition.
            for (j, column) in transposed_wide(block).into_iter().enumerate() {
                column.mul(row_scales.mul(__m512::splat(column_scales[j]))).store(to.add(j * LANES));
            }
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        // SAFETY: a prefetch reads nothing that the program sees, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    #[inline(always)]
    unsafe fn prefetch_second(at: *const f32) {
        // SAFETY: likewise.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}

/// Sixteen rows of sixteen as sixteen columns: first within quarters of registers, then whole quarters.
#[inline(always)]
unsafe fn transposed_wide(rows: [__m512; LANES]) -> [__m512; LANES] {
    // SAFETY: the caller vouches for AVX-512.
    unsafe {
        let mut quads = rows;
        for i in [0, 4, 8, 12] {
            let low =
                [_mm512_unpacklo_ps(rows[i], rows[i + 1]), _mm512_unpacklo_ps(rows[i + 2], rows[i + 3])];
            let high =
                [_mm512_unpackhi_ps(rows[i], rows[i + 1]), _mm512_unpackhi_ps(rows[i + 2], rows[i + 3])];
            quads[i] = _mm512_shuffle_ps::<0b01_00_01_00>(low[0], low[1]);
            quads[i + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(low[0], low[1]);
            quads[i + 2] = _mm512_shuffle_ps::<0b01_00_01_00>(high[0], high[1]);
            quads[i + 3] = _mm512_shuffle_ps::<0b11_10_11_10>(high[0], high[1]);
        }
        // Quarter q of `quads[4 g + j]` has rows 4 g to 4 g + 3 of column 4 q + j.
        let mut columns = quads;
        for j in 0..4 {
            let (a, b, c, d) = (quads[j], quads[4 + j], quads[8 + j], quads[12 + j]);
            let even =
                [_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d)];
            let odd =
                [_mm512_shuffle_f32x4::<0b11_01_11_01>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d)];
            columns[j] = _mm512_shuffle_f32x4::<0b10_00_10_00>(even[0], even[1]);
            columns[8 + j] = _mm512_shuffle_f32x4::<0b11_01_11_01>(even[0], even[1]);
            columns[4 + j] = _mm512_shuffle_f32x4::<0b10_00_10_00>(odd[0], odd[1]);
            columns[12 + j] = _mm512_shuffle_f32x4::<0b11_01_11_01>(odd[0], odd[1]);
        }
        columns
    }
}

/// AVX-512 with its instructions for bf16.
pub(super) struct Bf16;

impl PairSums for __m512 {
    #[inline(always)]
    unsafe fn add_pairs(self, pairs: *const u32, pair: u32) -> Self {
        // SAFETY: the caller vouches for the instructions and sixteen pairs; all bits are numbers.
        unsafe {
            let pairs = transmute::<__m512i, __m512bh>(_mm512_loadu_si512(pairs.cast()));
            _mm512_dpbf16_ps(self, pairs, transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair as i32)))
        }
    }
}

impl PairSums for __m256 {
    #[inline(always)]
    unsafe fn add_pairs(self, pairs: *const u32, pair: u32) -> Self {
        // SAFETY: the caller vouches for the instructions and eight pairs; all bits are numbers.
        unsafe {
            let pairs = transmute::<__m256i, __m256bh>(_mm256_loadu_si256(pairs.cast()));
            _mm256_dpbf16_ps(self, pairs, transmute::<__m256i, __m256bh>(_mm256_set1_epi32(pair as i32)))
        }
    }
}

impl Rounding for Bf16 {
    type Full = __m512;
    type Half = __m256;

    #[inline(always)]
    unsafe fn pair(first: __m512, second: __m512, to: *mut u32) {
        /// The first vector's numbers and the second's in turn.
        const IN_TURN: [u16; PAIRED] = {
            let mut order = [0; PAIRED];
            let mut lane = 0;
            while lane < LANES {
                order[2 * lane] = lane as u16;
                order[2 * lane + 1] = (LANES + lane) as u16;
                lane += 1;
            }
            order
        };
        // SAFETY: the caller vouches for the instructions and room for sixteen pairs.
        unsafe {
            let both = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first));
            let order = _mm512_loadu_si512(IN_TURN.as_ptr().cast());
            _mm512_storeu_si512(to.cast(), _mm512_permutexvar_epi16(order, both));
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
        // SAFETY: the caller vouches for the instructions, `count` numbers in each row and a block at `to`. A vector that
        // is not read at all is not addressed either.
        unsafe {
            let scales =
                [__m512::load(column_scales.as_ptr()), __m512::load(column_scales.as_ptr().add(LANES))];
            let mut block = [_mm512_setzero_ps(); LANES];
            if count == PAIRED {
                for ((vector, &row), &scale) in block.iter_mut().zip(rows).zip(row_scales) {
                    *vector = pairs(__m512::load(row), __m512::load(row.add(LANES)), scales, scale);
                }
            } else {
                let first = count.min(LANES);
                for ((vector, &row), &scale) in block.iter_mut().zip(rows).zip(row_scales) {
                    let low = __m512::load_first(row, first);
                    let high = if count > LANES {
                        __m512::load_first(row.add(LANES), count - LANES)
                    } else {
                        _mm512_setzero_ps()
                    };
                    *vector = pairs(low, high, scales, scale);
                }
            }
            for (j, column) in transposed_wide(block).into_iter().enumerate() {
                column.store(to.cast::<f32>().add(j * LANES));
            }
        }
    }
}

/// Neighbours of a row's [`PAIRED`] scaled numbers as pairs.
#[inline(always)]
unsafe fn pairs(low: __m512, high: __m512, column_scales: [__m512; 2], row_scale: f32) -> __m512 {
    // SAFETY: the caller vouches for the instructions; all bits are numbers.
    unsafe {
        let row_scale = __m512::splat(row_scale);
        let low = low.mul(row_scale.mul(column_scales[0]));
        let high = high.mul(row_scale.mul(column_scales[1]));
        transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(high, low))
    }
}
