//! The HTTP contract: every route, every field, every refusal.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shoal_common::ids::{EntityId, IdKind};
use shoal_proto::v1::{AlsParameters, LoadedVersions, ModelParameters, ObjectiveChoice, model_parameters};

use crate::fixture::{
    Answer, Cluster, Setup, V1,
    world::{self, HELD_OUT_USER, ITEMS, Scored, World},
};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// An id as JSON has it.
fn id(id: &EntityId) -> Value {
    match id {
        EntityId::Integer(value) => json!(value),
        EntityId::Text(text) => json!(&**text),
    }
}

fn assert_timestamp(answer: &Value) {
    let timestamp = answer["timestamp"].as_str().unwrap();
    let shape: String = timestamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

/// The listed ids, scores and ranks are exactly these.
fn assert_list(list: &Value, score: &str, expected: &[Scored]) {
    let found: Vec<(Value, f64, u64)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|movie| {
            (movie["movie_id"].clone(), movie[score].as_f64().unwrap(), movie["rank"].as_u64().unwrap())
        })
        .collect();
    let expected: Vec<(Value, f64, u64)> =
        (1..).zip(expected).map(|(rank, (score, item))| (id(item), shortest(*score), rank)).collect();
    assert_eq!(found, expected);
}

/// The number that the shortest text of an f32 stands for.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap()
}

/// Every movie carries its own title and genres.
fn assert_described(world: &World, list: &Value) {
    for movie in list.as_array().unwrap() {
        let item = world.items.iter().find(|item| id(&item.id) == movie["movie_id"]).unwrap();
        assert_eq!(movie["title"], world::title(item));
        assert_eq!(movie["genres"], json!(world::genres(item)));
    }
}

fn assert_all_shards(answer: &Value) {
    assert_eq!(answer["shards"], json!({ "total": world::SHARDS, "ok": world::SHARDS, "failed": 0 }));
}

#[tokio::test]
async fn recommend_answers_with_every_field_of_the_contract() {
    let cluster = Cluster::start(Setup::default()).await;
    let (world, user) = (&cluster.world, cluster.world.user(1));
    for (query, n) in [("", 10), ("?n=1", 1), ("?n=37", 37), ("?n=100", 100), ("?n=10&rank_by=ranking", 10)] {
        let answer = cluster.router.get(&format!("/recommendations/recommend/1{query}")).await;
        assert_eq!(answer.headers["content-type"], "application/json");
        let answer = answer.ok();
        let mut fields =
            vec!["model_version", "ranked_by", "recommendations", "shards", "source", "timestamp", "user_id"];
        if n < 48 {
            fields.insert(1, "next_cursor");
        }
        assert_eq!(keys(&answer), fields);
        assert_eq!((&answer["user_id"], &answer["model_version"]), (&json!(1), &json!(V1)));
        assert_eq!((&answer["source"], &answer["ranked_by"]), (&json!("model"), &json!("ranking")));
        assert_timestamp(&answer);
        assert_all_shards(&answer);
        let list = &answer["recommendations"];
        assert_list(list, "score", &world.recommended(V1, user, n));
        assert_described(world, list);
        for movie in list.as_array().unwrap() {
            assert_eq!(
                keys(movie),
                ["genres", "model", "movie_id", "predicted_rating", "rank", "score", "title"]
            );
            let item = world.item(movie["movie_id"].as_i64().unwrap());
            let rating = world::predicted(V1, user, item).clamp(0.5, 5.0);
            assert_eq!(movie["predicted_rating"].as_f64(), Some(shortest(rating)));
        }
    }
}

#[tokio::test]
async fn rank_by_rating_orders_by_the_unclamped_prediction() {
    let cluster = Cluster::start(Setup::default()).await;
    let (world, user) = (&cluster.world, cluster.world.user(3));
    let answer = cluster.router.get("/recommendations/recommend/3?n=40&rank_by=rating").await.ok();
    let expected = world.best(40, &world.seen(user), |item| world::predicted(V1, user, item));
    assert!(expected[0].0 > 5.0, "the case has predictions beyond the scale");
    assert_list(&answer["recommendations"], "score", &expected);
    assert_eq!(answer["recommendations"][0]["predicted_rating"], 5.0);
    assert_eq!(answer["ranked_by"], "rating");
}

