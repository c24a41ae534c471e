//! Exact solutions from a factorisation that is not: iterative refinement (Wilkinson 1963, "Rounding Errors in
//! Algebraic Processes"; Carson and Higham 2018, "Accelerating the Solution of Linear Systems by Iterative Refinement in
//! Three Precisions").
//!
//! Where the processor multiplies bf16 faster than f32, a row's matrix is summed from rows rounded to bf16 and
//! factorised in f32: P. The right-hand side b is not rounded: its error would be no part of P's, and not as small. A
//! solution of P is near the row's, and r = b − A x, in f32 and from the rows themselves, says how near. Then x + P⁻¹ r is
//! nearer by the same ratio again, for the cost of reading the rows once more. A row is done when its error is within
//! what a factorisation of A in f32 leaves; one that does not come nearer is left to that.
//!
//! Rows are taken in the Gramian's eigenbasis ([`super::rotation`]). There the elements of the fixed side are of very
//! different size but hardly correlated, as are their rounding errors: every direction loses the same few digits, be
//! its eigenvalue large or small. And the prior, which no rounding touches, is a diagonal.
//!
//! Sums are made in parts as in `primal`, so that threads change nothing.

use super::{
    fit::{Fit, Row, Weights},
    kernel::{
        blocks,
        dense::Projections,
        factor::{Factor, PrecisionLost},
        normal::Ahead,
        rounded::RoundedPanels,
    },
    primal::{PART_RATINGS, PARTS_MAX, Sums},
    problem::Problem,
    rotation::Rotation,
};

/// Rows packed at a time: as many bytes as the panels of f32 have.
const DEPTH: usize = 64;

/// The error of a row that is done, as a share of the row in the norm of its matrix: a few roundings.
const ERROR_MAX: f64 = 1e-6;

/// Corrections after which a row is not going to get there.
const CORRECTIONS_MAX: usize = 6;

/// How far a refinement has come.
#[derive(Debug)]
pub struct Progress {
    /// Of the first solution: xᵀ P x.
    first: f64,
    /// Of the last correction.
    last: f64,
    corrections: usize,
}

impl Progress {
    /// After the first solution, of this energy xᵀ P x.
    #[must_use]
    pub fn new(energy: f32) -> Self {
        let energy = f64::from(energy);
        Self { first: energy, last: energy, corrections: 0 }
    }

    /// Whether the row is done after a correction of this energy. A correction is as large as the error was before, and
    /// each error the same share of the one before.
    ///
    /// # Errors
    /// [`PrecisionLost`] when the row does not get there.
    pub fn is_done(&mut self, energy: f32) -> Result<bool, PrecisionLost> {
        let energy = f64::from(energy);
        if !energy.is_finite() {
            return Err(PrecisionLost);
        }
        // Rounding may leave next to nothing below zero.
        let energy = energy.max(0.0);
        // The error is √(energy / first) · √(energy / last) of the row.
        if energy * energy <= ERROR_MAX * ERROR_MAX * self.first * self.last {
            return Ok(true);
        }
        self.corrections += 1;
        if self.corrections == CORRECTIONS_MAX || energy >= self.last {
            return Err(PrecisionLost);
        }
        self.last = energy;
        Ok(false)
    }
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    gathered: Gathered,
    sums: Sums,
    factor: Factor,
    diagonal: Vec<f32>,
    solution: Vec<f32>,
    correction: Vec<f32>,
}

/// What is known of some ratings.
#[derive(Debug, Default)]
struct Gathered {
    panels: RoundedPanels,
    slots: Vec<u32>,
    next: Vec<u32>,
    scales: Vec<f32>,
    factors: Vec<f32>,
    weights: Vec<f32>,
    pulls: Vec<f32>,
}

/// Sums over the parts of a long row, made by as many threads as are free.
pub trait Parts {
    /// What [`sum_part`] makes of the parts that begin there.
    fn sums(&self, begins: &[usize]) -> Vec<Sums>;

