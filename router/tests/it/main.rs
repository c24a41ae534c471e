//! The router's servers in front of workers and coordinators that answer over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod fanout;
mod fixture;
mod grpc;
mod http;
mod metadata;
mod promote;
mod resilience;
