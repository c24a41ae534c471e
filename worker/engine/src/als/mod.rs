//! The maths of alternating least squares: pure, slices in and values out.
//!
//! One half-step solves every row of a side from the other side's factors. A row's solution depends
//! only on its ratings, in row order, and on the factors they name: not on the thread, the worker or
//! the rows beside it. With the kernel of one instruction set the same input gives the same bits;
//! between instruction sets the last bits differ, because only some fuse multiply and add.
//!
//! Two objectives, each with the conventions of the systems they are known from:
//!
//! * [`explicit`]: ALS-WR (Zhou et al. 2008, "Large-Scale Parallel Collaborative Filtering for the
//!   Netflix Prize"), optional biases.
//! * [`implicit`]: iALS (Hu et al. 2008; parametrised as in Rendle et al. 2022, "Revisiting the
//!   Performance of iALS on Item Recommendation Benchmarks").
//!
//! Where a half-step's work is:
//!
//! * [`problem`]: what every row of a half-step needs, and how rows are solved.
//! * [`half_step`]: rows in pieces over threads, long rows split.
//! * [`fit`]: a row of either objective as the terms of one least-squares problem.
//! * [`primal`]: its normal equations, rank × rank.
//! * [`small_rank`]: the same for many rows of a small rank at once.
//! * [`dual`]: the smaller system of a row with fewer ratings than the rank, with [`rotation`] and [`eigen`].
//! * [`short`]: the duals of many short rows at once.
//! * [`refined`]: either from rounded rows and corrected, where the processor is quicker at that.
//! * [`cost`]: which is cheapest, in counted operations.
//! * [`rating_matrix`]: ratings in memory, for callers without a data set's blocks.
//! * [`conjugate`], [`descent`], [`nonnegative`]: other solvers, for those who ask for them.
//! * [`double_precision`]: in f64, for the rare row that f32 cannot solve, by [`cholesky`].
//! * [`kernel`]: the loops.
//!
//! [`explain`] splits a score of either objective into what each rated item adds to it.

pub mod cholesky;
pub mod conjugate;
pub mod cost;
pub mod descent;
pub mod double_precision;
pub mod dual;
pub mod eigen;
pub mod explain;
pub mod explicit;
pub mod fit;
pub mod gramian;
pub mod half_step;
pub mod implicit;
pub mod init;
pub mod kernel;
pub mod nonnegative;
pub mod primal;
pub mod problem;
pub mod rating_matrix;
pub mod refined;
pub mod rotation;
pub mod short;
pub mod small_rank;

pub use fit::Fit;
pub use half_step::HalfStep;
pub use kernel::Kernel;
pub use problem::{RowError, Solver};
pub use rating_matrix::RatingMatrix;

#[cfg(test)]
mod tests;
