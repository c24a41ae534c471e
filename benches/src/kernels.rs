//! What the two kernels alone take: sums of outer products of packed rows, and Cholesky solves.

use std::time::{Duration, Instant};

use shoal_engine::als::{
    cost,
    kernel::{
        Kernel, LANES, blocks,
        factor::Factor,
        normal::Products,
        pack::{Panels, Rows},
        padded,
    },
};

use crate::{machine::median, ratings::RowLengths};

/// Packed rows per sum: they stay in the first cache.
const DEPTH: usize = 64;
/// How long a kernel is run for one figure, and how many figures the median is of.
const RUN: Duration = Duration::from_millis(4);
const FIGURES: usize = 5;

/// Seconds that one core spends in the kernels for both half-steps of an explicit iteration without biases:
/// every row in the form that the engine would choose, from rows that are packed already.
///
/// # Panics
/// When the rank is zero.
#[must_use]
pub fn core_seconds(lengths: &RowLengths, rank: usize) -> f64 {
    let kernel = Kernel::detect();
    let per_rating = products_seconds(kernel, rank, DEPTH) / DEPTH as f64;
    let solve = solve_seconds(kernel, rank);
    let dual: Vec<f64> = (0..rank)
        .map(|count| match count {
            0 => 0.0,
            count => products_seconds(kernel, count, rank) + solve_seconds(kernel, count),
        })
        .collect();
    let row = |&count: &u32| match count as usize {
        count if cost::prefers_dual(count, rank, false) => dual[count],
        count => per_rating * count as f64 + solve,
    };
    lengths.users.iter().chain(&lengths.items).map(row).sum()
}

/// Seconds to sum the outer products of `depth` packed rows of `order` numbers, with one right-hand side.
#[must_use]
pub fn products_seconds(kernel: Kernel, order: usize, depth: usize) -> f64 {
    let values: Vec<f32> = (0..order * depth).map(|at| (at % 7) as f32 * 0.1 - 0.3).collect();
    let slots: Vec<u32> = (0..depth as u32).collect();
    let mut panels = Panels::default();
    kernel.pack_rows(Rows::new(&values, order, order), &slots, None, &mut panels);
    let factors = vec![0.5; depth];
    let (mut normal, mut sides) = (vec![0.0; blocks::len(order)], vec![0.0; padded(order)]);
    let products = Products { order, panels: &panels, left: None, factors: &factors, ahead: None };
    seconds_of(|| kernel.add_products::<1>(products, &mut normal, &mut sides))
}

/// Seconds to factorise and solve one system, the copy that it destroys included.
///
/// # Panics
/// When the system, which is well conditioned, cannot be solved.
#[must_use]
pub fn solve_seconds(kernel: Kernel, order: usize) -> f64 {
    let mut matrix = vec![0.01; blocks::len(order)];
    for row in 0..order {
        matrix[blocks::index(row, row)] = 2.0 + order as f32 * 0.01;
    }
    let mut right = vec![0.0; padded(order)];
    let (mut work, mut factor) = (matrix.clone(), Factor::default());
    debug_assert!(right.len().is_multiple_of(LANES));
    seconds_of(|| {
        work.copy_from_slice(&matrix);
        right[..order].fill(1.0);
        right[order..].fill(0.0);
        assert!(kernel.solve(&mut work, order, &mut right, &mut factor).is_ok());
    })
}

/// Seconds of one call: the median of several averages.
pub fn seconds_of(mut call: impl FnMut()) -> f64 {
    let average = |call: &mut dyn FnMut()| {
        let (started, mut calls) = (Instant::now(), 0_u32);
        while started.elapsed() < RUN {
            for _ in 0..16 {
                call();
            }
            calls += 16;
        }
        started.elapsed().as_secs_f64() / f64::from(calls)
    };
    // The first finds cold caches and clocks.
    average(&mut call);
    median((0..FIGURES).map(|_| average(&mut call)).collect())
}
