//! A half-step: rows in pieces over the threads of the current rayon pool.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use rayon::prelude::*;

use super::{
    cholesky::NotPositiveDefinite,
    conjugate,
    cost::{self, SystemForm},
    descent, double_precision, dual,
    fit::{Fit, RatingRows, Row, Weights},
    kernel::{Kernel, factor::PrecisionLost, pack::Panels},
    primal,
    problem::{Problem, RowError, Solver},
    refined,
    rotation::{Eigenbasis, Rotation},
    short, small_rank,
};
use crate::large_pages::LargePages;

/// Operations in a piece of work, as counted by [`cost`]: enough to hide what handing it out costs, few enough that
/// the last pieces end together.
const PIECE_COST: u64 = 16_000_000;

/// From here on a row's parts are summed by as many threads as are free.
const LONG_RATINGS: usize = 4 * primal::PART_RATINGS;

/// What half-steps may keep for those after them.
#[derive(Debug, Default)]
pub struct Kept {
    /// The Gramian's eigenbasis, where it is known already.
    pub basis: Option<Arc<Eigenbasis>>,
    /// Room for the rotated rows: [`HalfStep::into_room`] of an earlier one.
    pub room: LargePages,
}

/// A half-step, ready to solve rows.
#[derive(Debug)]
pub struct HalfStep<'a> {
    problem: Problem<'a>,
    rows: RatingRows<'a>,
    /// Where the implicit objective has rows to solve in the rotated basis.
    rotation: Option<Rotation>,
    scratches: Scratches,
}

impl<'a> HalfStep<'a> {
    /// Prepares to solve `rows`. Some rows of the implicit objective are solved in the Gramian's eigenbasis: the fixed rows
    /// that they name are rotated now, on the threads of the current pool.
    ///
    /// # Panics
    /// When a slot names no fixed row, or rows without negative elements are asked for together with biases.
    #[must_use]
    pub fn new(kernel: Kernel, fit: Fit<'a>, solver: Solver, rows: RatingRows<'a>) -> Self {
        Self::with_kept(kernel, fit, solver, rows, Kept::default())
    }

    /// The same with what was kept of half-steps before. It changes nothing but the time.
    ///
    /// # Panics
    /// As [`HalfStep::new`].
    #[must_use]
    pub fn with_kept(kernel: Kernel, fit: Fit<'a>, solver: Solver, rows: RatingRows<'a>, kept: Kept) -> Self {
        assert!(!(solver == Solver::Nonnegative && fit.biases()), "biases may be negative");
        let problem = Problem::new(kernel, fit, solver);
        let rotation = rotation(&problem, rows, kept);
        Self { problem, rows, rotation, scratches: Scratches::default() }
    }

    /// The memory of the rotated rows, for the next half-step; empty when nothing was rotated.
    #[must_use]
    pub fn into_room(self) -> LargePages {
        self.rotation.map(Rotation::into_room).unwrap_or_default()
    }

