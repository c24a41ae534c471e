//! Heartbeats, and what is remembered of those who sent them.

use std::time::Duration;

use futures::future::join_all;
use shoal_common::clock::{Clock as _, SystemClock};
use shoal_coordinator::state::{ClusterState, NODES_MAX};
use shoal_proto::v1::*;
use tonic::{Code, Status};

use crate::support::{cluster::Cluster, eventually_async, group::CLUSTER};

const LEASE: Duration = Duration::from_secs(10);

fn beat(node: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        cluster_id: CLUSTER.into(),
        node: node.to_owned(),
        role: NodeRole::Worker.into(),
        address: "127.0.0.1:1".into(),
        ..Default::default()
    }
}

async fn send(cluster: &Cluster, beat: HeartbeatRequest) -> Result<HeartbeatReply, Status> {
    cluster
        .ask(|mut leader| {
            let beat = beat.clone();
            async move { leader.heartbeat(beat).await }
        })
        .await
}

async fn known(cluster: &Cluster) -> Vec<KnownNode> {
    cluster.ask(|mut leader| async move { leader.list_nodes(ListNodesRequest {}).await }).await.unwrap().nodes
}

async fn forget(cluster: &Cluster, node: &str) -> Result<ForgetNodeReply, Status> {
    let request = || ForgetNodeRequest { node: node.to_owned() };
    cluster.ask(|mut leader| async move { leader.forget_node(request()).await }).await
}

