//! What all bounds have in common: how many rows share a chunk, and by how much a bound is raised.

/// Rows that are bounded together: a bit each in a mask.
pub(in crate::score) const CHUNK_ROWS: usize = 64;

/// What is rounded up is made this much larger, far above the error of the sum it is.
pub(super) const UP: f64 = 1.000_001;
