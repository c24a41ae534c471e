//! The worker: data shards, training and shard serving.
//!
//! The maths is `shoal-engine`, the files of matrices are `shoal-format`, the files that people bring are read by
//! `shoal-dataset`. Here `ingest` builds rating blocks, `exchange` moves ratings and factor rows between workers, `train`
//! runs a job's steps, `serve` holds loaded versions and answers from them, `lists` writes what they answer for every
//! user, `job_context` is what jobs work with, `service` speaks gRPC, and `node` ties one worker process together.

mod callers;
pub mod exchange;
pub mod ingest;
pub mod job_context;
pub mod lists;
pub mod memory;
pub mod node;
pub mod serve;
pub mod service;
pub mod train;
