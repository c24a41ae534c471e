//! Following the coordinators: through changes of the leader, cut-off leaders and no leader at all.

use shoal_proto::v1::{Metadata, NodeRole};

use crate::fixture::{
    Cluster, Router, Setup, V1, V2,
    coordinator::{FakeCoordinator, Part},
};

/// A router that knows three coordinators, the first of which leads.
async fn three_coordinators() -> Cluster {
    let mut cluster = Cluster::start(Setup::default()).await;
    let metadata = cluster.coordinators[0].metadata.borrow().clone();
    let leader = cluster.coordinators[0].address.clone();
    for _ in 0..2 {
        let part = Part::Follows(Some(leader.clone()));
        cluster.coordinators.push(FakeCoordinator::start(metadata.clone(), part));
    }
    let addresses = cluster.coordinators.iter().map(|coordinator| coordinator.address.clone()).collect();
    cluster.router = Router::start(&Setup::default(), addresses).await;
    cluster.router.serves(Some(V1)).await;
    cluster
}

/// The coordinator leads from now on, in this term, with this version live.
fn lead(coordinator: &FakeCoordinator, term: u64, live: &str) {
    coordinator.metadata.send_modify(|metadata| {
        metadata.leader_term = term;
        metadata.revision = 1;
        live.clone_into(&mut metadata.live_version);
    });
    coordinator.part.send_replace(Part::Leads);
}

#[tokio::test]
async fn the_watch_follows_the_leader_by_hints() {
    let cluster = three_coordinators().await;
    let next = &cluster.coordinators[2];
    for coordinator in &cluster.coordinators[..2] {
        coordinator.part.send_replace(Part::Follows(Some(next.address.clone())));
    }
    lead(next, 2, V2);
    cluster.router.serves(Some(V2)).await;
    let beat = next.heartbeat().await;
    assert_eq!((beat.role(), beat.node.as_str()), (NodeRole::Router, "router-1"));
    assert_eq!(beat.address, cluster.router.grpc.to_string());
}

#[tokio::test]
async fn the_watch_finds_the_leader_without_a_hint_when_the_old_one_is_killed() {
    let mut cluster = three_coordinators().await;
    cluster.coordinators[0].kill();
    cluster.coordinators[1].part.send_replace(Part::Follows(None));
    lead(&cluster.coordinators[2], 2, V2);
    cluster.router.serves(Some(V2)).await;
}

#[tokio::test]
async fn a_cut_off_leader_does_not_hold_the_watch() {
    let cluster = three_coordinators().await;
    // Its stream stays open and says nothing more, while heartbeats find the new leader.
    let (old, next) = (&cluster.coordinators[0], &cluster.coordinators[1]);
    old.silenced.send_replace(true);
    old.part.send_replace(Part::Follows(Some(next.address.clone())));
    lead(next, 2, V2);
    next.metadata.send_modify(|metadata| metadata.revision = 9);
    cluster.router.serves(Some(V2)).await;
}

#[tokio::test]
async fn a_deposed_leaders_metadata_is_passed_over() {
    let cluster = three_coordinators().await;
    let (old, next) = (&cluster.coordinators[0], &cluster.coordinators[1]);
    let hint = Part::Follows(Some(next.address.clone()));
    old.part.send_replace(hint.clone());
    cluster.coordinators[2].part.send_replace(hint);
    lead(next, 5, V2);
    cluster.router.serves(Some(V2)).await;
    // Back to one of an older term, however many revisions it has had.
    old.metadata.send_modify(|metadata| {
        metadata.leader_term = 4;
        metadata.revision = 1_000;
    });
    old.part.send_replace(Part::Leads);
    next.part.send_replace(Part::Follows(Some(old.address.clone())));
    old.heartbeat().await;
    cluster.router.serves(Some(V2)).await;
    // The next leader is heard.
    lead(&cluster.coordinators[2], 6, V1);
    old.part.send_replace(Part::Follows(Some(cluster.coordinators[2].address.clone())));
    cluster.router.serves(Some(V1)).await;
}

#[tokio::test]
async fn without_coordinators_the_last_metadata_serves_on() {
    let mut cluster = Cluster::start(Setup::default()).await;
    cluster.coordinators[0].kill();
    for _ in 0..5 {
        let answer = cluster.router.get("/recommendations/recommend/1").await.ok();
        assert_eq!(answer["model_version"], V1);
    }
}

#[tokio::test]
async fn the_metadata_of_another_cluster_is_not_taken() {
    let cluster = Cluster::start(Setup::default()).await;
    let foreign = |metadata: &mut Metadata| {
        metadata.cluster_id = "another".to_owned();
        V2.clone_into(&mut metadata.live_version);
    };
    cluster.publish(foreign);
    let mut rejoined = cluster.coordinators[0].metadata.subscribe();
    rejoined.mark_unchanged();
    cluster.coordinators[0].heartbeat().await;
    cluster.router.serves(Some(V1)).await;
    cluster.publish(|metadata| metadata.cluster_id = crate::fixture::CLUSTER.to_owned());
    cluster.router.serves(Some(V2)).await;
}

#[tokio::test]
async fn a_stop_drains_what_is_under_way() {
    let cluster = Cluster::start(Setup::default()).await;
    let hang = |hanging: bool| {
        for worker in &cluster.workers {
            worker.behave(|behaviour| {
                behaviour.hanging = if hanging { ["top_items"].into() } else { [].into() };
            });
        }
    };
    hang(true);
    let stop = async {
        tokio::select! {
            () = cluster.workers[0].received("top_items") => {}
            () = cluster.workers[1].received("top_items") => {}
            () = cluster.workers[2].received("top_items") => {}
        }
        cluster.router.shutdown.request();
        hang(false);
    };
    let (answer, ()) = tokio::join!(cluster.router.get("/recommendations/recommend/1"), stop);
    assert_eq!(answer.ok()["model_version"], V1);
    cluster.router.stop().await;
}