#[tokio::test]
async fn unknown_users_get_what_is_popular() {
    let cluster = Cluster::start(Setup::default()).await;
    let popular = |without: &[u32]| cluster.world.best(10, without, world::popularity);
    let answer = cluster.router.get("/recommendations/recommend/99999").await.ok();
    assert_eq!(answer["source"], "fallback_popular");
    assert_eq!((&answer["user_id"], &answer["ranked_by"]), (&json!(99_999), &json!("popularity")));
    assert_list(&answer["recommendations"], "score", &popular(&[]));
    assert_eq!(answer["recommendations"][0]["predicted_rating"], Value::Null);
    assert_all_shards(&answer);
    // Known by what they have seen only.
    let answer = cluster.router.get(&format!("/recommendations/recommend/{HELD_OUT_USER}")).await.ok();
    assert_eq!(answer["source"], "fallback_popular");
    let seen = cluster.world.seen(cluster.world.user(HELD_OUT_USER));
    assert_list(&answer["recommendations"], "score", &popular(&seen));
}

#[tokio::test]
async fn predict_takes_ids_as_numbers_or_strings() {
    let cluster = Cluster::start(Setup::default()).await;
    let (user, item) = (cluster.world.user(2), cluster.world.item(33));
    for body in [r#"{"user_id":2,"movie_id":33}"#, r#" {"movie_id": "33", "user_id": "2"} "#] {
        let answer = cluster.router.predict(body).await.ok();
        let fields = [
            "genres",
            "model_version",
            "movie_id",
            "predicted_rating",
            "source",
            "timestamp",
            "title",
            "user_id",
        ];
        assert_eq!(keys(&answer), fields);
        assert_eq!((&answer["user_id"], &answer["movie_id"]), (&json!(2), &json!(33)));
        assert_eq!((&answer["title"], &answer["model_version"]), (&json!(world::title(item)), &json!(V1)));
        assert_eq!(answer["genres"], json!(world::genres(item)));
        let rating = world::predicted(V1, user, item).clamp(0.5, 5.0);
        assert_eq!(answer["predicted_rating"].as_f64(), Some(shortest(rating)));
        assert_timestamp(&answer);
    }
}

#[tokio::test]
async fn similar_lists_by_cosine_and_never_the_movie_itself() {
    let cluster = Cluster::start(Setup::default()).await;
    let (world, movie) = (&cluster.world, cluster.world.item(5));
    let vector = world::ranking_vector(V1, "item", movie);
    for (query, n) in [("", 10), ("?n=1", 1), ("?n=50", 50)] {
        let answer = cluster.router.get(&format!("/recommendations/similar/5{query}")).await.ok();
        assert_eq!(keys(&answer), ["model_version", "movie_id", "shards", "similar_movies", "timestamp"]);
        assert_eq!((&answer["movie_id"], &answer["model_version"]), (&json!(5), &json!(V1)));
        assert_timestamp(&answer);
        assert_all_shards(&answer);
        let expected = world
            .best(n, &[movie.row], |item| world::cosine(&vector, &world::ranking_vector(V1, "item", item)));
        let list = &answer["similar_movies"];
        assert_list(list, "similarity", &expected);
        assert_described(world, list);
        assert_eq!(keys(&list[0]), ["genres", "model", "movie_id", "rank", "similarity", "title"]);
    }
}

#[tokio::test]
async fn health_tells_versions_and_shards() {
    let cluster = Cluster::start(Setup { replicas: 1, workers: 2, ..Setup::default() }).await;
    let total = 2 * world::SHARDS;
    let health = cluster.router.get("/recommendations/health").await.ok();
    let fields = ["cache_stats", "model_loaded", "model_version", "shards", "status", "timestamp"];
    assert_eq!(keys(&health), fields);
    let cache = ["evictions", "hits", "max_size", "misses", "size", "ttl_hours"];
    assert_eq!(keys(&health["cache_stats"]), cache);
    assert_eq!((&health["status"], &health["model_loaded"]), (&json!("healthy"), &json!(true)));
    assert_eq!((&health["model_version"], &health["shards"]["total"]), (&json!(V1), &json!(total)));
    assert_eq!(health["shards"]["served"], total);
    assert_timestamp(&health);
    cluster.publish(|metadata| {
        metadata.loaded.insert("worker-1".to_owned(), LoadedVersions::default());
    });
    let health = cluster.router.healthy("half of it", |health| health["status"] == "degraded").await;
    assert_eq!((&health["shards"]["served"], &health["model_loaded"]), (&json!(total / 2), &json!(true)));
}

