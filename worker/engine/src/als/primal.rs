//! A row through its normal equations, `rank` × `rank`.
//!
//! Ratings are summed in parts of [`PART_RATINGS`], each from zero, and the parts added in order: so several threads
//! can sum one long row and the bits do not change.

use super::{
    fit::{Fit, Row, Weights},
    kernel::{
        blocks,
        factor::{Border, Factor, PrecisionLost},
        normal::{Ahead, Products},
        pack::Panels,
        padded,
    },
    nonnegative,
    problem::{Problem, Solver},
};

/// Ratings summed by one thread in one go.
pub const PART_RATINGS: usize = 4_096;

/// Sums of parts in memory at once.
pub(super) const PARTS_MAX: usize = 32;

/// Rows packed at a time: at rank 64 their panels just fit into the first cache.
const DEPTH: usize = 64;

/// Σ over some of a row's ratings.
#[derive(Debug, Default)]
pub struct Sums {
    /// Σ w q qᵀ, in [`blocks`].
    pub(super) normal: Vec<f32>,
    /// Σ t q and, with biases, Σ q behind it.
    pub(super) sides: Vec<f32>,
    /// Σ t, where somebody needs it.
    pulls: f64,
}

impl Sums {
    pub(super) fn clear(&mut self, fit: &Fit<'_>) {
        let sides = 1 + usize::from(fit.biases());
        for (buffer, len) in
            [(&mut self.normal, blocks::len(fit.rank())), (&mut self.sides, sides * padded(fit.rank()))]
        {
            buffer.clear();
            buffer.resize(len, 0.0);
        }
        self.pulls = 0.0;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (ours, theirs) in [(&mut self.normal, &other.normal), (&mut self.sides, &other.sides)] {
            for (sum, value) in ours.iter_mut().zip(theirs) {
                *sum += value;
            }
        }
        self.pulls += other.pulls;
    }
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    panels: Panels,
    weighted: Panels,
    scales: Vec<f32>,
    factors: Vec<f32>,
    sums: Sums,
    part: Sums,
    factor: Factor,
}

/// Solves one row into `solution`, a stored row, on this thread.
///
/// # Errors
/// [`PrecisionLost`] when f32 cannot solve it.
pub fn solve(
    problem: &Problem<'_>,
    row: Row<'_>,
    solution: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), PrecisionLost> {
    let weights = problem.fit.weights(row.ratings);
    let mut sums = std::mem::take(&mut scratch.sums);
    start(problem, &mut sums);
    if row.slots.len() <= PART_RATINGS {
        add_ratings(problem, row, weights, &mut sums, scratch);
    } else {
        let mut part = std::mem::take(&mut scratch.part);
        for begin in (0..row.slots.len()).step_by(PART_RATINGS) {
            sum_part(problem, row, weights, begin, &mut part, scratch);
            sums.add(&part);
        }
        scratch.part = part;
    }
    let solved = finish(problem, row, &mut sums, solution, &mut scratch.factor);
    scratch.sums = sums;
    solved
}

/// The same for a long row of which `parts` sums each part, given where it begins and what is known of the weights; it
/// may use many threads, and returns the sums in the parts' order, a few at a time.
///
/// # Errors
/// [`PrecisionLost`] when f32 cannot solve it.
pub fn solve_in_parts(
    problem: &Problem<'_>,
    row: Row<'_>,
    solution: &mut [f32],
    scratch: &mut Scratch,
    parts: impl Fn(&[usize], Weights) -> Vec<Sums>,
) -> Result<(), PrecisionLost> {
    let weights = problem.fit.weights(row.ratings);
    let begins: Vec<usize> = (0..row.slots.len()).step_by(PART_RATINGS).collect();
    start(problem, &mut scratch.sums);
    for begins in begins.chunks(PARTS_MAX) {
        for part in parts(begins, weights) {
            scratch.sums.add(&part);
        }
    }
    finish(problem, row, &mut scratch.sums, solution, &mut scratch.factor)
}

/// Sums the part of a row that begins at `begin`.
pub fn sum_part(
    problem: &Problem<'_>,
    row: Row<'_>,
    weights: Weights,
    begin: usize,
    part: &mut Sums,
    scratch: &mut Scratch,
) {
    part.clear(&problem.fit);
    let end = row.slots.len().min(begin + PART_RATINGS);
    add_ratings(problem, row.part(begin..end), weights, part, scratch);
}

/// What a row has before its ratings: nothing, or α₀ times the Gramian.
fn start(problem: &Problem<'_>, sums: &mut Sums) {
    sums.clear(&problem.fit);
    if let Some(prior) = &problem.prior {
        sums.normal.copy_from_slice(&prior.lower);
    }
}

