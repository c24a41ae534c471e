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
    half_step::Shared,
    kernel::{
        blocks,
        factor::{Factor, LostDigits},
        normal::{Ahead, Products},
        pack::{ColumnScales, Panels},
        padded,
    },
    rotation::Rotation,
};

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    panels: Panels,
    gram: Gram,
    right: Vec<f32>,
    roots: Vec<f32>,
    slots: Vec<u32>,
    next: Vec<u32>,
    diagonal: Vec<f32>,
}

/// Solves one row of the explicit objective into `solution`, a stored row.
///
/// # Errors
/// [`LostDigits`] when f32 cannot solve it.
pub fn solve_explicit(
    shared: &Shared<'_>,
    row: Row<'_>,
    solution: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), LostDigits> {
    let (kernel, fit) = (shared.kernel, &shared.fit);
    let (rows, rank, count) = (fit.rows(), fit.rank(), row.slots.len());
    scratch.right.clear();
    let targets = row.slots.iter().zip(row.ratings);
    scratch.right.extend(targets.map(|(&slot, &rating)| fit.weight_and_pull(slot, rating).1 as f32));
    let scales = ColumnScales { ones: fit.biases(), ..ColumnScales::default() };
    kernel.pack_columns(rows, row.slots, scales, &mut scratch.panels);
    let ahead = Ahead { rows, slots: &row.ahead[..row.ahead.len().min(count)] };
    let ridge = fit.ridge(row.ratings) as f32;
    scratch.gram.solve(shared, &scratch.panels, ridge, ahead, &mut scratch.right)?;
    let weights = &scratch.right[..count];
    kernel.sum_rows(rows, row.slots, weights, &mut solution[..rank]);
    if fit.biases() {
        solution[rank] = weights.iter().sum();
    }
    Ok(())
}

/// Solves one row of the implicit objective, whose weights are above zero, into `solution`: in the rotated basis.
///
/// # Errors
/// [`LostDigits`] when f32 cannot solve it.
pub fn solve_rotated(
    shared: &Shared<'_>,
    rotation: &Rotation,
    row: Row<'_>,
    solution: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), LostDigits> {
    let (kernel, fit) = (shared.kernel, &shared.fit);
    let count = row.slots.len();
    let weighted = fit.weights(row.ratings) == Weights::Positive;
    scratch.slots.clear();
    scratch.slots.extend(rotation.places(row.slots));
    scratch.next.clear();
    scratch.next.extend(rotation.places(&row.ahead[..row.ahead.len().min(count)]));
    scratch.right.clear();
    scratch.roots.clear();
    for (&slot, &rating) in row.slots.iter().zip(row.ratings) {
        let (weight, pull) = fit.weight_and_pull(slot, rating);
        let root = (weight as f32).sqrt();
        scratch.roots.push(root);
        scratch.right.push(pull as f32 / root);
    }
    // D^−½.
    let ridge = fit.ridge(row.ratings) as f32;
    scratch.diagonal.clear();
    scratch.diagonal.extend(rotation.eigenvalues().iter().map(|value| 1.0 / (value + ridge).sqrt()));
    let scales = ColumnScales {
        columns: Some(&scratch.diagonal),
        rows: weighted.then_some(&scratch.roots),
        ones: false,
    };
    kernel.pack_columns(rotation.rows(), &scratch.slots, scales, &mut scratch.panels);
    let ahead = Ahead { rows: rotation.rows(), slots: &scratch.next };
    scratch.gram.solve(shared, &scratch.panels, 1.0, ahead, &mut scratch.right)?;
    for (weight, root) in scratch.right.iter_mut().zip(&scratch.roots) {
        *weight *= root;
    }
    kernel.sum_rows(rotation.rows(), &scratch.slots, &scratch.right[..count], solution);
    for (value, root) in solution.iter_mut().zip(&scratch.diagonal) {
        *value *= root * root;
    }
    Ok(())
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
        shared: &Shared<'_>,
        panels: &Panels,
        ridge: f32,
        ahead: Ahead<'_>,
        right: &mut Vec<f32>,
    ) -> Result<(), LostDigits> {
        let (kernel, count) = (shared.kernel, right.len());
        self.matrix.clear();
        self.matrix.resize(blocks::len(count), 0.0);
        let products = Products { order: count, panels, left: None, factors: &[], ahead: Some(ahead) };
        kernel.add_products::<0>(products, &mut self.matrix, &mut []);
        for at in 0..count {
            self.matrix[blocks::index(at, at)] += ridge;
        }
        right.resize(padded(count), 0.0);
        kernel.solve(&mut self.matrix, count, right, &mut self.factor)
    }
}
