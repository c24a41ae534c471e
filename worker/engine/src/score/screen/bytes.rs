//! Rows and queries rounded to a byte per element, and the bounds that follow, 64 rows at a time.
//!
//! Four blocks of 64 bytes hold four elements of 64 rows: byte 4·r + e of a block is element e of its row r. Rows are
//! kept with 128 added, because AVX-512 VNNI multiplies unsigned bytes by signed ones; the query's own sum takes
//! that away again. The integer sums are exact, so nothing here depends on an order.

use super::chunks::{CHUNK_ROWS, UP};
use crate::score::norm;

/// Elements that one instruction multiplies and adds.
const GROUP: usize = 4;
/// Rows of a block.
const BLOCK_ROWS: usize = 16;
/// Blocks of a group of elements.
const BLOCKS: usize = CHUNK_ROWS / BLOCK_ROWS;
/// The largest byte: as far from 0 on both sides.
const BYTE_MAX: f64 = 127.0;
/// Added to the bytes of rows.
const OFFSET: i32 = 128;

/// Queries that share a pass over a chunk's blocks: their sums fill half of the registers.
pub(super) const TOGETHER: usize = 4;

/// A register's worth of bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Block([u8; BLOCK_ROWS * GROUP]);

/// Rows rounded to bytes, x̃, in chunks that are scored together.
#[derive(Debug)]
pub(super) struct Bytes {
    /// Of a chunk its groups of elements, of each four blocks.
    blocks: Vec<Block>,
    groups: usize,
    /// What a byte of each row stands for.
    steps: Vec<f32>,
    /// ‖x − x̃‖ of each row, rounded up.
    errors: Vec<f32>,
}

/// A query as bytes.
#[derive(Debug)]
pub(super) struct Words {
    /// The query's elements as bytes, four in each word.
    words: Vec<i32>,
    /// What a byte stands for.
    step: f32,
    /// What the rows' offsets add to every sum.
    offset: i32,
    /// ‖q̃‖ of the rounded query, rounded up.
    norm: f32,
    /// ‖q − q̃‖, rounded up.
    error: f32,
}

/// A query, and what a row must reach for it: `bound + bias ≥ fixed + per_norm · norm`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) words: &'a Words,
    /// Added to the bound for each unit of the row's norm.
    pub(super) rounding: f32,
    pub(super) fixed: f32,
    pub(super) per_norm: f32,
    /// Of the chunk's rows, where they count.
    pub(super) biases: Option<&'a [f32]>,
}

/// The bytes of some numbers, what one stands for, and how far off they are, rounded up.
fn rounded(values: &[f32]) -> (Vec<i8>, f32, f32) {
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let step = (f64::from(largest) / BYTE_MAX) as f32;
    let byte = |value: &f32| {
        let steps = if step > 0.0 { f64::from(*value) / f64::from(step) } else { 0.0 };
        // Within a byte, whatever the rounding of the step did.
        steps.round().clamp(-BYTE_MAX, BYTE_MAX) as i8
    };
    let bytes: Vec<i8> = values.iter().map(byte).collect();
    let off = |(value, byte): (&f32, &i8)| (f64::from(*value) - f64::from(*byte) * f64::from(step)).powi(2);
    let error = values.iter().zip(&bytes).map(off).sum::<f64>().sqrt();
    (bytes, step, (error * UP) as f32)
}

