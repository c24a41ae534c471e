//! The HTTP contract: routes, field names, refusals, and metrics of every role.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Cluster, Http, SMALL, Shape, Shared, folder, generate, shared};

const UNKNOWN: i64 = 987_654_321;

#[track_caller]
fn fields(object: &Value) -> Vec<&str> {
    object.as_object().unwrap_or_else(|| panic!("{object:#}")).keys().map(String::as_str).collect()
}

#[track_caller]
fn check_time(answer: &Value) {
    let timestamp = answer["timestamp"].as_str().unwrap();
    assert_eq!((timestamp.len(), &timestamp[10..11], &timestamp[23..]), (24, "T", "Z"), "{timestamp}");
}

/// A refusal: status, and a sentence under `detail` that has every part.
#[track_caller]
fn refused(answer: &Answer, status: u16, parts: &[&str]) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!(fields(&body), ["detail"]);
    let detail = body["detail"].as_str().unwrap();
    for part in parts {
        assert!(detail.contains(part), "'{part}' is missing in: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_fields_that_clients_are_written_against() {
    let Shared { cluster, oracle, version, .. } = shared().await;
    let http = cluster.http();
    let (user, movie) = (oracle.users()[0], oracle.items()[40]);

    let answer = http.get(&format!("/recommendations/recommend/{user}")).await.ok();
    assert_eq!(
        fields(&answer),
        [
            "model_version",
            "next_cursor",
            "ranked_by",
            "recommendations",
            "shards",
            "source",
            "timestamp",
            "user_id"
        ]
    );
    let movies = answer["recommendations"].as_array().unwrap();
    assert_eq!(movies.len(), 10, "ten by default");
    for hit in movies {
        assert_eq!(
            fields(hit),
            ["genres", "model", "movie_id", "predicted_rating", "rank", "score", "title"]
        );
        assert!(hit["movie_id"].is_i64() && hit["title"].is_string(), "{hit:#}");
        assert!(hit["genres"].as_array().unwrap().iter().all(Value::is_string), "{hit:#}");
    }
    assert_eq!(answer["user_id"], user);
    assert_eq!(answer["shards"], json!({"total": 16, "ok": 16, "failed": 0}));
    check_time(&answer);

    let answer = http.get(&format!("/recommendations/similar/{movie}")).await.ok();
    assert_eq!(fields(&answer), ["model_version", "movie_id", "shards", "similar_movies", "timestamp"]);
    let movies = answer["similar_movies"].as_array().unwrap();
    assert_eq!(movies.len(), 10, "ten by default");
    for hit in movies {
        assert_eq!(fields(hit), ["genres", "model", "movie_id", "rank", "similarity", "title"]);
    }
    check_time(&answer);

    let answer =
        http.post("/recommendations/predict", json!({"user_id": user, "movie_id": movie})).await.ok();
    let expected = [
        "genres",
        "model_version",
        "movie_id",
        "predicted_rating",
        "source",
        "timestamp",
        "title",
        "user_id",
    ];
    assert_eq!(fields(&answer), expected);
    assert_eq!((&answer["user_id"], &answer["movie_id"]), (&json!(user), &json!(movie)));
    check_time(&answer);

    let answer = http.get("/recommendations/health").await.ok();
    let expected = ["cache_stats", "model_loaded", "model_version", "shards", "status", "timestamp"];
    assert_eq!(fields(&answer), expected);
    assert_eq!(answer["shards"], json!({"served": 32, "total": 32}));
    assert_eq!((&answer["status"], &answer["model_loaded"]), (&json!("healthy"), &json!(true)));
    assert_eq!(answer["model_version"], version.as_str());

    let answer = http.get("/recommendations/").await.ok();
    assert_eq!(fields(&answer), ["routes", "service", "version"]);
    assert_eq!(answer["service"], "shoal");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_parameters_are_named_with_their_range() {
    let Shared { cluster, oracle, .. } = shared().await;
    let http = cluster.http();
    let movie = oracle.items()[0];
    for n in ["0", "101", "-1", "99999999999"] {
        let answer = http.get(&format!("/recommendations/recommend/1?n={n}")).await;
        refused(&answer, 400, &["'n'", "from 1 to 100"]);
    }
    for n in ["0", "51"] {
        let answer = http.get(&format!("/recommendations/similar/{movie}?n={n}")).await;
        refused(&answer, 400, &["'n'", "from 1 to 50"]);
    }
    for (path, parts) in [
        ("/recommendations/recommend/1?n=many", ["'n'", "many"]),
        ("/recommendations/recommend/1?rank_by=taste", ["'rank_by'", "taste"]),
        ("/recommendations/recommend/1?complete=perhaps", ["'complete'", "perhaps"]),
        ("/recommendations/recommend/1?limit=5", ["'limit'", "no such parameter"]),
        ("/recommendations/recommend/someone", ["'user_id'", "someone"]),
        ("/recommendations/similar/something", ["'movie_id'", "something"]),
    ] {
        refused(&http.get(path).await, 400, &parts);
    }
    for (body, parts) in [
        ("{", ["the body", "JSON"]),
        ("[]", ["the body", "object"]),
        ("{\"user_id\": 1}", ["'movie_id'", "missing"]),
        ("{\"user_id\": 1.5, \"movie_id\": 1}", ["'user_id'", "1.5"]),
        ("{\"user_id\": 1, \"movie_id\": 1, \"n\": 1}", ["'n'", "no such field"]),
    ] {
        refused(&http.post("/recommendations/predict", body).await, 400, &parts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_404_and_a_wrong_method_405() {
    let Shared { cluster, oracle, .. } = shared().await;
    let http = cluster.http();
    let (user, movie) = (oracle.users()[0], oracle.items()[0]);
    let unknown = UNKNOWN.to_string();
    refused(&http.get(&format!("/recommendations/similar/{UNKNOWN}")).await, 404, &["movie", &unknown]);
    let predict = async |user: i64, movie: i64| {
        http.post("/recommendations/predict", json!({"user_id": user, "movie_id": movie})).await
    };
    refused(&predict(user, UNKNOWN).await, 404, &["movie", &unknown]);
    refused(&predict(UNKNOWN, movie).await, 404, &["user", &unknown]);
    refused(&http.get("/recommendations/nothing").await, 404, &["/recommendations/nothing"]);
    refused(&http.get("/recommendations/predict").await, 405, &["GET"]);
}

/// The value of a metric's line that has every label.
fn metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let of_metric = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    };
    text.lines().find(of_metric)?.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_model_says_so_and_every_role_has_metrics() {
    let settings = vec!["node.metrics_listen=127.0.0.1:0".to_owned()];
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 1, settings }).await;
    let http = cluster.http();
    // A router that has just started has not heard yet that no model is live.
    for _ in 0..1_000 {
        if !http.get("/readyz").await.text.contains("has not heard from a coordinator") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for answer in [
        http.get("/recommendations/recommend/1").await,
        http.get("/recommendations/similar/1").await,
        http.post("/recommendations/predict", json!({"user_id": 1, "movie_id": 1})).await,
    ] {
        refused(&answer, 503, &["no model is live yet", "shoal train"]);
        assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1, "{answer:?}");
    }
    let health = http.get("/recommendations/health").await.ok();
    assert_eq!((&health["status"], &health["model_loaded"]), (&json!("no_model"), &json!(false)));
    assert_eq!(health["model_version"], Value::Null);
    let refusal = cluster.shoal(&["recommend", "1"]).exits_with(4);
    refusal.says(&["no model is live yet"]);

    let folder = folder();
    cluster.import(&generate(folder.path(), SMALL), "items");
    cluster.train(&["--promote"]);
    http.get("/recommendations/recommend/1").await.ok();
    http.get(&format!("/recommendations/recommend/{UNKNOWN}")).await.ok();
    http.get("/recommendations/recommend/1?n=0").await;

    let scraped = http.get("/metrics").await;
    assert!(scraped.headers["content-type"].to_str().unwrap().starts_with("text/plain"), "{scraped:?}");
    let requests = |labels: &[&str]| metric(&scraped.text, "shoal_router_requests_total", labels);
    let recommend = "route=\"recommend\"";
    assert_eq!(requests(&[recommend, "source=\"model\"", "status=\"200\""]), Some(1.0), "{}", scraped.text);
    assert_eq!(requests(&[recommend, "source=\"fallback_popular\"", "status=\"200\""]), Some(1.0));
    assert_eq!(requests(&[recommend, "status=\"400\""]), Some(1.0));
    let buckets = metric(&scraped.text, "shoal_router_request_seconds_bucket", &[recommend, "le=\"+Inf\""]);
    assert!(buckets.is_some(), "{}", scraped.text);
    assert!(metric(&scraped.text, "shoal_router_fanout_attempts_total", &["kind=\"first\""]) > Some(0.0));

    let of_node = async |name: &str| {
        let addresses = std::fs::read(cluster.dir().join(name).join("addresses.json")).unwrap();
        let addresses: Value = serde_json::from_slice(&addresses).unwrap();
        Http::new(&format!("http://{}", addresses["metrics"].as_str().unwrap())).get("/metrics").await.text
    };
    let coordinator = of_node("coordinator-1").await;
    assert_eq!(metric(&coordinator, "shoal_coordinator_raft_leader", &[]), Some(1.0), "{coordinator}");
    assert!(metric(&coordinator, "shoal_coordinator_raft_fsync_seconds_count", &[]) > Some(0.0));
    let worker = of_node("worker-1").await;
    let step = metric(&worker, "shoal_worker_step_seconds_count", &["kind=\"training\""]);
    assert!(step > Some(0.0), "{worker}");
    assert!(
        metric(&worker, "shoal_worker_query_seconds_count", &["kind=\"lookup\""]) > Some(0.0),
        "{worker}"
    );
    assert_eq!(metric(&worker, "shoal_worker_loaded_shards", &[]), Some(32.0), "{worker}");
}
