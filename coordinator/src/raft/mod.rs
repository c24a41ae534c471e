//! The raft group: agreement on a sequence of commands, and a state machine that applies it.
//!
//! One task, the `driver`, owns the raft node, its log and the state machine; everything else
//! has a `handle`: it talks to the driver through a bounded `inbox` and sees copies, the `outlets`. `log_store` is what is on
//! `disk`, `transport` what goes over the wire, `pieces` how long messages do, `door` what of it is refused, and `lost_log` brings back a member that has lost
//! what it had. Every member founds the group from the same synthetic snapshot, so membership always
//! comes from snapshot and log.
//!
//! Caveats: the driver writes its log from the async task itself (one fsync a turn), so it wants a
//! runtime with more than one thread; members cannot be added or removed at run time yet.

mod disk;
mod door;
mod driver;
mod error;
mod handle;
mod inbox;
mod log_error;
mod log_files;
mod log_store;
mod lost_log;
mod member;
mod outlets;
mod pieces;
mod state_machine;
mod transport;

use std::sync::Arc;

use shoal_common::{rpc::Channels, shutdown::Shutdown};

pub use self::{
    disk::{Disk, LocalDisk},
    error::{COMMAND_BYTES_MAX, ProposeError, RaftStartError, ReadError},
    handle::RaftHandle,
    log_error::LogStoreError,
    member::{Leadership, PeerStatus, RaftConfig, RaftStatus},
    pieces::WHOLE_BYTES_MAX,
    state_machine::{RestoreError, StateMachine},
    transport::RaftTransportService,
};
use self::{driver::Driver, inbox::Inbox};

/// Opens the log, restores the state and starts the driver and the links to the other members.
///
/// # Errors
/// When the log is damaged or belongs to another group.
pub fn start<S: StateMachine>(
    config: RaftConfig,
    machine: S,
    channels: Channels,
    shutdown: Shutdown,
) -> Result<(RaftHandle<S::View>, RaftTransportService), RaftStartError> {
    let (inbox, events) = Inbox::new();
    let links = transport::start_links(&config, &channels, &inbox, &shutdown);
    let refusals = door::Refusals::new();
    let service = RaftTransportService::new(&config, &inbox, refusals.clone(), shutdown.token());
    let (driver, outlets) = Driver::open(config, machine, events, links, refusals)?;
    let handle = RaftHandle::new(inbox, outlets);
    let token = shutdown.token();
    shutdown.spawn("raft", driver.run(token));
    Ok((handle, service))
}

/// Opens the log in a folder as one of the members of `cluster_id`, and closes it. For fuzz targets, as the next.
///
/// # Errors
/// When the log is damaged or another member's.
#[doc(hidden)]
pub fn open_log(folder: &std::path::Path, cluster_id: &str, initial: &[u8]) -> Result<(), LogStoreError> {
    let owner = log_store::Owner { cluster_id: cluster_id.to_owned(), raft_id: 1, voters: vec![1] };
    let store = log_store::LogStore::open(folder, Arc::new(LocalDisk), owner, initial)?;
    store.snapshot_state().map(drop)
}

/// Parses what an envelope carries, and looks at it as the door does.
///
/// # Errors
/// Why it is no raft message, or none that a member sends.
#[doc(hidden)]
pub fn read_message(bytes: &[u8]) -> Result<(), String> {
    let message = transport::parse(bytes).map_err(|status| status.message().to_owned())?;
    door::check_form(&message).map_err(|refusal| refusal.to_string())
}
