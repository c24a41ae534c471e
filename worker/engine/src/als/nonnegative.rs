//! Least squares without negative elements: the row of the explicit or implicit objective that is best among those
//! with x ≥ 0, as Spark's `nonnegative`.
//!
//! The minimum of ½ xᵀ A x − bᵀ x is where x ≥ 0, y = A x − b ≥ 0 and xᵢ yᵢ = 0. Block principal pivoting (Portugal, Júdice
//! and Vicente 1994; Kim and Park 2011) guesses which elements are zero and exchanges those that turn out wrong, all
//! at once while that helps, then one by one, which ends for certain.

use super::cholesky::{NotPositiveDefinite, factorise, substitute};

/// Exchanges of whole sets that may fail to help before elements are exchanged one by one.
const PATIENCE: u32 = 3;

/// What counts as zero, beside the largest element.
const TOLERANCE: f64 = 1e-10;

/// The x ≥ 0 that minimises ½ xᵀ A x − bᵀ x, for the positive definite `matrix` A (row-major, both triangles) and `right` b.
///
/// # Errors
/// [`NotPositiveDefinite`] when A is not, or so nearly not that rounding makes the exchanges go round in circles.
pub fn solve(matrix: &[f64], right: &[f64]) -> Result<Vec<f64>, NotPositiveDefinite> {
    let order = right.len();
    debug_assert_eq!(matrix.len(), order * order);
    let mut is_free = vec![false; order];
    let (mut x, mut y): (Vec<f64>, Vec<f64>) = (vec![0.0; order], right.iter().map(|value| -value).collect());
    let (mut wrong_min, mut patience) = (order + 1, PATIENCE);
    // One by one an order of elements needs a few exchanges each; far more means that rounding decides.
    for _ in 0..20 * (order + 5) {
        let wrong = wrong_guesses(&is_free, &x, &y);
        let Some(&last) = wrong.last() else {
            return Ok(x.into_iter().map(|value| value.max(0.0)).collect());
        };
        let exchanged = if wrong.len() < wrong_min {
            (wrong_min, patience) = (wrong.len(), PATIENCE);
            &wrong[..]
        } else if patience > 0 {
            patience -= 1;
            &wrong[..]
        } else {
            // Murty's rule, which cannot go round in circles.
            &[last]
        };
        for &at in exchanged {
            is_free[at] = !is_free[at];
        }
        solve_free(matrix, right, &is_free, &mut x)?;
        for (row, y) in y.iter_mut().enumerate() {
            let product: f64 = matrix[row * order..][..order].iter().zip(&x).map(|(a, x)| a * x).sum();
            *y = if is_free[row] { 0.0 } else { product - right[row] };
        }
    }
    Err(NotPositiveDefinite)
}

/// Free elements that are negative, and others that the gradient pulls above zero.
fn wrong_guesses(is_free: &[bool], x: &[f64], y: &[f64]) -> Vec<usize> {
    let largest = |values: &[f64]| values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let (x_min, y_min) = (-TOLERANCE * largest(x), -TOLERANCE * largest(y));
    let is_wrong = |&at: &usize| if is_free[at] { x[at] < x_min } else { y[at] < y_min };
    (0..x.len()).filter(is_wrong).collect()
}

/// Solves for the free elements; the others are zero.
fn solve_free(
    matrix: &[f64],
    right: &[f64],
    is_free: &[bool],
    x: &mut [f64],
) -> Result<(), NotPositiveDefinite> {
    let order = right.len();
    let free: Vec<usize> = (0..order).filter(|&at| is_free[at]).collect();
    let mut part: Vec<f64> =
        free.iter().flat_map(|&row| free.iter().map(move |&column| matrix[row * order + column])).collect();
    let mut values: Vec<f64> = free.iter().map(|&at| right[at]).collect();
    factorise(&mut part, free.len())?;
    substitute(&part, free.len(), &mut values);
    x.fill(0.0);
    for (&at, value) in free.iter().zip(values) {
        x[at] = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_that_rounding_takes_for_free_is_not_below_zero() {
        // The second element's best value is a hundred-billionth below zero: less than counts.
        let (matrix, right) = ([1.0, 0.5, 0.5, 1.0], [1.0, 0.5 - 1e-11]);
        let mut free = [0.0; 2];
        solve_free(&matrix, &right, &[true; 2], &mut free).unwrap();
        assert!(free[1] < 0.0, "{free:?}");
        assert!(solve(&matrix, &right).unwrap().iter().all(|value| *value >= 0.0));
    }
}
