//! The worker through its public surface.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod imports;
mod jobs;
mod likings;
mod models;
mod parquet;
mod serving;
mod support;
mod training;
