//! The router's servers in front of workers and coordinators that answer over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod admin;
mod blend;
mod cache;
mod contract;
mod fallbacks;
mod fanout;
mod fixture;
mod grpc;
mod http;
mod lists;
mod metadata;
mod models;
mod names;
mod neighbours;
mod promote;
mod resilience;
mod service;
mod taken;
mod tokens;
mod v1;
