//! The real binary as people run it: child processes, sockets, files and signals.
//!
//! Every test works in a folder of its own and starts its own cluster, but for those that only ask:
//! they share one. Nothing is left running, also when a test panics: see [`support::Cluster`].
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod admin_api;
mod admin_listener;
mod answers;
mod audit;
mod bits;
mod blends;
mod cli;
mod connections;
mod contract;
mod ease;
mod every_answer;
mod every_model;
mod faults;
mod golden;
mod health;
mod imports;
mod insecure;
mod jobs;
mod lists;
mod memory;
mod metrics;
mod models;
mod modes;
mod new_items;
mod observed;
mod quickstart;
mod secured;
mod serve;
mod service_manager;
mod simulate;
mod small_catalogues;
mod spark;
mod support;
mod switching;
mod tidy;
mod tokens;
mod torn_files;
mod unreachable;
mod v1;
