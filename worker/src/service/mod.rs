//! The gRPC services of a worker: queries by routers ([`Serving`]), steps of jobs by the leading
//! coordinator ([`Jobs`]), ratings and factor rows by other workers ([`Exchange`]).
//!
//! Errors become statuses here and nowhere below. Every message that names a cluster is checked,
//! every queue has a bound, and work whose caller has gone is stopped.

mod admission;
mod attempt;
mod exchange;
mod jobs;
mod lists;
mod model;
mod peers;
mod registry;
mod serving;
mod step_progress;
mod steps;
mod whole_files;

pub use attempt::{Attempt, BoxError, Pairs, Progress, Runner, StepContext, StepError};
pub use exchange::Exchange;
pub use jobs::Jobs;
pub use registry::{JobError, JobRegistry};
pub use serving::Serving;
pub use steps::Steps;
pub(crate) use whole_files::{WholeFiles, torn_below};

/// The attempts that a worker takes part in.
pub type Registry = JobRegistry<dyn Attempt>;
