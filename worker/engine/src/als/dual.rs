//! A row with fewer ratings than the rank through its `n` × `n` Gram: the same answer for less work.
//!
//! With the rated rows Q (n × rank), the ridge ρ and the targets t, the push-through identity is
//!
//! > (Qᵀ Q + ρ I)⁻¹ Qᵀ t = Qᵀ (Q Qᵀ + ρ I)⁻¹ t.
//!
//! Biases are one more column of Q, of ones. In the implicit objective ρ I becomes D = α₀ Λ + ρ I, which is diagonal
//! because the fixed side has been rotated into the Gramian's eigenbasis ([`super::rotation`]), and with
//! S = W^½ Q D^−½ the same identity is Woodbury's:
//!
//! > (D + Qᵀ W Q)⁻¹ Qᵀ t = D^−½ Sᵀ (S Sᵀ + I)⁻¹ W^−½ t.

use super::{
    fit::{Row, Weights},
    kernel::{
        Kernel, blocks,
        factor::{Factor, PrecisionLost},
        normal::{Ahead, Products},
        pack::{ColumnScales, Panels, Rows},
        padded,
        rounded::RoundedPanels,
    },
    problem::Problem,
    refined::{Progress, roots_and_pulls},
    rotation::Rotation,
};

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    panels: Panels,
    rounded: RoundedPanels,
    gram: Gram,
    right: Vec<f32>,
    roots: Vec<f32>,
    slots: Vec<u32>,
    next: Vec<u32>,
    diagonal: Vec<f32>,
    buffers: Buffers,
}

#[derive(Debug, Default)]
struct Buffers {
    /// y, the right-hand side of the dual system: one number for each rating.
    known: Vec<f32>,
    residual: Vec<f32>,
    correction: Vec<f32>,
    factors: Vec<f32>,
}

/// Solves one row of the explicit objective into `solution`, a stored row.
///
/// # Errors
/// [`PrecisionLost`] when f32 cannot solve it.
pub fn solve_explicit(
    problem: &Problem<'_>,
    row: Row<'_>,
    solution: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), PrecisionLost> {
    let (kernel, fit) = (problem.kernel, &problem.fit);
    let (rows, rank, count) = (fit.rows(), fit.rank(), row.slots.len());
    scratch.right.clear();
    let targets = row.slots.iter().zip(row.ratings);
    scratch.right.extend(targets.map(|(&slot, &rating)| fit.weight_and_pull(slot, rating).1 as f32));
    let scales = ColumnScales { ones: fit.biases(), ..ColumnScales::default() };
    kernel.pack_columns(rows, row.slots, scales, &mut scratch.panels);
    let ahead = Ahead { rows, slots: &row.ahead[..row.ahead.len().min(count)] };
    let ridge = fit.ridge(row.ratings) as f32;
    scratch.gram.solve(problem, &scratch.panels, ridge, ahead, &mut scratch.right)?;
    let weights = &scratch.right[..count];
    kernel.sum_rows(rows, row.slots, weights, &mut solution[..rank]);
    if fit.biases() {
        solution[rank] = weights.iter().sum();
    }
    Ok(())
}

/// Solves one row of the implicit objective, whose weights are above zero, into `solution`: in the rotated basis.
/// `refined` says that the Gram is to be that of rounded rows and the solution to be corrected ([`super::refined`]).
///
/// # Errors
/// [`PrecisionLost`] when f32 cannot solve it, or corrections do not lead to the solution.
pub fn solve_rotated(
    problem: &Problem<'_>,
    rotation: &Rotation,
    row: Row<'_>,
    solution: &mut [f32],
    scratch: &mut Scratch,
    refined: bool,
) -> Result<(), PrecisionLost> {
    let (kernel, fit) = (problem.kernel, &problem.fit);
    let count = row.slots.len();
    let weighted = fit.weights(row.ratings) == Weights::Positive;
    let Scratch { panels, rounded, gram, right, roots, slots, next, diagonal, buffers } = scratch;
    let slots = rotation.places(row.slots, slots);
    let next = rotation.places_if_any(&row.ahead[..row.ahead.len().min(count)], next);
    roots_and_pulls(fit, row, roots, right);
    roots_of_prior(rotation, fit.ridge(row.ratings), diagonal);
    let rows = weighted.then_some(&**roots);
    let ahead = Ahead { rows: rotation.rows(), slots: next };
    let turned = Turned { rows: rotation.rows(), slots, roots, diagonal };
    if refined {
        kernel.pack_rounded_columns(turned.rows, slots, diagonal, rows, rounded);
        gram.factorise_rounded(kernel, count, rounded, ahead)?;
        return turned.refine(kernel, gram, right, solution, buffers);
    }
    let scales = ColumnScales { columns: Some(diagonal), rows, ones: false };
    kernel.pack_columns(turned.rows, slots, scales, panels);
    gram.solve(problem, panels, 1.0, ahead, right)?;
    turned.spread(kernel, &right[..count], solution, &mut buffers.factors);
    Ok(())
}

