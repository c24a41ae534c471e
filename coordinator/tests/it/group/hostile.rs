//! Raft messages that no member sends, as somebody sends them who reaches a member's address and knows its cluster.

use std::time::Duration;

use futures::stream;
use proptest::prelude::*;
use protobuf::{Message as _, ProtobufEnum as _};
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType, Snapshot};
use shoal_common::{rpc::Channels, tls::PeerRole};
use shoal_core::hash::checksum_bytes;
use shoal_proto::v1::{MessagePiece, RaftEnvelope, raft_client::RaftClient};
use tonic::Status;

use crate::support::{
    eventually,
    group::{CLUSTER, Group, Settings, names},
};

/// Sends envelopes to a member in one stream; how the stream ended.
async fn send(group: &Group, to: u64, envelopes: Vec<RaftEnvelope>) -> Result<(), Status> {
    let mut client =
        RaftClient::new(Channels::tcp().get(&group.address_of(to), PeerRole::Coordinator).unwrap());
    client.send(stream::iter(envelopes)).await.map(drop)
}

/// Sends messages to a member in one stream; how the stream ended.
async fn say(group: &Group, messages: Vec<Message>) -> Result<(), Status> {
    let to = messages[0].to;
    let envelopes: Vec<RaftEnvelope> = messages
        .into_iter()
        .map(|message| RaftEnvelope {
            cluster_id: CLUSTER.to_owned(),
            from: message.from,
            to,
            message: message.write_to_bytes().unwrap().into(),
            piece: None,
        })
        .collect();
    send(group, to, envelopes).await
}

fn message(kind: MessageType, from: u64, to: u64, term: u64) -> Message {
    let mut message = Message { from, to, term, ..Message::default() };
    message.set_msg_type(kind);
    message
}

fn term_of(group: &Group, id: u64) -> u64 {
    group.member(id).handle.leadership().borrow().term
}

fn another(id: u64) -> u64 {
    if id == 1 { 2 } else { 1 }
}

