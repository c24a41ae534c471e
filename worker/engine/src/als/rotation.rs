//! The fixed side in the eigenbasis of its Gramian, for the implicit objective's dual and refined solves.
//!
//! With Σ q qᵀ = V Λ Vᵀ and q̃ = Vᵀ q the matrix α₀ Σ q qᵀ + ridge I is diagonal for every row, whatever its ridge. A
//! solution x̃ in that basis is V x̃ in the other.
//!
//! A rotated copy is held for as long as the half-step lasts: of the whole fixed side where its rows are read often, else of
//! those rows only that such rows of this worker name. A rotated row depends on that row and the Gramian alone.

use std::sync::Arc;

use rayon::prelude::*;

use super::{
    eigen::decompose,
    fit::Fit,
    kernel::{
        Kernel,
        pack::{Panels, Rows},
    },
};
use crate::large_pages::LargePages;

/// Rows rotated by one thread at a time.
const ROWS_AT_ONCE: usize = 1_024;

/// Uses of a row on average, from which on all rows are rotated, into large pages: few are not used at all, and to find
/// those, and each of the others in its place, would take longer than to rotate them.
const OFTEN: usize = 8;

/// Of a slot that has not been rotated.
const NOT_ROTATED: u32 = u32::MAX;

/// The eigenvectors of a Gramian, ready to rotate with. Computing them takes longer than solving a row: whoever solves
/// single rows of the same fixed side keeps them.
#[derive(Debug)]
pub struct Eigenbasis {
    rank: usize,
    /// Λ, the Gramian's eigenvalues.
    eigenvalues: Vec<f64>,
    /// V, packed: what turns rows into the basis.
    forth: Panels,
    /// Vᵀ, packed: what turns solutions back.
    back: Panels,
}

impl Eigenbasis {
    /// The basis of a `rank` × `rank` Gramian (row-major, both triangles); `None` when it is not finite.
    #[must_use]
    pub fn new(kernel: Kernel, gramian: &[f64], rank: usize) -> Option<Self> {
        let eigen = decompose(gramian, rank)?;
        let vectors: Vec<f32> = eigen.vectors.iter().map(|&value| value as f32).collect();
        let transposed: Vec<f32> = (0..rank * rank).map(|at| vectors[at % rank * rank + at / rank]).collect();
        // The rank is counted in a u32.
        let every: Vec<u32> = (0..rank as u32).collect();
        let packed = |values: &[f32]| {
            let mut panels = Panels::default();
            kernel.pack_rows(Rows::new(values, rank, rank), &every, None, &mut panels);
            panels
        };
        Some(Self { rank, eigenvalues: eigen.values, forth: packed(&transposed), back: packed(&vectors) })
    }
}

/// The fixed side's rows, rotated: all, or some of them.
#[derive(Debug)]
pub struct Rotation {
    basis: Arc<Eigenbasis>,
    /// α₀ Λ, the eigenvalues of the prior.
    eigenvalues: Vec<f32>,
    /// For each slot, its place among the rotated rows, where not all are.
    places: Option<Vec<u32>>,
    /// The rotated rows, and perhaps room behind them.
    rows: LargePages,
    /// Numbers of the rotated rows.
    count: usize,
}

impl Rotation {
    /// Rotates rows on the threads of the current pool, so that those which `named` gives, in lists of slots, are among them.
    /// `unobserved_weight` is α₀, and `uses` says how many slots are in the lists. They go into `room` if it is large enough:
    /// memory that has been used before, since the first touch of each page takes the system longer than the products.
    ///
    /// # Panics
    /// When the basis is of another rank.
    #[must_use]
    pub fn new<'a>(
        kernel: Kernel,
        fit: &Fit<'_>,
        unobserved_weight: f64,
        basis: Arc<Eigenbasis>,
        named: impl Iterator<Item = &'a [u32]>,
        uses: usize,
        room: LargePages,
    ) -> Self {
        let (fixed, rank) = (fit.rows(), basis.rank);
        assert_eq!(rank, fit.rank());
        // Rounding may leave a value of zero a little below.
        let eigenvalues =
            basis.eigenvalues.iter().map(|value| (unobserved_weight * value).max(0.0) as f32).collect();
        let is_whole = uses >= OFTEN * fixed.count();
        let mut places = vec![NOT_ROTATED; if is_whole { 0 } else { fixed.count() }];
        // Slots are counted in a u32.
        let slots = if is_whole { (0..fixed.count() as u32).collect() } else { numbered(named, &mut places) };
        let count = slots.len() * rank;
        let mut rows = match room {
            room if room.len() >= count => room,
            _ if is_whole => LargePages::zeroed(count),
            _ => vec![0.0; count].into(),
        };
        rows[..count]
            .par_chunks_mut(ROWS_AT_ONCE * rank)
            .zip(slots.par_chunks(ROWS_AT_ONCE))
            .for_each_init(Panels::default, |scratch, (rows, slots)| {
                kernel.multiply(fixed, slots, &basis.forth, rows, scratch)
            });
        Self { basis, eigenvalues, places: (!is_whole).then_some(places), rows, count }
    }

    /// The memory of the rotated rows, for the next rotation.
    #[must_use]
    pub fn into_room(self) -> LargePages {
        self.rows
    }

    /// α₀ Λ, the eigenvalues of the prior: `rank` numbers.
    #[must_use]
    pub fn eigenvalues(&self) -> &[f32] {
        &self.eigenvalues
    }

    /// The fixed side's rows in the rotated basis.
    #[must_use]
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(&self.rows[..self.count], self.basis.rank, self.basis.rank)
    }

    /// Where the rows of these slots, which have been named, are among [`Rotation::rows`]; `buffer` is for them if they are
    /// elsewhere.
    pub fn places<'a>(&self, slots: &'a [u32], buffer: &'a mut Vec<u32>) -> &'a [u32] {
        let Some(places) = &self.places else { return slots };
        buffer.clear();
        buffer.extend(slots.iter().map(|&slot| places[slot as usize]));
        buffer
    }

    /// The same, behind what `to` has.
    pub fn append_places(&self, slots: &[u32], to: &mut Vec<u32>) {
        match &self.places {
            Some(places) => to.extend(slots.iter().map(|&slot| places[slot as usize])),
            None => to.extend(slots),
        }
    }

    /// The same for slots of which some may not have been named: they are left out.
    pub fn places_if_any<'a>(&self, slots: &'a [u32], buffer: &'a mut Vec<u32>) -> &'a [u32] {
        let Some(places) = &self.places else { return slots };
        buffer.clear();
        buffer.extend(slots.iter().map(|&slot| places[slot as usize]).filter(|&place| place != NOT_ROTATED));
        buffer
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
        let rank = self.basis.rank;
        turned.clear();
        turned.resize(which.len() * rank, 0.0);
        kernel.multiply(Rows::new(solutions, rank, rank), which, &self.basis.back, turned, scratch);
        for (turned, &row) in turned.chunks_exact(rank).zip(which) {
            solutions[row as usize * rank..][..rank].copy_from_slice(turned);
        }
    }
}

/// The slots in the lists in ascending order, each once; `places` becomes their places in it.
fn numbered<'a>(named: impl Iterator<Item = &'a [u32]>, places: &mut [u32]) -> Vec<u32> {
    for slots in named {
        for &slot in slots {
            places[slot as usize] = 0;
        }
    }
    // Slots are counted in a u32.
    let slots: Vec<u32> =
        (0..places.len() as u32).filter(|&slot| places[slot as usize] != NOT_ROTATED).collect();
    for (place, &slot) in (0..).zip(&slots) {
        places[slot as usize] = place;
    }
    slots
}