/// D^−½ of a row with this ridge.
pub(super) fn roots_of_prior(rotation: &Rotation, ridge: f64, diagonal: &mut Vec<f32>) {
    let ridge = ridge as f32;
    diagonal.clear();
    diagonal.extend(rotation.eigenvalues().iter().map(|value| 1.0 / (value + ridge).sqrt()));
}

/// D^−½ Sᵀ y, which is D⁻¹ Qᵀ W^½ y, of a row whose rated rows are `slots` of the rotated `rows`, from W^½ in `roots` and D^−½
/// in `diagonal`.
#[expect(clippy::too_many_arguments, reason = "slices of one row, and where it goes")]
pub(super) fn spread(
    kernel: Kernel,
    rows: Rows<'_>,
    slots: &[u32],
    roots: &[f32],
    diagonal: &[f32],
    y: &[f32],
    solution: &mut [f32],
    factors: &mut Vec<f32>,
) {
    factors.clear();
    factors.extend(y.iter().zip(roots).map(|(y, root)| y * root));
    kernel.sum_rows(rows, slots, factors, solution);
    for (value, root) in solution.iter_mut().zip(diagonal) {
        *value *= root * root;
    }
}

/// A row in the rotated basis.
struct Turned<'a> {
    rows: Rows<'a>,
    slots: &'a [u32],
    /// The diagonal of W^½: a root of a weight for each slot.
    roots: &'a [f32],
    /// The diagonal of D^−½: one number for each column of the rotated basis.
    diagonal: &'a [f32],
}

impl Turned<'_> {
    fn spread(&self, kernel: Kernel, y: &[f32], solution: &mut [f32], factors: &mut Vec<f32>) {
        spread(kernel, self.rows, self.slots, self.roots, self.diagonal, y, solution, factors);
    }

    /// Solves (S Sᵀ + I) y = right and spreads y, `gram` being a factorisation of nearly that.
    fn refine(
        &self,
        kernel: Kernel,
        gram: &Gram,
        right: &[f32],
        solution: &mut [f32],
        buffers: &mut Buffers,
    ) -> Result<(), PrecisionLost> {
        let count = right.len();
        let Buffers { known: y, residual, correction, factors } = buffers;
        let solve = |right: &[f32], solved: &mut Vec<f32>| {
            solved.clear();
            solved.extend_from_slice(right);
            solved.resize(padded(count), 0.0);
            kernel.substitute(&gram.matrix, count, solved, &gram.factor)
        };
        solve(right, y)?;
        let mut progress = Progress::new(kernel.dot(right, &y[..count]));
        loop {
            self.spread(kernel, &y[..count], solution, factors);
            // What the rows themselves make of it: S Sᵀ y = W^½ Q x.
            residual.resize(count, 0.0);
            kernel.project_rows(self.rows, self.slots, solution, residual);
            for (((value, root), right), y) in residual.iter_mut().zip(self.roots).zip(right).zip(&*y) {
                *value = right - y - root * *value;
            }
            solve(residual, correction)?;
            kernel.add_scaled(1.0, correction, y);
            if progress.is_done(kernel.dot(residual, &correction[..count]))? {
                self.spread(kernel, &y[..count], solution, factors);
                return Ok(());
            }
        }
    }
}

/// The system of a dual.
#[derive(Debug, Default)]
struct Gram {
    matrix: Vec<f32>,
    factor: Factor,
}

impl Gram {
    /// Solves (P Pᵀ + ridge I) y = right for the packed rows P; `right` becomes y, padded to whole blocks.
    fn solve(
        &mut self,
        problem: &Problem<'_>,
        panels: &Panels,
        ridge: f32,
        ahead: Ahead<'_>,
        right: &mut Vec<f32>,
    ) -> Result<(), PrecisionLost> {
        let (kernel, count) = (problem.kernel, right.len());
        self.clear(count);
        let products = Products { order: count, panels, left: None, factors: &[], ahead: Some(ahead) };
        kernel.add_products::<0>(products, &mut self.matrix, &mut []);
        self.add_ridge(count, ridge);
        right.resize(padded(count), 0.0);
        kernel.solve(&mut self.matrix, count, right, &mut self.factor)
    }

    /// Factorises P Pᵀ + I for `count` packed rows P, rounded.
    fn factorise_rounded(
        &mut self,
        kernel: Kernel,
        count: usize,
        panels: &RoundedPanels,
        ahead: Ahead<'_>,
    ) -> Result<(), PrecisionLost> {
        self.clear(count);
        kernel.add_rounded_products(count, panels, ahead, &mut self.matrix);
        self.add_ridge(count, 1.0);
        kernel.factorise(&mut self.matrix, count, &mut self.factor)
    }

    fn clear(&mut self, count: usize) {
        self.matrix.clear();
        self.matrix.resize(blocks::len(count), 0.0);
    }

    fn add_ridge(&mut self, count: usize, ridge: f32) {
        for at in 0..count {
            self.matrix[blocks::index(at, at)] += ridge;
        }
    }
}
