//! Rows of a small rank through their normal equations, many at a time: each is summed where its rated rows lie, and the
//! systems of [`LANES`] rows are solved side by side.
//!
//! Parts of long rows are summed as in [`super::primal`], so that threads change nothing.

use super::{
    double_precision,
    fit::{Fit, RatingRows, Row},
    kernel::{LANES, normal::Ahead, small_rank::sums_len, systems::Systems},
    primal::PART_RATINGS,
    problem::{Problem, RowError},
};

/// Ratings whose targets are computed in one go, and how far ahead rows are fetched.
const DEPTH: usize = 64;

/// Σ over some of a row's ratings.
#[derive(Debug, Default)]
pub struct Sums {
    /// As [`super::kernel::Kernel::add_small_rank`] leaves them.
    products: Vec<f32>,
    /// Σ t, where there are biases.
    pulls: f64,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Of each row of a batch.
    products: Vec<f32>,
    part: Sums,
    factors: Vec<f32>,
    systems: Systems,
}

/// Solves the rows from `first` on into `solutions`, stored rows one after the other, on this thread. `in_parts` sums the
/// parts of a long row with as many threads as are free, and returns them in order.
///
/// # Errors
/// The first row that neither f32 nor f64 can solve.
pub fn solve(
    problem: &Problem<'_>,
    rows: RatingRows<'_>,
    first: usize,
    solutions: &mut [f32],
    scratch: &mut Scratch,
    in_parts: impl Fn(Row<'_>) -> Option<Vec<Sums>>,
) -> Result<(), RowError> {
    let (fit, kernel) = (&problem.fit, problem.kernel);
    let (rank, sides) = (fit.rank(), sides(fit));
    let length = sums_len(rank, sides);
    for (batch, solutions) in solutions.chunks_mut(LANES * fit.width()).enumerate() {
        let first = first + batch * LANES;
        let count = solutions.len() / fit.width();
        let mut products = std::mem::take(&mut scratch.products);
        products.clear();
        products.resize(LANES * length, 0.0);
        let (mut ridges, mut pulls) = ([0.0_f64; LANES], [0.0_f64; LANES]);
        for (lane, products) in products.chunks_exact_mut(length).enumerate().take(count) {
            let row = rows.row(first + lane);
            ridges[lane] = fit.ridge(row.ratings);
            pulls[lane] = sum_row(problem, row, products, scratch, &in_parts);
        }
        kernel.fill_systems(&mut scratch.systems, rank, sides, &products);
        scratch.products = products;
        let systems = &mut scratch.systems;
        add_prior(problem, systems, &ridges);
        if fit.biases() {
            for lane in 0..count {
                let ratings = rows.count(first + lane) as f64;
                systems.element(rank, rank)[lane] = (ratings + ridges[lane]) as f32;
                systems.right(rank)[lane] = pulls[lane] as f32;
            }
        }
        let solved = kernel.solve_systems(systems);
        for (lane, solution) in solutions.chunks_exact_mut(fit.width()).enumerate() {
            let row = rows.row(first + lane);
            if row.slots.is_empty() {
                solution.fill(0.0);
            } else if solved[lane] {
                solution.iter_mut().zip(systems.solution(lane)).for_each(|(to, value)| *to = value);
            } else {
                double_precision::solve(fit, false, row, solution)
                    .map_err(|source| RowError { row: first + lane, source })?;
            }
        }
    }
    Ok(())
}

/// Sums the part of a row that begins at `begin`.
pub fn sum_part(problem: &Problem<'_>, row: Row<'_>, begin: usize, part: &mut Sums, scratch: &mut Scratch) {
    part.products.clear();
    part.products.resize(sums_len(problem.fit.rank(), sides(&problem.fit)), 0.0);
    let end = row.slots.len().min(begin + PART_RATINGS);
    part.pulls = add_ratings(problem, row.part(begin..end), &mut part.products, scratch);
}

/// Right-hand sides: with biases there is a column of ones, whose products with the others are one more.
fn sides(fit: &Fit<'_>) -> usize {
    1 + usize::from(fit.biases())
}

/// Sums a row into `products`, which are zero; returns Σ t.
fn sum_row(
    problem: &Problem<'_>,
    row: Row<'_>,
    products: &mut [f32],
    scratch: &mut Scratch,
    in_parts: &impl Fn(Row<'_>) -> Option<Vec<Sums>>,
) -> f64 {
    if row.slots.len() <= PART_RATINGS {
        return add_ratings(problem, row, products, scratch);
    }
    let mut pulls = 0.0;
    let mut add = |part: &Sums| {
        products.iter_mut().zip(&part.products).for_each(|(sum, value)| *sum += value);
        pulls += part.pulls;
    };
    if let Some(parts) = in_parts(row) {
        parts.iter().for_each(add);
        return pulls;
    }
    let mut part = std::mem::take(&mut scratch.part);
    for begin in (0..row.slots.len()).step_by(PART_RATINGS) {
        sum_part(problem, row, begin, &mut part, scratch);
        add(&part);
    }
    scratch.part = part;
    pulls
}

/// Adds some ratings to `products`; returns Σ t where there are biases.
fn add_ratings(problem: &Problem<'_>, row: Row<'_>, products: &mut [f32], scratch: &mut Scratch) -> f64 {
    let (kernel, fit) = (problem.kernel, &problem.fit);
    let factors = &mut scratch.factors;
    let mut pulls = 0.0;
    for begin in (0..row.slots.len()).step_by(DEPTH) {
        let Row { slots, ratings, ahead, .. } = row.part(begin..row.slots.len().min(begin + DEPTH));
        // Those before have been fetched with the ratings before.
        let ahead = ahead.get(DEPTH - slots.len()..).unwrap_or_default();
        let factors = if fit.pulls_are_ratings() {
            ratings
        } else {
            factors.clear();
            for (&slot, &rating) in slots.iter().zip(ratings) {
                let pull = fit.weight_and_pull(slot, rating).1;
                pulls += pull;
                factors.push(pull as f32);
            }
            &*factors
        };
        let ahead = Ahead { rows: fit.rows(), slots: ahead };
        if fit.biases() {
            kernel.add_small_rank::<2>(slots, factors, ahead, products);
        } else {
            kernel.add_small_rank::<1>(slots, factors, ahead, products);
        }
    }
    pulls
}

/// Adds what every row has before its ratings, and the ridge.
fn add_prior(problem: &Problem<'_>, systems: &mut Systems, ridges: &[f64; LANES]) {
    for row in 0..problem.fit.rank() {
        let mut diagonal = 0.0;
        if let Some(prior) = &problem.prior {
            diagonal = prior.diagonal[row];
            let of_row = &prior.dense[row * problem.fit.rank()..][..row];
            for (column, value) in of_row.iter().enumerate() {
                systems.element(row, column).iter_mut().for_each(|each| *each += value);
            }
        }
        for (each, ridge) in systems.element(row, row).iter_mut().zip(ridges) {
            *each += (diagonal + ridge) as f32;
        }
    }
}
