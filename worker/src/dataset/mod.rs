//! Readers, ingest and rating blocks.

pub mod blocks;
