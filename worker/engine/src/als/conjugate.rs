//! A row by a few steps of conjugate gradients (Hestenes and Stiefel 1952) from where it was, as in the library
//! `implicit` (Takács, Pilászy and Tikk 2011): not exact, but without a matrix of rank × rank per row.

use super::{fit::Row, kernel::dense::Projections, problem::Problem};

/// A squared residual this much smaller than the first is left alone: f32 has no more digits.
const RESIDUAL_SHARE_MIN: f32 = 1e-14;

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    pulls: Vec<f32>,
    weights: Vec<f32>,
    residual: Vec<f32>,
    direction: Vec<f32>,
    product: Vec<f32>,
    prior: Vec<f32>,
}

/// Improves `solution`, a stored row, by `steps` steps.
pub fn improve(
    problem: &Problem<'_>,
    steps: usize,
    row: Row<'_>,
    solution: &mut [f32],
    scratch: &mut Scratch,
) {
    let (kernel, fit) = (problem.kernel, &problem.fit);
    let Scratch { pulls, weights, residual, direction, product, prior } = scratch;
    pulls.clear();
    weights.clear();
    for (&slot, &rating) in row.slots.iter().zip(row.ratings) {
        let (weight, pull) = fit.weight_and_pull(slot, rating);
        pulls.push(pull as f32);
        weights.push(-weight as f32);
    }
    let ridge = fit.ridge(row.ratings) as f32;
    // −A x, plus what the pulls make of it: with them the residual b − A x, with zeros −A x itself.
    let mut minus_product = |x: &[f32], pulls: &[f32], target: &mut Vec<f32>| {
        let (rank, biases) = (fit.rank(), fit.biases());
        target.clear();
        target.extend(x.iter().map(|value| -ridge * value));
        if let Some(dense) = problem.prior_rows() {
            prior.resize(rank, 0.0);
            kernel.sum_rows(dense, &problem.every_column, &x[..rank], prior);
            kernel.add_scaled(-1.0, prior, &mut target[..rank]);
        }
        let offset = if biases { x[rank] } else { 0.0 };
        let (rows, slots, vector) = (fit.rows(), row.slots, &x[..rank]);
        let projections = Projections { rows, slots, pulls, weights, vector, offset };
        let sum = kernel.add_projections(projections, &mut target[..rank]);
        if biases {
            target[rank] += sum;
        }
    };
    minus_product(solution, pulls, residual);
    pulls.fill(0.0);
    direction.clone_from(residual);
    let first = kernel.dot(residual, residual);
    let mut square = first;
    for _ in 0..steps {
        if square <= first * RESIDUAL_SHARE_MIN {
            break;
        }
        minus_product(direction, pulls, product);
        let curvature = -kernel.dot(direction, product);
        // A NaN is not above zero either: it stays in the row, for the caller to find.
        if curvature <= 0.0 {
            break;
        }
        let length = square / curvature;
        kernel.add_scaled(length, direction, solution);
        kernel.add_scaled(length, product, residual);
        let next = kernel.dot(residual, residual);
        for (direction, residual) in direction.iter_mut().zip(&*residual) {
            *direction = residual + next / square * *direction;
        }
        square = next;
    }
}
