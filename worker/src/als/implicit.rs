//! One row of the implicit objective.
//!
//! For a user u with observed items i ∈ I(u), n = |I(u)|, N items in all, the half-step minimises
//!
//! > Σᵢ∈I(u) cᵢ (1 − x·qᵢ)² + α₀ Σ over every item (x·q)² + λ (n + α₀ N)^ν ‖x‖²
//!
//! which is iALS (Hu et al. 2008) in the parametrisation of Rendle et al. 2022 (their equations 2–4):
//! α₀ weighs every pair as unobserved, λ is scaled by the row's frequency with exponent ν. The
//! confidence of an observed pair is cᵢ = 1 + α |rᵢ|: α = 0 is iALS as published, where the value of a
//! rating does not matter.

use super::{
    cholesky::{self, CholeskyScratch, NotPositiveDefinite},
    kernel::{Kernel, padded},
};

/// What a solve needs besides the row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Length of a factor row.
    pub rank: usize,
    /// λ.
    pub regularization: f64,
    /// α₀: the weight of every pair as unobserved.
    pub unobserved_weight: f64,
    /// α: how much a rating's size adds to its confidence.
    pub alpha: f64,
    /// ν: how the regularization grows with the row's frequency.
    pub regularization_exponent: f64,
    /// N: rows of the other side.
    pub other_rows: u64,
}

impl Settings {
    /// λ (n + α₀ N)^ν.
    #[must_use]
    pub fn ridge(&self, observed: usize) -> f64 {
        let frequency = observed as f64 + self.unobserved_weight * self.other_rows as f64;
        self.regularization * frequency.powf(self.regularization_exponent)
    }

    /// cᵢ = 1 + α |rᵢ|.
    #[must_use]
    pub fn confidence(&self, rating: f32) -> f32 {
        (1.0 + self.alpha * f64::from(rating.abs())) as f32
    }
}

/// Buffers for one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    tile: Vec<f32>,
    weighted: Vec<f32>,
    normal: Vec<f32>,
    right: Vec<f32>,
    cholesky: CholeskyScratch,
}

/// Solves one row. `fixed` holds the other side's rows (`rank` elements each), `slots` names the
/// observed ones, `ratings` has their ratings in the same order, and `gramian` is Σ q qᵀ over the whole
/// other side (`rank` × `rank`, row-major, f64). A row without observations becomes zero.
///
/// # Errors
/// [`NotPositiveDefinite`] when the system cannot be solved, which regularization > 0 rules out for
/// finite input.
#[allow(clippy::too_many_arguments, reason = "a row, its ratings, what is fixed, and where the result goes")]
pub fn solve_row(
    kernel: Kernel,
    settings: &Settings,
    fixed: &[f32],
    gramian: &[f64],
    slots: &[u32],
    ratings: &[f32],
    solution: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), NotPositiveDefinite> {
    let rank = settings.rank;
    debug_assert!(slots.len() == ratings.len() && solution.len() == rank && gramian.len() == rank * rank);
    solution.fill(0.0);
    if slots.is_empty() {
        return Ok(());
    }
    let width = padded(rank);
    pack(kernel, settings, fixed, slots, ratings, width, scratch);
    scratch.normal.clear();
    scratch.normal.resize(width * width, 0.0);
    let ridge = settings.ridge(slots.len());
    for row in 0..rank {
        for column in 0..=row {
            let regularization = if row == column { ridge } else { 0.0 };
            let value = settings.unobserved_weight * gramian[row * rank + column] + regularization;
            scratch.normal[row * width + column] = value as f32;
        }
    }
    kernel.add_outer_products(&scratch.tile, Some(&scratch.weighted), width, &mut scratch.normal);
    solution.copy_from_slice(&scratch.right[..rank]);
    cholesky::solve(kernel, &scratch.normal, width, rank, solution, &mut scratch.cholesky)
}

/// Gathers the observed rows into a packed tile, and the same rows times their confidence; the sum
/// of the latter is the right-hand side.
fn pack(
    kernel: Kernel,
    settings: &Settings,
    fixed: &[f32],
    slots: &[u32],
    ratings: &[f32],
    width: usize,
    scratch: &mut Scratch,
) {
    let rank = settings.rank;
    for buffer in [&mut scratch.tile, &mut scratch.weighted] {
        buffer.clear();
        buffer.resize(slots.len() * width, 0.0);
    }
    scratch.right.clear();
    scratch.right.resize(width, 0.0);
    let rows = scratch.tile.chunks_exact_mut(width).zip(scratch.weighted.chunks_exact_mut(width));
    for ((packed, weighted), (&slot, &rating)) in rows.zip(slots.iter().zip(ratings)) {
        packed[..rank].copy_from_slice(&fixed[slot as usize * rank..][..rank]);
        let confidence = settings.confidence(rating);
        kernel.add_scaled(confidence, packed, weighted);
        kernel.add_scaled(confidence, packed, &mut scratch.right);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_common::hash::{mix64, unit_interval};

    use super::*;
    use crate::als::gramian::shard_gramian;

    proptest! {
        #[test]
        fn the_gradient_vanishes(rank in 1_usize..40, count in 0_usize..60, alpha in 0.0..2.0_f64, seed: u64) {
            let settings = Settings {
                rank, regularization: 0.01, unobserved_weight: 0.3, alpha, regularization_exponent: 1.0, other_rows: 100,
            };
            let number = |i: usize| unit_interval(mix64(seed ^ mix64(i as u64)));
            let fixed: Vec<f32> = (0..100 * rank).map(|i| (number(i) - 0.5) as f32).collect();
            let slots: Vec<u32> = (0..count as u32).map(|i| (i * 37) % 100).collect();
            let ratings: Vec<f32> = (0..count).map(|i| (number(9_999 + i) * 10.0).ceil() as f32 / 2.0).collect();
            let gramian = shard_gramian(&fixed, rank);
            for kernel in Kernel::available() {
                let mut x = vec![1.0; rank];
                solve_row(kernel, &settings, &fixed, &gramian, &slots, &ratings, &mut x, &mut Scratch::default()).unwrap();
                let dot = |item: usize| -> f64 {
                    (0..rank).map(|k| f64::from(fixed[item * rank + k]) * f64::from(x[k])).sum()
                };
                for k in 0..rank {
                    let mut gradient = if count == 0 { 0.0 } else { settings.ridge(count) * f64::from(x[k]) };
                    for item in 0..100 {
                        gradient += settings.unobserved_weight * dot(item) * f64::from(fixed[item * rank + k]);
                    }
                    for (&slot, &rating) in slots.iter().zip(&ratings) {
                        let residual = f64::from(settings.confidence(rating)) * (dot(slot as usize) - 1.0);
                        gradient += residual * f64::from(fixed[slot as usize * rank + k]);
                    }
                    prop_assert!(gradient.abs() < 2e-3 * (1.0 + count as f64), "{kernel:?}: {gradient}");
                }
            }
        }
    }
}
