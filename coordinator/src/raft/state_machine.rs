//! What the group agrees for: a state that commands change.

use std::sync::Arc;

use bytes::Bytes;

/// A snapshot that the state machine cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot cannot be restored: {0}")]
pub struct RestoreError(pub String);

/// The replicated state: pure, owned by the driver.
pub trait StateMachine: Send + 'static {
    /// The state as readers see it.
    type View: Send + Sync + 'static;

    /// Applies one committed command and returns the reply for whoever proposed it. The same
    /// commands in the same order give the same state and replies on every member.
    fn apply(&mut self, index: u64, command: &[u8]) -> Bytes;

    /// The whole state as bytes, from which `restore` makes it again.
    fn snapshot(&self) -> Bytes;

    /// Whether another member's snapshot is one of this group that this release can read. Changes nothing.
    ///
    /// # Errors
    /// Why it is not.
    fn check(&self, snapshot: &[u8]) -> Result<(), RestoreError>;

    /// Replaces the state by that of a snapshot.
    ///
    /// # Errors
    /// When the bytes are not a snapshot of this release.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError>;

    /// The state as readers see it; cheap.
    fn view(&self) -> Arc<Self::View>;
}
