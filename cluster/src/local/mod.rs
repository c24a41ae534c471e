//! A cluster on this machine: real processes of this very binary, each with its own folder, settings
//! file and log.
//!
//! [`Plan`] decides names, ports and settings and writes them below one folder; [`FolderLock`] keeps a
//! second start out of it; [`Process`] is one child; [`LocalCluster`] starts them all, starts those that
//! die again, and stops them in order. A child watches its standard input, whose other end its
//! parent holds: however the parent goes, the child notices and leaves.
//!
//! ```text
//! <dir>/cluster.json               names and addresses, read by every other command
//! <dir>/settings.toml              what was given with --set, for the next start
//! <dir>/lock                       held while the cluster runs; the holder's process id
//! <dir>/config/<name>.toml         settings of each child
//! <dir>/<name>/addresses.json      where the child listens
//! <dir>/<name>/lock                held by the child
//! <dir>/logs/<name>.log            its log; .log.1 to .log.3 are those of before
//! <dir>/store                      the object store
//! ```

mod addresses;
mod certificates;
mod cluster_file;
mod error;
mod lock;
mod log_files;
mod log_reader;
mod plan;
mod ports;
mod process;
mod recover;
mod settings;
mod spec;
mod supervisor;

pub use addresses::Addresses;
pub use cluster_file::{ClusterFile, Member, Role, RouterMember, reachable};
pub use error::LocalError;
pub use lock::FolderLock;
pub use log_files::{LOG_BYTES_MAX, put_aside};
pub use log_reader::LogReader;
pub use plan::{Plan, RoleProcess, admin_token_file};
pub use process::{Process, log_tail};
pub use settings::Settings;
pub use spec::Spec;
pub use supervisor::{LocalCluster, Notices};
