//! Jobs that are cancelled, fail, or are left alone by whoever started them: nothing half-done stays in the store.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Cluster, Running, Shape, Size, eventually, folder, generate};

const SIZE: Size = Size { users: 1_500, items: 800, ratings: 100_000 };
/// More sweeps than any test waits for.
const ENDLESS: [&str; 10] =
    ["train", "--models", "als", "--force", "--rank", "32", "--iterations", "1000", "--data-set", "items"];

fn shown(cluster: &Cluster, job: &str) -> Value {
    cluster.shoal(&["jobs", "show", job, "--json"]).json()
}

/// Waits until the job has committed a sweep.
async fn is_in_the_middle(cluster: &Cluster, job: &str) {
    eventually("a sweep is committed", || {
        (shown(cluster, job)["committed_sweeps"].as_u64() > Some(0)).then_some(())
    })
    .await;
}

/// The files and folders below the store, but for empty folders.
fn stored(cluster: &Cluster) -> Vec<String> {
    fn walk(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.push(entry.path().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    walk(&cluster.dir().join("store"), &mut found);
    found.sort();
    found
}

fn newest_job(cluster: &Cluster) -> String {
    let jobs = cluster.shoal(&["jobs", "list", "--json"]).json();
    jobs.as_array().unwrap().last().unwrap()["job_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_do_not_succeed_leave_nothing() {
    let folder = folder();
    let data = generate(folder.path(), SIZE);
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 2, settings: Vec::new() }).await;
    cluster.import(&data, "items");
    let before = stored(&cluster);

    // Cancelled in the middle, while somebody follows it.
    let job = cluster.shoal(&[&ENDLESS[..], &["--detach", "--json"]].concat()).json();
    let job = job["job_id"].as_str().unwrap();
    is_in_the_middle(&cluster, job).await;
    let dir = cluster.dir().to_str().unwrap();
    let mut follower = Running::start(folder.path(), &["jobs", "show", job, "--follow", "--dir", dir]);
    let cancelled = cluster.shoal(&["jobs", "cancel", job, "--json"]).json();
    assert_eq!(cancelled["job_id"], job);
    assert_eq!(follower.ends().await.code(), Some(5));
    assert!(follower.stderr().contains(&format!("job {job} was cancelled")), "{}", follower.stderr());
    assert_eq!(shown(&cluster, job)["state"], "cancelled");
    assert_eq!(stored(&cluster), before);
    assert_eq!(cluster.shoal(&["models", "list", "--json"]).json().as_array().unwrap().len(), 0);
    cluster.shoal(&["jobs", "cancel", job]).exits_with(1).says(&[job, "is over"]);

    // Left alone with Ctrl-C, which nobody can be asked about here: it goes on.
    let arguments: Vec<&str> = [&ENDLESS[..], &["--dir", dir]].concat();
    let mut watcher = Running::start(folder.path(), &arguments);
    let waiting = eventually("a second training runs", || {
        let newest = newest_job(&cluster);
        (newest != job).then_some(newest)
    });
    let second = waiting.await;
    is_in_the_middle(&cluster, &second).await;
    watcher.send(Signal::INT);
    assert_eq!(watcher.ends().await.code(), Some(130));
    let last = watcher.stderr().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains(&format!("job {second} goes on")), "{last}");
    assert_eq!(shown(&cluster, &second)["state"], "running");

    // A third waits for the second, and is cancelled before it has begun; then the second.
    let third = cluster.shoal(&[&ENDLESS[..], &["--detach", "--json"]].concat()).json();
    let third = third["job_id"].as_str().unwrap();
    assert_eq!(shown(&cluster, third)["state"], "queued");
    for job in [third, &second] {
        cluster.shoal(&["jobs", "cancel", job]).exits_with(0);
        cluster.shoal(&["jobs", "show", job, "--follow"]);
        assert_eq!(shown(&cluster, job)["state"], "cancelled");
    }
    assert_eq!(stored(&cluster), before);

    // Imports that are refused.
    let bad = folder.path().join("bad");
    std::fs::create_dir(&bad).unwrap();
    cluster
        .shoal(&["dataset", "import", bad.to_str().unwrap()])
        .exits_with(1)
        .says(&["no ratings were found", "ratings.csv"]);
    std::fs::write(bad.join("ratings.csv"), "userId,movieId,rating,timestamp\n1,2,4.5,100\n1,3,many,100\n")
        .unwrap();
    let refused = cluster.shoal(&["dataset", "import", bad.to_str().unwrap()]).exits_with(1);
    refused.says(&["1 of 2 rows of 'ratings.csv' are bad", "ratings.csv line 3", "--max-bad-rows"]);
    assert_eq!(stored(&cluster), before);
    let allowed = cluster
        .shoal(&["dataset", "import", bad.to_str().unwrap(), "--max-bad-rows", "50%", "--json"])
        .json();
    assert_eq!(allowed["dataset"]["ratings"], 1);
    let failed = cluster.shoal(&["jobs", "list"]).exits_with(0).stdout;
    assert!(failed.contains("failed") && failed.contains("cancelled"), "{failed}");
}
