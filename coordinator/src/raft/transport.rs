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

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use shoal_common::{
    access::certified_caller,
    rpc::{Channels, MESSAGE_BYTES_MAX, wrong_cluster},
    shutdown::Shutdown,
    tls::{Identity, PeerRole},
};
use shoal_proto::v1::{RaftAck, RaftEnvelope, raft_client::RaftClient, raft_server};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    RaftConfig,
    door::{Refusals, check_form},
    inbox::Event,
};

/// Messages to one member that may wait. More would be stale by the time they left.
const QUEUE_MESSAGES: usize = 1_024;

/// Messages handed to the stream ahead of the network.
const STREAM_MESSAGES: usize = 64;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The sending ends of the links to the other members.
#[derive(Debug)]
pub(super) struct Links {
    cluster_id: String,
    raft_id: u64,
    queues: BTreeMap<u64, mpsc::Sender<Outbound>>,
}

#[derive(Debug)]
struct Outbound {
    envelope: RaftEnvelope,
    is_snapshot: bool,
}

/// Starts a link to each other member.
pub(super) fn start_links<V: Send + Sync + 'static>(
    config: &RaftConfig,
    channels: &Channels,
    inbox: &mpsc::Sender<Event<V>>,
    shutdown: &Shutdown,
) -> Links {
    let mut queues = BTreeMap::new();
    for (&peer, address) in config.peers.iter().filter(|(id, _)| **id != config.raft_id) {
        let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
        queues.insert(peer, queue);
        let link = Link {
            peer,
            address: address.clone(),
            channels: channels.clone(),
            inbox: inbox.clone(),
            stop: shutdown.token(),
        };
        shutdown.spawn("raft link", link.run(messages));
    }
    Links { cluster_id: config.cluster_id.clone(), raft_id: config.raft_id, queues }
}

impl Links {
    /// Queues messages for their receivers. Those that do not fit are dropped, and the members they were for returned.
    pub(super) fn send(&self, messages: Vec<Message>) -> Vec<(u64, bool)> {
        let mut dropped = Vec::new();
        for message in messages {
            let is_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
            let to = message.to;
            let Ok(bytes) = message.write_to_bytes() else {
                dropped.push((to, is_snapshot));
                continue;
            };
            let envelope = RaftEnvelope {
                cluster_id: self.cluster_id.clone(),
                from: self.raft_id,
                to,
                message: bytes.into(),
            };
            let queued = self.queues.get(&to).map(|queue| queue.try_send(Outbound { envelope, is_snapshot }));
            if !matches!(queued, Some(Ok(()))) {
                dropped.push((to, is_snapshot));
            }
        }
        dropped
    }
}

/// The sending side of one link.
struct Link<V> {
    peer: u64,
    address: String,
    channels: Channels,
    inbox: mpsc::Sender<Event<V>>,
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
            let _ = self.inbox.try_send(Event::Unreachable { peer: self.peer });
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
        let mut next = Some(first);
        let mut carried = false;
        loop {
            let is_snapshot = next.as_ref().is_some_and(|outbound| outbound.is_snapshot);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return carried,
                // The call ends only when the link is broken or the peer stops.
                _ = &mut call => {
                    self.report_snapshot(is_snapshot, false).await;
                    return carried;
                }
                permit = outlet.reserve(), if next.is_some() => {
                    let (Ok(permit), Some(outbound)) = (permit, next.take()) else {
                        self.report_snapshot(is_snapshot, false).await;
                        return carried;
                    };
                    permit.send(outbound.envelope);
                    self.report_snapshot(is_snapshot, true).await;
                    carried = true;
                }
                message = messages.recv(), if next.is_none() => {
                    let Some(message) = message else { return carried };
                    next = Some(message);
                }
            }
        }
    }

    /// Raft sends nothing more to a member until it hears what became of the snapshot, so this report must
    /// not be lost: it waits for room. The driver never waits for a link.
    async fn report_snapshot(&self, is_snapshot: bool, delivered: bool) {
        if is_snapshot {
            let _ = self.inbox.send(Event::SnapshotSent { peer: self.peer, delivered }).await;
        }
    }
}

/// Hands a checked message to the driver; false when its inbox is full or closed.
type Deliver = Arc<dyn Fn(Message) -> bool + Send + Sync>;

/// The receiving side: the `Raft` service of a member.
#[derive(Clone)]
pub struct RaftTransportService {
    cluster_id: String,
    raft_id: u64,
    members: BTreeSet<u64>,
    deliver: Deliver,
    refusals: Refusals,
    /// Ends the streams from the other members, which last as long as they do.
    stop: CancellationToken,
}

impl RaftTransportService {
    pub(super) fn new<V: Send + Sync + 'static>(
        config: &RaftConfig,
        inbox: &mpsc::Sender<Event<V>>,
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
            deliver: Arc::new(move |message| inbox.try_send(Event::Message(Box::new(message))).is_ok()),
        }
    }

    fn check(&self, envelope: &RaftEnvelope) -> Result<Message, Status> {
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
        let message = parse(&envelope.message)?;
        if message.from != from || message.to != to {
            return Err(Status::permission_denied("the raft message is not from the member that sent it"));
        }
        Ok(message)
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

#[tonic::async_trait]
impl raft_server::Raft for RaftTransportService {
    async fn send(&self, request: Request<Streaming<RaftEnvelope>>) -> Result<Response<RaftAck>, Status> {
        let caller = certified_caller(&request).cloned();
        let mut envelopes = request.into_inner();
        loop {
            let envelope = tokio::select! {
                biased;
                // A member that has stopped listens to nobody; its server waits for this call to end.
                () = self.stop.cancelled() => break,
                envelope = envelopes.message() => envelope?,
            };
            let Some(envelope) = envelope else { break };
            let checked = check_sender(caller.as_ref(), envelope.from).and_then(|()| self.check(&envelope));
            let message = checked.inspect_err(|wrong| self.refusals.note_stream(envelope.from, wrong))?;
            match check_form(&message) {
                // A full inbox drops the message, as a network may.
                Ok(()) => drop((self.deliver)(message)),
                Err(refusal) => self.refusals.note(envelope.from, &refusal),
            }
        }
        Ok(Response::new(RaftAck {}))
    }
}