impl Bytes {
    /// Of rows in this order; `None` where the processor would gain nothing by it.
    pub(super) fn new<'a>(rows: impl ExactSizeIterator<Item = &'a [f32]>, rank: usize) -> Option<Self> {
        if !is_quick() {
            return None;
        }
        let groups = rank.div_ceil(GROUP);
        let chunks = rows.len().div_ceil(CHUNK_ROWS);
        let mut blocks = vec![Block([OFFSET as u8; BLOCK_ROWS * GROUP]); chunks * groups * BLOCKS];
        let (mut steps, mut errors) = (vec![0.0; chunks * CHUNK_ROWS], vec![0.0; chunks * CHUNK_ROWS]);
        for (place, row) in rows.enumerate() {
            let (bytes, step, error) = rounded(row);
            (steps[place], errors[place]) = (step, error);
            let (chunk, in_chunk) = (place / CHUNK_ROWS, place % CHUNK_ROWS);
            for (element, byte) in bytes.iter().enumerate() {
                let block = (chunk * groups + element / GROUP) * BLOCKS + in_chunk / BLOCK_ROWS;
                let at = in_chunk % BLOCK_ROWS * GROUP + element % GROUP;
                // From 1 to 255.
                blocks[block].0[at] = (i32::from(*byte) + OFFSET) as u8;
            }
        }
        Some(Self { blocks, groups, steps, errors })
    }

    /// A query for these rows.
    pub(super) fn words(&self, query: &[f32]) -> Words {
        let (mut bytes, step, error) = rounded(query);
        let length: f64 = norm(&bytes.iter().map(|&byte| f32::from(byte)).collect::<Vec<f32>>());
        let sum: i32 = bytes.iter().map(|&byte| i32::from(byte)).sum();
        bytes.resize(self.groups * GROUP, 0);
        let (fours, _) = bytes.as_chunks::<GROUP>();
        let words = fours.iter().map(|four| i32::from_le_bytes(four.map(|byte| byte as u8))).collect();
        let norm = (length * f64::from(step) * UP) as f32;
        Words { words, step, offset: sum * OFFSET, norm, error }
    }

    /// Of a chunk's rows those that may reach what each query asks for. `norms` are the rows'; at most [`TOGETHER`]
    /// queries, at least one, each with a mask.
    pub(super) fn masks(&self, chunk: usize, norms: &[f32], asked: &[Asked<'_>], masks: &mut [u64]) {
        let first = chunk * self.groups * BLOCKS;
        let places = chunk * CHUNK_ROWS..(chunk + 1) * CHUNK_ROWS;
        let rows = Rows {
            blocks: &self.blocks[first..first + self.groups * BLOCKS],
            steps: &self.steps[places.clone()],
            errors: &self.errors[places],
            norms,
        };
        match asked.len() {
            1 => rows.masks::<1>(asked, masks),
            2 => rows.masks::<2>(asked, masks),
            3 => rows.masks::<3>(asked, masks),
            _ => rows.masks::<TOGETHER>(asked, masks),
        }
    }
}

/// The rows of one chunk.
#[derive(Clone, Copy)]
struct Rows<'a> {
    blocks: &'a [Block],
    steps: &'a [f32],
    errors: &'a [f32],
    norms: &'a [f32],
}

impl Rows<'_> {
    /// The masks of `Q` queries.
    fn masks<const Q: usize>(self, asked: &[Asked<'_>], masks: &mut [u64]) {
        let (Some(asked), Some(masks)) = (asked.first_chunk::<Q>(), masks.first_chunk_mut::<Q>()) else {
            return;
        };
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: bytes are made only where `is_quick` has found these instructions.
            *masks = unsafe { vnni::masks(self, asked) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = asked;
            *masks = [u64::MAX; Q];
        }
    }
}

