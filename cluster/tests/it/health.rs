//! `shoal health`: one node as containers and probes ask it.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Cluster, Finished, SMALL, Shape, eventually, folder, generate, service, shoal, shoal_with_all,
};

/// Asks the node that was started with a file of the cluster's.
fn ask(cluster: &Cluster, node: &str, check: &str) -> Finished {
    let config = cluster.dir().join("config").join(format!("{node}.toml"));
    shoal(&["health", "--config", config.to_str().unwrap(), "--for", check])
}

/// Waits until the line of a check has some words, and the exit code is this one.
async fn becomes(cluster: &Cluster, node: &str, check: &str, code: i32, words: &str) {
    eventually(&format!("{check} of {node} is '{words}'"), || {
        let asked = ask(cluster, node, check);
        (asked.code == Some(code) && asked.stdout.contains(words)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_says_whether_it_is_ready_and_what_it_waits_for() {
    let place = folder();
    let cluster =
        Cluster::start_in(place.path(), Shape { coordinators: 1, workers: 2, ..Shape::default() }).await;
    for (node, role) in [("coordinator-1", "coordinator"), ("worker-1", "worker"), ("router-1", "router")] {
        for (check, passed) in [("startup", "started"), ("liveness", "alive")] {
            let line = ask(&cluster, node, check).exits_with(0).stdout;
            assert!(line.starts_with(role) && line.contains(&format!("is {passed}")), "{line}");
        }
    }
    becomes(&cluster, "coordinator-1", "readiness", 0, "is ready").await;
    becomes(&cluster, "worker-1", "readiness", 0, "is ready").await;
    becomes(&cluster, "router-1", "readiness", 1, "not ready: no model").await;
    let all = cluster.shoal(&["health", "--json"]).exits_with(1);
    let all: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!((&all["ok"], &all["check"]), (&false.into(), &"readiness".into()));
    let nodes = all["nodes"].as_array().unwrap().iter();
    let unready: Vec<&str> =
        nodes.filter(|node| node["ok"] == false).map(|node| node["node"].as_str().unwrap()).collect();
    assert_eq!(unready, ["router-1"]);

    cluster.import(&generate(place.path(), SMALL), "items");
    cluster.train(&["--promote"]);
    becomes(&cluster, "router-1", "readiness", 0, "is ready").await;
    cluster.shoal(&["health"]).exits_with(0);

    // One worker alone is asked, whatever becomes of the others.
    cluster.hold_restarts();
    cluster.kill("worker-2").await;
    let gone = ask(&cluster, "worker-2", "liveness").exits_with(1);
    assert!(gone.stdout.contains("not alive: no node answers ("), "{gone:?}");
    ask(&cluster, "worker-1", "readiness").exits_with(0);
    // A node that hangs is not alive.
    cluster.signal("worker-1", Signal::STOP).await;
    let config = cluster.dir().join("config/worker-1.toml");
    let hung =
        shoal(&["health", "--config", config.to_str().unwrap(), "--for", "liveness", "--timeout", "0.2"]);
    assert!(hung.exits_with(1).stdout.contains("did not answer within 0.2 s"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_a_quorum_leaves_a_coordinator_alive_and_not_ready() {
    let cluster = Cluster::start(Shape { coordinators: 3, ..Shape::default() }).await;
    becomes(&cluster, "coordinator-1", "readiness", 0, "is ready").await;
    cluster.hold_restarts();
    for node in ["coordinator-2", "coordinator-3"] {
        cluster.kill(node).await;
    }
    becomes(&cluster, "coordinator-1", "readiness", 1, "no member leads").await;
    for check in ["startup", "liveness"] {
        ask(&cluster, "coordinator-1", check).exits_with(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_load_what_it_serves_is_not_ready() {
    let place = folder();
    let cluster = Cluster::start_in(place.path(), Shape::default()).await;
    cluster.import(&generate(place.path(), SMALL), "items");
    let version = cluster.train(&["--promote"]);
    becomes(&cluster, "worker-1", "readiness", 0, "is ready").await;
    // Its own copies are gone with its disk, and the store is out of reach.
    let store = cluster.dir().join("store");
    std::fs::rename(store.join("models/als").join(&version), store.join("away")).unwrap();
    cluster.hold_restarts();
    cluster.kill("worker-1").await;
    std::fs::remove_dir_all(cluster.dir().join("worker-1/cache")).unwrap();
    cluster.let_restart();
    becomes(&cluster, "worker-1", "readiness", 1, "could not be loaded").await;
    ask(&cluster, "worker-1", "liveness").exits_with(0);
    std::fs::rename(store.join("away"), store.join("models/als").join(&version)).unwrap();
    becomes(&cluster, "worker-1", "readiness", 0, "is ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_a_node_is_asked_by_its_own_certificate() {
    let place = folder();
    let certs = place.path().join("cluster/certs");
    let settings = vec![format!("node.certs={}", certs.display())];
    let cluster = Cluster::start_in(place.path(), Shape { settings, ..Shape::default() }).await;
    becomes(&cluster, "coordinator-1", "readiness", 0, "is ready").await;
    becomes(&cluster, "router-1", "liveness", 0, "is alive").await;
    let status = cluster.status();
    let nodes = status["nodes"].as_array().unwrap();
    let worker = nodes.iter().find(|node| node["name"] == "worker-1").unwrap()["address"].as_str().unwrap();
    shoal(&["health", "--node", worker, "--certs", certs.to_str().unwrap()]).exits_with(0);
    shoal(&["health", "--node", worker, "--timeout", "2"]).exits_with(1);
    let url = cluster.url();
    shoal(&["health", "--node", url, "--for", "liveness", "--certs", certs.to_str().unwrap()]).exits_with(0);
    shoal(&["health", "--node", url, "--for", "liveness"]).exits_with(1);
}

/// As in a container: the variables that the node was started with are all that is known.
#[tokio::test(flavor = "multi_thread")]
async fn the_variables_of_a_node_are_enough() {
    let cluster = Cluster::start(Shape::default()).await;
    let folder = |node: &str| cluster.dir().join(node).display().to_string();
    for node in ["worker-1", "coordinator-1"] {
        let variables = [("SHOAL__NODE__DATA_DIR", folder(node)), ("SHOAL__NODE__NAME", node.to_owned())];
        let asked = shoal_with_all(&variables, &["health", "--for", "liveness"]).exits_with(0);
        assert!(asked.stdout.contains(node.split('-').next().unwrap()), "{asked:?}");
    }
    let nowhere = [("SHOAL__NODE__NAME", "worker-9".to_owned())];
    shoal_with_all(&nowhere, &["health"]).exits_with(2).says(&["node.data_dir", "--node"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_taken_for_a_node() {
    let stranger = service(|_| (200, r#"{"status": "ok"}"#.to_owned())).await;
    let asked = shoal(&["health", "--node", &stranger]).exits_with(1);
    assert!(asked.stdout.contains("no router of Shoal"), "{asked:?}");
    let speaks_tls = service(|_| (400, r#"{"detail": "this port speaks TLS"}"#.to_owned())).await;
    let asked = shoal(&["health", "--node", &speaks_tls]).exits_with(1);
    assert!(asked.stdout.contains("it says: this port speaks TLS"), "{asked:?}");
    let asked = shoal(&["health", "--node", stranger.trim_start_matches("http://")]).exits_with(1);
    assert!(asked.stdout.contains("is not ready"), "{asked:?}");
    for wrong in ["nonsense", "host:port", "http://"] {
        shoal(&["health", "--node", wrong]).exits_with(2).says(&["host:port"]);
    }
    shoal(&["health", "--node", "127.0.0.1:1", "--timeout", "0"]).exits_with(2);
}