    /// What [`part_residual`] makes of them for this solution.
    fn residuals(&self, begins: &[usize], solution: &[f32]) -> Vec<Vec<f32>>;
}

/// Solves one row of the implicit objective, whose weights are above zero, into `solution`: in the rotated basis. A row
/// of more than [`PART_RATINGS`] is summed by `parts`.
///
/// # Errors
/// [`PrecisionLost`] when it does not get near enough.
pub fn solve(
    problem: &Problem<'_>,
    rotation: &Rotation,
    row: Row<'_>,
    solution: &mut [f32],
    scratch: &mut Scratch,
    parts: &impl Parts,
) -> Result<(), PrecisionLost> {
    let (kernel, rank) = (problem.kernel, problem.fit.rank());
    let Scratch { gathered, sums, factor, diagonal, solution: x, correction } = scratch;
    // None for a row that is one part.
    let is_long = row.slots.len() > PART_RATINGS;
    let begins: Vec<usize> = (0..row.slots.len()).step_by(PART_RATINGS).filter(|_| is_long).collect();
    sums.clear(&problem.fit);
    if begins.is_empty() {
        add_ratings(problem, rotation, row, sums, gathered);
    } else {
        for begins in begins.chunks(PARTS_MAX) {
            parts.sums(begins).iter().for_each(|part| sums.add(part));
        }
    }
    // D.
    let ridge = problem.fit.ridge(row.ratings) as f32;
    diagonal.clear();
    diagonal.extend(rotation.eigenvalues().iter().map(|value| value + ridge));
    for (at, value) in diagonal.iter().enumerate() {
        sums.normal[blocks::index(at, at)] += value;
    }
    kernel.factorise(&mut sums.normal, rank, factor)?;
    x.clone_from(&sums.sides);
    kernel.substitute(&sums.normal, rank, x, factor)?;
    let mut progress = Progress::new(kernel.dot(&sums.sides, x));
    loop {
        // b − A x, from the prior's part on.
        let residual = &mut sums.sides;
        for ((value, x), diagonal) in residual.iter_mut().zip(&*x).zip(&*diagonal) {
            *value = -diagonal * x;
        }
        if begins.is_empty() {
            add_residual(problem, rotation, row, &x[..rank], &mut residual[..rank], gathered);
        } else {
            for begins in begins.chunks(PARTS_MAX) {
                for part in parts.residuals(begins, &x[..rank]) {
                    kernel.add_scaled(1.0, &part, &mut residual[..rank]);
                }
            }
        }
        correction.clone_from(residual);
        kernel.substitute(&sums.normal, rank, correction, factor)?;
        kernel.add_scaled(1.0, correction, x);
        if progress.is_done(kernel.dot(residual, correction))? {
            solution.copy_from_slice(&x[..rank]);
            return Ok(());
        }
    }
}

/// Σ w q qᵀ of rounded rows and Σ t q of the part of a row that begins at `begin`.
pub fn sum_part(
    problem: &Problem<'_>,
    rotation: &Rotation,
    row: Row<'_>,
    begin: usize,
    scratch: &mut Scratch,
) -> Sums {
    let mut sums = Sums::default();
    sums.clear(&problem.fit);
    add_ratings(problem, rotation, part(row, begin), &mut sums, &mut scratch.gathered);
    sums
}

/// Σ (t − w q·x) q, in f32, over the part of a row that begins at `begin`, for x in `solution`.
pub fn part_residual(
    problem: &Problem<'_>,
    rotation: &Rotation,
    row: Row<'_>,
    begin: usize,
    solution: &[f32],
    scratch: &mut Scratch,
) -> Vec<f32> {
    let mut residual = vec![0.0; solution.len()];
    add_residual(problem, rotation, part(row, begin), solution, &mut residual, &mut scratch.gathered);
    residual
}

