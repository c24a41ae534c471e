//! Solving a row's normal equations by Cholesky factorisation, in place: in f32, and once more in
//! f64 for the rare row whose matrix f32 cannot factorise well.

use super::kernel::Kernel;

/// A pivot this much smaller than its diagonal element has lost most of its digits to cancellation.
const PIVOT_SHARE_MIN: f32 = 1e-5;

/// The matrix has no Cholesky factorisation, in f64 either: it is not positive definite, or not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the normal equations of a row are not positive definite")]
pub struct NotPositiveDefinite;

/// Buffers for solving, kept per thread.
#[derive(Debug, Default)]
pub struct CholeskyScratch {
    factor: Vec<f32>,
    column: Vec<f32>,
    wide: Vec<f64>,
    wide_right: Vec<f64>,
}

/// Solves `normal · x = right` for the symmetric `order` × `order` matrix whose lower triangle is in
/// `normal` (row-major, rows `stride` apart); `right` becomes x. `normal` is not changed.
///
/// # Errors
/// [`NotPositiveDefinite`] when f64 cannot factorise it either.
pub fn solve(
    kernel: Kernel,
    normal: &[f32],
    stride: usize,
    order: usize,
    right: &mut [f32],
    scratch: &mut CholeskyScratch,
) -> Result<(), NotPositiveDefinite> {
    debug_assert!(stride >= order && right.len() == order);
    scratch.factor.clear();
    scratch.factor.resize(order * order, 0.0);
    scratch.column.clear();
    scratch.column.resize(order, 0.0);
    for row in 0..order {
        scratch.factor[row * order..][..=row].copy_from_slice(&normal[row * stride..][..=row]);
    }
    if factorise(kernel, &mut scratch.factor, order, &mut scratch.column) {
        substitute(kernel, &scratch.factor, order, right);
        if right.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        return Err(NotPositiveDefinite);
    }
    solve_wide(normal, stride, order, right, scratch)
}

/// Right-looking factorisation of the lower triangle. False when a pivot is not trustworthy.
fn factorise(kernel: Kernel, factor: &mut [f32], order: usize, column: &mut [f32]) -> bool {
    // The column buffer first keeps the original diagonal to judge pivots by.
    let diagonal: Vec<f32> = (0..order).map(|row| factor[row * order + row]).collect();
    for pivot in 0..order {
        let value = factor[pivot * order + pivot];
        // A NaN fails this comparison too.
        if !(value > diagonal[pivot] * PIVOT_SHARE_MIN && value > 0.0 && value.is_finite()) {
            return false;
        }
        let root = value.sqrt();
        factor[pivot * order + pivot] = root;
        for row in pivot + 1..order {
            let scaled = factor[row * order + pivot] / root;
            factor[row * order + pivot] = scaled;
            column[row] = scaled;
        }
        for row in pivot + 1..order {
            let target = &mut factor[row * order + pivot + 1..=row * order + row];
            kernel.add_scaled(-column[row], &column[pivot + 1..=row], target);
        }
    }
    true
}

/// L z = right, then Lᵀ x = z.
fn substitute(kernel: Kernel, factor: &[f32], order: usize, right: &mut [f32]) {
    for row in 0..order {
        let known = kernel.dot(&factor[row * order..][..row], &right[..row]);
        right[row] = (right[row] - known) / factor[row * order + row];
    }
    for row in (0..order).rev() {
        let value = right[row] / factor[row * order + row];
        right[row] = value;
        kernel.add_scaled(-value, &factor[row * order..][..row], &mut right[..row]);
    }
}

fn solve_wide(
    normal: &[f32],
    stride: usize,
    order: usize,
    right: &mut [f32],
    scratch: &mut CholeskyScratch,
) -> Result<(), NotPositiveDefinite> {
    let (factor, x) = (&mut scratch.wide, &mut scratch.wide_right);
    factor.clear();
    factor.resize(order * order, 0.0);
    x.clear();
    x.extend(right.iter().map(|&value| f64::from(value)));
    for row in 0..order {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| factor[row * order + k] * factor[column * order + k]).sum();
            let value = f64::from(normal[row * stride + column]) - known;
            factor[row * order + column] = if row == column {
                // A NaN fails this comparison too.
                if !(value > 0.0 && value.is_finite()) {
                    return Err(NotPositiveDefinite);
                }
                value.sqrt()
            } else {
                value / factor[column * order + column]
            };
        }
    }
    for row in 0..order {
        let known: f64 = (0..row).map(|k| factor[row * order + k] * x[k]).sum();
        x[row] = (x[row] - known) / factor[row * order + row];
    }
    for row in (0..order).rev() {
        let known: f64 = (row + 1..order).map(|k| factor[k * order + row] * x[k]).sum();
        x[row] = (x[row] - known) / factor[row * order + row];
    }
    for (target, value) in right.iter_mut().zip(x) {
        *target = *value as f32;
    }
    if right.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(NotPositiveDefinite) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_common::hash::{mix64, unit_interval};

    use super::*;

    /// XᵀX + ridge · I for a random X, and a right-hand side.
    fn system(order: usize, rows: usize, ridge: f64, seed: u64) -> (Vec<f32>, Vec<f32>) {
        let value = |i: usize| unit_interval(mix64(seed ^ mix64(i as u64))) - 0.5;
        let mut normal = vec![0.0; order * order];
        for i in 0..order {
            for j in 0..order {
                let sum: f64 = (0..rows).map(|r| value(r * order + i) * value(r * order + j)).sum();
                normal[i * order + j] = (sum + if i == j { ridge } else { 0.0 }) as f32;
            }
        }
        (normal, (0..order).map(|i| value(1_000_000 + i) as f32).collect())
    }

    proptest! {
        #[test]
        fn the_residual_is_small(order in 1_usize..50, rows in 0_usize..80, seed: u64) {
            let (normal, right) = system(order, rows, 0.1, seed);
            for kernel in Kernel::available() {
                let mut x = right.clone();
                solve(kernel, &normal, order, order, &mut x, &mut CholeskyScratch::default()).unwrap();
                for i in 0..order {
                    let product: f64 =
                        (0..order).map(|j| f64::from(normal[i * order + j]) * f64::from(x[j])).sum();
                    prop_assert!((product - f64::from(right[i])).abs() < 1e-4, "{kernel:?} row {i}");
                }
            }
        }
    }

    #[test]
    fn an_ill_conditioned_row_is_solved_in_f64() {
        // Two nearly equal columns: f32 loses the second pivot, f64 keeps it.
        let normal = [1.0, 1.0, 1.0, 1.0 + 3e-6];
        let mut x = [1.0, 1.0];
        solve(Kernel::detect(), &normal, 2, 2, &mut x, &mut CholeskyScratch::default()).unwrap();
        assert!((x[0] + x[1] - 1.0).abs() < 1e-3, "{x:?}");
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        for normal in [[1.0, 2.0, 2.0, 1.0], [f32::NAN, 0.0, 0.0, 1.0], [0.0; 4]] {
            let result =
                solve(Kernel::detect(), &normal, 2, 2, &mut [1.0, 1.0], &mut CholeskyScratch::default());
            assert_eq!(result, Err(NotPositiveDefinite));
        }
    }
}
