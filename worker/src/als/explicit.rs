//! One row of the explicit objective.
//!
//! For a user u with ratings r over items i ∈ I(u), n = |I(u)|, the half-step minimises
//!
//! > Σᵢ (rᵢ − μ − bᵢ − b − x·qᵢ)² + λ n (‖x‖² + b²)
//!
//! over x and b, the other side's factors q and biases being fixed (Zhou et al. 2008, with λ
//! scaled by n as in Spark). The bias is solved together with the row: it is the weight of a column of
//! ones. Without biases μ, bᵢ and b are zero.

use super::{
    cholesky::{self, CholeskyScratch, NotPositiveDefinite},
    kernel::{Kernel, padded},
};

/// What a solve needs besides the row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Length of a factor row.
    pub rank: usize,
    /// λ, scaled by the row's number of ratings.
    pub regularization: f64,
    /// Whether there are biases; each stored row then has one element more, its bias, at the end.
    pub biases: bool,
    /// μ: zero without biases.
    pub rating_mean: f64,
}

impl Settings {
    /// Elements of a stored row: the factors and, if there are biases, the bias.
    #[must_use]
    pub fn width(&self) -> usize {
        self.rank + usize::from(self.biases)
    }
}

/// Buffers for one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    tile: Vec<f32>,
    normal: Vec<f32>,
    column_sums: Vec<f32>,
    cholesky: CholeskyScratch,
}

/// Solves one row. `fixed` holds the other side's stored rows ([`Settings::width`] elements each),
/// `slots` names the rated ones and `ratings` has their ratings, in the same order. The stored row is
/// written to `solution`; a row without ratings becomes zero.
///
/// # Errors
/// [`NotPositiveDefinite`] when the system cannot be solved, which regularization > 0 rules out for
/// finite input.
pub fn solve_row(
    kernel: Kernel,
    settings: &Settings,
    fixed: &[f32],
    slots: &[u32],
    ratings: &[f32],
    solution: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), NotPositiveDefinite> {
    let (rank, stored) = (settings.rank, settings.width());
    debug_assert!(slots.len() == ratings.len() && solution.len() == stored);
    solution.fill(0.0);
    if slots.is_empty() {
        return Ok(());
    }
    // One more column than the rank leaves room for the bias in the normal matrix.
    let width = padded(rank + 1);
    scratch.tile.clear();
    scratch.tile.resize(slots.len() * width, 0.0);
    scratch.normal.clear();
    scratch.normal.resize(width * width, 0.0);
    scratch.column_sums.clear();
    scratch.column_sums.resize(width, 0.0);
    for ((packed, &slot), &rating) in scratch.tile.chunks_exact_mut(width).zip(slots).zip(ratings) {
        let row = &fixed[slot as usize * stored..][..stored];
        packed[..rank].copy_from_slice(&row[..rank]);
        let other_bias = if settings.biases { f64::from(row[rank]) } else { 0.0 };
        let target = (f64::from(rating) - settings.rating_mean - other_bias) as f32;
        if settings.biases {
            packed[rank] = 1.0;
        }
        kernel.add_scaled(target, packed, &mut scratch.column_sums);
    }
    kernel.add_outer_products(&scratch.tile, None, width, &mut scratch.normal);
    let ridge = (settings.regularization * slots.len() as f64) as f32;
    for column in 0..stored {
        scratch.normal[column * width + column] += ridge;
    }
    solution.copy_from_slice(&scratch.column_sums[..stored]);
    cholesky::solve(kernel, &scratch.normal, width, stored, solution, &mut scratch.cholesky)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_common::hash::{mix64, unit_interval};

    use super::*;

    /// The gradient of the objective at `solution`, in f64: zero at the minimum.
    fn gradient(
        settings: &Settings,
        fixed: &[f32],
        slots: &[u32],
        ratings: &[f32],
        solution: &[f32],
    ) -> Vec<f64> {
        let (rank, width) = (settings.rank, settings.width());
        let mut gradient: Vec<f64> =
            solution.iter().map(|&x| settings.regularization * slots.len() as f64 * f64::from(x)).collect();
        for (&slot, &rating) in slots.iter().zip(ratings) {
            let row = &fixed[slot as usize * width..][..width];
            let mut residual = settings.rating_mean - f64::from(rating);
            for k in 0..rank {
                residual += f64::from(row[k]) * f64::from(solution[k]);
            }
            if settings.biases {
                residual += f64::from(row[rank]) + f64::from(solution[rank]);
                gradient[rank] += residual;
            }
            for k in 0..rank {
                gradient[k] += residual * f64::from(row[k]);
            }
        }
        gradient
    }

    proptest! {
        #[test]
        fn the_gradient_vanishes(rank in 1_usize..40, count in 0_usize..60, biases: bool, seed: u64) {
            let settings = Settings {
                rank, regularization: 0.1, biases, rating_mean: if biases { 3.5 } else { 0.0 },
            };
            let number = |i: usize| unit_interval(mix64(seed ^ mix64(i as u64)));
            let fixed: Vec<f32> = (0..100 * settings.width()).map(|i| (number(i) - 0.5) as f32).collect();
            let slots: Vec<u32> = (0..count as u32).map(|i| (i * 37) % 100).collect();
            let ratings: Vec<f32> = (0..count).map(|i| (number(9_999 + i) * 10.0).ceil() as f32 / 2.0).collect();
            for kernel in Kernel::available() {
                let mut solution = vec![1.0; settings.width()];
                solve_row(kernel, &settings, &fixed, &slots, &ratings, &mut solution, &mut Scratch::default()).unwrap();
                for value in gradient(&settings, &fixed, &slots, &ratings, &solution) {
                    prop_assert!(value.abs() < 2e-3 * (1.0 + count as f64), "{kernel:?}: {value}");
                }
            }
        }
    }
}
