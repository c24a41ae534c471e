//! Replicated metadata, placement and jobs.

pub mod raft;
