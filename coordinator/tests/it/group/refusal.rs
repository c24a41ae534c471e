//! Raft messages that are refused before anything of them is parsed.

use futures::stream;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use shoal_common::{
    rpc::{Channels, MESSAGE_BYTES_MAX},
    tls::PeerRole,
};
use shoal_proto::v1::{RaftEnvelope, raft_client::RaftClient};
use tonic::{Code, Status};

use crate::support::group::{CLUSTER, Group, Settings, names};

/// What raft's own parser would choke on.
const GARBAGE: &[u8] = b"\xff\xff\xff\xff";

fn envelope(cluster_id: &str, from: u64, to: u64, message: &[u8]) -> RaftEnvelope {
    let message = message.to_vec().into();
    RaftEnvelope { cluster_id: cluster_id.to_owned(), from, to, message, piece: None }
}

/// A message of a term far in the future, which would unseat any leader.
fn coup(from: u64, to: u64) -> Vec<u8> {
    let mut message = Message { from, to, term: 1_000, ..Message::default() };
    message.set_msg_type(MessageType::MsgHeartbeat);
    message.write_to_bytes().unwrap()
}

async fn send(group: &Group, to: u64, envelopes: Vec<RaftEnvelope>) -> Result<(), Status> {
    let channel = Channels::tcp().get(&group.address_of(to), PeerRole::Coordinator).unwrap();
    let mut client = RaftClient::new(channel).max_encoding_message_size(usize::MAX);
    client.send(stream::iter(envelopes)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_strangers_are_refused_before_they_are_parsed() {
    let group = Group::start(3, Settings::default());
    group.commit("before").await;
    let term = group.member(1).handle.leadership().borrow().term;

    for (envelope, code, expected) in [
        (envelope("d", 2, 1, GARBAGE), Code::PermissionDenied, "cluster 'd'"),
        (envelope("d", 2, 1, &coup(2, 1)), Code::PermissionDenied, "cluster 'd'"),
        (envelope(CLUSTER, 4, 1, GARBAGE), Code::PermissionDenied, "member 4 sent"),
        (envelope(CLUSTER, 4, 1, &coup(4, 1)), Code::PermissionDenied, "member 4 sent"),
        (envelope(CLUSTER, 0, 1, GARBAGE), Code::PermissionDenied, "member 0 sent"),
        // From itself, and for another.
        (envelope(CLUSTER, 1, 1, &coup(1, 1)), Code::PermissionDenied, "member 1 sent"),
        (envelope(CLUSTER, 2, 3, &coup(2, 3)), Code::PermissionDenied, "sent to member 3, this is member 1"),
        // From a member, as another.
        (envelope(CLUSTER, 2, 1, &coup(3, 1)), Code::PermissionDenied, "not from the member that sent it"),
        (envelope(CLUSTER, 2, 1, &coup(2, 3)), Code::PermissionDenied, "not from the member that sent it"),
        (envelope(CLUSTER, 2, 1, GARBAGE), Code::InvalidArgument, "not a raft message"),
    ] {
        let refused = send(&group, 1, vec![envelope]).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(expected), "{refused}");
    }
    group.commit("after").await;
    assert_eq!(names(&group.agreed().await), ["before", "after"]);
    assert!(group.member(1).handle.leadership().borrow().term < term + 10, "nobody was unseated");
    group.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_the_cap_is_refused_before_it_is_read() {
    let group = Group::start(1, Settings::default());
    group.commit("before").await;
    let large = envelope("d", 2, 1, &vec![0; MESSAGE_BYTES_MAX]);
    let refused = send(&group, 1, vec![large]).await.unwrap_err();
    // Its cluster is not even looked at.
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    group.commit("after").await;
    group.kill_all().await;
}
