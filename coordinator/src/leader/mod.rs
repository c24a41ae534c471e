//! What only the leading member does: it keeps leases, tells workers and routers what is served where,
//! and runs the controllers and the jobs. A new leader starts from the replicated state alone.
//!
//! The folder has two floors. `handle`, `members`, `unreachable` and `progress` are what jobs and services work with, and know neither.
//! `term` stands above the jobs and starts them; `observed` says in metrics how the cluster is.

mod controllers;
mod handle;
mod live_record;
mod members;
mod metadata;
mod observed;
mod own_acts;
mod progress;
pub mod term;
mod unreachable;

pub use self::{
    handle::{COMMAND_PATIENCE, CommandError, Leader, LeaderConfig},
    members::{Beat, LiveWorker, Members},
    metadata::Published,
    progress::{JobProgress, Progress},
    unreachable::{Unreachable, UnreachableWorkers},
};
