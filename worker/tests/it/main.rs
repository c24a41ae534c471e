//! The worker through its public surface.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod ease;
mod files;
mod hostile;
mod imports;
mod jobs;
mod likings;
mod models;
mod no_future;
mod parquet;
mod parquet_corpus;
mod serving;
mod small_data;
mod stored;
mod strong;
mod support;
mod training;
