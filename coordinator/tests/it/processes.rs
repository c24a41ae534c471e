//! Coordinators as processes run them: when they are ready, how they stop, and what nodes are told.

use std::{collections::BTreeMap, time::Duration};

use prost::Message as _;
use shoal_common::{
    metadata_changes::MetadataFollower,
    rpc::{Channels, LEADER_KEY},
    tls::PeerRole,
};
use shoal_coordinator::{node::CoordinatorError, state::ClusterState};
use shoal_proto::v1::{coordinator_client::CoordinatorClient, *};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{cluster::Cluster, eventually_async, group::CLUSTER};

const LEASE: Duration = Duration::from_secs(2);

fn channel(cluster: &Cluster, id: u64) -> Channel {
    Channels::tcp().get(&cluster.address_of(id), PeerRole::Coordinator).unwrap()
}

async fn health(cluster: &Cluster, id: u64) -> ServingStatus {
    let service = "shoal.v1.Coordinator".to_owned();
    let mut client = HealthClient::new(channel(cluster, id));
    client.check(HealthCheckRequest { service }).await.unwrap().into_inner().status()
}

async fn is_ready(cluster: &Cluster, id: u64) {
    eventually_async("it is ready", || async {
        (health(cluster, id).await == ServingStatus::Serving).then_some(())
    })
    .await;
}

fn import(name: &str) -> ImportDatasetRequest {
    ImportDatasetRequest {
        name: name.to_owned(),
        source: Some(DatasetSource { uri: "/films".into(), ..Default::default() }),
        request_id: format!("import of {name}"),
        ..Default::default()
    }
}

/// Starts an import, which waits for workers that never come.
async fn start(cluster: &Cluster, name: &str) -> String {
    let reply = cluster.ask(|mut leader| async move { leader.import_dataset(import(name)).await });
    reply.await.unwrap().job_id
}

async fn beat(cluster: &Cluster, node: &str) -> Result<HeartbeatReply, Status> {
    send(cluster, NodeRole::Router, node).await
}

/// A heartbeat of a node that has nothing loaded.
async fn send(cluster: &Cluster, role: NodeRole, node: &str) -> Result<HeartbeatReply, Status> {
    let beat = HeartbeatRequest {
        cluster_id: CLUSTER.into(),
        node: node.to_owned(),
        role: role.into(),
        address: "127.0.0.1:1".into(),
        ..Default::default()
    };
    cluster
        .ask(|mut leader| {
            let beat = beat.clone();
            async move { leader.heartbeat(beat).await }
        })
        .await
}

/// The metadata of the leader, told once more at every change.
async fn watch(cluster: &Cluster) -> tonic::Streaming<Metadata> {
    watch_as(cluster, false).await
}

