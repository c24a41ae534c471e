//! One real member, and two that the test plays: what it says to them, message by message.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use protobuf::Message as _;
use raft::eraftpb::{Entry, Message, MessageType};
use shoal_common::{
    access::Guard,
    audit::Audit,
    rpc::{Channels, tuned_server},
    tls::PeerRole,
};
use shoal_coordinator::raft::WHOLE_BYTES_MAX;
use shoal_proto::v1::{
    RaftAck, RaftEnvelope,
    raft_client::RaftClient,
    raft_server::{Raft, RaftServer},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::support::{
    disk::FullDisk,
    door::Door,
    eventually,
    group::{CLUSTER, Group, Settings, names},
    ledger::Gate,
};

/// Long enough that the test itself is never late by an election.
const SETTINGS: Settings = Settings {
    tick: Duration::from_millis(150),
    snapshot_every_entries: 1_000,
    election_ticks: Some(10),
    whole_bytes_max: WHOLE_BYTES_MAX,
    ballast: 0,
};

/// A member that the test plays: hears everything, and says what it is told to.
#[derive(Clone)]
struct Player {
    id: u64,
    heard: Arc<Mutex<Vec<Message>>>,
    outlet: mpsc::UnboundedSender<RaftEnvelope>,
    answer: fn(&Message) -> Result<Option<Message>, Status>,
}

impl Player {
    /// Behind the address of member `id` of the group; answers member 1.
    fn enter(group: &Group, id: u64, answer: fn(&Message) -> Result<Option<Message>, Status>) -> Self {
        let (outlet, mut envelopes) = mpsc::unbounded_channel();
        let channel = Channels::tcp().get(&group.address_of(1), PeerRole::Coordinator).unwrap();
        tokio::spawn(async move {
            // One stream after the other: a machine that stands still for a while loses them.
            while let Some(first) = envelopes.recv().await {
                let (next, stream) = mpsc::unbounded_channel();
                next.send(first).unwrap();
                let mut client = RaftClient::new(channel.clone());
                let call = client.send(UnboundedReceiverStream::new(stream));
                let forward = async {
                    while let Some(envelope) = envelopes.recv().await {
                        // A stream that has ended is noticed by its call.
                        let _ = next.send(envelope);
                    }
                };
                futures::future::select(pin!(call), pin!(forward)).await;
            }
        });
        let player = Self { id, heard: Arc::default(), outlet, answer };
        let door: &Door = group.door(id);
        let service = RaftServer::new(player.clone());
        tokio::spawn(
            tuned_server(Guard::open(), Audit::nowhere().layer())
                .add_service(service)
                .serve_with_incoming(door.enter()),
        );
        player
    }

    fn say(&self, mut message: Message) {
        (message.from, message.to) = (self.id, 1);
        let message = message.write_to_bytes().unwrap().into();
        let envelope =
            RaftEnvelope { cluster_id: CLUSTER.to_owned(), from: self.id, to: 1, message, piece: None };
        self.outlet.send(envelope).unwrap();
    }

    fn heard(&self, kind: MessageType) -> usize {
        self.heard.lock().unwrap().iter().filter(|message| message.get_msg_type() == kind).count()
    }

    /// How often it was asked whether it would vote for somebody who no longer follows the leader of `term`. Before
    /// a member has heard that leader it asks for an earlier term.
    fn elections_after(&self, term: u64) -> usize {
        let asks = |message: &&Message| {
            message.get_msg_type() == MessageType::MsgRequestPreVote && message.term > term
        };
        self.heard.lock().unwrap().iter().filter(asks).count()
    }
}

#[tonic::async_trait]
impl Raft for Player {
    async fn send(&self, request: Request<Streaming<RaftEnvelope>>) -> Result<Response<RaftAck>, Status> {
        let mut envelopes = request.into_inner();
        while let Some(envelope) = envelopes.message().await? {
            let mut message = Message::default();
            message.merge_from_bytes(&envelope.message).unwrap();
            self.heard.lock().unwrap().push(message.clone());
            if let Some(answer) = (self.answer)(&message)? {
                self.say(answer);
            }
        }
        Ok(Response::new(RaftAck {}))
    }
}

fn message(kind: MessageType, term: u64) -> Message {
    let mut message = Message { term, ..Message::default() };
    message.set_msg_type(kind);
    message
}

/// The leader's heartbeats, one each tick, until they are dropped.
struct Heartbeats(JoinHandle<()>);

impl Heartbeats {
    fn of(leader: &Player, term: u64, commit: u64) -> Self {
        let leader = leader.clone();
        Self(tokio::spawn(async move {
            loop {
                leader.say(Message { commit, ..message(MessageType::MsgHeartbeat, term) });
                tokio::time::sleep(SETTINGS.tick).await;
            }
        }))
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Member 1 is held up by its disk for longer than an election takes, while it follows its leader, who says what
/// `meanwhile` lets it say; then the leader's heartbeats come again.
async fn nobody_is_asked_for_votes(meanwhile: impl FnOnce(Heartbeats) -> Option<Heartbeats>) {
    let (mut group, gate) = (Group::found(3, SETTINGS), Gate::default());
    group.revive_behind(1, gate.clone());
    let (leader, other) = (Player::enter(&group, 2, |_| Ok(None)), Player::enter(&group, 3, |_| Ok(None)));
    let heartbeats = Heartbeats::of(&leader, 5, 1);
    let answers = || leader.heard(MessageType::MsgHeartbeatResponse);
    eventually("it follows", || (answers() > 0).then_some(())).await;
    // The log begins with a snapshot at index 1, term 1.
    let entry = Entry { index: 2, term: 5, data: (&b"c"[..]).into(), ..Entry::default() };
    let append = Message { index: 1, log_term: 1, commit: 2, ..message(MessageType::MsgAppend, 5) };
    gate.shut();
    leader.say(Message { entries: vec![entry].into(), ..append });
    eventually("it is held up", || gate.holds().then_some(())).await;

    let _heard = meanwhile(heartbeats);
    tokio::time::sleep(15 * SETTINGS.tick).await;
    gate.open();
    let _again = Heartbeats::of(&leader, 5, 2);
    let member = group.member(1);
    eventually("it goes on", || (names(&member.view()) == ["c"]).then_some(())).await;
    let answered = answers();
    eventually("it follows again", || (answers() > answered + 5).then_some(())).await;
    for player in [&leader, &other] {
        assert_eq!(player.elections_after(5), 0);
    }
    assert_eq!(member.handle.leadership().borrow().leader_id, Some(2));
    group.kill_all().await;
}

/// It looks at what has come meanwhile before its clock makes it a candidate.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_slow_starts_no_election() {
    nobody_is_asked_for_votes(Some).await;
}

/// When the whole machine stood still, the leader's messages are still below the program when its clock goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stood_still_waits_to_hear_its_leader() {
    nobody_is_asked_for_votes(|heartbeats| {
        drop(heartbeats);
        None
    })
    .await;
}

/// Votes for whoever asks, and takes whatever it is sent.
fn agree(message: &Message) -> Result<Option<Message>, Status> {
    let answer = |kind| Message { term: message.term, ..self::message(kind, message.term) };
    Ok(match message.get_msg_type() {
        MessageType::MsgRequestPreVote => Some(answer(MessageType::MsgRequestPreVoteResponse)),
        MessageType::MsgRequestVote => Some(answer(MessageType::MsgRequestVoteResponse)),
        MessageType::MsgHeartbeat => {
            let context = message.context.clone();
            Some(Message { context, ..answer(MessageType::MsgHeartbeatResponse) })
        }
        MessageType::MsgAppend => {
            let index = message.index + message.entries.len() as u64;
            Some(Message { index, ..answer(MessageType::MsgAppendResponse) })
        }
        _ => None,
    })
}

/// As one that has nothing, and whose link breaks whenever a snapshot comes.
fn lose_snapshots(message: &Message) -> Result<Option<Message>, Status> {
    match message.get_msg_type() {
        MessageType::MsgAppend => {
            let refusal = self::message(MessageType::MsgAppendResponse, message.term);
            Ok(Some(Message { index: message.index, reject: true, ..refusal }))
        }
        MessageType::MsgSnapshot => Err(Status::unavailable("the link broke")),
        _ => agree(message),
    }
}

/// Raft sends nothing to a member that a snapshot is on its way to, until it is told what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_lost_on_its_way_is_sent_again() {
    let mut group = Group::found(3, Settings { tick: Duration::from_millis(20), ..SETTINGS });
    group.revive(1);
    let lossy = Player::enter(&group, 2, lose_snapshots);
    let _other = Player::enter(&group, 3, agree);
    group.commit("with the other's vote").await;
    eventually("it is sent again and again", || (lossy.heard(MessageType::MsgSnapshot) > 3).then_some(()))
        .await;
    group.commit("meanwhile").await;
    group.kill_all().await;
}

