//! Raft messages between members: a stream per direction, ordered, and lost when it breaks, which
//! raft repairs.
//!
//! Messages travel opaque in an envelope; cluster, sender, receiver and size are checked before
//! anything is parsed. A wrong sender ends the stream; a message that no member sends is passed over (`door`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use shoal_common::{
    access::certified_caller,
    rpc::{Channels, MESSAGE_BYTES_MAX, wrong_cluster},
    shutdown::Shutdown,
    tls::{Identity, PeerRole},
};
use shoal_proto::v1::{RaftAck, RaftEnvelope, raft_client::RaftClient, raft_server};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    door::{Refusals, check_form},
    inbox::{ByteRoom, Event, Held, Inbox},
    member::RaftConfig,
    pieces::{Assembly, CUT_BYTES_MAX, Pieces, Room},
};

/// Messages to one member that may wait. More would be stale by the time they left.
const QUEUE_MESSAGES: usize = 1_024;

/// Bytes of messages to one member that may wait.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Messages handed to the stream ahead of the network.
const STREAM_MESSAGES: usize = 64;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The sending ends of the links to the other members.
#[derive(Debug)]
pub(super) struct Links {
    cluster_id: String,
    raft_id: u64,
    whole_bytes_max: usize,
    queues: BTreeMap<u64, Queue>,
}

/// What waits to be sent to one member.
#[derive(Debug)]
struct Queue {
    messages: mpsc::Sender<Outbound>,
    room: ByteRoom,
}

#[derive(Debug)]
struct Outbound {
    /// Without a message where that goes in pieces.
    envelope: RaftEnvelope,
    pieces: Option<Pieces>,
    is_snapshot: bool,
    /// Raft sends one snapshot at a time, so that takes none.
    _room: Option<Held>,
}

/// Starts a link to each other member.
pub(super) fn start_links<V: Send + Sync + 'static>(
    config: &RaftConfig,
    channels: &Channels,
    inbox: &Inbox<V>,
    shutdown: &Shutdown,
) -> Links {
    let mut queues = BTreeMap::new();
    for (&peer, address) in config.peers.iter().filter(|(id, _)| **id != config.raft_id) {
        let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
        queues.insert(peer, Queue { messages: queue, room: ByteRoom::of(QUEUE_BYTES) });
        let link = Link {
            peer,
            address: address.clone(),
            channels: channels.clone(),
            inbox: inbox.clone(),
            stop: shutdown.token(),
        };
        shutdown.spawn("raft link", link.run(messages));
    }
    Links {
        cluster_id: config.cluster_id.clone(),
        raft_id: config.raft_id,
        whole_bytes_max: config.whole_bytes_max,
        queues,
    }
}

impl Links {
    /// Queues messages for their receivers. Those that do not fit are dropped, and the members they were for returned.
    pub(super) fn send(&self, messages: Vec<Message>) -> Vec<(u64, bool)> {
        let mut dropped = Vec::new();
        for message in messages {
            let is_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
            let to = message.to;
            if self.queue(&message, is_snapshot).is_none() {
                dropped.push((to, is_snapshot));
            }
        }
        dropped
    }

    /// Queues a message where there is room for it.
    fn queue(&self, message: &Message, is_snapshot: bool) -> Option<()> {
        let queue = self.queues.get(&message.to)?;
        let bytes = Bytes::from(message.write_to_bytes().ok()?);
        if bytes.len() > CUT_BYTES_MAX {
            tracing::error!(to = message.to, bytes = bytes.len(), "a raft message is too long to be sent");
            return None;
        }
        let room = if is_snapshot { None } else { Some(queue.room.take(bytes.len())?) };
        let (whole, pieces) = match bytes.len() > self.whole_bytes_max && is_snapshot {
            true => (Bytes::new(), Some(Pieces::of(bytes, self.whole_bytes_max))),
            false => (bytes, None),
        };
        let cluster_id = self.cluster_id.clone();
        let (from, to) = (self.raft_id, message.to);
        let envelope = RaftEnvelope { cluster_id, from, to, message: whole, piece: None };
        queue.messages.try_send(Outbound { envelope, pieces, is_snapshot, _room: room }).ok()
    }
}

