//! The fixed side in the eigenbasis of its Gramian, for the implicit objective's dual solves.
//!
//! With Σ q qᵀ = V Λ Vᵀ and q̃ = Vᵀ q the matrix α₀ Σ q qᵀ + ridge I is diagonal for every row, whatever its ridge. A
//! solution x̃ in that basis is V x̃ in the other.
//!
//! A rotated copy is held for as long as the half-step lasts, of those rows only that the dual rows of this worker
//! name: at most the size of the fixed side. A rotated row depends on that row and the Gramian alone.

use rayon::prelude::*;

use super::{
    eigen::decompose,
    fit::Fit,
    kernel::{
        Kernel,
        pack::{Panels, Rows},
    },
};

/// Rows rotated by one thread at a time.
const ROWS_AT_ONCE: usize = 1_024;

/// Of a slot that has not been rotated.
const NOT_ROTATED: u32 = u32::MAX;

/// Some of the fixed side's rows, rotated.
#[derive(Debug)]
pub struct Rotation {
    rank: usize,
    /// α₀ Λ.
    eigenvalues: Vec<f32>,
    /// For each slot, its place among the rotated rows.
    places: Vec<u32>,
    rows: Vec<f32>,
    /// Vᵀ, packed: what turns solutions back.
    back: Panels,
}

impl Rotation {
    /// Rotates the rows in the slots that are marked. `None` for the explicit objective, and when the Gramian has no
    /// eigenvectors because it is not finite.
    #[must_use]
    pub fn new(kernel: Kernel, fit: &Fit<'_>, marked: &[bool]) -> Option<Self> {
        let Fit::Implicit { settings, gramian, .. } = fit else { return None };
        let rank = settings.rank;
        let eigen = decompose(gramian, rank)?;
        // Rounding may leave a value of zero a little below.
        let eigenvalues =
            eigen.values.iter().map(|value| (settings.unobserved_weight * value).max(0.0) as f32);
        let vectors: Vec<f32> = eigen.vectors.iter().map(|&value| value as f32).collect();
        let transposed: Vec<f32> = (0..rank * rank).map(|at| vectors[at % rank * rank + at / rank]).collect();
        let every: Vec<u32> = (0..rank as u32).collect();
        let (mut back, mut forth) = (Panels::default(), Panels::default());
        kernel.pack_rows(Rows::new(&vectors, rank, rank), &every, None, &mut back);
        kernel.pack_rows(Rows::new(&transposed, rank, rank), &every, None, &mut forth);
        let slots: Vec<u32> =
            (0_u32..).zip(marked).filter(|(_, marked)| **marked).map(|(slot, _)| slot).collect();
        let mut places = vec![NOT_ROTATED; marked.len()];
        for (place, &slot) in (0_u32..).zip(&slots) {
            places[slot as usize] = place;
        }
        let mut rows = vec![0.0; slots.len() * rank];
        let fixed = fit.rows();
        rows.par_chunks_mut(ROWS_AT_ONCE * rank)
            .zip(slots.par_chunks(ROWS_AT_ONCE))
            .for_each_init(Panels::default, |scratch, (rows, slots)| {
                kernel.multiply(fixed, slots, &forth, rows, scratch)
            });
        Some(Self { rank, eigenvalues: eigenvalues.collect(), places, rows, back })
    }

    /// α₀ Λ.
    #[must_use]
    pub fn eigenvalues(&self) -> &[f32] {
        &self.eigenvalues
    }

    /// The rotated rows.
    #[must_use]
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(&self.rows, self.rank, self.rank)
    }

    /// Where a marked slot's row is among [`Rotation::rows`].
    #[must_use]
    pub fn slot(&self, slot: u32) -> u32 {
        self.places[slot as usize]
    }

    /// Turns those of the `solutions` (rows one after the other) that `which` names back into the usual basis.
    pub fn turn_back(
        &self,
        kernel: Kernel,
        solutions: &mut [f32],
        which: &[u32],
        turned: &mut Vec<f32>,
        scratch: &mut Panels,
    ) {
        turned.clear();
        turned.resize(which.len() * self.rank, 0.0);
        kernel.multiply(Rows::new(solutions, self.rank, self.rank), which, &self.back, turned, scratch);
        for (turned, &row) in turned.chunks_exact(self.rank).zip(which) {
            solutions[row as usize * self.rank..][..self.rank].copy_from_slice(turned);
        }
    }
}
