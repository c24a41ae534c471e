//! The maths of alternating least squares: pure, slices in and values out.
//!
//! One half-step solves every row of a side from the other side's factors. A row's solution depends
//! only on its ratings, in row order, and on the factors they name: not on the thread, the worker or
//! the rows beside it. With the kernels of one instruction set the same input gives the same bits;
//! between instruction sets the last bits differ, because only some fuse multiply and add.
//!
//! Two objectives:
//!
//! * [`explicit`]: ALS-WR (Zhou et al. 2008, "Large-Scale Parallel Collaborative Filtering for the
//!   Netflix Prize"), λ scaled by the row's number of ratings as in Spark, optional biases.
//! * [`implicit`]: iALS (Hu et al. 2008; parametrised as in Rendle et al. 2022, "Revisiting the
//!   Performance of iALS on Item Recommendation Benchmarks").

pub mod cholesky;
pub mod explicit;
pub mod gramian;
pub mod implicit;
pub mod init;
pub mod kernel;
pub mod rows;
