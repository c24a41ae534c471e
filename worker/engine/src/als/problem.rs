//! A half-step's problem: what every row needs that is solved, and how rows are solved. Slices in, nothing kept: the
//! caller owns the factors.

use super::{
    cholesky::NotPositiveDefinite,
    cost::SystemForm,
    fit::{Fit, Weights},
    kernel::{Kernel, blocks, pack::Rows},
};

/// A row could not be solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("row {row} cannot be solved")]
pub struct RowError {
    /// The row within the block.
    pub row: usize,
    /// The pivot that is not above zero.
    pub source: NotPositiveDefinite,
}

/// How rows are solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Solver {
    /// Exactly, by Cholesky's factorisation.
    Cholesky,
    /// By a number of steps of conjugate gradients from where they were.
    ConjugateGradients {
        /// Steps in a half-step.
        steps: usize,
    },
    /// By one round of block coordinate descent from where they were (iALS++).
    Descent {
        /// Elements of a block.
        block: usize,
    },
    /// Exactly, among the rows without a negative element; the objective has no biases.
    Nonnegative,
}

/// What every row of a half-step needs.
#[derive(Debug)]
pub struct Problem<'a> {
    /// The instruction set whose loops are used.
    pub kernel: Kernel,
    /// The objective and the fixed side.
    pub fit: Fit<'a>,
    /// How rows are solved.
    pub solver: Solver,
    /// What the implicit objective's normal equations begin with.
    pub prior: Option<Prior>,
    /// 0 to rank − 1.
    pub every_column: Vec<u32>,
}

impl<'a> Problem<'a> {
    /// Prepares what does not depend on the rows to be solved.
    #[must_use]
    pub fn new(kernel: Kernel, fit: Fit<'a>, solver: Solver) -> Self {
        // The rank is counted in a u32.
        let every_column = (0..fit.rank() as u32).collect();
        Self { kernel, fit, solver, prior: Prior::new(&fit), every_column }
    }

    /// How a row of so many ratings is solved exactly, as long as its weights allow it.
    #[must_use]
    pub fn form(&self, count: usize) -> SystemForm {
        if self.solver != Solver::Cholesky || self.sums_in_place() {
            return SystemForm::Primal;
        }
        let rotated = matches!(self.fit, Fit::Implicit { .. });
        SystemForm::cheapest(count, self.fit.rank(), rotated, self.kernel.rounds())
    }

    /// Whether rows are summed where their rated rows lie, and solved many at a time: those of a small rank whose weights are one
    /// ([`super::small_rank`]).
    #[must_use]
    pub fn sums_in_place(&self) -> bool {
        // Weights of one are so for whole objectives.
        self.solver == Solver::Cholesky
            && self.kernel.is_small_rank(self.fit.rank())
            && self.fit.weights(&[]) == Weights::One
    }

    /// α₀ times the Gramian as rows, where the objective has it.
    #[must_use]
    pub fn prior_rows(&self) -> Option<Rows<'_>> {
        let rank = self.fit.rank();
        self.prior.as_ref().map(|prior| Rows::new(&prior.dense, rank, rank))
    }
}

/// α₀ times the Gramian.
#[derive(Debug)]
pub struct Prior {
    /// In [`blocks`], with a diagonal of zeros.
    pub lower: Vec<f32>,
    /// The same matrix, row-major, with both triangles.
    pub dense: Vec<f32>,
    /// The diagonal, which `lower` lacks, in f64.
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
        let dense = (0..rank * rank).map(|at| value(at / rank, at % rank) as f32).collect();
        Some(Self { lower, dense, diagonal: (0..rank).map(|at| value(at, at)).collect() })
    }
}
