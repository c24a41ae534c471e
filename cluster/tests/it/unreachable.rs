//! Workers whose heartbeats arrive and that nobody reaches.

use std::{net::TcpListener, path::Path};

use serde_json::Value;

use crate::support::{Cluster, Running, SMALL, Shape, folder, generate};

/// A worker of the cluster that others look for where nobody listens.
fn start_elsewhere(cluster: &Cluster, place: &Path, name: &str) -> (Running, String) {
    let file = std::fs::read(cluster.dir().join("cluster.json")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    // Free once it is closed, which is when nobody listens.
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let data_dir = place.join(name);
    std::fs::create_dir(&data_dir).unwrap();
    let arguments = [
        "worker",
        "--cluster-id",
        &text(&file["cluster_id"]),
        "--name",
        name,
        "--listen",
        "127.0.0.1:0",
        "--advertise",
        &nowhere,
        "--data-dir",
        data_dir.to_str().unwrap(),
        "--store",
        &text(&file["store"]),
        "--coordinators",
        &text(&file["coordinators"][0]["address"]),
        "--supervised",
    ];
    (Running::start(&data_dir, &arguments), nowhere)
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_go_on_without_a_worker_that_nobody_reaches() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 2, settings: Vec::new() }).await;
    let (_worker, nowhere) = start_elsewhere(&cluster, folder.path(), "worker-3");
    let is_up = |status: &Value| {
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().any(|node| node["name"] == "worker-3" && node["health"] == "up")
    };
    cluster.wait_for("its heartbeats arrive", is_up).await;

    let job = cluster.import(&data, "items");
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &2.into()), "{job:#}");
    let left_out = &job["left_out"][0];
    assert_eq!((&left_out["attempt"], &left_out["worker"]), (&2.into(), &"worker-3".into()), "{job:#}");
    let status = cluster.status();
    assert_eq!(status["unreachable"][0]["worker"], "worker-3", "{status:#}");
    assert!(status["unreachable"][0]["reason"].as_str().unwrap().contains("refused"), "{status:#}");
    let table = cluster.shoal(&["status"]).exits_with(0).stdout;
    assert!(table.contains("jobs go on without worker-3"), "{table}");
    let shown = cluster.shoal(&["jobs", "show", job["job_id"].as_str().unwrap()]).exits_with(0).stdout;
    assert!(shown.contains("attempt 2 went on without worker-3"), "{shown}");

    // Where it is the only one that is left, who could not be reached is said, and where.
    cluster.hold_restarts();
    for worker in ["worker-1", "worker-2"] {
        cluster.kill(worker).await;
    }
    let others_are_down = |status: &Value| {
        let nodes = status["nodes"].as_array().unwrap().iter();
        nodes.filter(|node| node["role"] == "worker" && node["health"] == "down").count() == 2
    };
    cluster.wait_for("the others are down", others_are_down).await;
    let import = ["dataset", "import", data.to_str().unwrap(), "--name", "others", "--json"];
    let failed = cluster.shoal(&import).exits_with(1);
    failed.says(&["no worker can be worked with", &format!("'worker-3' at {nowhere}"), "refused"]);
}
