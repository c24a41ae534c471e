//! Short rows of the implicit objective through their duals, many at a time: the Grams of [`LANES`] rows are factorised side
//! by side.
//!
//! A Gram of twenty rows is small: its factorisation by itself is mostly waiting for its own square roots and divisions, one
//! after the other. Each lane does the same operations whatever the other lanes hold, and what fills a Gram up to the order of
//! the largest beside it are zeros and ones that change no sum: a row has the same bits alone and in any company.

use super::{
    cost::SystemForm,
    double_precision,
    dual::{roots_of_prior, spread},
    fit::{RatingRows, Row, Weights},
    kernel::{
        Kernel, LANES,
        normal::Ahead,
        pack::{ColumnScales, Panels},
        small_rank::{SMALL_RANK_MAX, sums_len},
        systems::Systems,
    },
    problem::{Problem, RowError},
    refined::roots_and_pulls,
    rotation::Rotation,
};

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    panels: Panels,
    /// The Gram of each lane.
    grams: Vec<f32>,
    systems: Systems,
    lanes: Vec<Lane>,
    pulls: Vec<f32>,
    next: Vec<u32>,
    factors: Vec<f32>,
}

/// What is known of a row until it is solved.
#[derive(Debug, Default)]
struct Lane {
    /// Places among the rotated rows.
    slots: Vec<u32>,
    /// The diagonal of W^½: a root of a weight for each slot.
    roots: Vec<f32>,
    /// The diagonal of D^−½: one number for each column of the rotated basis.
    diagonal: Vec<f32>,
}

/// Whether a row of so many ratings that is to be solved in this form is solved here.
#[must_use]
pub fn applies(kernel: Kernel, form: SystemForm, count: usize) -> bool {
    form == SystemForm::Dual && count <= SMALL_RANK_MAX && kernel.is_small_rank(count)
}

/// Solves the rows that `which` names of those from `first` on, whose weights are above zero, into their places among the
/// `solutions`: in the rotated basis. The rows are brought into the order of their lengths, and rows that f32 cannot solve are
/// taken out of `which`: they are solved in the usual basis.
///
/// # Errors
/// The first row, in row order, that neither f32 nor f64 can solve.
pub fn solve(
    problem: &Problem<'_>,
    rotation: &Rotation,
    rows: RatingRows<'_>,
    first: usize,
    which: &mut Vec<u32>,
    solutions: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), RowError> {
    let rank = problem.fit.rank();
    // Systems side by side take as long as the largest of them.
    which.sort_unstable_by_key(|&at| (rows.count(first + at as usize), at));
    let mut lost: Vec<u32> = Vec::new();
    let row = |at: u32| rows.row(first + at as usize);
    for begin in (0..which.len()).step_by(LANES) {
        let batch = &which[begin..which.len().min(begin + LANES)];
        let after = which.get(begin + batch.len()).copied();
        let solved = solve_batch(problem, rotation, batch, after, row, scratch);
        for (lane, &at) in batch.iter().enumerate() {
            if !solved[lane] {
                lost.push(at);
                continue;
            }
            let Lane { slots, roots, diagonal } = &scratch.lanes[lane];
            scratch.pulls.clear();
            scratch.pulls.extend(scratch.systems.solution(lane).take(slots.len()));
            let solution = &mut solutions[at as usize * rank..][..rank];
            let (kernel, y) = (problem.kernel, &scratch.pulls);
            spread(kernel, rotation.rows(), slots, roots, diagonal, y, solution, &mut scratch.factors);
        }
    }
    lost.sort_unstable();
    for &at in &lost {
        let solution = &mut solutions[at as usize * rank..][..rank];
        double_precision::solve(&problem.fit, false, row(at), solution)
            .map_err(|source| RowError { row: first + at as usize, source })?;
    }
    which.retain(|at| lost.binary_search(at).is_err());
    Ok(())
}

/// Factorises the Grams of a batch and solves for y; says of each lane whether f32 was enough. Meanwhile the rows that are
/// needed next are fetched: of the row after the batch too.
fn solve_batch<'a>(
    problem: &Problem<'_>,
    rotation: &Rotation,
    batch: &[u32],
    after: Option<u32>,
    row: impl Fn(u32) -> Row<'a>,
    scratch: &mut Scratch,
) -> [bool; LANES] {
    let (kernel, fit) = (problem.kernel, &problem.fit);
    let Scratch { panels, grams, systems, lanes, pulls, next, .. } = scratch;
    let order = batch.iter().map(|&at| row(at).slots.len()).max().unwrap_or_default();
    let length = sums_len(order, 0);
    lanes.resize_with(LANES, Lane::default);
    grams.clear();
    grams.resize(LANES * length, 0.0);
    let mut rights = [[0.0_f32; LANES]; SMALL_RANK_MAX];
    for (at, ((lane, gram), &name)) in
        lanes.iter_mut().zip(grams.chunks_exact_mut(length)).zip(batch).enumerate()
    {
        let row_here = row(name);
        lane.slots.clear();
        rotation.append_places(row_here.slots, &mut lane.slots);
        next.clear();
        if let Some(name) = batch.get(at + 1).copied().or(after) {
            rotation.append_places(row(name).slots, next);
        }
        roots_and_pulls(fit, row_here, &mut lane.roots, pulls);
        roots_of_prior(rotation, fit.ridge(row_here.ratings), &mut lane.diagonal);
        for (right, pull) in rights.iter_mut().zip(&*pulls) {
            right[at] = *pull;
        }
        let weighted = fit.weights(row_here.ratings) == Weights::Positive;
        let scales = ColumnScales {
            columns: Some(&lane.diagonal),
            rows: weighted.then_some(&*lane.roots),
            ones: false,
        };
        kernel.pack_columns(rotation.rows(), &lane.slots, scales, panels);
        let ahead = Ahead { rows: rotation.rows(), slots: next };
        kernel.write_gram(lane.slots.len(), panels, ahead, gram);
    }
    kernel.fill_systems(systems, order, 0, grams);
    for (at, right) in rights[..order].iter().enumerate() {
        *systems.right(at) = *right;
        systems.element(at, at).iter_mut().for_each(|value| *value += 1.0);
    }
    kernel.solve_systems(systems)
}
