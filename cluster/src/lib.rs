//! The `shoal` binary: one role in the foreground, a local cluster of child processes, and the
//! command line that talks to a cluster.
//!
//! `cli` has a file per subcommand, `local` runs a cluster on this machine, `recommender` the router, `certs` makes certificates, `blend_weights` reads the weights of a hybrid, `model_files` reads a version from the store, `export` writes it as
//! Parquet or for Spark, `health` asks one node how it is, `import` takes a model of Spark's, `output` makes tables and JSON, `serve` is one process with every role for a store that is only read,
//! `store_records` makes a registry's records of a store's files, `simulate` makes traffic. This is the only crate that knows all roles, reads the environment and
//! installs logs and metrics.

pub mod blend_weights;
pub mod certs;
pub mod cli;
pub mod export;
pub mod health;
pub mod import;
pub mod local;
pub mod model_files;
pub mod model_parameters;
pub mod output;
pub mod parameters;
pub mod recommender;
pub mod serve;
pub mod simulate;
pub mod store_records;

pub use shoal_common::{cluster_client as client, rules};
