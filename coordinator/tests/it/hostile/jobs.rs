//! Jobs that the service would not have made.

use std::time::Duration;

use shoal_coordinator::state::{ClusterState, Job};
use shoal_proto::v1::{DatasetSource, ImportDatasetRequest, JobInfo, JobKind, JobState};

use crate::support::cluster::Cluster;

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
