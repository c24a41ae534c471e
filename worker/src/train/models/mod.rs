//! Models that are not ALS, and the measuring of every model, on one worker.
//!
//! [`ModelAttempt`] owns the attempt's state: the training ratings of the owned shards, cut as for ALS, and
//! what its steps have made so far. The leader separates steps by a barrier. What one worker makes and
//! others need goes through the store, part by part and shard by shard, below the attempt's folder; only the
//! sums over pairs of items, which are large and needed once, are streamed from worker to worker
//! (`pairs`).
//!
//! Every attempt begins alike: load, then the items' biases and counts, then everybody reads those of all
//! items and has the biases of its own users (`baselines`). Then come the steps of the model, and at the end
//! `evaluate`, which takes the folders of any models.

mod attempt;
mod baselines;
mod blend;
mod content;
mod ease;
mod evaluate;
mod facts;
mod hybrid;
mod item_cf;
mod pairs;
mod profiles;
mod sources;
mod write;

pub use attempt::ModelAttempt;
pub(crate) use blend::blend_of;
