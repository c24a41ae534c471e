//! The coordinator: replicated metadata, placement and jobs.
//!
//! `state` is what the members agree on (pure), `raft` how they agree, `placement` which worker has
//! which shard (pure), `record_checks` what a data set's or version's record must be like (pure), `leader` what only the leading member does (leases, controllers, running
//! jobs), `jobs` the imports and trainings themselves, `service` the gRPC face, and `node` ties one
//! coordinator process together.

mod callers;
pub mod jobs;
pub mod leader;
pub mod node;
pub mod placement;
pub mod raft;
pub mod record_checks;
pub mod service;
pub mod state;
