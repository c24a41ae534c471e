//! Workers are given little memory, and give back what their jobs took.

use std::time::{Duration, Instant};

use crate::support::{Cluster, Shape, Size, eventually, folder, generate};

const SIZE: Size = Size { users: 600, items: 1_500, ratings: 60_000 };
const MIB: u64 = 1 << 20;
/// What a worker has to get along with, its mapped files included.
const LIMIT: u64 = 256 * MIB;
/// What an idle worker may hold beyond what one holds that has done nothing but load the same versions.
const SLACK: u64 = 64 * MIB;
/// By when an idle worker holds no more.
const IDLE_PATIENCE: Duration = Duration::from_secs(15);
const ROUNDS: usize = 4;

/// A line of what the system says of a worker's memory, in bytes.
async fn memory(cluster: &Cluster, worker: &str, line: &str) -> u64 {
    let pid = cluster.pid(worker).await.as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    value.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1_024
}

fn is_whole(cluster: &Cluster) -> bool {
    let status = cluster.shoal(&["status", "--json"]);
    let shards = (status.code == Some(0)).then(|| status.json()["shards"].clone());
    shards.is_some_and(|shards| shards["total"] != 0 && shards["fully_replicated"] == shards["total"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stays_below_its_limit_and_gives_back_what_trainings_took() {
    let folder = folder();
    let data = generate(folder.path(), SIZE);
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 2, settings: Vec::new() }).await;
    cluster.import(&data, "items");
    cluster.shoal(&["train", "--promote", "--json"]).exits_with(0);
    eventually("every shard is loaded", || is_whole(&cluster).then_some(())).await;

    // What serving takes: of a worker that has done nothing else.
    cluster.hold_restarts();
    cluster.kill("worker-1").await;
    eventually("its loss is seen", || (!is_whole(&cluster)).then_some(())).await;
    cluster.let_restart();
    eventually("it loads its shards again", || is_whole(&cluster).then_some(())).await;
    let serving = memory(&cluster, "worker-1", "RssAnon:").await;

    for _ in 0..ROUNDS {
        cluster.shoal(&["train", "--force", "--json"]).exits_with(0);
    }
    let idle_since = Instant::now();
    let mut held = memory(&cluster, "worker-1", "RssAnon:").await;
    while held > serving + SLACK {
        let waited = idle_since.elapsed();
        assert!(
            waited < IDLE_PATIENCE,
            "after {waited:?} it holds {} MiB, and serving takes {}",
            held / MIB,
            serving / MIB
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
        held = memory(&cluster, "worker-1", "RssAnon:").await;
    }
    for worker in ["worker-1", "worker-2"] {
        // Pages of files are in the peak too, but leave when a limit is near.
        let files = memory(&cluster, worker, "RssFile:").await;
        let own = memory(&cluster, worker, "VmHWM:").await.saturating_sub(files);
        assert!(own < LIMIT, "{worker} had {} MiB beside {} MiB of files", own / MIB, files / MIB);
    }
}
