//! What a row costs, in counted operations: by which form it is solved, and how rows are spread over threads.
//!
//! A multiplication and an addition count two. Counts are those of the loops that run, with orders rounded up to half
//! blocks; they depend on the row's number of ratings, the rank and the kernel alone, so that every worker decides alike.

use super::kernel::{LANES, padded};

/// A factorisation takes so many times as long for an operation as a product does, because its operations wait for each
/// other. A ratio without a unit, as the others here.
const FACTORISATION_SLOWNESS: u64 = 2;

fn rounded(order: usize) -> u64 {
    order.next_multiple_of(LANES / 2) as u64
}

/// Outer products of `depth` rows, lower triangle.
fn products(order: usize, depth: usize) -> u64 {
    depth as u64 * rounded(order) * (rounded(order) + 1)
}

/// Operations of a factorisation of `order` × `order` and of the substitution after it.
fn solve(order: usize) -> u64 {
    let cube = rounded(order).pow(3);
    FACTORISATION_SLOWNESS * (cube / 3) + substitute(order)
}

fn substitute(order: usize) -> u64 {
    FACTORISATION_SLOWNESS * 2 * rounded(order).pow(2)
}

/// A correction's pass over the rows takes so many times as long for an operation as a product does, because it reads more
/// than it computes. A correction of the dual form makes more passes, over transposed rows.
const DUAL_PASS_SLOWNESS: u64 = 4;
const PRIMAL_PASS_SLOWNESS: u64 = 3;

/// From this rank on corrections take less than rounding rows for their normal equations saves.
const REFINED_RANK_MIN: usize = 4 * LANES;

/// How a row is solved exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemForm {
    /// Through its normal equations.
    Primal,
    /// Through the dual of its normal equations: ratings × ratings.
    Dual,
    /// Through normal equations of rounded rows, and corrections.
    RefinedPrimal,
    /// Through a dual of rounded rows, and corrections.
    RefinedDual,
}

impl SystemForm {
    /// The cheapest for a row of `count` ratings. `rotated` says that there is an eigenbasis to be in, `rounds` that products
    /// of rounded rows take half as long.
    #[must_use]
    pub fn cheapest(count: usize, rank: usize, rotated: bool, rounds: bool) -> Self {
        let refines = rotated && rounds && rank >= REFINED_RANK_MIN;
        // A factorisation goes by whole blocks: a dual of as many is no smaller, and takes more passes than a refinement.
        let is_smaller = padded(count) < padded(rank);
        let may = |form: Self| match form {
            Self::Primal => true,
            Self::Dual => count < rank && (is_smaller || !refines),
            Self::RefinedPrimal => refines,
            // Below, nothing that halves is most of the work.
            Self::RefinedDual => rotated && rounds && is_smaller && count >= 2 * LANES,
        };
        let forms = [Self::Primal, Self::Dual, Self::RefinedPrimal, Self::RefinedDual];
        let allowed = forms.into_iter().filter(|form| may(*form));
        allowed.min_by_key(|form| form.operations(count, rank, rotated)).unwrap_or(Self::Primal)
    }

    /// What a row takes in this form.
    #[must_use]
    pub fn operations(self, count: usize, rank: usize, rotated: bool) -> u64 {
        let (wide, ratings) = (rank as u64, count as u64);
        let back = if rotated { 2 * wide * wide } else { 0 };
        let pass = 4 * ratings * wide;
        match self {
            Self::Primal => products(rank, count) + solve(rank),
            Self::Dual => products(count, rank) + solve(count) + pass + back,
            // One correction, as is usual.
            Self::RefinedPrimal => {
                products(rank, count) / 2
                    + solve(rank)
                    + substitute(rank)
                    + PRIMAL_PASS_SLOWNESS * pass
                    + back
            }
            Self::RefinedDual => {
                let passes = (1 + DUAL_PASS_SLOWNESS) * pass;
                products(count, rank) / 2 + solve(count) + substitute(count) + passes + back
            }
        }
    }

    /// Whether the solution is in the rotated basis, where there is one.
    #[must_use]
    pub fn is_rotated(self) -> bool {
        self != Self::Primal
    }
}

/// A row through its normal equations.
#[must_use]
pub fn primal(count: usize, rank: usize) -> u64 {
    SystemForm::Primal.operations(count, rank, false)
}

/// Whether the dual is cheaper than the normal equations.
#[must_use]
pub fn prefers_dual(count: usize, rank: usize, rotated: bool) -> bool {
    SystemForm::cheapest(count, rank, rotated, false) == SystemForm::Dual
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
