//! Which version is live: promote, roll back, and what becomes of it when something is not ready.

use tonic::{Code, Status};

use super::*;
use crate::support::{PATIENCE, group::CLUSTER};

impl World {
    pub(super) async fn promote(&self, version: &str, request_id: &str) -> Result<PromoteReply, Status> {
        let request = PromoteRequest {
            version: version.to_owned(),
            request_id: request_id.to_owned(),
            make_default: false,
        };
        self.cluster
            .ask(|mut leader| {
                let request = request.clone();
                async move { leader.promote(request).await }
            })
            .await
    }

    async fn roll_back(&self, request_id: &str) -> Result<PromoteReply, Status> {
        let request = RollbackRequest { request_id: request_id.to_owned(), model: String::new() };
        self.cluster
            .ask(|mut leader| {
                let request = request.clone();
                async move { leader.rollback(request).await }
            })
            .await
    }

    async fn live(&self) -> String {
        self.cluster.status().await.metadata.unwrap().live_version
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_live_when_every_shard_is_loaded_and_not_before() {
    let world = World::with_films(1, 2).await;
    let version = world.trained().await;
    // Two replicas of four shards at two workers: everybody has to have everything.
    let loads = async {
        world.workers[0].has_loaded(&version, &[0, 1, 2, 3]);
        for shards in [&[][..], &[0], &[0, 1, 2]] {
            world.workers[1].has_loaded(&version, shards);
            tokio::time::sleep(Duration::from_millis(600)).await;
            let metadata = world.cluster.status().await.metadata.unwrap();
            assert_eq!((metadata.live_version.as_str(), &metadata.promoting_version), ("", &version));
            assert_eq!(metadata.placements.len(), 1, "workers are told what to load");
        }
        world.workers[1].has_loaded(&version, &[0, 1, 2, 3]);
    };
    let (reply, ()) = tokio::join!(world.promote(&version, ""), loads);
    assert_eq!(
        reply.unwrap(),
        PromoteReply {
            live_version: version.clone(),
            model: "als".into(),
            default_model: "als".into(),
            ..PromoteReply::default()
        }
    );
    let status = world.cluster.status().await;
    assert_eq!((status.shards_total, status.shards_served, status.shards_fully_replicated), (8, 8, 8));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_be_loaded_is_given_up_with_the_reason() {
    let world = World::with_films(1, 2).await;
    let version = world.trained().await;
    world.workers[1].cannot_load(&version, "part 3 is damaged");
    // A promotion waits for minutes where nobody reports anything; a reason is no reason to wait.
    let answered = tokio::time::timeout(PATIENCE, world.promote(&version, "")).await;
    let refused = answered.expect("the reason is known at once").unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for part in ["worker-2: part 3 is damaged", "the live version stays"] {
        assert!(refused.message().contains(part), "{refused}");
    }
    let metadata = world.cluster.status().await.metadata.unwrap();
    assert_eq!((metadata.live_version.as_str(), metadata.promoting_version.as_str()), ("", ""));
    // Once it can be loaded it can be promoted.
    for worker in &world.workers {
        worker.has_loaded(&version, &[0, 1, 2, 3]);
    }
    eventually_async("it is live", || async { world.promote(&version, "").await.ok() }).await;
    assert_eq!(world.live().await, version);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_asked_for_again_is_done_once_whoever_leads() {
    let mut world = World::with_films(3, 1).await;
    let (first, second) = (world.trained().await, world.trained().await);
    assert_ne!(first, second, "both were trained in a second or two");
    let refused = world.roll_back("r0").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for version in [&first, &second] {
        world.workers[0].has_loaded(version, &[0, 1, 2, 3]);
        world.promote(version, "").await.unwrap();
    }
    for _ in 0..2 {
        let reply = world.roll_back("r1").await.unwrap();
        assert_eq!((&reply.live_version, &reply.previous_version), (&first, &second));
    }
    let leader = world.cluster.leader().await;
    world.cluster.kill(leader).await;
    assert_eq!(world.roll_back("r1").await.unwrap().live_version, first);
    assert_eq!(world.roll_back("r2").await.unwrap().live_version, second);
    world.end().await;
}

/// Routers learn of a switch from the metadata, so a caller who was answered must find the switch there.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_answered_when_the_metadata_shows_it() {
    let world = World::with_films(1, 1).await;
    let versions = [world.trained().await, world.trained().await];
    for version in versions.iter().cycle().take(20) {
        world.workers[0].has_loaded(version, &[0, 1, 2, 3]);
        world.promote(version, "").await.unwrap();
        assert_eq!(&world.live().await, version);
    }
    for round in 0..20 {
        let back = world.roll_back(&format!("r{round}")).await.unwrap();
        assert_eq!(world.live().await, back.live_version);
    }
    world.end().await;
}

impl World {
    /// A heartbeat of a router that answers by this metadata.
    async fn router_answers_by(&self, answers_by: (u64, u64)) {
        let (leader_term, revision) = answers_by;
        let beat = HeartbeatRequest {
            cluster_id: CLUSTER.into(),
            node: "router-1".into(),
            role: NodeRole::Router.into(),
            address: "127.0.0.1:1".into(),
            answers_by: Some(MetadataRevision { leader_term, revision }),
            ..Default::default()
        };
        let told = self.cluster.ask(|mut leader| {
            let beat = beat.clone();
            async move { leader.heartbeat(beat).await }
        });
        told.await.unwrap();
    }

    async fn revision(&self) -> (u64, u64) {
        let metadata = self.cluster.status().await.metadata.unwrap();
        (metadata.leader_term, metadata.revision)
    }
}

/// Whoever was answered may ask a router next.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_answered_when_routers_answer_by_it() {
    let world = World::with_films(1, 1).await;
    let version = world.trained().await;
    world.workers[0].has_loaded(&version, &[0, 1, 2, 3]);
    world.router_answers_by((0, 0)).await;
    let before = world.revision().await;
    world.router_answers_by(before).await;
    let has_switched = std::sync::atomic::AtomicBool::new(false);
    let promoted = async {
        let reply = world.promote(&version, "").await.unwrap();
        assert!(
            has_switched.load(std::sync::atomic::Ordering::SeqCst),
            "the router answers by what was before"
        );
        reply
    };
    let router = async {
        eventually_async("it is live", || async { (world.live().await == version).then_some(()) }).await;
        for _ in 0..5 {
            world.router_answers_by(before).await;
        }
        has_switched.store(true, std::sync::atomic::Ordering::SeqCst);
        world.router_answers_by(world.revision().await).await;
    };
    let (reply, ()) = tokio::join!(promoted, router);
    assert_eq!(reply.late_routers, Vec::<String>::new());

    // One that is gone is not waited for once its lease has ended, and neither is one that has just begun.
    let other = world.trained().await;
    world.workers[0].has_loaded(&other, &[0, 1, 2, 3]);
    assert_eq!(world.promote(&other, "").await.unwrap().late_routers, Vec::<String>::new());
    world.router_answers_by((0, 0)).await;
    world.roll_back("r").await.unwrap();

    // One that goes on without switching is waited for a while, and named.
    let stuck = async {
        loop {
            world.router_answers_by(before).await;
            tokio::time::sleep(LEASE / 4).await;
        }
    };
    let reply = tokio::select! {
        reply = world.promote(&version, "again") => reply.unwrap(),
        () = stuck => panic!("a router that never switches has ended"),
    };
    assert!(
        reply.late_routers.len() == 1 && reply.late_routers[0].contains("'router-1' at 127.0.0.1:1"),
        "{reply:?}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_promotes_is_live_when_its_version_is_loaded() {
    let world = World::with_films(1, 1).await;
    let job = world.train(1, true).await;
    let version = world.cluster.over(&job).await.model_version;
    let promoting = || async { world.cluster.status().await.metadata.unwrap().promoting_version };
    eventually_async("it is being loaded", || async { (promoting().await == version).then_some(()) }).await;
    world.workers[0].has_loaded(&version, &[0, 1, 2, 3]);
    eventually_async("it is live", || async { (world.live().await == version).then_some(()) }).await;
    // Somebody else's choice is not overruled by the wish that was fulfilled.
    let other = world.trained().await;
    world.workers[0].has_loaded(&other, &[0, 1, 2, 3]);
    world.promote(&other, "").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.live().await, other);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found_wherever_it_is_asked_for() {
    let world = World::with_films(1, 1).await;
    let refused = world.promote("als_model_v1_20200101_000000", "").await.unwrap_err();
    assert!(refused.code() == Code::NotFound && refused.message().contains("shoal models list"), "{refused}");
    let unknown = || JobRequest { job_id: "job-9".into() };
    let job = world.cluster.ask(|mut leader| async move { leader.get_job(unknown()).await }).await;
    assert_eq!(job.unwrap_err().code(), Code::NotFound);
    let request = StartTrainingRequest {
        dataset_name: "books".into(),
        parameters: Some(AlsParameters {
            objective: ObjectiveChoice::Explicit.into(),
            rank: 4,
            sweeps: 1,
            explicit: Some(ExplicitParameters { regularization: 0.1, biases: false, ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let training = world.cluster.ask(|mut leader| {
        let request = request.clone();
        async move { leader.start_training(request).await }
    });
    assert_eq!(training.await.unwrap_err().code(), Code::NotFound);
    world.end().await;
}
