//! What the benchmarks share: a real local cluster to measure, data at size, peers, and results that can
//! be read, plotted and compared.
//!
//! Criterion benchmarks of single loops are in `benches/benches`; whole trainings are measured by
//! the binaries in `src/bin`, through the same `shoal` binary that users run. Nothing here asserts a
//! time: figures are printed and written, beside what they are compared with in the same run.

pub mod cluster;
pub mod curves;
pub mod data;
pub mod engine;
pub mod flags;
pub mod kernels;
pub mod machine;
pub mod peers;
pub mod process;
pub mod ratings;
pub mod results;
pub mod roofline;
pub mod systems;
pub mod timing;
