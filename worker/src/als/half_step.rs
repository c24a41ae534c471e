//! A half-step: what all rows share, and rows in pieces over the threads of the current rayon pool.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use rayon::prelude::*;

use super::{
    cost, dual,
    fit::{Fit, RatingRows, Row, Weights},
    kernel::{Kernel, blocks, factor::LostDigits, pack::Panels},
    primal,
    rotation::Rotation,
    wide::{self, NotPositiveDefinite},
};

/// Operations in a piece of work, as counted by [`cost`]: enough to hide what handing it out costs, few enough that
/// the last pieces end together.
const PIECE_COST: u64 = 16_000_000;

/// From here on a row's parts are summed by as many threads as are free.
const LONG_RATINGS: usize = 4 * primal::PART_RATINGS;

/// A row could not be solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("row {row} cannot be solved")]
pub struct RowError {
    /// The row within the block.
    pub row: usize,
    /// Why.
    pub source: NotPositiveDefinite,
}

/// What every row of a half-step needs.
#[derive(Debug)]
pub struct Shared<'a> {
    /// The loops.
    pub kernel: Kernel,
    /// The objective and the fixed side.
    pub fit: Fit<'a>,
    /// What the implicit objective's normal equations begin with.
    pub prior: Option<Prior>,
}

/// α₀ times the Gramian.
#[derive(Debug)]
pub struct Prior {
    /// In [`blocks`], with a diagonal of zeros.
    pub lower: Vec<f32>,
    /// Its diagonal.
    pub diagonal: Vec<f64>,
}

impl Prior {
    fn new(fit: &Fit<'_>) -> Option<Self> {
        let Fit::Implicit { settings, gramian, .. } = fit else { return None };
        let rank = settings.rank;
        let value = |row: usize, column: usize| settings.unobserved_weight * gramian[row * rank + column];
        let mut lower = vec![0.0; blocks::len(rank)];
        for row in 0..rank {
            for column in 0..row {
                lower[blocks::index(row, column)] = value(row, column) as f32;
            }
        }
        Some(Self { lower, diagonal: (0..rank).map(|at| value(at, at)).collect() })
    }
}

/// A half-step, ready to solve rows.
#[derive(Debug)]
pub struct HalfStep<'a> {
    shared: Shared<'a>,
    rows: RatingRows<'a>,
    /// Where the implicit objective has rows to solve in the dual form.
    rotation: Option<Rotation>,
    scratches: Scratches,
}

impl<'a> HalfStep<'a> {
    /// Prepares to solve `rows`. In the implicit objective this rotates what the dual rows among them name, on the
    /// threads of the current pool.
    ///
    /// # Panics
    /// When a slot names no fixed row.
    #[must_use]
    pub fn new(kernel: Kernel, fit: Fit<'a>, rows: RatingRows<'a>) -> Self {
        let shared = Shared { kernel, fit, prior: Prior::new(&fit) };
        let rotation = dual_slots(&fit, rows).and_then(|marked| Rotation::new(kernel, &fit, &marked));
        Self { shared, rows, rotation, scratches: Scratches::default() }
    }

    /// Solves the rows in `range` into `solution`, their stored rows one after the other. Pieces of about equal cost are
    /// handed to threads; each row depends on nothing but its ratings and what they name.
    ///
    /// # Errors
    /// The first row, in row order, that cannot be solved.
    ///
    /// # Panics
    /// When there is no such row, or `solution` has another length.
    pub fn solve(&self, range: Range<usize>, solution: &mut [f32]) -> Result<(), RowError> {
        let width = self.shared.fit.width();
        assert_eq!(solution.len(), range.len() * width);
        let mut pieces = Vec::new();
        let mut rest = solution;
        for piece in self.pieces(range) {
            let (rows, after) = rest.split_at_mut(piece.len() * width);
            pieces.push((piece.start, rows));
            rest = after;
        }
        let failures: Vec<RowError> = pieces
            .into_par_iter()
            .with_max_len(1)
            .filter_map(|(first, rows)| {
                let mut scratch = self.scratches.take();
                let solved = self.solve_piece(first, rows, &mut scratch);
                self.scratches.put(scratch);
                solved.err()
            })
            .collect();
        failures.into_iter().min_by_key(|failure| failure.row).map_or(Ok(()), Err)
    }

    fn pieces(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        let (mut begin, mut sum) = (range.start, 0);
        for row in range.clone() {
            let count = self.rows.count(row);
            let cost = cost::row(count, self.shared.fit.rank(), self.is_dual(count));
            if row > begin && sum + cost > PIECE_COST {
                pieces.push(begin..row);
                (begin, sum) = (row, 0);
            }
            sum += cost;
        }
        if begin < range.end {
            pieces.push(begin..range.end);
        }
        pieces
    }

