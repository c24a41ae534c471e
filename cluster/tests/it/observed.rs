//! What a cluster says of itself: status, what is wrong with it, its logs, and how it is stopped.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Cluster, SMALL, Shape, eventually, folder, generate, shoal};

/// What each line of a JSON log has.
const ALWAYS: [&str; 4] = ["timestamp", "level", "target", "message"];

/// Every line of every node's log.
fn lines(dir: &Path) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir.join("logs")).unwrap() {
        let path = entry.unwrap().path();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let value: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()));
            found.push((line.to_owned(), value));
        }
    }
    found
}

/// Fields at the top, no values as Rust's `Debug` has them, no line for each shard.
fn check_lines(dir: &Path) {
    let lines = lines(dir);
    assert!(lines.len() > 20, "{}", lines.len());
    for (line, value) in &lines {
        for field in ALWAYS {
            assert!(value[field].is_string(), "no {field}: {line}");
        }
        for (field, value) in value.as_object().unwrap() {
            let debug = value.as_str().is_some_and(|text| {
                text == "None" || text.starts_with("Some(") || text.starts_with('"') || text.starts_with('[')
            });
            assert!(!debug, "{field} is no value of JSON: {line}");
            assert!(!["status", "gap", "worker", "job_id"].contains(&field.as_str()), "{field}: {line}");
        }
        assert!(value.get("shard").is_none() || value["level"] != "INFO", "a line for each shard: {line}");
    }
    let failed: Vec<_> = lines.iter().filter(|(_, value)| value["message"] == "the job failed").collect();
    assert!(
        failed.len() == 1 && failed[0].1["level"] == "ERROR" && failed[0].1["job"].is_string(),
        "{failed:?}"
    );
}

fn rules(why: &Value) -> Vec<&str> {
    why["wrong"].as_array().unwrap().iter().map(|wrong| wrong["rule"].as_str().unwrap()).collect()
}

fn node<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap()
}

#[tokio::test]
async fn a_cluster_says_how_it_is_and_what_is_wrong_with_it() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let settings = vec!["node.log_format=json".to_owned(), "coordinator.replace_after_ms=600000".to_owned()];
    let mut cluster = Cluster::start_in(folder.path(), Shape { coordinators: 1, workers: 2, settings }).await;
    cluster.import(&data, "items");
    let version = cluster.train(&["--promote", "--test-ratio", "0"]);
    let status = cluster
        .wait_for("every shard is replicated", |status| {
            let of = &status["versions"][0];
            of["replicated"] == of["shards"] && of["shards"] != 0
        })
        .await;
    assert_eq!((&status["replicas_asked"], &status["versions"][0]["version"]), (&2.into(), &version.into()));
    let release = env!("CARGO_PKG_VERSION");
    assert_eq!(status["coordinators"][0]["version"], release);
    let worker = node(&status, "worker-2");
    assert_eq!(
        (&worker["version"], &worker["shards"]["ready"]),
        (&release.into(), &worker["shards"]["placed"])
    );
    assert!(worker["served_bytes"].as_u64().unwrap() > 0 && worker["disk_size_bytes"].as_u64().unwrap() > 0);
    assert!(cluster.url().ends_with(node(&status, "router-1")["http_address"].as_str().unwrap()));
    let text = cluster.shoal(&["status"]).exits_with(0).stdout;
    for part in ["2 asked for", "RELEASE", cluster.url().rsplit('/').next().unwrap(), "32 of 32"] {
        assert!(text.contains(part), "'{part}' is missing: {text}");
    }
    // What a node says of itself comes with its next heartbeat.
    let why = eventually("nothing is wrong", || {
        let why = cluster.shoal(&["status", "--why", "--json"]);
        (why.code == Some(0)).then(|| why.json())
    });
    assert_eq!(rules(&why.await), Vec::<&str>::new());

    // A node that is asked to stop says so; nobody waits for its lease.
    cluster.hold_restarts();
    cluster.signal("worker-2", Signal::TERM).await;
    let status =
        cluster.wait_for("worker-2 has left", |status| node(status, "worker-2")["loss"] == "left").await;
    assert!(node(&status, "worker-2")["down_since"].is_string());
    assert!(cluster.shoal(&["status"]).stdout.contains("worker-2 left at "));
    let torn = folder.path().join("torn.csv");
    std::fs::write(&torn, "user,item,rating\n1,1,4\n1,2,much\n2,1,little\n").unwrap();
    cluster.shoal(&["dataset", "import", torn.to_str().unwrap(), "--name", "torn"]).exits_with(1);
    let why = cluster.shoal(&["status", "--why", "--json"]).exits_with(1);
    let why: Value = serde_json::from_str(&why.stdout).unwrap();
    assert!(rules(&why).contains(&"ShoalShardsUnderReplicated"), "{why:#}");
    assert!(!rules(&why).contains(&"ShoalNodeDown"), "nobody is surprised by it: {why:#}");
    let missing =
        why["wrong"].as_array().unwrap().iter().find(|wrong| wrong["rule"] == "ShoalShardsUnderReplicated");
    let reason = missing.unwrap()["why"][0].as_str().unwrap();
    assert!(reason.starts_with("worker-2 left at ") && reason.ends_with("has 32 shards"), "{reason}");
    let text = cluster.shoal(&["status", "--why"]).exits_with(1).stdout;
    assert!(
        text.contains("warning: Shards are ready on fewer than 2 workers")
            && text.contains("Start worker-2 again"),
        "{text}"
    );
    cluster.let_restart();
    cluster.wait_for("worker-2 is back", |status| node(status, "worker-2")["health"] == "up").await;

    let logs = cluster.shoal(&["logs", "worker-1", "--lines", "3"]).exits_with(0).stdout;
    assert_eq!(logs.lines().count(), 3, "{logs}");
    assert!(logs.lines().all(|line| line.starts_with('{')), "{logs}");
    let logs = cluster.shoal(&["logs", "--lines", "2"]).exits_with(0).stdout;
    assert!(logs.contains("coordinator-1  {") && logs.contains("router-1       {"), "{logs}");
    let logs = cluster.shoal(&["logs", "router-1", "--lines", "2", "--json"]).exits_with(0).stdout;
    let logs: Vec<Value> = logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(logs.len(), 2, "{logs:?}");
    assert!(
        logs.iter().all(|log| log["node"] == "router-1"
            && log["time"].as_str().unwrap().ends_with('Z')
            && log["line"].as_str().unwrap().contains(log["time"].as_str().unwrap())),
        "{logs:?}"
    );
    cluster.shoal(&["logs", "worker-9"]).exits_with(3).says(&["worker-9", "worker-1, worker-2"]);
    check_lines(cluster.dir());

    let dir = cluster.dir().display().to_string();
    assert_eq!(shoal(&["down", "--dir", &dir, "--json"]).json()["stopped"], true);
    assert!(cluster.ends().await.success());
    assert_eq!(shoal(&["down", "--dir", &dir, "--json"]).json()["stopped"], false);
    let nowhere = folder.path().join("nowhere").display().to_string();
    assert_eq!(shoal(&["down", "--dir", &nowhere, "--json"]).json()["stopped"], false);
    assert!(!Path::new(&nowhere).exists());
}
