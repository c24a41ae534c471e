//! A row by one round of block coordinate descent from where it was: iALS++ (Rendle, Krichene, Zhang and Koren 2021,
//! "iALS++: Speeding up Matrix Factorization with Subspace Optimization").
//!
//! The elements are taken in blocks; for each, the system of that block alone is solved exactly, the others being held.
//! A round costs n · rank · block instead of n · rank². A bias is a block of its own, and comes last.

use super::{
    fit::{Row, Weights},
    kernel::{
        blocks,
        factor::{Factor, PrecisionLost},
        normal::{Ahead, Products},
        pack::{Panels, Rows},
        padded,
    },
    problem::Problem,
};

/// Rows packed at a time.
const DEPTH: usize = 64;

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    panels: Panels,
    weighted: Panels,
    /// Of each rating: its weight and how much of its pull is not yet reached.
    weights: Vec<f32>,
    missing: Vec<f32>,
    factors: Vec<f32>,
    scales: Vec<f32>,
    normal: Vec<f32>,
    right: Vec<f32>,
    factor: Factor,
}

/// Improves `solution`, a stored row, by one round over its blocks of `block` elements.
///
/// # Errors
/// [`PrecisionLost`] when f32 cannot solve a block.
pub fn improve(
    problem: &Problem<'_>,
    block: usize,
    row: Row<'_>,
    solution: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), PrecisionLost> {
    let (kernel, fit) = (problem.kernel, &problem.fit);
    let (rank, rows) = (fit.rank(), fit.rows());
    let weights = fit.weights(row.ratings);
    let ridge = fit.ridge(row.ratings);
    scratch.weights.clear();
    scratch.missing.clear();
    let bias = if fit.biases() { solution[rank] } else { 0.0 };
    for (&slot, &rating) in row.slots.iter().zip(row.ratings) {
        let (weight, pull) = fit.weight_and_pull(slot, rating);
        let predicted = kernel.dot(rows.row(slot as usize), &solution[..rank]) + bias;
        scratch.weights.push(weight as f32);
        scratch.missing.push(pull as f32 - weight as f32 * predicted);
    }
    for first in (0..rank).step_by(block) {
        let columns = first..rank.min(first + block);
        let part = rows.columns(columns.clone());
        sum_block(problem, row, weights, part, scratch);
        let order = columns.len();
        // What the prior and the ridge take from the block as it is.
        scratch.factors.clear();
        scratch.factors.resize(order, 0.0);
        if let Some(prior) = problem.prior_rows() {
            let prior = prior.columns(columns.clone());
            kernel.sum_rows(prior, &problem.every_column, &solution[..rank], &mut scratch.factors);
        }
        for at in 0..order {
            let value = solution[first + at];
            scratch.right[at] -= scratch.factors[at] + ridge as f32 * value;
            if let Some(prior) = &problem.prior {
                for column in 0..at {
                    scratch.normal[blocks::index(at, column)] +=
                        prior.dense[(first + at) * rank + first + column];
                }
            }
            let prior = problem.prior.as_ref().map_or(0.0, |prior| prior.diagonal[first + at]);
            scratch.normal[blocks::index(at, at)] += (prior + ridge) as f32;
        }
        kernel.solve(&mut scratch.normal, order, &mut scratch.right, &mut scratch.factor)?;
        kernel.add_scaled(1.0, &scratch.right[..order], &mut solution[columns]);
        for ((missing, &weight), &slot) in scratch.missing.iter_mut().zip(&scratch.weights).zip(row.slots) {
            *missing -= weight * kernel.dot(part.row(slot as usize), &scratch.right[..order]);
        }
    }
    if fit.biases() {
        let missing: f32 = scratch.missing.iter().sum();
        let ridge = ridge as f32;
        solution[rank] += (missing - ridge * bias) / (row.slots.len() as f32 + ridge);
    }
    Ok(())
}

/// Sums a block's normal equations, with what is missing as the right-hand side.
fn sum_block(problem: &Problem<'_>, row: Row<'_>, weights: Weights, part: Rows<'_>, scratch: &mut Scratch) {
    let (kernel, order) = (problem.kernel, part.width());
    scratch.normal.clear();
    scratch.normal.resize(blocks::len(order), 0.0);
    scratch.right.clear();
    scratch.right.resize(padded(order), 0.0);
    for begin in (0..row.slots.len()).step_by(DEPTH) {
        let end = row.slots.len().min(begin + DEPTH);
        let Row { slots, ahead, .. } = row.part(begin..end);
        let (weight, missing) = (&scratch.weights[begin..end], &scratch.missing[begin..end]);
        scratch.factors.clear();
        scratch.scales.clear();
        if weights == Weights::Positive {
            // Rows are scaled by the weight's root, so the right-hand side must be by its inverse.
            scratch.scales.extend(weight.iter().map(|weight| weight.sqrt()));
            scratch.factors.extend(missing.iter().zip(&scratch.scales).map(|(missing, root)| missing / root));
        } else {
            scratch.factors.extend(missing);
        }
        let scaled = (weights == Weights::Positive).then_some(&*scratch.scales);
        kernel.pack_rows(part, slots, scaled, &mut scratch.panels);
        if weights == Weights::Any {
            kernel.pack_rows(part, slots, Some(weight), &mut scratch.weighted);
        }
        let products = Products {
            order,
            panels: &scratch.panels,
            left: (weights == Weights::Any).then_some(&scratch.weighted),
            factors: &scratch.factors,
            ahead: Some(Ahead { rows: part, slots: &ahead[..ahead.len().min(DEPTH)] }),
        };
        kernel.add_products::<1>(products, &mut scratch.normal, &mut scratch.right);
    }
}
