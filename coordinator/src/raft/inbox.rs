//! What reaches the driver.

use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb::Message;
use tokio::sync::oneshot;

use super::ProposeError;

/// Events that may wait: some turns' worth. Beyond that proposals are refused and raft messages
/// dropped, which raft repairs.
pub(super) const INBOX_EVENTS: usize = 4_096;

/// One thing for the driver to look at.
#[derive(Debug)]
pub(super) enum Event<V> {
    /// A message from another member.
    Message(Box<Message>),
    /// From a client of this member.
    Propose { command: Bytes, reply: oneshot::Sender<Result<Bytes, ProposeError>> },
    /// From a client of this member: the state, once it is known to be current.
    Read { reply: oneshot::Sender<Arc<V>> },
    /// The link to another member broke.
    Unreachable { peer: u64 },
    /// A snapshot left, or did not.
    SnapshotSent { peer: u64, delivered: bool },
    /// This member is to hand leadership over.
    StepDown,
}
