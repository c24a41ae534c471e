//! The service around the queries: its description, its page, compression, origins, limits.

use std::collections::{BTreeSet, HashMap};

use reqwest::{Client, StatusCode, header};
use serde_json::Value;
use shoal_proto::v1::LoadedVersions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{Cluster, PATIENCE, Setup, V1};

#[tokio::test]
async fn the_description_is_openapi_3_1_and_has_every_route_with_examples() {
    let cluster = Cluster::start(Setup::default()).await;
    let description = cluster.router.get("/openapi.json").await.ok();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let expected = [
        ("/", "get"),
        ("/admin/v1/datasets", "get"),
        ("/admin/v1/datasets/{name}", "get"),
        ("/admin/v1/events", "get"),
        ("/admin/v1/jobs", "get"),
        ("/admin/v1/jobs/import", "post"),
        ("/admin/v1/jobs/training", "post"),
        ("/admin/v1/jobs/{job_id}", "get"),
        ("/admin/v1/jobs/{job_id}/cancel", "post"),
        ("/admin/v1/jobs/{job_id}/events", "get"),
        ("/admin/v1/models", "get"),
        ("/admin/v1/models/rollback", "post"),
        ("/admin/v1/models/{version}", "get"),
        ("/admin/v1/models/{version}/promote", "post"),
        ("/admin/v1/nodes", "get"),
        ("/admin/v1/shards", "get"),
        ("/admin/v1/status", "get"),
        ("/admin/v1/traffic", "get"),
        ("/admin/v1/troubles", "get"),
        ("/health", "get"),
        ("/healthz", "get"),
        ("/metrics", "get"),
        ("/readyz", "get"),
        ("/recommendations/", "get"),
        ("/recommendations/batch", "post"),
        ("/recommendations/health", "get"),
        ("/recommendations/popular", "get"),
        ("/recommendations/predict", "post"),
        ("/recommendations/recommend", "get"),
        ("/recommendations/recommend", "post"),
        ("/recommendations/recommend/{user_id}", "get"),
        ("/recommendations/similar", "get"),
        ("/recommendations/similar/{movie_id}", "get"),
        ("/v1/health", "get"),
        ("/v1/item", "get"),
        ("/v1/items", "get"),
        ("/v1/items/{item_id}", "get"),
        ("/v1/items/{item_id}/similar", "get"),
        ("/v1/popular", "get"),
        ("/v1/predictions", "post"),
        ("/v1/recommendations", "get"),
        ("/v1/recommendations", "post"),
        ("/v1/recommendations/batch", "post"),
        ("/v1/similar", "get"),
        ("/v1/users/{user_id}/ratings", "get"),
        ("/v1/users/{user_id}/recommendations", "get"),
    ];
    let paths = description["paths"].as_object().unwrap();
    let methods = |(path, item): (&String, &Value)| {
        let of_path = item.as_object().unwrap().keys();
        of_path.map(|method| (path.clone(), method.clone())).collect::<Vec<_>>()
    };
    let mut found: Vec<(String, String)> = paths.iter().flat_map(methods).collect();
    found.sort();
    assert_eq!(found, expected.map(|(path, method)| (path.to_owned(), method.to_owned())));
    for (path, method) in expected {
        let operation = &paths[path][method];
        assert!(operation["summary"].is_string(), "{path} has a summary");
        assert!(operation["responses"]["200"].is_object(), "{path} says what it answers");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{path}: {parameter}");
        }
        if let Some(body) = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str()
        {
            let name = body.rsplit('/').next().unwrap();
            assert!(
                !description["components"]["schemas"][name]["example"].is_null(),
                "{name} has an example"
            );
        }
        if operation["tags"][0] != "service" {
            assert!(
                operation["responses"]["400"].is_object() && operation["responses"]["503"].is_object(),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn described_parameters_are_those_that_are_taken() {
    let cluster = Cluster::start(Setup::default()).await;
    let description = cluster.router.get("/openapi.json").await.ok();
    let parameters = |path: &str| -> Vec<(String, Value)> {
        let of = description["paths"][path]["get"]["parameters"].as_array().unwrap();
        let query = of.iter().filter(|parameter| parameter["in"] == "query");
        query.map(|of| (of["name"].as_str().unwrap().to_owned(), of["example"].clone())).collect()
    };
    for (path, called) in [
        ("/recommendations/recommend/{user_id}", "/recommendations/recommend/1?"),
        ("/recommendations/similar/{movie_id}", "/recommendations/similar/1?"),
        ("/recommendations/recommend", "/recommendations/recommend?user_id=1&"),
        ("/recommendations/similar", "/recommendations/similar?movie_id=1&"),
        ("/recommendations/popular", "/recommendations/popular?"),
        ("/v1/users/{user_id}/recommendations", "/v1/users/1/recommendations?"),
        ("/v1/recommendations", "/v1/recommendations?user_id=1&"),
        ("/v1/popular", "/v1/popular?"),
        ("/v1/items", "/v1/items?query=film&"),
        ("/v1/items/{item_id}/similar", "/v1/items/1/similar?"),
        ("/v1/similar", "/v1/similar?item_id=1&"),
    ] {
        let described = parameters(path);
        assert!(described.len() >= 3);
        // Those that are described are those that a refusal lists.
        let refusal = cluster.router.get(&format!("{called}what_is_not_there=1")).await.json();
        let (_, known) = refusal["detail"].as_str().unwrap().split_once("there are '").unwrap();
        let known: BTreeSet<&str> = known.trim_end_matches('\'').split("', '").collect();
        assert_eq!(known, described.iter().map(|(name, _)| &**name).collect(), "{path}");
        for (name, example) in &described {
            let value = match example {
                Value::String(text) => text.clone(),
                Value::Array(values) => values[0].as_str().unwrap().to_owned(),
                Value::Null if name == "cursor" => continue,
                Value::Null => "true".to_owned(),
                other => other.to_string(),
            };
            if !called.contains(&format!("{name}=")) {
                cluster.router.get(&format!("{called}{name}={value}")).await.ok();
            }
        }
    }
}

#[tokio::test]
async fn the_page_comes_from_the_router_alone() {
    let cluster = Cluster::start(Setup::default()).await;
    let page = cluster.router.get("/docs").await;
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(page.text.contains("<title>Shoal"), "{}", page.text);
    let named = |attribute: &str| -> Vec<String> {
        let before = format!("{attribute}=\"");
        let after = page.text.split(&before).skip(1);
        let values = after.map(|rest| rest.split('"').next().unwrap().to_owned());
        values.filter(|value| !value.starts_with("data:")).collect()
    };
    let parts = [named("href"), named("src")].concat();
    assert!(
        parts.iter().any(|part| part.ends_with(".css")) && parts.iter().any(|part| part.ends_with(".js"))
    );
    for part in parts {
        assert!(!part.contains("//"), "{part} is of another place");
        assert_eq!(cluster.router.get(&format!("/{part}")).await.status, StatusCode::OK, "{part}");
    }
    // The address with a slash is the page too, whose parts are named beside it.
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = client.get(format!("http://{}/docs/", cluster.router.http)).send().await.unwrap();
    assert_eq!(answer.headers()[header::LOCATION], "/docs");
}

#[tokio::test]
async fn the_root_leads_to_the_page_and_checks_of_health_have_the_usual_paths() {
    let cluster = Cluster::start(Setup::default()).await;
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let root = format!("http://{}/", cluster.router.http);
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let answer = client.get(&root).header(header::ACCEPT, browser).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers()[header::LOCATION], "dashboard/", "it works below a path of a proxy");
    let answer = cluster.router.get("/dashboard/").await;
    assert_eq!(answer.status, StatusCode::OK, "where it leads is a page");
    let answer = client.get(&root).header(header::ACCEPT, "*/*").send().await.unwrap();
    assert_eq!(answer.headers()[header::VARY], "accept");
    let index: Value = answer.json().await.unwrap();
    assert_eq!(index, cluster.router.get("/recommendations/").await.ok());

    let without_time = |mut health: Value| {
        health["timestamp"] = Value::Null;
        health
    };
    let expected = without_time(cluster.router.get("/recommendations/health").await.ok());
    for path in ["/health", "/healthz", "/readyz"] {
        let mut answer = without_time(cluster.router.get(path).await.ok());
        if path == "/readyz" {
            let fields = answer.as_object_mut().unwrap();
            assert_eq!(
                (fields.remove("ready"), fields.remove("waits_for")),
                (Some(true.into()), Some(Value::Null))
            );
        }
        assert_eq!(answer, expected, "{path}");
        cluster.router.get(&format!("{path}?x=1")).await.refused(StatusCode::BAD_REQUEST, &["'x'"]);
    }
    // A live process that cannot answer queries is alive and not ready.
    let cluster = Cluster::start(Setup { live: "", ..Setup::default() }).await;
    assert_eq!(cluster.router.get("/healthz").await.ok()["status"], "no_model");
    let answer = cluster.router.get("/readyz").await;
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"no_model".into())
    );
    assert!(answer.json()["waits_for"].as_str().unwrap().contains("shoal train --promote"), "{answer:?}");
}

