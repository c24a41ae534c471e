//! The admin API: what the coordinators say, over HTTP and in the caller's name.

use reqwest::{Method, StatusCode};
use shoal_common::access::{Scope, Token};
use shoal_proto::v1::*;

use crate::fixture::{Answer, Cluster, Setup, V1, V2, coordinator::Part};

fn job(id: &str, created_unix_ms: i64) -> JobInfo {
    let sweep = SweepMetrics { sweep: 1, seconds: 0.5, ..SweepMetrics::default() };
    JobInfo {
        job_id: id.to_owned(),
        kind: JobKind::Training.into(),
        state: JobState::Running.into(),
        created_unix_ms,
        sweeps: vec![sweep],
        ..JobInfo::default()
    }
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start(Setup::default()).await;
    cluster.publish(|metadata| {
        metadata.served = vec![ServedModel {
            model: "als".to_owned(),
            live_version: V1.to_owned(),
            previous_version: V2.to_owned(),
            ..ServedModel::default()
        }];
        for (version, created) in metadata.versions.iter_mut().zip(1..) {
            version.created_unix_ms = created;
            version.job_id = format!("train-{created}");
        }
    });
    cluster.coordinators[0].jobs.send_replace(vec![job("train-1", 1), job("train-3", 3)]);
    cluster
}

