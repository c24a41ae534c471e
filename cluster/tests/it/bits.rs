//! The same bits whatever trains: any number of workers and threads, with workers and coordinators killed.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::support::{Cluster, SMALL, Shape, Size, eventually, folder, generate, real_data};

/// Workers, and threads of each.
const CREWS: [(usize, usize); 4] = [(1, 2), (2, 1), (3, 2), (5, 1)];

/// The checksum of each file, by its path.
type Files = BTreeMap<String, String>;

/// What a cluster of this shape makes of the data: the files of the data set and of a version.
async fn made_by(data: &Path, (workers, threads): (usize, usize), flags: &[&str]) -> (Files, Files) {
    let settings = vec![format!("worker.training_threads={threads}")];
    let cluster = Cluster::start(Shape { coordinators: 1, workers, settings }).await;
    let import = cluster.import(data, "items");
    let dataset = cluster.checksums(import["dataset"]["path"].as_str().unwrap());
    let version = cluster.train(flags);
    let files = version_files(&cluster, &version);
    let about = std::fs::read(cluster.dir().join("store/models/als").join(&version).join("metadata.json"));
    let about: Value = serde_json::from_slice(&about.unwrap()).unwrap();
    assert_eq!(about["workers"], workers, "every worker has taken part");
    (dataset, files)
}

fn version_files(cluster: &Cluster, version: &str) -> Files {
    let shown = cluster.shoal(&["models", "show", version, "--json"]).json();
    let files = cluster.checksums(shown["path"].as_str().unwrap());
    cluster.shoal(&["models", "verify", version]).exits_with(0);
    files
}

async fn same_for_every_crew(data: &Path, flags: &[&str]) {
    let (dataset, version) = made_by(data, CREWS[0], flags).await;
    // Sixteen shards of both sides.
    assert_eq!(version.len(), 32, "{version:#?}");
    for crew in &CREWS[1..] {
        let (other_dataset, other_version) = made_by(data, *crew, flags).await;
        assert_eq!(other_dataset, dataset, "the data set of {crew:?}");
        assert_eq!(other_version, version, "the version of {crew:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_workers_and_threads_writes_the_same_files() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    same_for_every_crew(&data, &["--test-ratio", "0.1", "--alpha", "0.4"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_any_number_with_solvers_that_start_where_rows_were() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    for flags in [&["--solver", "cg"][..], &["--solver", "ials++", "--block-size", "10"]] {
        let (_, version) = made_by(&data, CREWS[0], flags).await;
        let (_, other_version) = made_by(&data, CREWS[2], flags).await;
        assert_eq!(other_version, version, "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_any_number_on_real_ratings() {
    // Without the variable the generated ratings have to do.
    let Some(data) = real_data() else { return };
    same_for_every_crew(&data, &[]).await;
}

const DISTURBED: Size = Size { users: 1_500, items: 800, ratings: 100_000 };
const SWEEPS: &str = "16";

/// Starts the training and waits until it is in the middle: some sweeps are committed, many are not.
async fn begin(cluster: &Cluster) -> String {
    begin_with(cluster, &[]).await
}

async fn begin_with(cluster: &Cluster, more: &[&str]) -> String {
    let flags =
        ["train", "--models", "als", "--force", "--rank", "24", "--iterations", SWEEPS, "--detach", "--json"];
    let job = cluster.shoal(&[&flags, more].concat()).json()["job_id"].as_str().unwrap().to_owned();
    let sweep = eventually("some sweeps are committed", || {
        let sweep = shown(cluster, &job)["committed_sweeps"].as_u64().unwrap();
        (sweep >= 2).then_some(sweep)
    });
    let sweep = sweep.await;
    assert!(sweep < 10, "the training is too quick to be disturbed: {sweep} sweeps");
    job
}

fn shown(cluster: &Cluster, job: &str) -> Value {
    cluster.shoal(&["jobs", "show", job, "--json"]).json()
}

/// Follows the job to its end; its attempts and its version's files.
fn end(cluster: &Cluster, job: &str) -> (u64, Files) {
    cluster.shoal(&["jobs", "show", job, "--follow"]).exits_with(0);
    let job = shown(cluster, job);
    assert_eq!(job["state"], "succeeded", "{job:#}");
    (job["attempt"].as_u64().unwrap(), version_files(cluster, job["model_version"].as_str().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_workers_and_the_leader_in_the_middle_changes_nothing() {
    let folder = folder();
    let data = generate(folder.path(), DISTURBED);
    let settings = vec!["coordinator.lease_ms=1000".to_owned()];
    let cluster = Cluster::start(Shape { coordinators: 3, workers: 3, settings }).await;
    cluster.import(&data, "items");
    let undisturbed = begin(&cluster).await;
    let (attempts, expected) = end(&cluster, &undisturbed);
    assert_eq!(attempts, 1);

    let job = begin(&cluster).await;
    cluster.kill("worker-2").await;
    let (attempts, files) = end(&cluster, &job);
    assert!(attempts > 1, "the killed worker has disturbed the job");
    assert_eq!(files, expected, "a worker that comes back");

    // What a row is improved from is in the checkpoint too.
    let undisturbed = begin_with(&cluster, &["--solver", "cg"]).await;
    let (_, improved) = end(&cluster, &undisturbed);
    let job = begin_with(&cluster, &["--solver", "cg"]).await;
    cluster.kill("worker-2").await;
    let (attempts, files) = end(&cluster, &job);
    assert!(attempts > 1, "the killed worker has disturbed the job");
    assert_eq!(files, improved, "a worker that comes back to a solver that starts where rows were");

    let job = begin(&cluster).await;
    cluster.kill(&cluster.leader()).await;
    let (attempts, files) = end(&cluster, &job);
    assert!(attempts > 1, "the killed leader has disturbed the job");
    assert_eq!(files, expected, "a leader that is lost");

    let job = begin(&cluster).await;
    cluster.hold_restarts();
    cluster.kill("worker-3").await;
    let (attempts, files) = end(&cluster, &job);
    assert!(attempts > 1, "the killed worker has disturbed the job");
    assert_eq!(files, expected, "a worker that stays away");
    let left = std::fs::read_dir(cluster.dir().join("store/checkpoints")).unwrap().count();
    assert_eq!(left, 0, "checkpoints are only for the job that made them");
}
