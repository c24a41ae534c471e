//! What a row costs, in counted operations: by which form it is solved, and how rows are spread over threads.
//!
//! A multiplication and an addition count two. Counts are those of the loops that run, with orders rounded up to half
//! blocks; they depend on the row's number of ratings and the rank alone, so that every worker decides alike.

use super::kernel::LANES;

/// Operations of products that take as long as one of a factorisation: dependent operations wait for each other.
const FACTORISATION_SLOWNESS: u64 = 2;

fn rounded(order: usize) -> u64 {
    order.next_multiple_of(LANES / 2) as u64
}

/// Outer products of `depth` rows, lower triangle.
fn products(order: usize, depth: usize) -> u64 {
    depth as u64 * rounded(order) * (rounded(order) + 1)
}

/// Factorisation and substitution.
fn solve(order: usize) -> u64 {
    let order = rounded(order);
    FACTORISATION_SLOWNESS * (order * order * order / 3 + 2 * order * order)
}

/// A row through its normal equations.
#[must_use]
pub fn primal(count: usize, rank: usize) -> u64 {
    products(rank, count) + solve(rank)
}

/// A row through its dual, with `rotated` the way back from the rotated basis.
#[must_use]
pub fn dual(count: usize, rank: usize, rotated: bool) -> u64 {
    let (wide, ratings) = (rank as u64, count as u64);
    let back = if rotated { 2 * wide * wide } else { 0 };
    products(count, rank) + solve(count) + 4 * ratings * wide + back
}

/// Whether the dual is the cheaper form.
#[must_use]
pub fn prefers_dual(count: usize, rank: usize, rotated: bool) -> bool {
    count < rank && dual(count, rank, rotated) < primal(count, rank)
}

/// A row by steps of conjugate gradients: two passes over its ratings and one over the prior for each.
#[must_use]
pub fn conjugate(count: usize, rank: usize, steps: usize) -> u64 {
    (steps as u64 + 1) * (4 * count + 2 * rank) as u64 * rank as u64
}

/// A row by a round of descent over blocks.
#[must_use]
pub fn descent(count: usize, rank: usize, block: usize) -> u64 {
    rank.div_ceil(block) as u64 * primal(count, block) + (4 * count + 2 * rank) as u64 * rank as u64
}
