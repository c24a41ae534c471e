//! The router: one HTTP and gRPC front for queries that are answered from shards.
//!
//! `metadata_watch` keeps a snapshot of what is served where ([`snapshot`]); `query` are the use cases, which
//! every face shares ([`http`], [`grpc`]) and says in its own [`words`]; they ask workers by `shard_calls` and make an
//! [`answer`]. `fanout` asks the shards (a pure machine and its driver), `replicas` remembers how workers behave, `merge`
//! makes one list of many, `diversify` one of unlike items by their `likeness`, `cache` keeps answers, `admission` says
//! no in time, and `readiness` whether this router should be asked.

pub mod admission;
pub mod answer;
pub mod cache;
pub mod diversify;
pub mod error;
pub mod fanout;
pub mod grpc;
mod held;
pub mod http;
pub mod likeness;
pub mod merge;
pub mod metadata_watch;
pub mod node;
pub mod query;
mod rated_rows;
mod reach;
mod readiness;
pub mod replicas;
mod shard_calls;
pub mod snapshot;
mod tokens;
mod wire_numbers;
pub mod words;