#[tokio::test]
async fn the_index_lists_the_routes_and_metrics_are_prometheus_text() {
    let cluster = Cluster::start(Setup::default()).await;
    for path in ["/recommendations/", "/recommendations"] {
        let index = cluster.router.get(path).await.ok();
        assert_eq!(keys(&index), ["routes", "service", "version"]);
        assert_eq!(index["service"], "shoal");
        let routes = index["routes"].to_string();
        for route in ["recommend/{user_id}", "similar/{movie_id}", "predict", "health", "metrics"] {
            assert!(routes.contains(route), "'{route}' is missing in {routes}");
        }
    }
    cluster.router.get("/recommendations/recommend/1").await.ok();
    cluster.router.get("/recommendations/recommend/99999").await.ok();
    cluster.router.get("/no/such/route/17").await;
    let metrics = cluster.router.get("/metrics").await;
    assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    for series in [
        r#"shoal_router_requests_total{route="recommend",source="model",status="200"}"#,
        r#"shoal_router_requests_total{route="recommend",source="fallback_popular",status="200"}"#,
        r#"shoal_router_requests_total{route="other",source="",status="404"}"#,
        r#"shoal_router_fanout_attempts_total{kind="first"}"#,
    ] {
        assert!(metrics.text.contains(series), "{series} is missing in:\n{}", metrics.text);
    }
}

#[tokio::test]
async fn every_wrong_parameter_is_named_with_its_range() {
    let cluster = Cluster::start(Setup::default()).await;
    let (recommend, similar) = ("/recommendations/recommend/1", "/recommendations/similar/1");
    let cases: &[(&str, &str, &[&str])] = &[
        (recommend, "n=0", &["'n'", "it is 0", "from 1 to 100"]),
        (recommend, "n=101", &["'n'", "it is 101", "from 1 to 100"]),
        (recommend, "n=-3", &["'n'", "it is -3", "from 1 to 100"]),
        (recommend, "n=99999999999", &["'n'", "99999999999", "from 1 to 100"]),
        (recommend, "n=99999999999999999999", &["'n'", "from 1 to 100"]),
        (recommend, "n=ten", &["'n'", "'ten'", "from 1 to 100"]),
        (recommend, "n=", &["'n'", "from 1 to 100"]),
        (recommend, "n=5&n=6", &["'n'", "twice"]),
        (recommend, "rank_by=age", &["'rank_by'", "'age'", "'ranking'", "'rating'"]),
        (recommend, "complete=perhaps", &["'complete'", "'perhaps'", "true", "false"]),
        (recommend, "limit=5", &["'limit'", "no such parameter", "'allow_ids', ", "'n', ", "'year_min'"]),
        (recommend, "N=5", &["'N'", "no such parameter"]),
        (similar, "n=0", &["'n'", "from 1 to 50"]),
        (similar, "n=51", &["'n'", "it is 51", "from 1 to 50"]),
        (similar, "n=x", &["'n'", "'x'", "from 1 to 50"]),
        (similar, "rank_by=rating", &["'rank_by'", "there are 'complete', 'model', 'n', 'timeout_ms'"]),
        (recommend, "year_min=1990&year_min=1991", &["'year_min'", "twice"]),
        (recommend, "genres=%22Comedy", &["'genres'", "quotation mark"]),
        (recommend, "exclude_ids=%22a%22b", &["'exclude_ids'", "quotation mark"]),
        ("/recommendations/health", "verbose=1", &["'verbose'", "there are none"]),
        ("/recommendations/recommend", "n=5", &["'user_id'", "missing"]),
        ("/recommendations/similar", "n=5", &["'movie_id'", "missing"]),
        ("/recommendations/", "page=2", &["'page'"]),
        ("/recommendations/recommend/one", "", &["'user_id'", "'one'"]),
        ("/recommendations/recommend/1.5", "", &["'user_id'", "'1.5'"]),
        ("/recommendations/recommend/99999999999999999999", "", &["'user_id'", "too large"]),
        ("/recommendations/similar/tt0114709", "", &["'movie_id'", "'tt0114709'"]),
        ("/recommendations/recommend/%ff", "", &[]),
    ];
    for (path, query, parts) in cases {
        let separator = if query.is_empty() { "" } else { "?" };
        let answer = cluster.router.get(&format!("{path}{separator}{query}")).await;
        answer.refused(StatusCode::BAD_REQUEST, parts);
    }
}

