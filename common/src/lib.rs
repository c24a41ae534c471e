//! What two or more of Shoal's roles need: ids, the object store, configuration,
//! RPC channels, TLS, and the seams (clock, compute pool, connector) that tests and simulation replace.
//!
//! Nothing here knows what a role does. Nothing here reads the environment or a global: `cluster` hands in
//! what it found.

pub mod access;
pub mod audit;
pub mod causes;
pub mod clock;
pub mod cluster_client;
pub mod compute;
pub mod config;
pub mod health;
pub mod ids;
pub mod import_report;
pub mod item_filter;
pub mod job_id;
pub mod job_steps;
pub mod letter_case;
pub mod log_limit;
pub mod metadata_changes;
pub mod model_parameters;
pub mod net;
pub mod node_report;
pub mod plain_text;
pub mod private_files;
pub mod readable;
pub mod replication;
pub mod rpc;
pub mod rules;
pub mod shutdown;
pub mod split;
pub mod store;
pub mod telemetry;
pub mod title_words;
pub mod tls;
pub mod user_query;
pub mod wire_enums;