    /// Solves the rows in `range`. `solution` holds their stored rows one after the other: as they were, from which some
    /// solvers start, and then as they are. Pieces of about equal cost are handed to threads; each row depends on
    /// nothing but its ratings, what they name and, perhaps, where it starts.
    ///
    /// # Errors
    /// The first row, in row order, that cannot be solved.
    ///
    /// # Panics
    /// When there is no such row, or `solution` has another length.
    pub fn solve(&self, range: Range<usize>, solution: &mut [f32]) -> Result<(), RowError> {
        let width = self.problem.fit.width();
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
            let cost = self.cost(count);
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

    fn cost(&self, count: usize) -> u64 {
        let rank = self.problem.fit.rank();
        match self.problem.solver {
            Solver::ConjugateGradients { steps } => cost::conjugate(count, rank, steps),
            Solver::Descent { block } => cost::descent(count, rank, block),
            Solver::Cholesky => self.problem.form(count).operations(count, rank, self.rotation.is_some()),
            Solver::Nonnegative => cost::primal(count, rank),
        }
    }

    fn solve_piece(&self, first: usize, rows: &mut [f32], scratch: &mut Scratch) -> Result<(), RowError> {
        if self.problem.sums_in_place() {
            let in_parts = |row: Row<'_>| self.small_rank_parts(row);
            return small_rank::solve(
                &self.problem,
                self.rows,
                first,
                rows,
                &mut scratch.small_rank,
                in_parts,
            );
        }
        let width = self.problem.fit.width();
        scratch.rotated.clear();
        scratch.short.clear();
        let mut failure = None;
        for (at, solution) in rows.chunks_exact_mut(width).enumerate() {
            let row = self.rows.row(first + at);
            if self.is_short(row) {
                // Rows of a piece are counted in a u32 as all rows are.
                scratch.short.push(at as u32);
                continue;
            }
            match self.solve_row(row, solution, scratch) {
                Ok(Basis::Rotated) => scratch.rotated.push(at as u32),
                Ok(Basis::Usual) => {}
                Err(source) => {
                    failure = Some(RowError { row: first + at, source });
                    break;
                }
            }
        }
        // Those that were put aside are before the row that failed.
        self.solve_short(first, rows, scratch)?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let Some(rotation) = self.rotation.as_ref().filter(|_| !scratch.rotated.is_empty()) {
            let Scratch { rotated, turned, panels, .. } = scratch;
            rotation.turn_back(self.problem.kernel, rows, rotated, turned, panels);
        }
        Ok(())
    }

    /// Whether a row is solved side by side with others.
    fn is_short(&self, row: Row<'_>) -> bool {
        let count = row.slots.len();
        self.rotation.is_some()
            && count > 0
            && short::applies(self.problem.kernel, self.problem.form(count), count)
            && self.problem.fit.weights(row.ratings) != Weights::Any
    }

    /// Solves the rows of a piece that were put aside.
    fn solve_short(&self, first: usize, rows: &mut [f32], scratch: &mut Scratch) -> Result<(), RowError> {
        let Scratch { short, short_buffers, rotated, .. } = scratch;
        let Some(rotation) = self.rotation.as_ref().filter(|_| !short.is_empty()) else { return Ok(()) };
        short::solve(&self.problem, rotation, self.rows, first, short, rows, short_buffers)?;
        rotated.append(short);
        Ok(())
    }

    /// Solves one row: in f32, or where that is not enough exactly in f64.
    fn solve_row(
        &self,
        row: Row<'_>,
        solution: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<Basis, NotPositiveDefinite> {
        let problem = &self.problem;
        if row.slots.is_empty() {
            solution.fill(0.0);
            return Ok(Basis::Usual);
        }
        let solved = match problem.solver {
            Solver::Cholesky => self.solve_exactly(row, solution, scratch),
            Solver::Nonnegative => self.solve_primal(row, solution, scratch).map(|()| Basis::Usual),
            Solver::ConjugateGradients { steps } => {
                conjugate::improve(problem, steps, row, solution, &mut scratch.conjugate);
                let is_finite = solution.iter().all(|value| value.is_finite());
                if is_finite { Ok(Basis::Usual) } else { Err(PrecisionLost) }
            }
            Solver::Descent { block } => {
                descent::improve(problem, block, row, solution, &mut scratch.descent).map(|()| Basis::Usual)
            }
        };
        solved.or_else(|PrecisionLost| {
            let is_nonnegative = problem.solver == Solver::Nonnegative;
            double_precision::solve(&problem.fit, is_nonnegative, row, solution).map(|()| Basis::Usual)
        })
    }

    /// In the cheapest form.
    fn solve_exactly(
        &self,
        row: Row<'_>,
        solution: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<Basis, PrecisionLost> {
        let Problem { fit, .. } = &self.problem;
        match (self.problem.form(row.slots.len()), &self.rotation) {
            (SystemForm::Dual, None) if matches!(fit, Fit::Explicit { .. }) => {
                return dual::solve_explicit(&self.problem, row, solution, &mut scratch.dual)
                    .map(|()| Basis::Usual);
            }
            (form, Some(rotation)) if form.is_rotated() && fit.weights(row.ratings) != Weights::Any => {
                match self.solve_rotated(form, rotation, row, solution, scratch) {
                    // Rows that are not rounded may do.
                    Err(PrecisionLost) if form != SystemForm::Dual => {}
                    solved => return solved.map(|()| Basis::Rotated),
                }
            }
            // The Gramian has no eigenvectors, or the weights no roots.
            _ => {}
        }
        self.solve_primal(row, solution, scratch).map(|()| Basis::Usual)
    }

    fn solve_rotated(
        &self,
        form: SystemForm,
        rotation: &Rotation,
        row: Row<'_>,
        solution: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), PrecisionLost> {
        if form == SystemForm::RefinedPrimal {
            let parts = RefinedParts { half_step: self, rotation, row };
            refined::solve(&self.problem, rotation, row, solution, &mut scratch.refined, &parts)
        } else {
            let refined = form == SystemForm::RefinedDual;
            dual::solve_rotated(&self.problem, rotation, row, solution, &mut scratch.dual, refined)
        }
    }

    fn solve_primal(
        &self,
        row: Row<'_>,
        solution: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), PrecisionLost> {
        if row.slots.len() >= LONG_RATINGS {
            self.solve_long(row, solution, scratch)
        } else {
            primal::solve(&self.problem, row, solution, &mut scratch.primal)
        }
    }

    /// A long row, its parts summed on all threads.
    fn solve_long(
        &self,
        row: Row<'_>,
        solution: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), PrecisionLost> {
        let parts = |begins: &[usize], weights: Weights| {
            self.on_threads(begins, |begin, scratch| {
                let mut part = primal::Sums::default();
                primal::sum_part(&self.problem, row, weights, begin, &mut part, &mut scratch.primal);
                part
            })
        };
        primal::solve_in_parts(&self.problem, row, solution, &mut scratch.primal, parts)
    }

    /// The parts of a row of a small rank, if it is long, each summed by a thread.
    fn small_rank_parts(&self, row: Row<'_>) -> Option<Vec<small_rank::Sums>> {
        let begins: Vec<usize> = (0..row.slots.len()).step_by(primal::PART_RATINGS).collect();
        let sum = |begin, scratch: &mut Scratch| {
            let mut part = small_rank::Sums::default();
            small_rank::sum_part(&self.problem, row, begin, &mut part, &mut scratch.small_rank);
            part
        };
        (row.slots.len() >= LONG_RATINGS).then(|| self.on_threads(&begins, sum))
    }

    /// The parts of a row that begin there, worked on by as many threads as are free.
    fn on_threads<T: Send>(
        &self,
        begins: &[usize],
        work: impl Fn(usize, &mut Scratch) -> T + Sync,
    ) -> Vec<T> {
        let part = |&begin: &usize| {
            let mut scratch = self.scratches.take();
            let part = work(begin, &mut scratch);
            self.scratches.put(scratch);
            part
        };
        begins.par_iter().with_max_len(1).map(part).collect()
    }
}

/// The parts of a row that is refined.
struct RefinedParts<'a> {
    half_step: &'a HalfStep<'a>,
    rotation: &'a Rotation,
    row: Row<'a>,
}

impl refined::Parts for RefinedParts<'_> {
    fn sums(&self, begins: &[usize]) -> Vec<primal::Sums> {
        let Self { half_step, rotation, row } = *self;
        half_step.on_threads(begins, |begin, scratch| {
            refined::sum_part(&half_step.problem, rotation, row, begin, &mut scratch.refined)
        })
    }

    fn residuals(&self, begins: &[usize], solution: &[f32]) -> Vec<Vec<f32>> {
        let Self { half_step, rotation, row } = *self;
        half_step.on_threads(begins, |begin, scratch| {
            refined::part_residual(&half_step.problem, rotation, row, begin, solution, &mut scratch.refined)
        })
    }
}

/// The basis that a solution is in.
enum Basis {
    Usual,
    Rotated,
}

/// Rotates the fixed rows that are needed in the rotated basis. Returns `None` when no row is solved there, or the Gramian
/// is not finite.
fn rotation(problem: &Problem<'_>, rows: RatingRows<'_>, kept: Kept) -> Option<Rotation> {
    let Fit::Implicit { settings, gramian, .. } = &problem.fit else { return None };
    let kernel = problem.kernel;
    let rotated = || (0..rows.len()).filter(|&row| problem.form(rows.count(row)).is_rotated());
    let uses = rotated().map(|row| rows.count(row)).sum();
    if uses == 0 {
        return None;
    }
    let basis = kept.basis.or_else(|| Eigenbasis::new(kernel, gramian, settings.rank).map(Arc::new))?;
    let named = rotated().map(|row| rows.row(row).slots);
    Some(Rotation::new(kernel, &problem.fit, settings.unobserved_weight, basis, named, uses, kept.room))
}

/// Buffers of one thread.
#[derive(Debug, Default)]
struct Scratch {
    small_rank: small_rank::Scratch,
    primal: primal::Scratch,
    dual: dual::Scratch,
    refined: refined::Scratch,
    conjugate: conjugate::Scratch,
    descent: descent::Scratch,
    /// Rows of the piece that are solved side by side.
    short: Vec<u32>,
    short_buffers: short::Scratch,
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