#[tokio::test]
async fn every_wrong_body_is_refused() {
    let cluster = Cluster::start(Setup::default()).await;
    let bad: &[(&str, &[&str])] = &[
        ("", &["not JSON"]),
        ("{", &["not JSON"]),
        ("[1, 50]", &["object", "user_id", "movie_id"]),
        (r#"{"user_id":1}"#, &["'movie_id'", "missing"]),
        (r#"{"movie_id":1}"#, &["'user_id'", "missing"]),
        (r#"{"user_id":1.5,"movie_id":1}"#, &["'user_id'", "1.5"]),
        (
            r#"{"user_id":99999999999999999999,"movie_id":1}"#,
            &["'user_id'", "99999999999999999999 is too large"],
        ),
        (
            r#"{"user_id":1,"movie_id":-9223372036854775809}"#,
            &["'movie_id'", "-9223372036854775809 is too large"],
        ),
        (r#"{"user_id":1e3,"movie_id":1}"#, &["'user_id'", "1e3 is not a whole number"]),
        (r#"{"user_id":[1],"movie_id":1}"#, &["'user_id'", "number or a string"]),
        (r#"{"user_id":1,"movie_id":1,"user_id":2}"#, &["'user_id'", "twice"]),
        (r#"{"user_id":true,"movie_id":1}"#, &["'user_id'", "number or a string"]),
        (r#"{"user_id":1,"movie_id":null}"#, &["'movie_id'", "number or a string"]),
        (r#"{"user_id":"one","movie_id":1}"#, &["'user_id'", "'one'"]),
        (r#"{"user_id":1,"movie_id":1,"n":3}"#, &["'n'", "no such field", "there are 'user_id', 'movie_id'"]),
    ];
    for (body, parts) in bad {
        cluster.router.predict(body).await.refused(StatusCode::BAD_REQUEST, parts);
    }
    let path = "/recommendations/predict?user_id=1";
    let answer = cluster.router.send(Method::POST, path, Some(r#"{"user_id":1,"movie_id":1}"#)).await;
    answer.refused(StatusCode::BAD_REQUEST, &["'user_id'", "no such parameter"]);
    let large = format!(r#"{{"user_id":1,"movie_id":"{}"}}"#, "5".repeat(1 << 20));
    cluster.router.predict(&large).await.refused(StatusCode::PAYLOAD_TOO_LARGE, &[]);
}

#[tokio::test]
async fn what_is_not_there_is_404_and_wrong_methods_are_405() {
    let cluster = Cluster::start(Setup::default()).await;
    let unknown = ITEMS + 1;
    let router = &cluster.router;
    let movie = format!("movie {unknown}");
    router
        .get(&format!("/recommendations/similar/{unknown}"))
        .await
        .refused(StatusCode::NOT_FOUND, &[&movie]);
    let body = format!(r#"{{"user_id":1,"movie_id":{unknown}}}"#);
    router.predict(&body).await.refused(StatusCode::NOT_FOUND, &[&movie]);
    for user in [99_999, HELD_OUT_USER] {
        let body = format!(r#"{{"user_id":{user},"movie_id":1}}"#);
        router.predict(&body).await.refused(StatusCode::NOT_FOUND, &[&format!("user {user}")]);
    }
    for path in ["/recommend/1", "/recommendations/recommend/", "/recommendations/recommend/1/2"] {
        router.get(path).await.refused(StatusCode::NOT_FOUND, &[path, "GET /recommendations/"]);
    }
    let wrong = [
        (Method::GET, "/recommendations/predict", "POST"),
        (Method::POST, "/recommendations/health", "GET,HEAD"),
        (Method::DELETE, "/recommendations/similar/1", "GET,HEAD"),
        (Method::POST, "/metrics", "GET,HEAD"),
    ];
    for (method, path, allowed) in wrong {
        let answer = router.send(method.clone(), path, None).await;
        answer.refused(StatusCode::METHOD_NOT_ALLOWED, &[path, method.as_str()]);
        assert_eq!(answer.headers["allow"], allowed);
    }
}

#[tokio::test]
async fn without_a_model_queries_are_told_to_come_back() {
    let cluster = Cluster::start(Setup { live: "", ..Setup::default() }).await;
    let health = cluster.router.get("/recommendations/health").await.ok();
    assert_eq!((&health["status"], &health["model_loaded"]), (&json!("no_model"), &json!(false)));
    assert_eq!(health["model_version"], Value::Null);
    let answers: [Answer; 3] = [
        cluster.router.get("/recommendations/recommend/1").await,
        cluster.router.get("/recommendations/similar/1").await,
        cluster.router.predict(r#"{"user_id":1,"movie_id":1}"#).await,
    ];
    for answer in answers {
        answer.refused(StatusCode::SERVICE_UNAVAILABLE, &["no model", "shoal models promote"]);
        assert!(answer.retry_after_seconds() >= 1);
    }
}

#[tokio::test]
async fn text_ids_travel_through_paths_bodies_and_answers() {
    let cluster = Cluster::start(Setup { kind: IdKind::Text, ..Setup::default() }).await;
    let world = &cluster.world;
    let (user, item) = (world.user(4), world.item(9));
    let answer = cluster.router.get("/recommendations/recommend/user%20%234%2F%C3%A9?n=20").await.ok();
    assert_eq!((&answer["user_id"], &answer["source"]), (&id(&user.id), &json!("model")));
    assert_list(&answer["recommendations"], "score", &world.recommended(V1, user, 20));
    let body = json!({ "user_id": id(&user.id), "movie_id": id(&item.id) }).to_string();
    assert_eq!(cluster.router.predict(&body).await.ok()["movie_id"], id(&item.id));
    // A number is the text of its digits, which nobody is called here.
    let answer = cluster.router.predict(r#"{"user_id":4,"movie_id":9}"#).await;
    answer.refused(StatusCode::NOT_FOUND, &["movie 9"]);
}

#[tokio::test]
async fn a_version_without_ratings_ranks_but_does_not_predict() {
    let cluster = Cluster::start(Setup::default()).await;
    cluster.workers.iter().for_each(|worker| worker.behave(|behaviour| behaviour.lacks.rating = true));
    cluster.publish(|metadata| {
        let als = AlsParameters { objective: ObjectiveChoice::Implicit.into(), ..AlsParameters::default() };
        let model = Some(model_parameters::Model::Als(als));
        metadata.versions[0].model_parameters = Some(ModelParameters { split: None, model });
    });
    let answer = cluster.router.get("/recommendations/recommend/1").await.ok();
    let expected = cluster.world.recommended(V1, cluster.world.user(1), 10);
    assert_list(&answer["recommendations"], "score", &expected);
    assert_eq!(answer["recommendations"][0]["predicted_rating"], Value::Null);
    let answer = cluster.router.get("/recommendations/recommend/1?rank_by=rating").await;
    answer.refused(StatusCode::BAD_REQUEST, &["'rank_by'", "'ranking'", "--objective both"]);
    let answer = cluster.router.predict(r#"{"user_id":1,"movie_id":1}"#).await;
    answer.refused(StatusCode::BAD_REQUEST, &["explicit objective", "--objective both"]);
}

#[tokio::test]
async fn a_version_of_ratings_alone_ranks_by_them_whatever_it_is_asked_to() {
    let cluster = Cluster::start(Setup::default()).await;
    cluster.workers.iter().for_each(|worker| worker.behave(|behaviour| behaviour.lacks.ranking = true));
    let (world, user) = (&cluster.world, cluster.world.user(3));
    let expected = world.best(10, &world.seen(user), |item| world::predicted(V1, user, item));
    for query in ["", "?rank_by=ranking", "?rank_by=rating"] {
        let answer = cluster.router.get(&format!("/recommendations/recommend/3{query}")).await.ok();
        assert_eq!(answer["ranked_by"], "rating", "{query}");
        assert_list(&answer["recommendations"], "score", &expected);
        let body = Some(r#"{"user_ids":[3]}"#);
        let batch =
            cluster.router.send(Method::POST, &format!("/recommendations/batch{query}"), body).await.ok();
        assert_eq!(batch["results"][0]["ranked_by"], "rating");
        assert_list(&batch["results"][0]["recommendations"], "score", &expected);
    }
}

#[tokio::test]
async fn a_request_has_an_id_its_own_or_a_new_one() {
    let cluster = Cluster::start(Setup::default()).await;
    let drawn = cluster.router.get("/recommendations/health").await.headers["x-request-id"].clone();
    assert!(!drawn.is_empty());
    assert_ne!(drawn, cluster.router.get("/recommendations/health").await.headers["x-request-id"]);
    let url = format!("http://{}/no/route", cluster.router.http);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(url).header("x-request-id", "mine-17").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "mine-17");
}
