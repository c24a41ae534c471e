//! The tile on the diagonal that a step begins with: its factor's inverse and its own inverse, in f64.
//!
//! All three loops add multiples of rows to rows, so that they run over numbers that lie side by side.

use crate::als::kernel::LANES;

use super::grid::{PANEL, SIDE, TILE};

/// A pivot that is smaller than this part of its diagonal element has lost its digits: what f32 has rounded in the sums before
/// is then some thousandths of the pivot.
const PIVOT_SHARE_MIN: f64 = 1e-4;

/// f32 does not tell an item from the items before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ridge is too small for the likes: nothing that f32 can tell is left of item {row} of the model beside the items before it; \
     train with a larger --ease-reg"
)]
pub struct LostDigits {
    /// Model row of the item.
    pub row: u32,
}

/// What step k makes of its tile (k, k) = L Lᵀ.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pivot {
    /// L⁻¹, a whole tile with zeros above the diagonal.
    pub(super) inverse_factor: Vec<f32>,
    /// −L⁻ᵀ L⁻¹; the lower triangle of a tile.
    pub(super) negative_inverse: Vec<f32>,
}

/// Where a number of a tile is.
pub(super) const fn place(row: usize, column: usize) -> usize {
    row / LANES * PANEL + column * LANES + row % LANES
}

/// Eliminates a tile on the diagonal, of whose lower triangle the first rows count: as many as there are elements in
/// `diagonal`, which G had in their places.
///
/// # Errors
/// The row whose pivot has lost its digits.
pub(super) fn eliminate(tile: &[f32], diagonal: &[f32]) -> Result<Pivot, usize> {
    let order = diagonal.len();
    let upper = factorise(tile, diagonal)?;
    let inverse = invert(&upper, order);
    // Σ over the rows of L⁻¹ of their outer products.
    let mut squares = vec![0.0_f64; order * order];
    for row in inverse.chunks_exact(order).enumerate().map(|(at, row)| &row[..=at]) {
        for (target, &factor) in squares
            .chunks_exact_mut(order)
            .zip(row)
            .enumerate()
            .map(|(at, (target, factor))| (&mut target[..=at], factor))
        {
            target.iter_mut().zip(row).for_each(|(target, value)| *target += factor * value);
        }
    }
    let mut pivot = Pivot { inverse_factor: vec![0.0; TILE], negative_inverse: vec![0.0; TILE] };
    for row in 0..order {
        for column in 0..=row {
            pivot.inverse_factor[place(row, column)] = inverse[row * order + column] as f32;
            pivot.negative_inverse[place(row, column)] = -squares[row * order + column] as f32;
        }
    }
    Ok(pivot)
}

/// Lᵀ, row after row; what is below the diagonal is undefined.
fn factorise(tile: &[f32], diagonal: &[f32]) -> Result<Vec<f64>, usize> {
    let order = diagonal.len();
    let mut upper = vec![0.0_f64; order * order];
    for row in 0..order {
        for column in row..order {
            upper[row * order + column] = f64::from(tile[place(column, row)]);
        }
    }
    for at in 0..order {
        let (done, rest) = upper.split_at_mut((at + 1) * order);
        let line = &mut done[at * order..];
        let pivot = line[at];
        // A NaN is refused too.
        if !(pivot > f64::from(diagonal[at]) * PIVOT_SHARE_MIN && pivot.is_finite()) {
            return Err(at);
        }
        let scale = 1.0 / pivot.sqrt();
        line[at..].iter_mut().for_each(|value| *value *= scale);
        for (below, target) in (at + 1..).zip(rest.chunks_exact_mut(order)) {
            let factor = line[below];
            target[below..]
                .iter_mut()
                .zip(&line[below..])
                .for_each(|(target, value)| *target -= factor * value);
        }
    }
    Ok(upper)
}

/// L⁻¹ from Lᵀ, row after row; zeros above the diagonal.
fn invert(upper: &[f64], order: usize) -> Vec<f64> {
    let mut inverse = vec![0.0_f64; order * order];
    for row in 0..order {
        let (done, rest) = inverse.split_at_mut(row * order);
        let target = &mut rest[..=row];
        for (before, line) in done.chunks_exact(order).enumerate() {
            let factor = upper[before * order + row];
            target.iter_mut().zip(&line[..=before]).for_each(|(target, value)| *target -= factor * value);
        }
        let scale = 1.0 / upper[row * order + row];
        target.iter_mut().for_each(|value| *value *= scale);
        target[row] = scale;
    }
    inverse
}

const _: () = assert!(TILE == SIDE / LANES * PANEL);
