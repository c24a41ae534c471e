//! The worker: data shards, the models' maths, training and shard serving.
//!
//! `als`, `item_cf`, `content`, `hybrid`, `popularity` and `evaluate` are pure maths over slices.
//! `dataset` reads and builds rating blocks, `exchange` moves ratings and factor rows between
//! workers, `train` runs a job's steps, `serve` holds loaded versions and answers from them, `lists` writes what they
//! answer for every user, `service` speaks gRPC, and `node` ties one worker process together.

pub mod als;
pub mod content;
pub mod dataset;
pub mod evaluate;
pub mod exchange;
pub mod hybrid;
pub mod id_column;
pub mod item_cf;
pub mod lists;
pub mod memory;
pub mod model_parts;
pub mod node;
pub mod numbers;
pub mod popularity;
pub mod serve;
pub mod service;
pub mod tensor_file;
pub mod tensor_pieces;
pub mod train;