/// The same as a watcher of this release, or of one before, asks for it.
async fn watch_as(cluster: &Cluster, takes_changes: bool) -> tonic::Streaming<Metadata> {
    let request =
        || WatchMetadataRequest { cluster_id: CLUSTER.into(), node: "router".into(), takes_changes };
    cluster.ask(|mut leader| async move { leader.watch_metadata(request()).await }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_takes_changes_has_what_others_are_sent_whole() {
    let cluster = Cluster::start(1, Duration::from_secs(60));
    let (mut whole, mut changes) = (watch_as(&cluster, false).await, watch_as(&cluster, true).await);
    let mut follower = MetadataFollower::default();
    let (mut of_whole, mut of_changes) = (0, 0);
    for number in 0..40 {
        beat(&cluster, &format!("router-{number}")).await.unwrap();
        let current = loop {
            let metadata = whole.message().await.unwrap().unwrap();
            of_whole += metadata.encoded_len();
            if metadata.nodes.len() == number + 1 {
                break metadata;
            }
        };
        let followed = loop {
            let message = changes.message().await.unwrap().unwrap();
            of_changes += message.encoded_len();
            let metadata = follower.take(message).unwrap();
            if metadata.revision >= current.revision {
                break metadata;
            }
        };
        assert_eq!(followed, current);
    }
    assert!(4 * of_changes < of_whole, "{of_changes} bytes of changes, {of_whole} without");
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_is_ready_once_it_has_joined() {
    let mut cluster = Cluster::found(3, LEASE);
    cluster.revive(1);
    // Alone it knows nothing of what the group has agreed on, however long it waits.
    for _ in 0..10 {
        assert_eq!(health(&cluster, 1).await, ServingStatus::NotServing);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.revive(2);
    is_ready(&cluster, 1).await;
    is_ready(&cluster, 2).await;
    for number in 0..60 {
        start(&cluster, &format!("films-{number}")).await;
    }
    // One that comes late is not ready before it has everything.
    cluster.revive(3);
    is_ready(&cluster, 3).await;
    let others: Vec<u64> = vec![cluster.leader().await];
    for id in others {
        cluster.kill(id).await;
    }
    let jobs = cluster.ask(|mut leader| async move { leader.list_jobs(ListJobsRequest {}).await });
    assert_eq!(jobs.await.unwrap().jobs.len(), 60);
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_hands_over_and_loses_nothing() {
    let mut cluster = Cluster::start(3, LEASE);
    let mut made = Vec::new();
    for round in 0..3 {
        made.push(start(&cluster, &format!("films-{round}")).await);
        let leader = cluster.leader().await;
        cluster.stop(leader).await.unwrap();
        let successor = cluster.leader().await;
        assert_ne!(successor, leader);
        cluster.revive(leader);
        is_ready(&cluster, leader).await;
    }
    let jobs = cluster.ask(|mut leader| async move { leader.list_jobs(ListJobsRequest {}).await });
    let known: Vec<String> = jobs.await.unwrap().jobs.into_iter().map(|job| job.job_id).collect();
    assert_eq!(known, made);
    cluster.kill_all().await;
}

/// A message that no member sends makes the raft crate panic. A process that went on without its raft member
/// would keep nodes waiting for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_whose_raft_member_has_failed_ends_with_an_error() {
    let mut cluster = Cluster::found(1, LEASE);
    // Debug builds end at the first command after which something does not hold that must: here a placement is of nothing.
    let placements = [(("lost".to_owned(), "1".to_owned()), Placement::default())].into();
    cluster.found_with(&ClusterState { placements, ..ClusterState::new(CLUSTER) });
    cluster.revive(1);
    is_ready(&cluster, 1).await;
    // The call may end with the process.
    let _ = CoordinatorClient::new(channel(&cluster, 1)).import_dataset(import("films")).await;
    let ended = cluster.ended(1).await;
    assert!(matches!(ended, Err(CoordinatorError::RaftEnded)), "{ended:?}");
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_id_makes_one_job_though_leaders_come_and_go() {
    let mut cluster = Cluster::start(3, LEASE);
    let first = start(&cluster, "films").await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        assert_eq!(start(&cluster, "films").await, first);
        cluster.revive(leader);
    }
    let jobs = cluster.ask(|mut leader| async move { leader.list_jobs(ListJobsRequest {}).await });
    assert_eq!(jobs.await.unwrap().jobs.len(), 1);
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_leader_answers_and_the_others_say_where_it_is() {
    let cluster = Cluster::start(3, LEASE);
    start(&cluster, "films").await;
    let leader = cluster.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        is_ready(&cluster, id).await;
        let mut client = CoordinatorClient::new(channel(&cluster, id));
        let refused = client.list_jobs(ListJobsRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let hint = refused.metadata().get(LEADER_KEY).unwrap().to_str().unwrap();
        assert_eq!(hint, cluster.address_of(leader));
    }
    let stranger = HeartbeatRequest { cluster_id: "d".into(), ..Default::default() };
    let mut client = CoordinatorClient::new(channel(&cluster, leader));
    assert_eq!(client.heartbeat(stranger).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(beat(&cluster, "").await.unwrap_err().code(), Code::InvalidArgument);
    let nameless = ImportDatasetRequest::default();
    assert_eq!(client.import_dataset(nameless).await.unwrap_err().code(), Code::InvalidArgument);
    cluster.kill_all().await;
}

/// The health of nodes, by name, as the leader makes it known.
async fn known_nodes(cluster: &Cluster) -> BTreeMap<String, NodeHealth> {
    let nodes = cluster.status().await.metadata.unwrap().nodes;
    nodes.into_iter().map(|node| (node.name.clone(), node.health())).collect()
}

fn nodes<const N: usize>(expected: [(&str, NodeHealth); N]) -> BTreeMap<String, NodeHealth> {
    expected.into_iter().map(|(name, health)| (name.to_owned(), health)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_down_until_it_beats_again() {
    let cluster = Cluster::start(1, Duration::from_millis(600));
    beat(&cluster, "silent").await.unwrap();
    let down = nodes([("silent", NodeHealth::Down), ("steady", NodeHealth::Up)]);
    eventually_async("one is down", || async {
        beat(&cluster, "steady").await.unwrap();
        (known_nodes(&cluster).await == down).then_some(())
    })
    .await;
    let up = nodes([("silent", NodeHealth::Up), ("steady", NodeHealth::Up)]);
    eventually_async("both are up", || async {
        beat(&cluster, "steady").await.unwrap();
        beat(&cluster, "silent").await.unwrap();
        (known_nodes(&cluster).await == up).then_some(())
    })
    .await;
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_a_leader_takes_no_lease() {
    let mut cluster = Cluster::start(3, Duration::from_secs(600));
    beat(&cluster, "a").await.unwrap();
    beat(&cluster, "b").await.unwrap();
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    // The new leader has heard of nobody.
    let known = eventually_async("nodes are made known", || async {
        let known = known_nodes(&cluster).await;
        (!known.is_empty()).then_some(known)
    });
    assert_eq!(known.await, nodes([("a", NodeHealth::Up), ("b", NodeHealth::Up)]));
    // Nor does it come to think otherwise.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(known_nodes(&cluster).await, nodes([("a", NodeHealth::Up), ("b", NodeHealth::Up)]));
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_does_not_say_what_workers_have_before_they_do() {
    let mut cluster = Cluster::start(3, Duration::from_secs(600));
    let workers = ["a", "b"];
    let heard = async |cluster: &Cluster, expected: &[&str]| {
        let mut changes = watch(cluster).await;
        loop {
            let metadata = changes.message().await.unwrap().unwrap();
            let mut heard: Vec<&str> = metadata.loaded.keys().map(String::as_str).collect();
            heard.sort_unstable();
            if metadata.nodes.len() == workers.len() {
                return assert_eq!(heard, expected);
            }
        }
    };
    for worker in workers {
        send(&cluster, NodeRole::Worker, worker).await.unwrap();
    }
    heard(&cluster, &workers).await;
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    heard(&cluster, &[]).await;
    // Who says that it has nothing has said something.
    send(&cluster, NodeRole::Worker, "b").await.unwrap();
    let known = eventually_async("the heartbeat is made known", || async {
        let metadata = watch(&cluster).await.message().await.unwrap().unwrap();
        (!metadata.loaded.is_empty()).then_some(metadata.loaded)
    });
    assert_eq!(known.await, [("b".to_owned(), LoadedVersions::default())].into());
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_watch_tells_every_change_until_leadership_moves() {
    let mut cluster = Cluster::start(3, LEASE);
    let mut changes = watch(&cluster).await;
    let first = changes.message().await.unwrap().unwrap();
    assert_eq!((first.cluster_id.as_str(), first.nodes.len()), (CLUSTER, 0));
    let reply = beat(&cluster, "router").await.unwrap();
    let second = loop {
        let change = changes.message().await.unwrap().unwrap();
        if !change.nodes.is_empty() {
            break change;
        }
    };
    assert!(second.revision > first.revision && second.leader_term == first.leader_term);
    assert!(reply.metadata_revision <= second.revision && reply.lease_ms == 2_000);

    let leader = cluster.leader().await;
    cluster.stop(leader).await.unwrap();
    while let Ok(Some(change)) = changes.message().await {
        assert_eq!(change.leader_term, first.leader_term, "nothing of another's term");
    }
    let next = watch(&cluster).await.message().await.unwrap().unwrap();
    assert!(next.leader_term > first.leader_term && next.nodes.len() == 1);
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_watched_until_it_is_over() {
    let cluster = Cluster::start(1, LEASE);
    let job_id = start(&cluster, "films").await;
    let request = || JobRequest { job_id: job_id.clone() };
    let changes = cluster.ask(|mut leader| async move { leader.watch_job(request()).await });
    let mut changes = changes.await.unwrap();
    let first = changes.message().await.unwrap().unwrap();
    assert_eq!((&first.job_id, first.state()), (&job_id, JobState::Queued));
    cluster.ask(|mut leader| async move { leader.cancel_job(request()).await }).await.unwrap();
    let mut states = Vec::new();
    while let Some(job) = changes.message().await.unwrap() {
        states.push(job.state());
    }
    assert_eq!(states.pop(), Some(JobState::Cancelled), "the stream ends after the end");
    assert!(states.iter().all(|state| *state == JobState::Queued));
    let unknown = || JobRequest { job_id: "job-9".into() };
    let refused = cluster.ask(|mut leader| async move { leader.watch_job(unknown()).await }).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    cluster.kill_all().await;
}
