//! Requests that make jobs, jobs that the service would not have made, and those who watch.

use std::time::Duration;

use futures::future::join_all;
use shoal_common::{rpc::Channels, tls::PeerRole};
use shoal_coordinator::state::{ClusterState, Job};
use shoal_proto::v1::{coordinator_client::CoordinatorClient, *};
use tonic::{Code, Status};

use crate::support::{cluster::Cluster, eventually_async};

/// A state command that came by another way than the service, in a log of before raft's door was shut.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_the_registry_is_looked_at_again_before_it_runs() {
    let mut cluster = Cluster::found(1, Duration::from_secs(10));
    let outside = cluster.store_folder().join("escape/20261130_000000/kept");
    std::fs::create_dir_all(&outside).unwrap();
    let import = ImportDatasetRequest {
        name: "../escape".to_owned(),
        source: Some(DatasetSource { uri: "/films".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let info = JobInfo {
        job_id: "job-000001".to_owned(),
        kind: JobKind::Import.into(),
        state: JobState::Queued.into(),
        stamp: "20261130_000000".to_owned(),
        import: Some(import),
        ..JobInfo::default()
    };
    let jobs = [(info.job_id.clone(), Job { info, ..Job::default() })].into();
    cluster.found_with(&ClusterState { jobs, last_job_number: 1, ..ClusterState::new("c") });
    cluster.revive(1);
    let job = cluster.over("job-000001").await;
    assert_eq!((job.state(), job.attempt), (JobState::Failed, 0));
    assert!(job.error.contains("the name '../escape' must be"), "{}", job.error);
    assert!(outside.is_dir(), "nothing was deleted below the name");
    cluster.kill_all().await;
}

fn import(name: &str, uri: &str) -> ImportDatasetRequest {
    ImportDatasetRequest {
        name: name.to_owned(),
        source: Some(DatasetSource { uri: uri.to_owned(), ..Default::default() }),
        request_id: format!("import of {name}"),
        ..Default::default()
    }
}

async fn start(cluster: &Cluster, request: ImportDatasetRequest) -> Result<String, Status> {
    let reply = cluster.ask(|mut leader| {
        let request = request.clone();
        async move { leader.import_dataset(request).await }
    });
    reply.await.map(|reply| reply.job_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_jobs_wait_and_no_more() {
    let cluster = Cluster::start(1, Duration::from_secs(10));
    let names: Vec<String> = (0..70).map(|number| format!("films-{number}")).collect();
    let started = join_all(names.iter().map(|name| start(&cluster, import(name, "/films")))).await;
    let refused: Vec<&Status> = started.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    for status in &refused {
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(
            status.message().contains("jobs wait, as many as may") && status.message().contains("cancel")
        );
    }
    // A request that was refused among many may find room when it comes alone.
    for (name, outcome) in names.iter().zip(&started) {
        let again = start(&cluster, import(name, "/films")).await;
        match outcome {
            // The same request is the same job, however long the queue is.
            Ok(job_id) => assert_eq!(&again.unwrap(), job_id),
            Err(_) => drop(again),
        }
    }
    let jobs = cluster.ask(|mut leader| async move { leader.list_jobs(ListJobsRequest {}).await });
    let jobs = jobs.await.unwrap().jobs;
    assert_eq!(jobs.len(), 64);
    let refused = start(&cluster, import("one-more", "/films")).await.unwrap_err();
    assert!(refused.message().starts_with("64 jobs wait"), "{refused}");

    let job_id = jobs[40].job_id.clone();
    let request = || JobRequest { job_id: job_id.clone() };
    cluster.ask(|mut leader| async move { leader.cancel_job(request()).await }).await.unwrap();
    cluster.over(&job_id).await;
    start(&cluster, import("one-more", "/films")).await.unwrap();
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_would_have_to_remember_for_ever_is_bounded() {
    let cluster = Cluster::start(1, Duration::from_secs(10));
    let many = |uris| {
        let mut request = import("films", "/films");
        request.source.as_mut().unwrap().more_uris = uris;
        request
    };
    for (request, expected) in [
        (import("films", &"x".repeat(20_000)), "an address has 20000 bytes"),
        (many(vec!["/films/part".repeat(20); 2_000]), "name a folder or a pattern"),
        (
            ImportDatasetRequest { request_id: "x".repeat(100_000), ..import("films", "/films") },
            "request_id has 100000 bytes",
        ),
    ] {
        let refused = start(&cluster, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(expected), "{refused}");
    }
    // And what nothing can be named is no command.
    let long = || JobRequest { job_id: "x".repeat(1 << 20) };
    let refused = cluster.ask(|mut leader| async move { leader.cancel_job(long()).await }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let huge = import("films", &"x".repeat(5 << 20));
    assert_eq!(start(&cluster, huge).await.unwrap_err().code(), Code::OutOfRange);
    cluster.kill_all().await;
}

/// They were taken for the default once, and a training ran.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_this_release_does_not_know_are_refused_by_name() {
    let cluster = Cluster::start(1, Duration::from_secs(10));
    let of = |als: AlsParameters, split: SplitParameters| StartTrainingRequest {
        dataset_name: "films".to_owned(),
        model: Some(ModelParameters { split: Some(split), model: Some(model_parameters::Model::Als(als)) }),
        ..Default::default()
    };
    let held_out = SplitParameters { test_ratio: 0.2, ..Default::default() };
    let source = DatasetSource { header: 99, ..Default::default() };
    for (request, field) in [
        (of(AlsParameters { objective: 99, ..Default::default() }, held_out.clone()), "model.als.objective"),
        (of(AlsParameters { order: -1, ..Default::default() }, held_out.clone()), "model.als.order"),
        (
            of(AlsParameters::default(), SplitParameters { test_source: Some(source.clone()), ..held_out }),
            "model.split.test_source.header",
        ),
    ] {
        let started = cluster.ask(|mut leader| {
            let request = request.clone();
            async move { leader.start_training(request).await }
        });
        let refused = started.await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(&format!("the field '{field}' has the value")), "{refused}");
    }
    let request = ImportDatasetRequest { source: Some(source), ..import("films", "/films") };
    let refused = start(&cluster, request).await.unwrap_err();
    assert!(refused.message().contains("'source.header' has the value 99"), "{refused}");
    cluster.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_watch_and_who_leaves_makes_room() {
    let cluster = Cluster::start(1, Duration::from_secs(10));
    cluster.status().await;
    // A connection carries some hundred streams.
    let clients: Vec<_> = (0..16)
        .map(|_| {
            CoordinatorClient::new(
                Channels::tcp().get(&cluster.address_of(1), PeerRole::Coordinator).unwrap(),
            )
        })
        .collect();
    let watch = |number: usize| {
        let mut client = clients[number % clients.len()].clone();
        let (cluster_id, node) = ("c".into(), "router".into());
        let request = WatchMetadataRequest { cluster_id, node, takes_changes: number.is_multiple_of(2) };
        async move { client.watch_metadata(request).await }
    };
    let mut open = Vec::new();
    for number in 0..1_024 {
        open.push(watch(number).await.unwrap());
    }
    let refused = watch(0).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("1024 streams watch the metadata"), "{refused}");
    open.pop();
    eventually_async("there is room for one more", || async { watch(0).await.ok() }).await;
    cluster.kill_all().await;
}
