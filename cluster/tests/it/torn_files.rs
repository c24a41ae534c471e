//! Files that are cut short while a worker serves from them.

use serde_json::Value;

use crate::support::{Cluster, Load, Oracle, SMALL, Shape, eventually, folder, generate, processes_of};

const QUESTIONS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_from_a_file_that_was_cut_short() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 2, settings: Vec::new() }).await;
    cluster.import(&data, "items");
    let version = cluster.train(&["--promote"]);
    let oracle = Oracle::of(&cluster, &version, &data);
    let is_replicated = |status: &Value| status["shards"]["fully_replicated"] == 32;
    cluster.wait_for("every shard has its replicas", is_replicated).await;
    let load = Load::start(&cluster.http(), vec![oracle], 3);
    load.asks(QUESTIONS).await;

    let before = cluster.pid("worker-1").await;
    let cache = cluster.dir().join("worker-1/cache");
    let mut cut = 0;
    for entry in std::fs::read_dir(cache).unwrap() {
        std::fs::File::options().write(true).open(entry.unwrap().path()).unwrap().set_len(0).unwrap();
        cut += 1;
    }
    assert!(cut > 32, "{cut} files were there");
    // It leaves in order, says why, and has everything anew.
    eventually("the worker runs again", || {
        let processes = processes_of(cluster.dir());
        processes.iter().any(|(pid, name)| name == "worker-1" && *pid != before).then_some(())
    })
    .await;
    let log = cluster.dir().join("logs/worker-1.log");
    let said = std::fs::read_to_string(log).unwrap();
    assert!(said.contains("was cut short while it was served from; start the worker again"), "{said}");
    cluster.wait_for("every shard has its replicas again", is_replicated).await;
    load.asks(QUESTIONS).await;
    load.stop().await.check_every_one_right();
}