/// What a member says to have, it has: a leader counts on it when it calls an entry committed, and a candidate on
/// the vote when it calls itself elected.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_disk_is_full_promises_nothing() {
    let disk = Arc::new(FullDisk::default());
    let mut group = Group::found_on(disk.clone(), 3, SETTINGS);
    group.revive(1);
    let (leader, other) = (Player::enter(&group, 2, |_| Ok(None)), Player::enter(&group, 3, |_| Ok(None)));
    let responses = || leader.heard(MessageType::MsgHeartbeatResponse);
    let is_followed = async |what: &str| {
        let before = responses();
        eventually(what, || {
            leader.say(Message { commit: 1, ..message(MessageType::MsgHeartbeat, 5) });
            (responses() > before).then_some(())
        })
        .await;
    };
    is_followed("it follows").await;

    disk.fill(true);
    // The log begins with a snapshot at index 1, term 1.
    let entry = Entry { index: 2, term: 5, data: (&b"c"[..]).into(), ..Entry::default() };
    let append = Message { index: 1, log_term: 1, commit: 1, ..message(MessageType::MsgAppend, 5) };
    leader.say(Message { entries: vec![entry].into(), ..append });
    eventually("the entry was not written", || (disk.refused() > 0).then_some(())).await;
    disk.fill(false);
    // Messages arrive in order: what it said before it failed is there when it answers again.
    is_followed("it is back").await;
    assert_eq!(leader.heard(MessageType::MsgAppendResponse), 0, "it has nothing after the snapshot");

    disk.fill(true);
    let (refused, index) = (disk.refused(), 9);
    let mut vote = Message { index, log_term: 5, ..message(MessageType::MsgRequestVote, 6) };
    // As a leader's hand-over has it; otherwise a member that hears its leader does not vote.
    vote.context = (&b"CampaignTransfer"[..]).into();
    other.say(vote);
    eventually("the vote was not written", || (disk.refused() > refused).then_some(())).await;
    disk.fill(false);
    let answers = || other.heard(MessageType::MsgHeartbeatResponse);
    eventually("it is back again", || {
        other.say(Message { commit: 1, ..message(MessageType::MsgHeartbeat, 7) });
        (answers() > 0).then_some(())
    })
    .await;
    assert_eq!(other.heard(MessageType::MsgRequestVoteResponse), 0, "nobody has its vote");
    group.kill_all().await;
}
