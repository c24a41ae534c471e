//! The admin API of a real cluster: what the command line says, the changes that tokens allow, and what comes of them.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Answer, Cluster, SMALL, Shape, folder, generate};

/// A change by the holder of a token, with one more header.
async fn change(cluster: &Cluster, token: &str, path: &str, body: Value, header: (&str, &str)) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}{path}", cluster.url())).bearer_auth(token).json(&body);
    let reply = request.header(header.0, header.1).send().await.unwrap();
    let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
    Answer { status, headers, text: reply.text().await.unwrap() }
}

/// The lines of the leader's audit log for an action.
fn audited(dir: &Path, action: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("coordinator-1/audit.log")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["action"] == action).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_trained_and_made_live_over_http_by_whoever_may() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let settings = vec!["node.tokens=true".to_owned()];
    let cluster = Cluster::start_in(folder.path(), Shape { settings, ..Shape::default() }).await;
    cluster.import(&data, "items");
    let first = cluster.train(&["--promote"]);
    let admin = std::fs::read_to_string(cluster.dir().join("admin.token")).unwrap();
    let admin = admin.trim();
    let create = ["tokens", "create", "--label", "board"];
    let reader = cluster.shoal(&create).exits_with(0).stdout.trim().to_owned();
    let http = cluster.http();
    while http.get_with(&reader, "/admin/v1/status").await.status != 200 {
        tokio::task::yield_now().await;
    }

    // What the command line says is said field for field.
    let as_reader = async |path: &str| http.get_with(&reader, path).await.ok();
    let mut of_http = as_reader(&format!("/admin/v1/models/{first}")).await;
    assert!(of_http.as_object_mut().unwrap().remove("sweeps").unwrap().as_array().unwrap().len() == 3);
    assert_eq!(of_http, cluster.shoal(&["models", "show", &first, "--json"]).json());
    assert_eq!(
        as_reader("/admin/v1/nodes").await["entries"],
        cluster.shoal(&["nodes", "list", "--json"]).json()
    );
    let mut of_http = as_reader("/admin/v1/datasets/items").await;
    of_http.as_object_mut().unwrap().remove("versions");
    assert_eq!(of_http, cluster.shoal(&["dataset", "show", "items", "--json"]).json());
    let job = as_reader("/admin/v1/jobs?limit=1").await["entries"][0].clone();
    let id = job["job_id"].as_str().unwrap();
    assert_eq!(job, cluster.shoal(&["jobs", "show", id, "--json"]).json());
    let map = as_reader("/admin/v1/shards").await;
    let replicas = map["versions"][0]["shards"].as_array().unwrap().iter();
    assert!(replicas.clone().count() > 0 && replicas.clone().all(|shard| shard["served"] == true), "{map:#}");

    // A token `read` starts and changes nothing; one that may does.
    let training = json!({ "dataset": "items", "like": first, "seed": 7 });
    let none = ("accept", "*/*");
    let refused = change(&cluster, &reader, "/admin/v1/jobs/training", training.clone(), none).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("needs train"), "{refused:?}");
    let started = change(&cluster, admin, "/admin/v1/jobs/training", training, none).await.ok();
    let job = started["job_id"].as_str().unwrap();
    // The stream ends with the job.
    let events = http.get_with(&reader, &format!("/admin/v1/jobs/{job}/events")).await;
    assert_eq!(events.status, 200, "{events:?}");
    let last = events.text.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["state"], "succeeded", "{last:#}");
    let second = last["model_version"].as_str().unwrap();
    let of_second = as_reader(&format!("/admin/v1/models/{second}")).await;
    assert_eq!((&of_second["parameters"]["rank"], &of_second["parameters"]["seed"]), (&json!(8), &json!(7)));

    let promote = format!("/admin/v1/models/{second}/promote");
    let refused = change(&cluster, &reader, &promote, json!({}), none).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("needs admin"), "{refused:?}");
    let of_stranger = ("origin", "http://stranger.example");
    let refused = change(&cluster, admin, &promote, json!({}), of_stranger).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let list = "/v1/users/1/recommendations?n=3";
    assert_eq!(http.get_with(&reader, list).await.ok()["model_version"], first.as_str());
    let live = change(&cluster, admin, &promote, json!({}), none).await.ok();
    assert_eq!((&live["live_version"], &live["previous_version"]), (&json!(second), &json!(first)));
    assert_eq!(http.get_with(&reader, list).await.ok()["model_version"], second);
    let back = change(&cluster, admin, "/admin/v1/models/rollback", json!({}), none).await.ok();
    assert_eq!(back["live_version"], first.as_str());
    assert_eq!(http.get_with(&reader, list).await.ok()["model_version"], first.as_str());

    // The log of the coordinator names the caller, not the router that asked for it.
    let id = |token: &str| token.split('_').nth(1).unwrap().to_owned();
    let done: Vec<Value> =
        audited(cluster.dir(), "rollback").iter().map(|line| line["token"].clone()).collect();
    assert_eq!(done, [json!(id(admin))]);
}