    fn is_dual(&self, count: usize) -> bool {
        prefers_dual(&self.shared.fit, count)
    }

    fn solve_piece(&self, first: usize, rows: &mut [f32], scratch: &mut Scratch) -> Result<(), RowError> {
        let width = self.shared.fit.width();
        scratch.rotated.clear();
        for (at, solution) in rows.chunks_exact_mut(width).enumerate() {
            let row = self.rows.row(first + at);
            match self.solve_row(row, solution, scratch) {
                // Rows of a piece are counted in a u32 as all rows are.
                Ok(Basis::Rotated) => scratch.rotated.push(at as u32),
                Ok(Basis::Usual) => {}
                Err(source) => return Err(RowError { row: first + at, source }),
            }
        }
        if let Some(rotation) = self.rotation.as_ref().filter(|_| !scratch.rotated.is_empty()) {
            let Scratch { rotated, turned, panels, .. } = scratch;
            rotation.turn_back(self.shared.kernel, rows, rotated, turned, panels);
        }
        Ok(())
    }

    /// Solves one row: in the cheaper form in f32, else in f64.
    fn solve_row(
        &self,
        row: Row<'_>,
        solution: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<Basis, NotPositiveDefinite> {
        let Shared { fit, .. } = &self.shared;
        let count = row.slots.len();
        if count == 0 {
            solution.fill(0.0);
            return Ok(Basis::Usual);
        }
        let dual = self.is_dual(count);
        let solved = match (&self.rotation, fit) {
            (_, Fit::Explicit { .. }) if dual => {
                dual::solve_explicit(&self.shared, row, solution, &mut scratch.dual)
            }
            (Some(rotation), Fit::Implicit { .. }) if dual && fit.weights(row.ratings) != Weights::Any => {
                let solved = dual::solve_rotated(&self.shared, rotation, row, solution, &mut scratch.dual);
                if solved.is_ok() {
                    return Ok(Basis::Rotated);
                }
                solved
            }
            _ if count >= LONG_RATINGS => self.solve_long(row, solution, scratch),
            _ => primal::solve(&self.shared, row, solution, &mut scratch.primal),
        };
        match solved {
            Ok(()) => Ok(Basis::Usual),
            Err(_) => wide::solve(fit, row, solution).map(|()| Basis::Usual),
        }
    }

    /// A long row, its parts summed on all threads.
    fn solve_long(
        &self,
        row: Row<'_>,
        solution: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), LostDigits> {
        let parts = |begins: &[usize], weights: Weights| {
            let sum = |&begin: &usize| {
                let mut scratch = self.scratches.take();
                let mut part = primal::Sums::default();
                primal::sum_part(&self.shared, row, weights, begin, &mut part, &mut scratch.primal);
                self.scratches.put(scratch);
                part
            };
            begins.par_iter().with_max_len(1).map(sum).collect()
        };
        primal::solve_in_parts(&self.shared, row, solution, &mut scratch.primal, parts)
    }
}

/// The basis that a solution is in.
enum Basis {
    Usual,
    Rotated,
}

fn prefers_dual(fit: &Fit<'_>, count: usize) -> bool {
    cost::prefers_dual(count, fit.rank(), matches!(fit, Fit::Implicit { .. }))
}

/// Marks the fixed rows that rows to be solved in the rotated basis name; `None` when there are none.
fn dual_slots(fit: &Fit<'_>, rows: RatingRows<'_>) -> Option<Vec<bool>> {
    let Fit::Implicit { .. } = fit else { return None };
    let mut marked = vec![false; fit.rows().count()];
    let mut any = false;
    for row in (0..rows.len()).filter(|&row| prefers_dual(fit, rows.count(row))) {
        for &slot in rows.row(row).slots {
            marked[slot as usize] = true;
            any = true;
        }
    }
    any.then_some(marked)
}

/// Buffers of one thread.
#[derive(Debug, Default)]
struct Scratch {
    primal: primal::Scratch,
    dual: dual::Scratch,
    /// Rows of the piece that are in the rotated basis.
    rotated: Vec<u32>,
    turned: Vec<f32>,
    panels: Panels,
}

/// Scratches that are not in use: as many as there have been pieces at work at once.
#[derive(Debug, Default)]
struct Scratches(Mutex<Vec<Scratch>>);

impl Scratches {
    fn take(&self) -> Scratch {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, scratch: Scratch) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}
