//! Loaded versions and the best n of a shard.