fn part(row: Row<'_>, begin: usize) -> Row<'_> {
    row.part(begin..row.slots.len().min(begin + PART_RATINGS))
}

fn add_ratings(
    problem: &Problem<'_>,
    rotation: &Rotation,
    row: Row<'_>,
    sums: &mut Sums,
    gathered: &mut Gathered,
) {
    let (kernel, fit) = (problem.kernel, &problem.fit);
    let weighted = fit.weights(row.ratings) == Weights::Positive;
    let Gathered { panels, slots, next, scales, factors, .. } = gathered;
    for begin in (0..row.slots.len()).step_by(DEPTH) {
        let few = row.part(begin..row.slots.len().min(begin + DEPTH));
        roots_and_pulls(fit, few, scales, factors);
        let slots = rotation.places(few.slots, slots);
        let next = rotation.places_if_any(&few.ahead[..few.ahead.len().min(DEPTH)], next);
        let (rows, scales) = (rotation.rows(), weighted.then_some(&**scales));
        kernel.pack_rounded_rows(rows, slots, scales, factors, panels, &mut sums.sides[..fit.rank()]);
        kernel.add_rounded_products(fit.rank(), panels, Ahead { rows, slots: next }, &mut sums.normal);
    }
}

/// w^½ and t / w^½ of every rating of the implicit objective: rows are scaled by the weight's root, so the pull must be by
/// its inverse.
pub(super) fn roots_and_pulls(fit: &Fit<'_>, row: Row<'_>, roots: &mut Vec<f32>, pulls: &mut Vec<f32>) {
    roots.clear();
    pulls.clear();
    if fit.is_binary() {
        roots.resize(row.slots.len(), 1.0);
        pulls.resize(row.slots.len(), 1.0);
        return;
    }
    for (&slot, &rating) in row.slots.iter().zip(row.ratings) {
        let (weight, pull) = fit.weight_and_pull(slot, rating);
        let root = (weight as f32).sqrt();
        roots.push(root);
        pulls.push(pull as f32 / root);
    }
}

fn add_residual(
    problem: &Problem<'_>,
    rotation: &Rotation,
    row: Row<'_>,
    x: &[f32],
    residual: &mut [f32],
    gathered: &mut Gathered,
) {
    let Gathered { slots, weights, pulls, .. } = gathered;
    let slots = rotation.places(row.slots, slots);
    weights.clear();
    pulls.clear();
    if problem.fit.is_binary() {
        weights.resize(row.slots.len(), -1.0);
        pulls.resize(row.slots.len(), 1.0);
    } else {
        for (&slot, &rating) in row.slots.iter().zip(row.ratings) {
            let (weight, pull) = problem.fit.weight_and_pull(slot, rating);
            weights.push(-weight as f32);
            pulls.push(pull as f32);
        }
    }
    let projections = Projections { rows: rotation.rows(), slots, pulls, weights, vector: x, offset: 0.0 };
    problem.kernel.add_projections(projections, residual);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_done_when_its_error_is_small() {
        // A thousandth of the row, twice a thousandth less each time.
        assert_eq!(Progress::new(1.0).is_done(0.9e-6), Ok(true));
        assert_eq!(Progress::new(1.0).is_done(1.1e-6), Ok(false), "a millionth of the row is the most");
        let mut slow = Progress::new(1.0);
        assert_eq!([1e-4, 0.9e-8].map(|energy| slow.is_done(energy)), [Ok(false), Ok(true)]);
        assert_eq!(Progress::new(0.0).is_done(0.0), Ok(true));
        assert_eq!(Progress::new(1.0).is_done(-1e-12), Ok(true));
    }

    #[test]
    fn a_row_that_does_not_come_nearer_is_given_up() {
        assert_eq!(Progress::new(1.0).is_done(1.0), Err(PrecisionLost));
        assert_eq!(Progress::new(1.0).is_done(f32::NAN), Err(PrecisionLost));
        let mut slow = Progress::new(1.0);
        let steps: Vec<_> = (1..=CORRECTIONS_MAX).map(|at| slow.is_done(0.5_f32.powi(at as i32))).collect();
        assert_eq!(steps.last(), Some(&Err(PrecisionLost)));
        assert!(steps[..CORRECTIONS_MAX - 1].iter().all(|step| *step == Ok(false)));
    }
}