/// Nobody has failed, and the members still agree: on what was sent in this test under the names of commands, and on no more.
async fn goes_on(group: &Group, commands: &[&str]) {
    for member in group.members() {
        let stopped = tokio::time::timeout(Duration::from_millis(1), member.handle.stopped()).await;
        assert!(stopped.is_err(), "a member's driver has ended");
    }
    group.commit(commands.last().unwrap()).await;
    assert_eq!(names(&group.agreed().await), commands);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_that_jumps_does_not_end_the_group() {
    let mut group = Group::start(3, Settings::default());
    group.commit("before").await;
    for term in [u64::MAX, u64::MAX - 1, u64::MAX / 2, 1 << 40, (1 << 20) + 1_000] {
        for kind in
            [MessageType::MsgHeartbeat, MessageType::MsgAppendResponse, MessageType::MsgRequestVoteResponse]
        {
            for to in 1..=3 {
                say(&group, vec![message(kind, another(to), to, term)]).await.unwrap();
            }
        }
    }
    goes_on(&group, &["before", "meanwhile"]).await;
    // What was persisted is whole too: the members find a leader again.
    for id in 1..=3 {
        group.kill(id).await;
    }
    for id in 1..=3 {
        group.revive(id);
    }
    goes_on(&group, &["before", "meanwhile", "after"]).await;
    for id in 1..=3 {
        assert!(term_of(&group, id) < 1 << 20, "member {id} is in term {}", term_of(&group, id));
    }
    group.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_that_make_no_snapshot_are_passed_over() {
    let group = Group::start(3, Settings::default());
    group.commit("before").await;
    let to = 1;
    let whole = message(MessageType::MsgHeartbeat, another(to), to, 1).write_to_bytes().unwrap();
    let of = |bytes: &[u8], offset: u64, length_bytes: u64| {
        let checksum = checksum_bytes(&whole).to_vec().into();
        let piece = MessagePiece { checksum, length_bytes, offset, bytes: bytes.to_vec().into() };
        let (from, cluster_id) = (another(to), CLUSTER.to_owned());
        RaftEnvelope { cluster_id, from, to, piece: Some(piece), ..RaftEnvelope::default() }
    };
    let length = whole.len() as u64;
    let passed_over = [
        // Out of order, longer than said, of an absurd length, changed, and never ended.
        of(&whole[1..], 1, length),
        of(&[&whole[..], &whole[..]].concat(), 0, length),
        of(&whole, 0, u64::MAX),
        of(&vec![7; whole.len()], 0, length),
        of(&[], 0, length),
        of(&whole[..1], 0, length),
    ];
    send(&group, to, passed_over.to_vec()).await.unwrap();
    // Nothing else goes in pieces, and pieces of another cluster are no matter of this one.
    let refused = send(&group, to, vec![of(&whole, 0, length)]).await.unwrap_err();
    assert!(refused.message().contains("only snapshots"), "{refused}");
    let foreign = RaftEnvelope { cluster_id: "d".to_owned(), ..of(&whole[..1], 0, length) };
    send(&group, to, vec![foreign]).await.unwrap_err();
    goes_on(&group, &["before", "after"]).await;
    group.kill_all().await;
}

/// What a member that was away finds: the terms have gone on without it, further than one message may lead.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_leader_gets_to_a_far_term_step_by_step() {
    let group = Group::start(1, Settings::default());
    group.commit("before").await;
    group.kill_all().await;

    let mut group = Group::found(3, Settings::default());
    group.revive(1);
    let far = 3 << 20;
    eventually("it has come to the term of the one that leads", || {
        let heartbeat = message(MessageType::MsgHeartbeat, 2, 1, far);
        futures::executor::block_on(say(&group, vec![heartbeat])).unwrap();
        (term_of(&group, 1) == far).then_some(())
    })
    .await;
    assert_eq!(group.member(1).handle.leadership().borrow().leader_id, Some(2));
    group.kill_all().await;
}

/// With entries of one term at these places.
fn append(entries: &[(u64, u64)], message: Message) -> Message {
    let entry = |&(index, term): &(u64, u64)| Entry { index, term, ..Entry::default() };
    Message { entries: entries.iter().map(entry).collect::<Vec<_>>().into(), ..message }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_member_says_is_passed_over_and_the_rest_of_the_stream_is_heard() {
    use MessageType::{
        MsgAppend, MsgAppendResponse, MsgBeat, MsgCheckQuorum, MsgHeartbeat, MsgHup, MsgPropose,
        MsgReadIndex, MsgSnapStatus, MsgTransferLeader, MsgUnreachable,
    };
    let group = Group::start(3, Settings::default());
    group.commit("before").await;
    for to in 1..=3 {
        let from = another(to);
        let term = term_of(&group, to);
        let of = |kind, term| message(kind, from, to, term);
        let with_entry = |kind, term, data: &'static [u8]| {
            let entry = Entry { data: data.into(), ..Entry::default() };
            Message { entries: vec![entry].into(), ..of(kind, term) }
        };
        let mut change = Entry { index: 1_000, term, ..Entry::default() };
        change.set_entry_type(EntryType::EntryConfChange);
        let mut messages = vec![
            // Of a member to itself only.
            of(MsgHup, 0),
            of(MsgBeat, 0),
            of(MsgUnreachable, 0),
            Message { reject: true, ..of(MsgSnapStatus, 0) },
            of(MsgCheckQuorum, 0),
            of(MsgTransferLeader, 0),
            // Commands come by way of the leader's own checks.
            of(MsgPropose, 0),
            with_entry(MsgPropose, 0, b"smuggled"),
            with_entry(MsgPropose, term, b"smuggled"),
            // Reads name what they are by one entry, and no term.
            of(MsgReadIndex, 0),
            with_entry(MsgReadIndex, term, b"read"),
            // All others name their term.
            of(MsgHeartbeat, 0),
            // Places that no log has.
            Message { index: u64::MAX, ..of(MsgAppendResponse, term) },
            Message { index: 1 << 40, ..of(MsgAppendResponse, term) },
            Message {
                index: 1,
                reject: true,
                reject_hint: u64::MAX,
                log_term: 1,
                ..of(MsgAppendResponse, term)
            },
            Message { index: 1 << 40, log_term: 0, ..append(&[], of(MsgAppend, term)) },
            Message {
                index: 1 << 40,
                commit: 1 << 41,
                ..append(&[((1 << 40) + 1, term)], of(MsgAppend, term))
            },
            // Entries that do not follow each other, and one of a term that has not come.
            Message { index: 2, log_term: 1, ..append(&[(3, term), (9, term)], of(MsgAppend, term)) },
            Message { index: 2, log_term: 1, ..append(&[(3, term + 1)], of(MsgAppend, term)) },
            Message { index: 999, log_term: term, entries: vec![change].into(), ..of(MsgAppend, term) },
            Message { context: vec![0; 1 << 20].into(), ..of(MsgHeartbeat, term) },
        ];
        // What is heard after all of it: it gives the member the next term.
        let next = term + 1;
        messages.push(of(MsgAppendResponse, next));
        say(&group, messages).await.unwrap();
        eventually("the last message is heard", || (term_of(&group, to) >= next).then_some(())).await;
    }
    goes_on(&group, &["before", "after"]).await;
    group.kill_all().await;
}

fn snapshot(state: &[u8], voters: &[u64], message: Message) -> Message {
    let mut snapshot = Snapshot::default();
    let mut members = ConfState::default();
    members.set_voters(voters.to_vec());
    snapshot.mut_metadata().set_conf_state(members);
    snapshot.mut_metadata().index = 1_000;
    snapshot.mut_metadata().term = message.term;
    snapshot.set_data(state.to_vec().into());
    let mut message = message;
    message.set_snapshot(snapshot);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_read_leaves_the_log_as_it_was() {
    let mut group = Group::start(3, Settings::default());
    group.commit("before").await;
    let leader = group.leader().await;
    let follower = group.ids().into_iter().find(|id| *id != leader).unwrap();
    let of = |term| message(MessageType::MsgSnapshot, leader, follower, term);
    let term = term_of(&group, follower);
    for (state, voters) in [
        // Of a release that writes something else, and of other groups.
        (&b"\xff newer"[..], &[1, 2, 3][..]),
        (b"", &[1, 2]),
        (b"", &[1, 2, 3, 4]),
        (b"", &[]),
    ] {
        say(&group, vec![snapshot(state, voters, of(term))]).await.unwrap();
    }
    goes_on(&group, &["before", "meanwhile"]).await;
    group.kill(follower).await;
    group.revive(follower);
    goes_on(&group, &["before", "meanwhile", "after"]).await;
    group.kill_all().await;
}

/// Numbers about which something changes, for a member whose log is short.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0_u64..6,
        1 => (1_u64 << 20) - 2..(1 << 20) + 8,
        1 => (u64::MAX / 2) - 2..(u64::MAX / 2) + 3,
        1 => u64::MAX - 3..=u64::MAX,
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let entries = prop::collection::vec((any_number(), any_number(), 0_i32..3, "[a-z]{0,9}"), 0..4);
    let of_snapshot = (any::<bool>(), any_number(), any_number(), prop::collection::vec(1_u64..4, 0..4));
    let numbers = prop::collection::vec(any_number(), 8);
    (0_i32..20, 2_u64..4, numbers, any::<bool>(), "[a-z]{0,70}", entries, of_snapshot).prop_map(
        |(kind, from, numbers, reject, context, entries, (has_snapshot, index, term, voters))| {
            let mut message = Message {
                from,
                to: 1,
                term: numbers[0],
                log_term: numbers[1],
                index: numbers[2],
                commit: numbers[3],
                commit_term: numbers[4],
                reject_hint: numbers[5],
                request_snapshot: if numbers[6] < 5 { 0 } else { numbers[6] },
                priority: numbers[7] as i64,
                context: context.into_bytes().into(),
                reject,
                ..Message::default()
            };
            message.set_msg_type(MessageType::from_i32(kind).unwrap_or(MessageType::MsgAppend));
            let (first, log_term) = (message.index, message.log_term);
            let entry = |(at, (index, term, kind, data)): (usize, (u64, u64, i32, String))| {
                // Mostly as they should be.
                let is_next = index < 5;
                let index = if is_next { first.wrapping_add(at as u64 + 1) } else { index };
                let term = if is_next { log_term } else { term };
                let mut entry = Entry { index, term, data: data.into_bytes().into(), ..Entry::default() };
                let kind = if is_next { EntryType::EntryNormal } else { EntryType::from_i32(kind).unwrap() };
                entry.set_entry_type(kind);
                entry
            };
            message.entries = entries.into_iter().enumerate().map(entry).collect::<Vec<_>>().into();
            if has_snapshot {
                let mut members = ConfState::default();
                members.set_voters(if voters.len() < 3 { vec![1, 2, 3] } else { voters });
                let mut snapshot = Snapshot::default();
                snapshot.mut_metadata().set_conf_state(members);
                (snapshot.mut_metadata().index, snapshot.mut_metadata().term) = (index, term);
                message.set_snapshot(snapshot);
            }
            message
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Lies may come to be believed, but nobody fails of them, and what is kept can be opened again.
    #[test]
    fn no_message_ends_a_member(messages in prop::collection::vec(any_message(), 1..200)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut group = Group::found(3, Settings::default());
            group.revive(1);
            say(&group, messages).await.unwrap();
            // Whatever it was told it has thought about once the driver has answered this.
            let handle = &group.member(1).handle;
            let _ = handle.propose("c".into(), tokio::time::Instant::now() + Duration::from_millis(50)).await;
            let stopped = tokio::time::timeout(Duration::from_millis(1), handle.stopped()).await;
            assert!(stopped.is_err(), "the driver has ended");
            group.kill(1).await;
            group.revive(1);
            group.kill_all().await;
        });
    }
}