/// The sending side of one link.
struct Link<V> {
    peer: u64,
    address: String,
    channels: Channels,
    inbox: Inbox<V>,
    stop: CancellationToken,
}

impl<V: Send + Sync + 'static> Link<V> {
    async fn run(self, mut messages: mpsc::Receiver<Outbound>) {
        let mut backoff = BACKOFF_MIN;
        loop {
            // A stream is opened only when there is something to say.
            let first = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                first = messages.recv() => first,
            };
            let Some(first) = first else { return };
            if self.stream(first, &mut messages).await {
                backoff = BACKOFF_MIN;
            }
            // A full inbox loses it; raft's own probing finds out later.
            let _ = self.inbox.events.try_send(Event::Unreachable { peer: self.peer });
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(backoff) => {}
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
            // What piled up meanwhile is stale.
            while let Ok(stale) = messages.try_recv() {
                self.report_snapshot(stale.is_snapshot, false).await;
            }
        }
    }

    /// One stream, until it breaks. True when it carried messages.
    async fn stream(&self, first: Outbound, messages: &mut mpsc::Receiver<Outbound>) -> bool {
        let Ok(channel) = self.channels.get(&self.address, PeerRole::Coordinator) else {
            self.report_snapshot(first.is_snapshot, false).await;
            return false;
        };
        let mut client = RaftClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (outlet, stream) = mpsc::channel(STREAM_MESSAGES);
        let call = client.send(ReceiverStream::new(stream));
        tokio::pin!(call);
        // Messages go between the pieces of a long one: a member that hears nothing asks for votes.
        let (mut next, mut cut) = (Some(first), None::<Outbound>);
        let mut carried = false;
        let is_delivered = loop {
            if next.as_ref().is_some_and(|outbound| outbound.pieces.is_some()) {
                // The one before is not wanted any more.
                let replaced = std::mem::replace(&mut cut, next.take());
                self.report_snapshot(replaced.is_some(), false).await;
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return carried,
                // The call ends only when the link is broken or the peer stops.
                _ = &mut call => break false,
                message = messages.recv(), if next.is_none() => match message {
                    Some(message) => next = Some(message),
                    None => break true,
                },
                permit = outlet.reserve(), if next.is_some() || cut.is_some() => {
                    let Ok(permit) = permit else { break false };
                    carried = true;
                    let sent = match next.take() {
                        Some(Outbound { envelope, is_snapshot, .. }) => {
                            permit.send(envelope);
                            is_snapshot
                        }
                        None => {
                            let piece = cut.as_mut().and_then(next_piece);
                            let is_last = piece.as_ref().is_none_or(|(_, is_last)| *is_last);
                            if let Some((envelope, _)) = piece {
                                permit.send(envelope);
                            }
                            is_last && cut.take().is_some()
                        }
                    };
                    self.report_snapshot(sent, true).await;
                }
            }
        };
        let is_under_way = cut.is_some() || next.is_some_and(|outbound| outbound.is_snapshot);
        self.report_snapshot(is_under_way && !is_delivered, false).await;
        carried
    }

    /// Raft sends nothing more to a member until it hears what became of the snapshot, so this report must
    /// not be lost: it waits for room. The driver never waits for a link.
    async fn report_snapshot(&self, is_snapshot: bool, delivered: bool) {
        if is_snapshot {
            let _ = self.inbox.events.send(Event::SnapshotSent { peer: self.peer, delivered }).await;
        }
    }
}

/// The next piece of a long message, and whether it is the last.
fn next_piece(cut: &mut Outbound) -> Option<(RaftEnvelope, bool)> {
    let pieces = cut.pieces.as_mut()?;
    let piece = Some(pieces.next()?);
    Some((RaftEnvelope { piece, ..cut.envelope.clone() }, pieces.is_done()))
}

/// Hands a checked message of so many bytes to the driver; false when its inbox is full or closed.
type Deliver = Arc<dyn Fn(Message, usize) -> bool + Send + Sync>;

/// The receiving side: the `Raft` service of a member.
#[derive(Clone)]
pub struct RaftTransportService {
    cluster_id: String,
    raft_id: u64,
    members: BTreeSet<u64>,
    deliver: Deliver,
    refusals: Refusals,
    /// For messages that are not whole yet.
    room: Room,
    /// Ends the streams from the other members, which last as long as they do.
    stop: CancellationToken,
}