/// Whether the processor multiplies and adds bytes.
fn is_quick() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512vnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::{
        _CMP_NLT_UQ, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
        _mm512_fmadd_ps, _mm512_load_si512, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_epi32,
        _mm512_set1_ps, _mm512_setzero_si512, _mm512_sub_epi32,
    };

    use super::{Asked, BLOCK_ROWS, BLOCKS, CHUNK_ROWS, Rows};

    /// The masks of some queries in one pass over a chunk.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn masks<const Q: usize>(rows: Rows<'_>, asked: &[Asked<'_>; Q]) -> [u64; Q] {
        let mut sums = [[_mm512_setzero_si512(); BLOCKS]; Q];
        let (groups, _) = rows.blocks.as_chunks::<BLOCKS>();
        for (at, group) in groups.iter().enumerate() {
            let mut blocks = [_mm512_setzero_si512(); BLOCKS];
            for (block, bytes) in blocks.iter_mut().zip(group) {
                // SAFETY: a block is 64 bytes, aligned to 64.
                *block = unsafe { _mm512_load_si512(bytes.0.as_ptr().cast()) };
            }
            for (sums, asked) in sums.iter_mut().zip(asked) {
                let word = _mm512_set1_epi32(asked.words.words[at]);
                for (sum, block) in sums.iter_mut().zip(blocks) {
                    *sum = _mm512_dpbusd_epi32(*sum, block, word);
                }
            }
        }
        let part = |values: &[f32], block: usize| -> [f32; BLOCK_ROWS] {
            let mut part = [0.0; BLOCK_ROWS];
            part.copy_from_slice(&values[block * BLOCK_ROWS..][..BLOCK_ROWS]);
            part
        };
        debug_assert_eq!(rows.norms.len(), CHUNK_ROWS);
        let mut masks = [0_u64; Q];
        for ((mask, sums), asked) in masks.iter_mut().zip(sums).zip(asked) {
            let words = asked.words;
            let offset = _mm512_set1_epi32(words.offset);
            let (step, per_error) = (_mm512_set1_ps(words.step), _mm512_set1_ps(words.norm));
            let per_norm = _mm512_set1_ps(words.error + asked.rounding);
            for (block, sum) in sums.into_iter().enumerate() {
                let (steps, errors) = (part(rows.steps, block), part(rows.errors, block));
                let (norms, biases) = (part(rows.norms, block), asked.biases.map(|all| part(all, block)));
                // SAFETY: each is an array of sixteen numbers.
                let [steps, errors, norms, biases] = unsafe {
                    let biases = biases.as_ref().unwrap_or(&[0.0; BLOCK_ROWS]);
                    [
                        _mm512_loadu_ps(steps.as_ptr()),
                        _mm512_loadu_ps(errors.as_ptr()),
                        _mm512_loadu_ps(norms.as_ptr()),
                        _mm512_loadu_ps(biases.as_ptr()),
                    ]
                };
                let product = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, offset));
                let slack = _mm512_fmadd_ps(errors, per_error, _mm512_mul_ps(norms, per_norm));
                let bound = _mm512_fmadd_ps(product, _mm512_mul_ps(steps, step), slack);
                let limit =
                    _mm512_fmadd_ps(norms, _mm512_set1_ps(asked.per_norm), _mm512_set1_ps(asked.fixed));
                // What is not a number is not below the limit, and is scored.
                let reached = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_add_ps(bound, biases), limit);
                *mask |= u64::from(reached) << (block * BLOCK_ROWS);
            }
        }
        masks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The integer sums of the kernel against plain arithmetic, seen through a limit on either side of each.
        #[test]
        fn masks_are_those_of_plain_sums(
            (rank, values, query) in (1_usize..40).prop_flat_map(|rank| {
                let rows = 1..=3 * CHUNK_ROWS / 2;
                (
                    Just(rank),
                    prop::collection::vec(prop::collection::vec(-1e3_f32..1e3, rank), rows),
                    prop::collection::vec(-10_f32..10.0, rank),
                )
            }),
            together in 1_usize..=TOGETHER,
        ) {
            let Some(bytes) = Bytes::new(values.iter().map(Vec::as_slice), rank) else { return Ok(()) };
            let words = bytes.words(&query);
            let norms: Vec<f32> = (0..2 * CHUNK_ROWS).map(|at| at as f32).collect();
            let (query_bytes, ..) = rounded(&query);
            let bound = |place: usize| -> f64 {
                let (row, ..) = rounded(&values[place]);
                let sum: i64 = row.iter().zip(&query_bytes).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
                sum as f64 * f64::from(bytes.steps[place]) * f64::from(words.step)
                    + f64::from(bytes.errors[place]) * f64::from(words.norm)
                    + f64::from(norms[place]) * f64::from(words.error + 0.5)
            };
            for place in 0..values.len() {
                let chunk = place / CHUNK_ROWS;
                let exact = bound(place);
                let near = 1e-4 * (1.0 + exact.abs() + f64::from(words.norm) * 1e3);
                for (fixed, reached) in [(exact - near, true), (exact + near, false)] {
                    let asked = Asked { words: &words, rounding: 0.5, fixed: fixed as f32, per_norm: 0.0, biases: None };
                    let mut masks = vec![0; together];
                    let norms = &norms[chunk * CHUNK_ROWS..][..CHUNK_ROWS];
                    bytes.masks(chunk, norms, &vec![asked; together], &mut masks);
                    for mask in masks {
                        prop_assert_eq!(mask >> (place % CHUNK_ROWS) & 1 == 1, reached, "{}", place);
                    }
                }
            }
        }
    }
}