fn add_ratings(
    problem: &Problem<'_>,
    row: Row<'_>,
    weights: Weights,
    sums: &mut Sums,
    scratch: &mut Scratch,
) {
    let (kernel, fit) = (problem.kernel, &problem.fit);
    let (rows, biases) = (fit.rows(), fit.biases());
    let pulls_are_ratings = fit.pulls_are_ratings();
    for begin in (0..row.slots.len()).step_by(DEPTH) {
        let part = row.part(begin..row.slots.len().min(begin + DEPTH));
        let Row { slots, ratings, ahead, .. } = part;
        let ahead = &ahead[..ahead.len().min(DEPTH)];
        if !pulls_are_ratings {
            weigh(fit, part, weights, &mut sums.pulls, scratch);
        }
        let factors = if pulls_are_ratings { ratings } else { &*scratch.factors };
        let scaled = (weights == Weights::Positive).then_some(&*scratch.scales);
        kernel.pack_rows(rows, slots, scaled, &mut scratch.panels);
        if weights == Weights::Any {
            kernel.pack_rows(rows, slots, Some(&scratch.scales), &mut scratch.weighted);
        }
        let products = Products {
            order: fit.rank(),
            panels: &scratch.panels,
            left: (weights == Weights::Any).then_some(&scratch.weighted),
            factors,
            ahead: Some(Ahead { rows, slots: ahead }),
        };
        if biases {
            kernel.add_products::<2>(products, &mut sums.normal, &mut sums.sides);
        } else {
            kernel.add_products::<1>(products, &mut sums.normal, &mut sums.sides);
        }
    }
}

/// The factors of some ratings for the right-hand sides, and their scales where weights have any.
fn weigh(fit: &Fit<'_>, part: Row<'_>, weights: Weights, pulls: &mut f64, scratch: &mut Scratch) {
    let biases = fit.biases();
    scratch.scales.clear();
    scratch.factors.clear();
    for (&slot, &rating) in part.slots.iter().zip(part.ratings) {
        let (weight, pull) = fit.weight_and_pull(slot, rating);
        *pulls += pull;
        match weights {
            Weights::One => scratch.factors.push(pull as f32),
            // Rows are scaled by the weight's root, so the pull must be by its inverse.
            Weights::Positive => {
                let root = (weight as f32).sqrt();
                scratch.scales.push(root);
                scratch.factors.push(pull as f32 / root);
            }
            Weights::Any => {
                scratch.scales.push(weight as f32);
                scratch.factors.push(pull as f32);
            }
        }
        if biases {
            scratch.factors.push(1.0);
        }
    }
}

/// Adds the ridge and solves.
fn finish(
    problem: &Problem<'_>,
    row: Row<'_>,
    sums: &mut Sums,
    solution: &mut [f32],
    factor: &mut Factor,
) -> Result<(), PrecisionLost> {
    let (kernel, rank) = (problem.kernel, problem.fit.rank());
    let ridge = problem.fit.ridge(row.ratings);
    for at in 0..rank {
        let diagonal = &mut sums.normal[blocks::index(at, at)];
        // The prior's diagonal is added in f64, with the ridge: it is the larger part of a short row's.
        let prior = problem.prior.as_ref().map_or(0.0, |prior| prior.diagonal[at]);
        *diagonal += (prior + ridge) as f32;
    }
    if problem.solver == Solver::Nonnegative {
        let value = |row: usize, column: usize| {
            f64::from(sums.normal[blocks::index(row.max(column), row.min(column))])
        };
        let matrix: Vec<f64> = (0..rank * rank).map(|at| value(at / rank, at % rank)).collect();
        let right: Vec<f64> = sums.sides[..rank].iter().map(|&value| f64::from(value)).collect();
        let values = nonnegative::solve(&matrix, &right).map_err(|_| PrecisionLost)?;
        for (target, value) in solution.iter_mut().zip(values) {
            *target = value as f32;
        }
        return Ok(());
    }
    if problem.fit.biases() {
        let count = row.slots.len() as f64;
        let border = Border { diagonal: (count + ridge) as f32, right: sums.pulls as f32 };
        let bias = kernel.solve_bordered(&mut sums.normal, rank, &mut sums.sides, border, factor)?;
        solution[rank] = bias;
    } else {
        kernel.solve(&mut sums.normal, rank, &mut sums.sides, factor)?;
    }
    solution[..rank].copy_from_slice(&sums.sides[..rank]);
    Ok(())
}
