//! What runs on the simulated hosts: coordinators, as their process puts them together, and a client.

use std::{error::Error, path::PathBuf, sync::Arc, time::Duration};

use shoal_common::{
    access::Guard,
    audit::Audit,
    clock::Clock,
    node_report::Reporter,
    rpc::{LeaderClient, tuned_server},
    shutdown::Shutdown,
    store::Store,
};
use shoal_coordinator::{
    leader::{self, Leader, LeaderConfig},
    raft::{self, LocalDisk, RaftConfig},
    service::CoordinatorService,
    state::Metadata,
};
use shoal_proto::v1::{
    DatasetSource, HeartbeatRequest, ImportDatasetRequest, ListJobsRequest, NodeRole, Protection,
    coordinator_server::CoordinatorServer, raft_server::RaftServer,
};

use super::{
    net,
    world::{Watched, World},
};

pub(super) const MEMBERS: std::ops::RangeInclusive<u64> = 1..=3;
const PORT: u16 = 7_000;
const CLUSTER: &str = "c";

type Outcome = Result<(), Box<dyn Error>>;

pub(super) fn name(raft_id: u64) -> String {
    format!("coordinator-{raft_id}")
}

fn address(raft_id: u64) -> String {
    format!("{}:{PORT}", name(raft_id))
}

/// Milliseconds since the simulation began.
#[derive(Debug)]
struct SimulatedClock;

impl Clock for SimulatedClock {
    fn now_unix_ms(&self) -> i64 {
        turmoil::sim_elapsed().unwrap_or_default().as_millis() as i64
    }
}

/// One coordinator, until it is crashed. Its folder outlives it.
pub(super) async fn coordinator(raft_id: u64, folder: PathBuf, world: World) -> Outcome {
    world.note(&format!("{raft_id} starts"));
    let config = RaftConfig {
        cluster_id: CLUSTER.to_owned(),
        raft_id,
        peers: MEMBERS.map(|id| (id, address(id))).collect(),
        tick: Duration::from_millis(100),
        snapshot_every_entries: 20,
        folder: folder.join("raft"),
        disk: Arc::new(LocalDisk),
        whole_bytes_max: raft::WHOLE_BYTES_MAX,
        // The crate's only random choice, made once for each member.
        pinned_election_ticks: Some(10 + 3 * raft_id as usize),
    };
    let shutdown = Shutdown::new();
    let machine = Watched { machine: Metadata::new(CLUSTER), member: raft_id, world: world.clone() };
    let (handle, transport) = raft::start(config, machine, net::channels(), shutdown.clone())?;
    let settings = LeaderConfig {
        cluster_id: CLUSTER.to_owned(),
        raft_id,
        lease: Duration::from_secs(3),
        replace_after: Duration::from_secs(30),
        replicas: 2,
        queued_jobs: 64,
        first_token: None,
        protection: Protection::Loopback,
        reporter: Reporter::default(),
    };
    let store = Store::open(&folder.join("store").display().to_string())?;
    let leader = Leader::new(
        settings,
        handle.clone(),
        store,
        net::channels(),
        Arc::new(SimulatedClock),
        Audit::nowhere(),
    );
    shutdown.spawn("leader", leader::term::run(leader.clone(), shutdown.clone()));
    shutdown.spawn("trace", async move {
        let (mut leadership, states) = (handle.leadership(), handle.view());
        while leadership.changed().await.is_ok() {
            let known = leadership.borrow_and_update().clone();
            world.leadership(raft_id, &known, &states.borrow());
        }
    });
    tuned_server(Guard::open(), Audit::nowhere().layer())
        .add_service(CoordinatorServer::new(CoordinatorService::new(leader, shutdown)))
        .add_service(RaftServer::new(transport))
        .serve_with_incoming(net::incoming(PORT).await?)
        .await?;
    Ok(())
}

/// Asks for one job after the other, each until it is acknowledged, and looks whether all are there.
pub(super) async fn client(requests: usize, world: World) -> Outcome {
    let patience = Duration::from_secs(300);
    let coordinators = LeaderClient::new(net::channels(), MEMBERS.map(address).collect());
    for number in 0..requests {
        let request = ImportDatasetRequest {
            name: format!("films-{number}"),
            source: Some(DatasetSource { uri: "films".into(), ..Default::default() }),
            request_id: format!("request {number}"),
            ..Default::default()
        };
        // Some ask again, as if the answer had been lost; perhaps another leads by then.
        let mut answers = Vec::new();
        for _ in 0..1 + number % 2 {
            let reply = coordinators.call(patience, |mut leader| {
                let request = request.clone();
                async move { leader.import_dataset(limited(request)).await }
            });
            let job_id = reply.await?.into_inner().job_id;
            world.note(&format!("request {number} is acknowledged as {job_id}"));
            answers.push(job_id);
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "request {number} was carried out twice");
        world.acknowledge(&answers[0]);

        // A node that comes and goes: its lease expires now and then.
        if number % 5 == 0 {
            let beat = HeartbeatRequest {
                cluster_id: CLUSTER.into(),
                node: format!("router-{}", number % 3),
                role: NodeRole::Router.into(),
                address: "nowhere:1".into(),
                incarnation: number as u64,
                ..Default::default()
            };
            let reply = coordinators.call(patience, |mut leader| {
                let beat = beat.clone();
                async move { leader.heartbeat(limited(beat)).await }
            });
            reply.await?;
        }
        let jobs = coordinators
            .call(patience, |mut leader| async move { leader.list_jobs(limited(ListJobsRequest {})).await });
        let listed: Vec<String> = jobs.await?.into_inner().jobs.into_iter().map(|job| job.job_id).collect();
        let missing = world.acknowledged().into_iter().find(|job_id| !listed.contains(job_id));
        assert_eq!(missing, None, "a read does not see what was acknowledged");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// With a deadline: one that leads nobody any more may never answer.
fn limited<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(Duration::from_secs(3));
    request
}