#[tokio::test]
async fn a_router_is_ready_when_workers_have_loaded_everything_once() {
    let cluster = Cluster::start(Setup { live: "", ..Setup::default() }).await;
    let mut whole: HashMap<String, LoadedVersions> = HashMap::new();
    cluster.publish(|metadata| {
        whole = metadata.loaded.clone();
        V1.clone_into(&mut metadata.live_version);
        metadata.loaded.values_mut().for_each(|loaded| loaded.versions.clear());
    });
    let health = cluster.router.healthy("V1", |health| health["model_version"] == V1).await;
    assert_eq!((&health["status"], &health["shards"]["served"]), (&"degraded".into(), &0.into()));
    assert_eq!(cluster.router.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    // One worker of three has loaded.
    cluster.publish(|metadata| {
        let (name, loaded) = whole.iter().next().unwrap();
        metadata.loaded.insert(name.clone(), loaded.clone());
    });
    cluster.router.healthy("some shards", |health| health["shards"]["served"] != 0).await;
    let answer = cluster.router.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let (ready, why) = (&answer.json()["ready"], &answer.json()["waits_for"]);
    assert_eq!(*ready, Value::Bool(false));
    assert!(why.as_str().unwrap().ends_with(&format!("shards of '{V1}' ready")), "{why}");
    // Nobody has said anything, as after an election: who should have the shards is asked, and is not taken for ready.
    cluster.publish(|metadata| metadata.loaded.clear());
    cluster.router.get("/v1/users/1/recommendations").await.ok();
    assert_eq!(cluster.router.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);

    cluster.publish(|metadata| metadata.loaded = whole);
    cluster.router.healthy("all shards", |health| health["status"] == "healthy").await;
    assert_eq!(cluster.router.get("/readyz").await.status, StatusCode::OK);
    // A worker that is lost later makes answers incomplete, not the router unready.
    cluster.publish(|metadata| {
        metadata.loaded.values_mut().take(2).for_each(|loaded| loaded.versions.clear());
    });
    cluster.router.healthy("a lost shard", |health| health["status"] == "degraded").await;
    assert_eq!(cluster.router.get("/readyz").await.status, StatusCode::OK);
}

/// Coordinators have no part in it, and neither have queries, which nobody sends to a router that is left alone.
#[tokio::test]
async fn a_router_that_no_worker_answers_is_not_ready() {
    let mut cluster = Cluster::start(Setup::default()).await;
    cluster.coordinators[0].kill();
    cluster.router.get("/v1/users/1/recommendations").await.ok();
    assert_eq!(cluster.router.get("/readyz").await.status, StatusCode::OK);
    cluster.workers.iter_mut().for_each(|worker| worker.kill());
    let give_up_at = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = cluster.router.get("/readyz").await;
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            let why = answer.json()["waits_for"].as_str().unwrap().to_owned();
            assert!(why.contains("no worker answers this router") && why.contains("worker-0 at "), "{why}");
            break;
        }
        assert!(tokio::time::Instant::now() < give_up_at, "it stays ready: {answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn answers_are_compressed_where_that_is_welcome() {
    let cluster = Cluster::start(Setup::default()).await;
    let url = format!("http://{}/recommendations/recommend/1?n=50", cluster.router.http);
    let client = Client::builder().no_proxy().build().unwrap();
    let plain = client.get(&url).send().await.unwrap();
    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
    let plain = plain.bytes().await.unwrap();
    let packed = client.get(&url).header(header::ACCEPT_ENCODING, "gzip").send().await.unwrap();
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    let packed = packed.bytes().await.unwrap();
    assert_eq!(packed[..2], [0x1f, 0x8b], "it begins as gzip does");
    assert!(packed.len() < plain.len() / 2);
}

#[tokio::test]
async fn pages_of_other_origins_may_call_only_where_that_was_set() {
    let client = Client::builder().no_proxy().build().unwrap();
    let allowed = async |cluster: &Cluster, origin: &str| {
        let url = format!("http://{}/recommendations/health", cluster.router.http);
        let answer = client.get(url).header(header::ORIGIN, origin).send().await.unwrap();
        let allowed = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        allowed.map(|origin| origin.to_str().unwrap().to_owned())
    };
    let off = Cluster::start(Setup::default()).await;
    assert_eq!(allowed(&off, "https://example.org").await, None);
    let some = Cluster::start(Setup { cors_origins: &["https://example.org"], ..Setup::default() }).await;
    assert_eq!(allowed(&some, "https://example.org").await.as_deref(), Some("https://example.org"));
    assert_eq!(allowed(&some, "https://example.com").await, None);
    let any = Cluster::start(Setup { cors_origins: &["*"], ..Setup::default() }).await;
    assert_eq!(allowed(&any, "https://example.com").await.as_deref(), Some("*"));
}

#[tokio::test]
async fn a_page_that_calls_a_router_by_a_strange_name_reads_nothing() {
    let client = Client::builder().no_proxy().build().unwrap();
    let ask = async |cluster: &Cluster, path: &str, host: &str| {
        let url = format!("http://{}{path}", cluster.router.http);
        client.get(url).header(header::HOST, host).send().await.unwrap()
    };
    let cluster =
        Cluster::start(Setup { hosts: &["localhost", "shoal.example.org"], ..Setup::default() }).await;
    for host in ["localhost", "LocalHost:8000", "shoal.example.org:443"] {
        assert_eq!(ask(&cluster, "/v1/health", host).await.status(), StatusCode::OK, "{host}");
    }
    for path in
        ["/v1/health", "/v1/users/1/recommendations", "/recommendations/health", "/docs", "/openapi.json"]
    {
        let answer = ask(&cluster, path, "rebound.example.com").await;
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
        let refusal: serde_json::Value = answer.json().await.unwrap();
        let detail = refusal["detail"].as_str().unwrap();
        assert!(detail.contains("rebound.example.com") && detail.contains("router.hosts"), "{detail}");
    }
    for path in ["/healthz", "/metrics"] {
        assert_eq!(ask(&cluster, path, "10.1.2.3:8000").await.status(), StatusCode::OK, "{path}");
    }
    let any = Cluster::start(Setup::default()).await;
    assert_eq!(ask(&any, "/v1/health", "rebound.example.com").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn headers_beyond_all_measure_are_refused() {
    let cluster = Cluster::start(Setup::default()).await;
    let send = async |headers: String| {
        let mut stream = tokio::net::TcpStream::connect(cluster.router.http).await.unwrap();
        let request = format!(
            "GET /recommendations/health HTTP/1.1\r\nhost: shoal\r\n{headers}connection: close\r\n\r\n"
        );
        // The router may close the connection before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(send("x-one: 1\r\n".to_owned()).await.starts_with("HTTP/1.1 200"));
    let many: String = (0..200).map(|at| format!("x-{at}: 1\r\n")).collect();
    let answer = send(many).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let long = format!("x-long: {}\r\n", "a".repeat(100_000));
    let answer = send(long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    cluster.router.get("/recommendations/health").await.ok();
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_remedy() {
    let cluster = Cluster::start(Setup::default()).await;
    let post = async |body: Vec<u8>| {
        let url = format!("http://{}/v1/recommendations", cluster.router.http);
        let answer = Client::builder().no_proxy().build().unwrap().post(url).body(body).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned())
    };
    let (status, detail) = post(vec![b' '; 300 << 10]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(detail.contains("262144 bytes") && detail.contains("several requests"), "{detail}");
    let (status, detail) = post(b"{\"items\": \"\xff\"}".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("not UTF-8"), "{detail}");
    let (status, detail) = post(br#"{"items": [{"item_id": 1}], "n": 5}"#.to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("'n'") && detail.contains("query string"), "{detail}");
    let answer = cluster.router.get("/v1/items/%FF").await;
    answer.refused(StatusCode::BAD_REQUEST, &["the id in the path", "UTF-8", "%XX"]);
    // What is unknown is said before what is missing: it may have been meant.
    let answer = cluster.router.get("/v1/items?q=toy").await;
    answer.refused(StatusCode::BAD_REQUEST, &["'q'", "there are", "'query'"]);
    cluster.router.get("/v1/items").await.refused(StatusCode::BAD_REQUEST, &["'query'", "missing"]);
    cluster.router.get("/v1/popular?model=ALS").await.refused(StatusCode::BAD_REQUEST, &["'model'"]);
    assert_eq!(
        cluster.router.get("/v1/users/1/recommendations?model=ALS").await.ok()["items"],
        cluster.router.get("/v1/users/1/recommendations?model=als").await.ok()["items"]
    );
}

#[tokio::test]
async fn a_router_that_has_lost_every_shard_is_not_ready() {
    let cluster = Cluster::start(Setup::default()).await;
    cluster.router.healthy("all shards", |health| health["status"] == "healthy").await;
    assert_eq!(cluster.router.get("/readyz").await.status, StatusCode::OK);
    cluster.publish(|metadata| metadata.loaded.values_mut().for_each(|loaded| loaded.versions.clear()));
    cluster.router.healthy("no shard", |health| health["shards"]["served"] == 0).await;
    assert_eq!(cluster.router.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// Whatever refuses says why, in the same form, and browsers are told what the page may do.
#[tokio::test]
async fn every_refusal_has_its_detail_and_every_answer_its_manners() {
    let cluster = Cluster::start(Setup::default()).await;
    let url = |path: &str| format!("http://{}{path}", cluster.router.http);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let user = r#"{"user_ids": [1]}"#;
    let batch = || client.post(url("/v1/recommendations/batch"));
    for (request, status) in [
        (client.get(url("/docs/nothing")), 404),
        (client.get(url("/docs/ui/nothing.js")), 404),
        (client.get(url("/nothing")), 404),
        (client.post(url("/docs")), 405),
        (client.delete(url("/docs/ui/swagger-ui.css")), 405),
        (batch().header("content-encoding", "gzip").body(user), 415),
        (batch().body(r#"{"user_ids": [1], "user_ids": [2]}"#), 400),
        (client.post(url("/v1/predictions")).body(r#"{"user_id": 1, "user_id": 2, "item_id": 3}"#), 400),
        (client.post(url("/v1/predictions")).body(r#"{"user_id": 1, "item_id": 3, "item_id": 3}"#), 400),
    ] {
        let answer = request.send().await.unwrap();
        let said = format!("{answer:?}");
        assert_eq!(answer.status().as_u16(), status, "{said}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{said}");
        let body: Value = answer.json().await.unwrap_or_else(|error| panic!("{error}: {said}"));
        assert!(!body["detail"].as_str().unwrap().is_empty(), "{said}");
    }
    // A body that is said to be a tebibyte is not waited for.
    let mut stream = tokio::net::TcpStream::connect(cluster.router.http).await.unwrap();
    let head = format!(
        "POST /v1/predictions HTTP/1.1\r\nhost: {}\r\ncontent-length: 1099511627776\r\n\r\n",
        cluster.router.http
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1_024];
    let length = tokio::io::AsyncReadExt::read(&mut stream, &mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("detail"), "{answer}");

    let page = cluster.router.get("/docs").await;
    let policy = page.headers["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.headers["x-frame-options"], "DENY");
    // Nothing of the page is against its own policy.
    assert!(!page.text.contains("<script>") && !page.text.contains(" onload="), "{}", page.text);
    let script = cluster.router.get("/docs/page.js").await;
    assert!(script.text.contains("SwaggerUIBundle"), "{script:?}");
    let answer = cluster.router.get("/v1/health").await;
    assert!(!answer.headers.contains_key("content-security-policy"));
}

#[tokio::test]
async fn the_dashboard_is_a_page_of_its_own_parts_under_a_strict_policy() {
    let cluster = Cluster::start(Setup::default()).await;
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = client.get(format!("http://{}/dashboard", cluster.router.http)).send().await.unwrap();
    assert_eq!(answer.headers()[header::LOCATION], "dashboard/");
    let page = cluster.router.get("/dashboard/").await;
    assert_eq!(page.status, StatusCode::OK);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers["cache-control"], "no-cache");
    assert_eq!(page.headers["x-frame-options"], "DENY");
    assert!(!page.text.contains("<script>") && !page.text.contains("<style"), "{}", page.text);
    let parts = page.text.split("=\"./").skip(1).map(|rest| rest.split('"').next().unwrap());
    let (mut bytes, mut kinds) = (0, BTreeSet::new());
    for part in parts {
        let answer = cluster.router.get(&format!("/dashboard/{part}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{part}");
        let kind = part.rsplit('.').next().unwrap();
        let lasts = answer.headers["cache-control"].to_str().unwrap().contains("immutable");
        assert_eq!(lasts, kind != "svg", "{part}");
        (bytes, _) = (bytes + answer.text.len(), kinds.insert(kind));
    }
    assert_eq!(kinds, BTreeSet::from(["css", "js", "svg"]));
    assert!(bytes < 200_000, "{bytes}");
    cluster.router.get("/dashboard/..%2Findex.html").await.refused(StatusCode::NOT_FOUND, &["dashboard"]);
}