impl RaftTransportService {
    pub(super) fn new<V: Send + Sync + 'static>(
        config: &RaftConfig,
        inbox: &Inbox<V>,
        refusals: Refusals,
        stop: CancellationToken,
    ) -> Self {
        let inbox = inbox.clone();
        Self {
            refusals,
            stop,
            cluster_id: config.cluster_id.clone(),
            raft_id: config.raft_id,
            members: config.peers.keys().copied().collect(),
            deliver: Arc::new(move |message, bytes| inbox.deliver(message, bytes)),
            room: Room::default(),
        }
    }

    /// Whether an envelope is of another member of this group.
    fn check_envelope(&self, envelope: &RaftEnvelope) -> Result<(), Status> {
        if envelope.cluster_id != self.cluster_id {
            return Err(wrong_cluster(&self.cluster_id, &envelope.cluster_id));
        }
        let (from, to) = (envelope.from, envelope.to);
        if to != self.raft_id || from == to || !self.members.contains(&from) {
            return Err(Status::permission_denied(format!(
                "member {from} sent to member {to}, this is member {} of {:?}; check coordinator.peers",
                self.raft_id, self.members
            )));
        }
        Ok(())
    }

    /// Takes one envelope of a stream.
    fn take(
        &self,
        caller: Option<&Identity>,
        envelope: RaftEnvelope,
        assembly: &mut Assembly,
    ) -> Result<(), Status> {
        check_sender(caller, envelope.from)?;
        self.check_envelope(&envelope)?;
        let (from, to) = (envelope.from, envelope.to);
        let (bytes, is_cut) = match &envelope.piece {
            None => (envelope.message, false),
            Some(piece) => match assembly.take(piece) {
                Ok(Some(whole)) => (whole, true),
                Ok(None) => return Ok(()),
                // The sender begins anew.
                Err(error) => {
                    self.refusals.note_piece(from, &error);
                    return Ok(());
                }
            },
        };
        let message = parse(&bytes)?;
        if message.from != from || message.to != to {
            return Err(Status::permission_denied("the raft message is not from the member that sent it"));
        }
        if is_cut && message.get_msg_type() != MessageType::MsgSnapshot {
            return Err(Status::invalid_argument("only snapshots are sent in pieces"));
        }
        match check_form(&message) {
            // A full inbox drops the message, as a network may.
            Ok(()) => drop((self.deliver)(message, bytes.len())),
            Err(refusal) => self.refusals.note(from, &refusal),
        }
        Ok(())
    }
}

/// Under TLS a member speaks for itself alone: its certificate names its raft number.
fn check_sender(caller: Option<&Identity>, from: u64) -> Result<(), Status> {
    match caller {
        Some(caller) if caller.role() != PeerRole::Coordinator || caller.name() != from.to_string() => {
            Err(Status::permission_denied(format!("{caller} sent a message of member {from}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Message, Status> {
    let mut message = Message::default();
    message
        .merge_from_bytes(bytes)
        .map_err(|error| Status::invalid_argument(format!("not a raft message: {error}")))?;
    Ok(message)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[tonic::async_trait]
impl raft_server::Raft for RaftTransportService {
    async fn send(&self, request: Request<Streaming<RaftEnvelope>>) -> Result<Response<RaftAck>, Status> {
        let caller = certified_caller(&request).cloned();
        let mut envelopes = request.into_inner();
        let mut assembly = Assembly::new(self.room.clone());
        loop {
            let until = assembly.until();
            let envelope = tokio::select! {
                biased;
                // A member that has stopped listens to nobody; its server waits for this call to end.
                () = self.stop.cancelled() => break,
                envelope = envelopes.message() => envelope?,
                () = sleep_until(until), if until.is_some() => {
                    assembly.give_up();
                    continue;
                }
            };
            let Some(envelope) = envelope else { break };
            let from = envelope.from;
            self.take(caller.as_ref(), envelope, &mut assembly)
                .inspect_err(|wrong| self.refusals.note_stream(from, wrong))?;
        }
        Ok(Response::new(RaftAck {}))
    }
}
