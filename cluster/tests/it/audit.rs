//! Who did what, as the audit logs of a cluster's nodes tell afterwards.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use reqwest::header::HOST;
use serde_json::{Value, json};

use crate::support::{Cluster, SMALL, Shape, folder, generate, shoal};

/// The lines of a node's audit log.
fn lines(cluster: &Cluster, node: &str) -> Vec<Value> {
    let path = cluster.dir().join(node).join("audit.log");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{mode:o}");
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The only line of an action with this outcome.
#[track_caller]
fn only<'a>(lines: &'a [Value], action: &str, outcome: &str) -> &'a Value {
    let found: Vec<&Value> =
        lines.iter().filter(|line| line["action"] == action && line["outcome"] == outcome).collect();
    let [only] = *found else { panic!("{} lines of {action}, {outcome}: {lines:#?}", found.len()) };
    only
}

/// A folder whose administrator is somebody else.
fn taken_for_admin(certs: &Path, holder: &str, folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    std::fs::copy(certs.join("ca.pem"), folder.join("ca.pem")).unwrap();
    for ending in ["pem", "key"] {
        std::fs::copy(certs.join(holder).with_extension(ending), folder.join("admin").with_extension(ending))
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_and_every_refusal_has_a_line_that_says_who() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let certs = folder.path().join("cluster/certs");
    let settings = vec![format!("node.certs={}", certs.display())];
    let cluster = Cluster::start_in(folder.path(), Shape { settings, ..Shape::default() }).await;
    cluster.import(&data, "movies");
    cluster.shoal(&["train", "--models", "item_cf", "--promote"]).exits_with(0);
    cluster.shoal(&["models", "rollback"]).exits_with(1);
    cluster.shoal(&["nodes", "forget", "nobody\u{1b}[31m"]).exits_with(3);

    // A worker's certificate opens no method of administrators.
    let theirs = folder.path().join("theirs");
    taken_for_admin(&certs, "worker-1", &theirs);
    let status = cluster.status();
    let coordinator = status["coordinators"][0]["address"].as_str().unwrap();
    for _ in 0..3 {
        let refused = shoal(&["status", "--cluster", coordinator, "--certs", theirs.to_str().unwrap()]);
        assert_ne!(refused.code, Some(0), "{refused:#?}");
    }
    // A request for another's name, and for a user whose id nobody may read in a log.
    let authority = reqwest::Certificate::from_pem(&std::fs::read(certs.join("ca.pem")).unwrap()).unwrap();
    let client = reqwest::Client::builder().add_root_certificate(authority).no_proxy().build().unwrap();
    let asked = client.get(format!("{}/v1/users/77777/recommendations", cluster.url()));
    let answer = asked.header(HOST, "stranger.example").send().await.unwrap();
    assert_eq!(answer.status(), 421);

    let lines = lines(&cluster, "coordinator-1");
    let cluster_id = status["cluster_id"].as_str().unwrap();
    let admin: Value = format!("spiffe://{cluster_id}/admin/admin").into();
    for (action, outcome) in [
        ("import_dataset", "done"),
        ("start_training", "done"),
        ("rollback", "refused"),
        ("forget_node", "refused"),
    ] {
        let line = only(&lines, action, outcome);
        assert_eq!((&line["certificate"], &line["node"]), (&admin, &"coordinator 1".into()), "{line:#}");
        assert!(line["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{line:#}");
    }
    assert_eq!(only(&lines, "import_dataset", "done")["subject"]["dataset"], "movies");
    assert_eq!(only(&lines, "forget_node", "refused")["subject"], json!({"node": "nobody\u{1b}[31m"}));
    // What the leader does by itself names no caller.
    let version = status["live_version"].as_str().unwrap();
    for action in ["publish_version", "go_live"] {
        let line = only(&lines, action, "done");
        assert_eq!((&line["subject"]["version"], line.get("from")), (&version.into(), None), "{line:#}");
    }
    only(&lines, "publish_dataset", "done");
    assert!(lines.iter().any(|line| line["action"] == "promote" && line["subject"]["version"] == version));
    let nodes: Vec<&Value> = lines.iter().filter(|line| line["action"] == "register_node").collect();
    assert!(nodes.iter().any(|line| line["certificate"].as_str().unwrap().ends_with("/worker/worker-1")));
    assert!(nodes.iter().any(|line| line["certificate"].as_str().unwrap().ends_with("/router/router-1")));
    // The same refusal again and again is told once at first.
    let refused = only(&lines, "/shoal.v1.Coordinator/Status", "refused");
    assert!(refused["certificate"].as_str().unwrap().ends_with("/worker/worker-1"), "{refused:#}");

    let lines = self::lines(&cluster, "router-1");
    let refused = only(&lines, "http recommend", "refused");
    assert!(refused["reason"].as_str().unwrap().contains("421"), "{refused:#}");
    for node in ["coordinator-1", "router-1", "worker-1"] {
        let text = std::fs::read_to_string(cluster.dir().join(node).join("audit.log")).unwrap();
        assert!(!text.contains("77777") && text.is_ascii(), "{text}");
    }
}
