//! What reaches the driver, and how much of it may wait.

use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::error::ProposeError;

/// Events that may wait: some turns' worth. Beyond that proposals are refused and raft messages
/// dropped, which raft repairs.
const EVENTS_MAX: usize = 4_096;

/// Bytes of messages and proposals that may wait, likewise.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Room is counted in pieces of so many bytes.
const UNIT_BYTES: usize = 1_024;

/// One thing for the driver to look at.
#[derive(Debug)]
pub(super) enum Event<V> {
    /// A message from another member.
    Message { message: Box<Message>, _room: Held },
    /// From a client of this member.
    Propose { command: Bytes, reply: oneshot::Sender<Result<Bytes, ProposeError>>, _room: Held },
    /// From a client of this member: the state, once it is known to be current.
    Read { reply: oneshot::Sender<Arc<V>> },
    /// The link to another member broke.
    Unreachable { peer: u64 },
    /// A snapshot left, or did not.
    SnapshotSent { peer: u64, delivered: bool },
    /// This member is to hand leadership over.
    StepDown,
}

/// Room for bytes that wait somewhere. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct ByteRoom {
    units: Arc<Semaphore>,
    units_max: usize,
}

/// Room that is taken until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    _units: OwnedSemaphorePermit,
}

impl ByteRoom {
    pub(super) fn of(bytes_max: usize) -> Self {
        let units_max = (bytes_max / UNIT_BYTES).max(1);
        Self { units: Arc::new(Semaphore::new(units_max)), units_max }
    }

    /// Room for so many bytes, if there is. One that is larger than half of the room takes half of it, so that it is not put
    /// off for as long as anything else comes.
    pub(super) fn take(&self, bytes: usize) -> Option<Held> {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, self.units_max.div_ceil(2));
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Arc::clone(&self.units).try_acquire_many_owned(units).ok().map(|units| Held { _units: units })
    }
}

/// The way to the driver: bounded by events and by bytes. Clones share it.
#[derive(Debug)]
pub(super) struct Inbox<V> {
    pub(super) events: mpsc::Sender<Event<V>>,
    room: ByteRoom,
}

impl<V> Clone for Inbox<V> {
    fn clone(&self) -> Self {
        Self { events: self.events.clone(), room: self.room.clone() }
    }
}

impl<V> Inbox<V> {
    /// An empty one, and the driver's end of it.
    pub(super) fn new() -> (Self, mpsc::Receiver<Event<V>>) {
        let (events, driver) = mpsc::channel(EVENTS_MAX);
        (Self { events, room: ByteRoom::of(BYTES_MAX) }, driver)
    }

    /// Hands on a message that took so many bytes on the wire. False when it is dropped, as a network may.
    pub(super) fn deliver(&self, message: Message, bytes: usize) -> bool {
        let Some(room) = self.room.take(bytes) else { return false };
        let event = Event::Message { message: Box::new(message), _room: room };
        self.events.try_send(event).is_ok()
    }

    pub(super) fn propose(
        &self,
        command: Bytes,
        reply: oneshot::Sender<Result<Bytes, ProposeError>>,
    ) -> Result<(), ProposeError> {
        let room = self.room.take(command.len()).ok_or(ProposeError::Busy)?;
        let sent = self.events.try_send(Event::Propose { command, reply, _room: room });
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Busy,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_by_its_bytes_and_what_is_taken_out_makes_room() {
        let (inbox, mut driver) = Inbox::<()>::new();
        let half = BYTES_MAX / 2;
        assert!(inbox.deliver(Message::default(), half) && inbox.deliver(Message::default(), half));
        assert!(!inbox.deliver(Message::default(), 1));
        let (reply, _answer) = oneshot::channel();
        assert_eq!(inbox.propose(Bytes::from_static(b"command"), reply), Err(ProposeError::Busy));
        // What is needed to go on is no matter of bytes.
        assert!(inbox.events.try_send(Event::StepDown).is_ok());
        drop(driver.try_recv().unwrap());
        assert!(inbox.deliver(Message::default(), 1));
        // One that is larger than the room is taken beside what is small, and no third one.
        while driver.try_recv().is_ok() {}
        assert!(inbox.deliver(Message::default(), 3 * BYTES_MAX) && inbox.deliver(Message::default(), 1));
        assert!(!inbox.deliver(Message::default(), 3 * BYTES_MAX));
        while driver.try_recv().is_ok() {}
        let small = std::iter::repeat_with(|| inbox.deliver(Message::default(), 1));
        assert_eq!(small.take(2 * EVENTS_MAX).filter(|taken| *taken).count(), EVENTS_MAX);
    }
}
