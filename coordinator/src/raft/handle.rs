//! How everything else reaches a member's driver.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    error::{COMMAND_BYTES_MAX, ProposeError, ReadError},
    inbox::{Event, Inbox},
    member::{Leadership, RaftStatus},
    outlets::Outlets,
};

/// How long a read waits before it asks anew: the request is dropped silently when nobody leads.
const READ_RETRY: Duration = Duration::from_millis(300);

/// Talks to the member's driver. Clones share it.
#[derive(Debug)]
pub struct RaftHandle<V> {
    inbox: Inbox<V>,
    view: watch::Receiver<Arc<V>>,
    leadership: watch::Receiver<Leadership>,
    status: watch::Receiver<RaftStatus>,
}

impl<V> Clone for RaftHandle<V> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
            view: self.view.clone(),
            leadership: self.leadership.clone(),
            status: self.status.clone(),
        }
    }
}

impl<V: Send + Sync + 'static> RaftHandle<V> {
    pub(super) fn new(inbox: Inbox<V>, outlets: Outlets<V>) -> Self {
        let Outlets { view, leadership, status } = outlets;
        Self { inbox, view, leadership, status }
    }

    /// Proposes a command; the reply comes when it is applied here, which means that a quorum has
    /// it on disk.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, command: Bytes, deadline: Instant) -> Result<Bytes, ProposeError> {
        let size_bytes = command.len();
        if size_bytes > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { size_bytes });
        }
        let (reply, answer) = oneshot::channel();
        self.inbox.propose(command, reply)?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            // The driver went away with the command, or is still waiting for a quorum.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// The state as of now: it holds everything that was acknowledged before the call.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, deadline: Instant) -> Result<Arc<V>, ReadError> {
        loop {
            let (reply, answer) = oneshot::channel();
            match self.inbox.events.try_send(Event::Read { reply }) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(ReadError::Stopped),
                Err(mpsc::error::TrySendError::Full(_)) => tokio::time::sleep(READ_RETRY).await,
            }
            let retry_at = (Instant::now() + READ_RETRY).min(deadline);
            if let Ok(Ok(view)) = tokio::time::timeout_at(retry_at, answer).await {
                return Ok(view);
            }
            if Instant::now() >= deadline {
                return Err(ReadError::Timeout);
            }
        }
    }

    /// The state here, which may lag behind.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<Arc<V>> {
        self.view.clone()
    }

    /// Who leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Where the log is.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RaftStatus> {
        self.status.clone()
    }

    /// Completes when the member's driver has ended: when it was told to stop, or because it cannot go on.
    pub async fn stopped(&self) {
        self.inbox.events.closed().await;
    }

    /// Hands leadership to the member that is furthest, if this one leads; before a planned stop.
    pub async fn step_down(&self) {
        // A full inbox or a stopped driver leaves it to the election timeout.
        let _ = self.inbox.events.send(Event::StepDown).await;
    }
}
