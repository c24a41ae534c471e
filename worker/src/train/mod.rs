//! Training on one worker: one attempt of a job, step by step as the leader asks.
//!
//! [`TrainAttempt`] owns the attempt's state: the training ratings of the owned shards of both sides
//! (`training_side`, mapped from files of their own: `training_ratings`), the factors held here, who needs which of them,
//! and the Gramian partials. The leader
//! separates half-steps by a barrier: a half-step ends when every row is solved and every push
//! acknowledged, everywhere. So what arrives during one half-step is only read in the next, and
//! nothing is read while it is written.
//!
//! The leader says which side a sweep solves first; within a half-step the rating objective first, then
//! ranking.

mod attempt;
mod context;
mod dataset_blocks;
mod error;
mod evaluation;
mod factor_items;
mod factor_part;
pub(crate) mod fold_in;
mod half_step;
mod held_memory;
mod held_out_file;
mod held_out_rows;
mod held_out_users;
mod known_tags;
mod load;
mod load_sides;
mod memory_need;
pub mod models;
mod settings;
mod split;
mod split_times;
mod temporal_split;
mod training_ratings;
mod training_side;
mod write;

pub use attempt::TrainAttempt;
pub use context::TrainContext;
pub use error::{FoldInError, TrainError};
pub use evaluation::OnShare;
pub use factor_part::FactorValues;
pub use half_step::OnRows;
pub(crate) use held_memory::held_bytes;
pub use load_sides::Sides;
pub(crate) use settings::{Settings, ease_preference};
pub use temporal_split::write_cuts;
