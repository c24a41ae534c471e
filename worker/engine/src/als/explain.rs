//! What each rated item adds to a score (Hu, Koren and Volinsky 2008, "Collaborative Filtering for Implicit
//! Feedback Datasets", section 5).
//!
//! A row is x = A⁻¹ Σᵢ tᵢ qᵢ with A = A₀ + ridge · I + Σᵢ wᵢ qᵢ qᵢᵀ ([`super::fit`]). So the score of any item q splits into one part
//! for each rated item, without approximation:
//!
//! > x·q = Σᵢ tᵢ qᵢᵀ A⁻¹ q
//!
//! With biases a column of ones stands behind every q, and the parts sum to x·q and the row's own bias. In f64: it is
//! done for a few items at a time.

use super::{
    cholesky::{NotPositiveDefinite, factorise, substitute},
    fit::{Fit, Row},
};

/// The parts of the scores of `explained` (factor rows, one after the other) for the user with this row of ratings:
/// one row for each of them, one column for each rating.
///
/// # Errors
/// [`NotPositiveDefinite`] when A has no factorisation.
///
/// # Panics
/// When a slot names no fixed row.
pub fn contributions(
    fit: &Fit<'_>,
    row: Row<'_>,
    explained: &[f32],
) -> Result<Vec<f32>, NotPositiveDefinite> {
    let (rank, order) = (fit.rank(), fit.width());
    let mut factor = vec![0.0; order * order];
    if let Fit::Implicit { settings, gramian, .. } = fit {
        for (target, value) in factor.iter_mut().zip(*gramian) {
            *target = settings.unobserved_weight * value;
        }
    }
    let ridge = fit.ridge(row.ratings);
    (0..order).for_each(|at| factor[at * order + at] += ridge);
    let rows = fit.rows();
    let mut rated: Vec<(Vec<f64>, f64)> = Vec::with_capacity(row.slots.len());
    for (&slot, &rating) in row.slots.iter().zip(row.ratings) {
        let (weight, pull) = fit.weight_and_pull(slot, rating);
        let wide = widened(rows.row(slot as usize), order);
        for (i, &left) in wide.iter().enumerate() {
            for (target, value) in factor[i * order..=i * order + i].iter_mut().zip(&wide) {
                *target += weight * left * value;
            }
        }
        rated.push((wide, pull));
    }
    factorise(&mut factor, order)?;
    let mut parts = Vec::with_capacity(explained.len() / rank * rated.len());
    for item in explained.chunks_exact(rank) {
        let mut solved = widened(item, order);
        substitute(&factor, order, &mut solved);
        let part = |(row, pull): &(Vec<f64>, f64)| {
            let product: f64 = row.iter().zip(&solved).map(|(a, b)| a * b).sum();
            (pull * product) as f32
        };
        parts.extend(rated.iter().map(part));
    }
    Ok(parts)
}

/// Factors in f64, and behind them a one if `order` has room for it.
fn widened(factors: &[f32], order: usize) -> Vec<f64> {
    factors.iter().map(|&value| f64::from(value)).chain([1.0]).take(order).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::als::explicit;

    #[test]
    fn a_system_without_a_solution_is_refused() {
        let settings = explicit::Settings {
            rank: 2,
            regularization: 0.0,
            scaling: explicit::Scaling::None,
            biases: false,
            rating_mean: 0.0,
        };
        let fit = Fit::Explicit { settings: &settings, fixed: &[1.0, 0.0] };
        let row = Row::new(&[0], &[4.0]);
        assert_eq!(contributions(&fit, row, &[1.0, 1.0]), Err(NotPositiveDefinite));
        let ridged = explicit::Settings { regularization: 1.0, ..settings };
        let fit = Fit::Explicit { settings: &ridged, fixed: &[1.0, 0.0] };
        // x = (2, 0): the score of (1, 1) is 2, all of it from the one rating.
        assert_eq!(contributions(&fit, row, &[1.0, 1.0]), Ok(vec![2.0]));
    }
}