#[tokio::test]
async fn the_state_of_the_cluster_is_told() {
    let cluster = cluster().await;
    let status = cluster.router.get("/admin/v1/status").await.ok();
    assert_eq!((&status["live_version"], &status["term"]), (&V1.into(), &1.into()));
    assert_eq!(status["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(status["versions"][0]["serves"], "live");
    let nodes = cluster.router.get("/admin/v1/nodes?limit=2").await.ok();
    assert_eq!((&nodes["total"], nodes["entries"].as_array().unwrap().len()), (&3.into(), 2));
    assert_eq!(nodes["entries"][0]["role"], "worker");
    let wrong = cluster.router.get("/admin/v1/troubles").await.ok();
    assert_eq!(wrong["wrong"], serde_json::json!([]), "{wrong}");
    assert!(wrong["only_prometheus_tells"].as_array().unwrap().len() > 3);
}

#[tokio::test]
async fn a_lost_worker_is_seen_in_each_of_its_shards() {
    let cluster = cluster().await;
    cluster.publish(|metadata| metadata.nodes[0].health = NodeHealth::Down.into());
    let map = cluster.router.get("/admin/v1/shards").await.ok();
    assert_eq!((&map["total"], &map["versions"][0]["version"]), (&2.into(), &V1.into()));
    assert_eq!(map["workers"][0]["health"], "down");
    let shards = map["versions"][0]["shards"].as_array().unwrap();
    let replicas = shards.iter().flat_map(|shard| shard["replicas"].as_array().unwrap());
    let (lost, ready): (Vec<_>, Vec<_>) = replicas.partition(|replica| replica["worker"] == "worker-0");
    assert!(!lost.is_empty() && lost.iter().all(|replica| replica["state"] == "down"));
    assert!(!ready.is_empty() && ready.iter().all(|replica| replica["state"] == "ready"));
    assert!(shards.iter().all(|shard| shard["served"] == true));
    assert_eq!((&shards[0]["side"], &shards[0]["shard"]), (&"users".into(), &0.into()));
    let wrong = cluster.router.get("/admin/v1/troubles").await.ok();
    let rules: Vec<_> = wrong["wrong"].as_array().unwrap().iter().map(|wrong| &wrong["rule"]).collect();
    assert_eq!(rules, ["ShoalShardsUnderReplicated", "ShoalNodeDown"]);
}

#[tokio::test]
async fn versions_data_sets_and_jobs_are_told_newest_first() {
    let cluster = cluster().await;
    let names = |list: serde_json::Value, name: &str| -> Vec<String> {
        let entries = list["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(cluster.router.get("/admin/v1/models").await.ok(), "name"), [V2, V1]);
    assert_eq!(names(cluster.router.get("/admin/v1/models?limit=1").await.ok(), "name"), [V2]);
    assert_eq!(names(cluster.router.get("/admin/v1/jobs").await.ok(), "job_id"), ["train-3", "train-1"]);
    assert_eq!(names(cluster.router.get("/admin/v1/datasets").await.ok(), "name"), ["movies"]);
    let version = cluster.router.get(&format!("/admin/v1/models/{V1}")).await.ok();
    assert_eq!((&version["dataset"], &version["sweeps"][0]["sweep"]), (&"movies".into(), &1.into()));
    // Its job is no longer remembered.
    let version = cluster.router.get(&format!("/admin/v1/models/{V2}")).await.ok();
    assert!(version["sweeps"].is_null());
    let dataset = cluster.router.get("/admin/v1/datasets/movies?version=v1").await.ok();
    assert_eq!(dataset["versions"], serde_json::json!(["v1"]));
    let job = cluster.router.get("/admin/v1/jobs/train-3").await.ok();
    assert_eq!((&job["state"], &job["kind"]), (&"running".into(), &"training".into()));
    for (path, said) in [
        ("/admin/v1/models/none", "there is no version 'none'"),
        ("/admin/v1/datasets/none", "there is no data set 'none'"),
        ("/admin/v1/datasets/movies?version=v2", "'movies@v2'"),
        ("/admin/v1/jobs/none", "there is no job 'none'"),
    ] {
        cluster.router.get(path).await.refused(StatusCode::NOT_FOUND, &[said]);
    }
    for path in ["/admin/v1/jobs?limit=0", "/admin/v1/models?limit=x", "/admin/v1/nodes?limit=1001"] {
        cluster.router.get(path).await.refused(StatusCode::BAD_REQUEST, &["limit", "1 to 1000"]);
    }
    cluster.router.get("/admin/v1/status?x=1").await.refused(StatusCode::BAD_REQUEST, &["'x'"]);
}

#[tokio::test]
async fn without_a_leader_it_is_said_and_queries_go_on() {
    let cluster = cluster().await;
    cluster.coordinators[0].part.send_replace(Part::Follows(None));
    let refused = cluster.router.get("/admin/v1/status").await;
    refused.refused(StatusCode::SERVICE_UNAVAILABLE, &["no leading coordinator answered", "queries go on"]);
    assert!(refused.retry_after_seconds() >= 1);
    let wrong = cluster.router.get("/admin/v1/troubles").await.ok();
    assert_eq!(wrong["wrong"][0]["rule"], "ShoalNoLeader");
    cluster.router.get("/v1/users/1/recommendations").await.ok();
}

#[tokio::test]
async fn coordinators_are_shown_the_callers_token_and_others_none() {
    let token = Token::draw().unwrap();
    let cluster = Cluster::start(Setup { tokens: true, ..Setup::default() }).await;
    let mut info = TokenInfo {
        id: token.id().to_owned(),
        sha256: token.digest().as_bytes().to_vec().into(),
        ..TokenInfo::default()
    };
    info.push_scopes(Scope::Read.to_wire());
    cluster.publish(|metadata| metadata.tokens = vec![info]);
    assert_eq!(cluster.router.get("/admin/v1/status").await.status, StatusCode::UNAUTHORIZED);
    assert!(cluster.coordinators[0].take_asked().is_empty());
    let ask = async || -> Answer {
        cluster.router.send_with(Some(token.header()), Method::GET, "/admin/v1/status", None).await
    };
    while ask().await.status != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    let asked = cluster.coordinators[0].take_asked();
    let shown = format!("Bearer {}", token.expose());
    assert_eq!(asked, [("status", String::new(), Some(shown))]);
}

#[tokio::test]
async fn traffic_is_counted_by_route_and_of_this_router_alone() {
    let cluster = cluster().await;
    let traffic = cluster.router.get("/admin/v1/traffic?step=10&route=recommend").await.ok();
    assert_eq!((&traffic["counted_by"], &traffic["step"]), (&"this_router".into(), &10.into()));
    assert_eq!(traffic["stretches_of"], serde_json::json!(["recommend"]));
    assert!(traffic["since"].is_string());
    for (path, said) in [("step=7", "'10'"), ("route=nowhere", "recommend_for_items")] {
        let refused = cluster.router.get(&format!("/admin/v1/traffic?{path}")).await;
        refused.refused(StatusCode::BAD_REQUEST, &[said]);
    }
}

#[tokio::test]
async fn changes_are_asked_of_the_coordinators() {
    let cluster = cluster().await;
    let asked = |about: &str, method: &'static str| (method, about.to_owned(), None);
    let path = format!("/admin/v1/models/{V2}/promote");
    assert_eq!(cluster.router.change(&path, r#"{"make_default":true}"#, &[]).await.ok()["live_version"], V2);
    assert_eq!(
        cluster.router.change("/admin/v1/jobs/train-1/cancel", "", &[]).await.ok()["job_id"],
        "train-1"
    );
    let refused = cluster.router.change("/admin/v1/models/rollback", r#"{"model":"item_cf"}"#, &[]).await;
    refused.refused(StatusCode::CONFLICT, &["no version to go back to"]);
    let body = r#"{"dataset":"movies","model":"als"}"#;
    assert_eq!(cluster.router.change("/admin/v1/jobs/training", body, &[]).await.ok()["job_id"], "train-9");
    let body = r#"{"dataset":"movies","model":"als","rank":9}"#;
    cluster.router.change("/admin/v1/jobs/training", body, &[]).await.ok();
    let body = r#"{"name":"new","source":"/data/new"}"#;
    assert_eq!(cluster.router.change("/admin/v1/jobs/import", body, &[]).await.ok()["job_id"], "import-9");
    let mut all = cluster.coordinators[0].take_asked();
    all.retain(|(method, _, _)| !method.starts_with("list_"));
    assert_eq!(
        all,
        [
            asked(V2, "promote"),
            asked("train-1", "cancel_job"),
            asked("item_cf", "rollback"),
            asked("movies@v1 rank 7", "start_training"),
            asked("movies@v1 rank 9", "start_training"),
            asked("new of /data/new", "import_dataset"),
        ]
    );
    for (path, body, status, said) in [
        ("/admin/v1/models/none/promote", "{}", 404, "'none'"),
        ("/admin/v1/models/rollback", r#"{"model":"none"}"#, 400, "model"),
        ("/admin/v1/models/rollback", r#"{"x":1}"#, 400, "unknown field `x`"),
        ("/admin/v1/jobs/train-1/cancel", "[]", 400, "a JSON object"),
        ("/admin/v1/jobs/training", r#"{"dataset":"none","model":"als"}"#, 404, "'none'"),
        ("/admin/v1/jobs/training", r#"{"dataset":"movies"}"#, 400, "'model'"),
        ("/admin/v1/jobs/training", r#"{"dataset":"movies","model":"ease"}"#, 400, "no defaults"),
        (
            "/admin/v1/jobs/training",
            r#"{"dataset":"movies","model":"als","neighbours":3}"#,
            400,
            "neighbours",
        ),
        ("/admin/v1/jobs/import", r#"{"name":"x"}"#, 400, "missing field `source`"),
        ("/admin/v1/jobs/import", r#"{"name":"x","source":"/x","shard_count":0}"#, 400, "shard_count"),
    ] {
        let refused = cluster.router.change(path, body, &[]).await;
        refused.refused(StatusCode::from_u16(status).unwrap(), &[said]);
    }
}

#[tokio::test]
async fn a_page_of_a_stranger_changes_nothing() {
    let cluster =
        Cluster::start(Setup { cors_origins: &["*", "http://board.example"], ..Setup::default() }).await;
    let path = format!("/admin/v1/models/{V2}/promote");
    for strange in [("origin", "http://stranger.example"), ("sec-fetch-site", "cross-site")] {
        let refused = cluster.router.change(&path, "{}", &[strange]).await;
        refused.refused(StatusCode::FORBIDDEN, &["its own pages alone", "router.cors_origins"]);
    }
    // As a form or `fetch` without a preflight would send it.
    let refused = cluster.router.send(Method::POST, &path, Some("{}")).await;
    refused.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, &["Content-Type: application/json"]);
    assert!(cluster.coordinators[0].take_asked().is_empty());
    let own = format!("http://{}", cluster.router.http);
    for good in [("origin", own.as_str()), ("origin", "http://board.example")] {
        cluster.router.change(&path, "{}", &[good]).await.ok();
    }
}

#[tokio::test]
async fn a_router_that_takes_no_changes_says_why() {
    let cluster = Cluster::start(Setup { takes_changes: false, ..Setup::default() }).await;
    cluster.router.get("/admin/v1/status").await.ok();
    for path in ["/admin/v1/models/rollback", "/admin/v1/jobs/import", "/admin/v1/jobs/x/cancel"] {
        let refused = cluster.router.change(path, "{}", &[]).await;
        refused.refused(StatusCode::FORBIDDEN, &["ask the coordinators"]);
    }
}

/// The next event of a stream: its name, its id and what it says.
async fn next_event(stream: &mut reqwest::Response) -> Option<(String, String, serde_json::Value)> {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap()?).unwrap());
    }
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name} is missing in {text}")).to_owned()
    };
    Some((field("event"), field("id"), serde_json::from_str(&field("data")).unwrap()))
}

#[tokio::test]
async fn a_job_is_followed_to_its_end_and_taken_up_where_a_client_was() {
    let cluster = cluster().await;
    cluster.router.get("/admin/v1/jobs/none/events").await.refused(StatusCode::NOT_FOUND, &["'none'"]);
    let mut stream = cluster.router.events("/admin/v1/jobs/train-3/events", None).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let (name, id, told) = next_event(&mut stream).await.unwrap();
    assert_eq!((name.as_str(), &told["state"]), ("job", &"running".into()));
    // Another client that has heard it is told the next state first.
    let mut resumed = cluster.router.events("/admin/v1/jobs/train-3/events", Some(&id)).await;
    cluster.coordinators[0].jobs.send_modify(|jobs| jobs[1].state = JobState::Succeeded.into());
    for stream in [&mut stream, &mut resumed] {
        let (_, _, told) = next_event(stream).await.unwrap();
        assert_eq!(told["state"], "succeeded");
        assert!(next_event(stream).await.is_none(), "it is over");
    }
}

#[tokio::test]
async fn what_changes_in_the_cluster_is_told_until_the_router_stops() {
    let cluster = cluster().await;
    let mut stream = cluster.router.events("/admin/v1/events", None).await;
    let (status, jobs) = (next_event(&mut stream).await.unwrap(), next_event(&mut stream).await.unwrap());
    assert_eq!((status.0.as_str(), jobs.0.as_str()), ("status", "jobs"));
    assert_eq!(jobs.2["entries"][0]["job_id"], "train-3");
    cluster.publish(|metadata| metadata.live_version = V2.to_owned());
    assert_eq!(next_event(&mut stream).await.unwrap().2["live_version"], V2);
    cluster.coordinators[0].part.send_replace(Part::Follows(None));
    let (name, _, told) = next_event(&mut stream).await.unwrap();
    assert_eq!(name, "trouble");
    assert!(told["detail"].as_str().unwrap().contains("no leading coordinator"), "{told}");
    cluster.router.stop().await;
    assert!(next_event(&mut stream).await.is_none(), "it ends politely");
}
