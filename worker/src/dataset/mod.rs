//! Readers, ingest and rating blocks.
