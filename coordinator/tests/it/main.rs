//! The coordinator through its public surface.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod group;
mod jobs;
mod log_store;
mod processes;
mod simulation;
mod state;
mod support;