/// A cluster that knows these nodes, which have been down for so long.
fn with_down_nodes(down: impl IntoIterator<Item = (String, Duration)>) -> Cluster {
    let now = SystemClock.now_unix_ms();
    let record = |(name, ago): (String, Duration)| {
        let info = NodeInfo {
            name: name.clone(),
            role: NodeRole::Worker.into(),
            health: NodeHealth::Down.into(),
            ..NodeInfo::default()
        };
        (
            name,
            NodeRecord {
                info: Some(info),
                down_since_unix_ms: now - ago.as_millis() as i64,
                ..NodeRecord::default()
            },
        )
    };
    let mut cluster = Cluster::found(1, LEASE);
    let nodes = down.into_iter().map(record).collect();
    cluster.found_with(&ClusterState { nodes, ..ClusterState::new(CLUSTER) });
    cluster.revive(1);
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_of_a_name_is_refused_while_the_first_is_heard_of() {
    let cluster = Cluster::start(1, Duration::from_secs(5));
    let at = |address: &str, incarnation| HeartbeatRequest {
        address: address.to_owned(),
        incarnation,
        ..beat("worker-1")
    };
    send(&cluster, at("127.0.0.1:1", 1)).await.unwrap();
    let refusal = send(&cluster, at("127.0.0.2:1", 2)).await.unwrap_err();
    assert_eq!(refusal.code(), Code::AlreadyExists, "{refusal:?}");
    assert!(
        refusal.message().contains("127.0.0.1:1") && refusal.message().contains("node.name"),
        "{refusal:?}"
    );
    // Started anew where it was, it has its name at once; elsewhere when the one before is no longer heard of.
    send(&cluster, at("127.0.0.1:1", 3)).await.unwrap();
    eventually_async("the lease ends", || async { send(&cluster, at("127.0.0.2:1", 4)).await.ok() }).await;
    let infos: Vec<NodeInfo> = known(&cluster).await.into_iter().filter_map(|node| node.info).collect();
    assert_eq!(infos.len(), 1);
    assert_eq!((infos[0].address.as_str(), infos[0].incarnation), ("127.0.0.2:1", 4));
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_is_not_made_known() {
    let cluster = Cluster::start(1, LEASE);
    let loaded = |versions: &[(&str, &[u32])]| {
        let of = |&(version, shards): &(&str, &[u32])| LoadedVersion {
            version: version.to_owned(),
            user_shards: shards.to_vec(),
            item_shards: Vec::new(),
        };
        HeartbeatRequest { loaded: versions.iter().map(of).collect(), ..beat("worker") }
    };
    let errors = (0..300).map(|number| (number.to_string(), String::new())).collect();
    for (beat, expected) in [
        // Twenty-four of these ended a cluster once.
        (beat(&"x".repeat(3 << 20)), "1 to 64 letters"),
        (beat("\u{1b}]0;title\u{7}"), r"'\u{1b}]0;title\u{7}'"),
        (beat("../../worker"), "1 to 64 letters"),
        (beat(""), "1 to 64 letters"),
        (HeartbeatRequest { address: String::new(), ..beat("worker") }, "1 to 256 letters"),
        (HeartbeatRequest { address: "x".repeat(257), ..beat("worker") }, "1 to 256 letters"),
        (HeartbeatRequest { address: "http://a:1".into(), ..beat("worker") }, "1 to 256 letters"),
        (HeartbeatRequest { role: NodeRole::Coordinator.into(), ..beat("worker") }, "neither a worker nor"),
        (HeartbeatRequest { role: 99, ..beat("worker") }, "'role' has the value 99"),
        (loaded(&[("v", &[0, 1, 0])]), "what cannot be"),
        (loaded(&[("v", &[4_096])]), "what cannot be"),
        (loaded(&[(&"v".repeat(1_000), &[])]), "what cannot be"),
        (loaded(&vec![("v", &[][..]); 300]), "what cannot be"),
        (HeartbeatRequest { load_errors: errors, ..beat("worker") }, "what cannot be"),
    ] {
        let refused = send(&cluster, beat).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(expected), "{expected}: {refused}");
        assert!(refused.message().len() < 400, "{refused}");
    }
    assert_eq!(known(&cluster).await, Vec::new());
    send(&cluster, loaded(&[("v", &[0, 1, 4_095])])).await.unwrap();
    assert_eq!(known(&cluster).await.len(), 1);
    // Nobody serves such a version, so nobody is told of it.
    let told = cluster.status().await.metadata.unwrap();
    assert!(told.loaded.values().all(|loaded| loaded.versions.is_empty()), "{told:?}");
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_nodes_are_known_however_many_come_at_once() {
    let room = 7;
    let cluster = with_down_nodes((room..NODES_MAX).map(|number| (format!("old-{number}"), Duration::ZERO)));
    let names: Vec<String> = (0..5 * room).map(|number| format!("new-{number}")).collect();
    let outcomes = join_all(names.iter().map(|name| send(&cluster, beat(name)))).await;
    for outcome in outcomes {
        if let Err(refused) = outcome {
            assert_eq!(refused.code(), Code::ResourceExhausted);
            assert!(refused.message().contains("shoal nodes forget"), "{refused}");
        }
    }
    // Places that were taken by those who are refused are given back.
    let mut made = 0;
    for name in &names {
        made += usize::from(send(&cluster, beat(name)).await.is_ok());
    }
    assert_eq!((made, known(&cluster).await.len()), (room, NODES_MAX));
    // One that is forgotten makes room for another; one that is known is always heard.
    forget(&cluster, &format!("old-{room}")).await.unwrap();
    send(&cluster, beat("late")).await.unwrap();
    send(&cluster, beat("late")).await.unwrap();
    assert_eq!(send(&cluster, beat("too-late")).await.unwrap_err().code(), Code::ResourceExhausted);
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_been_down_for_a_day_is_forgotten() {
    let hour = Duration::from_secs(3_600);
    let cluster = with_down_nodes([("gone".to_owned(), 25 * hour), ("back-soon".to_owned(), 23 * hour)]);
    send(&cluster, beat("here")).await.unwrap();
    eventually_async("the node is forgotten", || async {
        let names: Vec<String> =
            known(&cluster).await.into_iter().map(|node| node.info.unwrap().name).collect();
        (names == ["back-soon", "here"]).then_some(())
    })
    .await;
    let refused = forget(&cluster, "here").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("is up; stop it first"), "{refused}");
    assert_eq!(forget(&cluster, "gone").await.unwrap_err().code(), Code::NotFound);
    forget(&cluster, "back-soon").await.unwrap();
    assert_eq!(known(&cluster).await.len(), 1);
    cluster.kill_all().await;
}
