//! A row in f64 from beginning to end: for the rare one that f32 cannot factorise.

use super::{
    cholesky::{NotPositiveDefinite, factorise, substitute},
    fit::{Fit, Row},
    nonnegative,
};

/// Solves one row into `solution`, a stored row, of which no element is negative if so asked.
///
/// # Errors
/// [`NotPositiveDefinite`] when f64 cannot factorise the system either.
pub fn solve(
    fit: &Fit<'_>,
    is_nonnegative: bool,
    row: Row<'_>,
    solution: &mut [f32],
) -> Result<(), NotPositiveDefinite> {
    let (rank, order) = (fit.rank(), fit.width());
    let (mut normal, mut right) = (vec![0.0; order * order], vec![0.0; order]);
    if let Fit::Implicit { settings, gramian, .. } = fit {
        for (target, value) in normal.iter_mut().zip(*gramian) {
            *target = settings.unobserved_weight * value;
        }
    }
    let ridge = fit.ridge(row.ratings);
    for at in 0..order {
        normal[at * order + at] += ridge;
    }
    let rows = fit.rows();
    let mut wide = vec![1.0; order];
    for (&slot, &rating) in row.slots.iter().zip(row.ratings) {
        for (wide, value) in wide[..rank].iter_mut().zip(rows.row(slot as usize)) {
            *wide = f64::from(*value);
        }
        let (weight, pull) = fit.weight_and_pull(slot, rating);
        for (i, &left) in wide.iter().enumerate() {
            right[i] += pull * left;
            for (target, value) in normal[i * order..=i * order + i].iter_mut().zip(&wide) {
                *target += weight * left * value;
            }
        }
    }
    if right.iter().all(|&value| value == 0.0) {
        // The answer is zero whatever the matrix, which may be singular if every weight is zero too.
        solution.fill(0.0);
        return Ok(());
    }
    if is_nonnegative {
        mirror(&mut normal, order);
        right = nonnegative::solve(&normal, &right)?;
    } else {
        factorise(&mut normal, order)?;
        substitute(&normal, order, &mut right);
    }
    for (target, value) in solution.iter_mut().zip(right) {
        *target = value as f32;
    }
    if solution.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(NotPositiveDefinite) }
}

/// Copies the lower triangle to the upper one.
fn mirror(matrix: &mut [f64], order: usize) {
    for row in 0..order {
        for column in 0..row {
            matrix[column * order + row] = matrix[row * order + column];
        }
    }
}
