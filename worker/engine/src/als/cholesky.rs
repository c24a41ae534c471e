//! Small systems in f64 by Cholesky's factorisation, plain loops: for rows that f32 cannot solve, and for explanations.

/// A row's system has no Cholesky factorisation in f64 either: it is not positive definite, or not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the normal equations of a row are not positive definite")]
pub struct NotPositiveDefinite;

/// The lower triangle as L, row by row.
///
/// # Errors
/// [`NotPositiveDefinite`] when there is no such L.
pub(super) fn factorise(matrix: &mut [f64], order: usize) -> Result<(), NotPositiveDefinite> {
    for row in 0..order {
        for column in 0..=row {
            let known: f64 = (0..column).map(|k| matrix[row * order + k] * matrix[column * order + k]).sum();
            let value = matrix[row * order + column] - known;
            matrix[row * order + column] = if row == column {
                // A NaN fails this comparison too.
                if !(value > 0.0 && value.is_finite()) {
                    return Err(NotPositiveDefinite);
                }
                value.sqrt()
            } else {
                value / matrix[column * order + column]
            };
        }
    }
    Ok(())
}

/// L z = right, then Lᵀ x = z.
pub(super) fn substitute(factor: &[f64], order: usize, right: &mut [f64]) {
    for row in 0..order {
        let known: f64 = (0..row).map(|k| factor[row * order + k] * right[k]).sum();
        right[row] = (right[row] - known) / factor[row * order + row];
    }
    for row in (0..order).rev() {
        let known: f64 = (row + 1..order).map(|k| factor[k * order + row] * right[k]).sum();
        right[row] = (right[row] - known) / factor[row * order + row];
    }
}
