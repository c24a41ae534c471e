//! Several models at once: which one answers, and what answers of neighbours are.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shoal_proto::v1::{Metadata, ServedModel};

use crate::fixture::{
    Cluster, Setup, V1, V2,
    answers::{rating_by_neighbours, rating_of},
    world::{self, Row},
};

const RECOMMEND: &str = "/recommendations/recommend";
const SIMILAR: &str = "/recommendations/similar";

/// V1 of ALS is the default, V2 is item CF.
fn two_models(metadata: &mut Metadata) {
    metadata.versions[0].model = "als".into();
    metadata.versions[1].model = "item_cf".into();
    let served = |model: &str, live: &str| ServedModel {
        model: model.into(),
        live_version: live.into(),
        ..ServedModel::default()
    };
    metadata.served = vec![served("als", V1), served("item_cf", V2)];
    metadata.default_model = "als".into();
    V1.clone_into(&mut metadata.live_version);
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start(Setup { cache_entries: 100, ..Setup::default() }).await;
    cluster.publish(two_models);
    wait(&cluster, "item_cf", V2).await;
    cluster
}

async fn wait(cluster: &Cluster, model: &str, version: &str) {
    for _ in 0..500 {
        let answer = cluster.router.get(&format!("{SIMILAR}/1?model={model}")).await;
        if answer.status == StatusCode::OK && answer.json()["model_version"] == version {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the router never answers by {version} for {model}");
}

async fn get(cluster: &Cluster, path: &str) -> Value {
    cluster.router.get(path).await.ok()
}

/// Movies with their scores, best first.
fn listed(list: &Value, score: &str) -> Vec<(i64, f64)> {
    let movies = list.as_array().unwrap().iter();
    movies.map(|movie| (movie["movie_id"].as_i64().unwrap(), movie[score].as_f64().unwrap())).collect()
}

/// What the user's rated items add up to, best first.
fn by_neighbours(cluster: &Cluster, user: &Row, n: usize) -> Vec<(i64, f64)> {
    let world = &cluster.world;
    let seen = world.seen(user);
    let score = |item: &Row| {
        let parts = seen.iter().map(|row| rating_of(user, *row) * world::similarity(*row, item.row));
        f64::from(parts.sum::<f32>())
    };
    let unseen = world.items.iter().filter(|item| !seen.contains(&item.row));
    let mut all: Vec<(i64, f64)> = unseen.map(|item| (item.number, score(item))).collect();
    all.retain(|entry| entry.1 > 0.0);
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(n);
    all
}

#[tokio::test]
async fn each_model_answers_with_its_own_version() {
    let cluster = cluster().await;
    let user = cluster.world.user(1).clone();
    for (query, version, model) in
        [("", V1, "als"), ("?model=als", V1, "als"), ("?model=item_cf", V2, "item_cf")]
    {
        // Once from the workers and once from the cache, which keeps them apart.
        for source in ["model", "cache"] {
            let answer = get(&cluster, &format!("{RECOMMEND}/1{query}")).await;
            let source = if query == "?model=als" { "cache" } else { source };
            assert_eq!((&answer["model_version"], &answer["source"]), (&version.into(), &source.into()));
            for movie in answer["recommendations"].as_array().unwrap() {
                assert_eq!(movie["model"], model);
            }
        }
        let similar = get(&cluster, &format!("{SIMILAR}/3{query}")).await;
        assert_eq!(
            (&similar["model_version"], &similar["similar_movies"][0]["model"]),
            (&version.into(), &model.into())
        );
        let (path, body) = (format!("/recommendations/batch{query}"), r#"{"user_ids": [1, 2]}"#);
        let batch = cluster.router.send(Method::POST, &path, Some(body)).await.ok();
        assert_eq!(batch["model_version"], version);
        let single = get(&cluster, &format!("{RECOMMEND}/1{query}")).await;
        assert_eq!(batch["results"][0]["recommendations"], single["recommendations"]);
    }
    let answer = get(&cluster, &format!("{RECOMMEND}/1?model=item_cf&n=20")).await;
    assert_eq!(listed(&answer["recommendations"], "score"), by_neighbours(&cluster, &user, 20));
    // Nobody is known of whom all ratings are held out.
    let held_out = get(&cluster, &format!("{RECOMMEND}/7?model=item_cf")).await;
    assert_eq!(held_out["source"], "fallback_popular");
    assert_eq!(held_out["recommendations"][0]["model"], "popularity");
}

#[tokio::test]
async fn neighbours_explain_lists_and_are_what_is_similar() {
    let cluster = cluster().await;
    let world = &cluster.world;
    let user = world.user(1);
    let seen = world.seen(user);
    let answer = get(&cluster, &format!("{RECOMMEND}/1?model=item_cf&n=5&explain=true")).await;
    for movie in answer["recommendations"].as_array().unwrap() {
        let item = world.item(movie["movie_id"].as_i64().unwrap());
        let parts = movie["explanation"]["items"].as_array().unwrap();
        let adds = |row: &u32| f64::from(rating_of(user, *row) * world::similarity(*row, item.row));
        let mut expected: Vec<f64> = seen.iter().map(adds).filter(|part| *part > 0.0).collect();
        expected.sort_by(|a, b| b.total_cmp(a));
        let sum: f64 = expected.iter().sum();
        assert_eq!((movie["explanation"]["score"].as_f64(), movie["score"].as_f64()), (Some(sum), Some(sum)));
        expected.truncate(5);
        let named: Vec<f64> = parts.iter().map(|part| part["contribution"].as_f64().unwrap()).collect();
        assert_eq!(named, expected, "the five that add most");
        for part in parts {
            let rated = world.item(part["movie_id"].as_i64().unwrap());
            assert!(seen.contains(&rated.row) && world::similarity(rated.row, item.row) > 0.0, "{part}");
            assert_eq!(part["title"], world::title(rated));
        }
    }
    let item = world.item(3);
    let similar = get(&cluster, &format!("{SIMILAR}/3?model=item_cf&n=50")).await;
    let of_row = |row: u32| world.items.iter().find(|item| item.row == row).unwrap().number;
    let mut expected: Vec<(i64, f64)> =
        world.neighbours(item).into_iter().map(|(like, row)| (of_row(row), f64::from(like))).collect();
    expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    assert_eq!(listed(&similar["similar_movies"], "similarity"), expected);

    // A session's ratings take the place of a user's, and nothing is solved.
    let rated: Vec<Value> =
        seen.iter().map(|row| json!({"movie_id": of_row(*row), "rating": rating_of(user, *row)})).collect();
    let body = json!({ "items": rated }).to_string();
    let session =
        cluster.router.send(Method::POST, &format!("{RECOMMEND}?model=item_cf&n=20"), Some(&body)).await.ok();
    assert_eq!(listed(&session["recommendations"], "score"), by_neighbours(&cluster, user, 20));
    assert_eq!((&session["model_version"], &session["user_id"]), (&V2.into(), &Value::Null));
}

#[tokio::test]
async fn a_predicted_rating_says_when_the_model_had_nothing() {
    let cluster = cluster().await;
    let world = &cluster.world;
    let user = world.user(1);
    let seen = world.seen(user);
    let (mut by_model, mut by_baseline) = (0, 0);
    for item in &world.items {
        let body = json!({"user_id": 1, "movie_id": item.number}).to_string();
        let path = "/recommendations/predict?model=item_cf";
        let answer = cluster.router.send(Method::POST, path, Some(&body)).await.ok();
        let rated: Vec<(u32, f32)> = seen.iter().map(|row| (*row, rating_of(user, *row))).collect();
        let predicted = rating_by_neighbours(&rated, item);
        let known = predicted.is_some();
        let bias = world::rating_bias(V2, "user", user);
        let expected = if let Some(rating) = predicted {
            by_model += 1;
            bias + rating
        } else {
            by_baseline += 1;
            world::RATING_MEAN as f32 + bias + world::rating_bias(V2, "item", item)
        };
        let found = answer["predicted_rating"].as_f64().unwrap() as f32;
        assert_eq!(found, expected.clamp(0.5, 5.0), "{answer}");
        assert_eq!(answer["source"], if known { "model" } else { "baseline" });
    }
    assert!(by_model > 0 && by_baseline > 0);
}

#[tokio::test]
async fn a_model_that_is_not_live_is_refused_with_the_remedy() {
    let cluster = cluster().await;
    let routes = [format!("{RECOMMEND}/1"), format!("{SIMILAR}/3")];
    for route in &routes {
        // Tables show the registry's name, which is as good.
        let long = cluster.router.get(&format!("{route}?model=content_based")).await;
        let answer = cluster.router.get(&format!("{route}?model=content")).await;
        assert_eq!((long.status, &long.text), (answer.status, &answer.text));
        let says = ["no version of model", "content", "shoal train --models", "shoal models promote"];
        answer.refused(StatusCode::SERVICE_UNAVAILABLE, &says);
        let answer = cluster.router.get(&format!("{route}?model=hybrid")).await;
        answer.refused(StatusCode::SERVICE_UNAVAILABLE, &["no version of model", "hybrid"]);
        for wrong in ["", "spark", "al%20s"] {
            let answer = cluster.router.get(&format!("{route}?model={wrong}")).await;
            answer.refused(StatusCode::BAD_REQUEST, &["'model'"]);
        }
    }

    // Another model becomes the default: what was kept is of no use any more.
    cluster.publish(|metadata| {
        V2.clone_into(&mut metadata.live_version);
        metadata.default_model = "item_cf".into();
    });
    cluster.router.serves(Some(V2)).await;
    let answer = get(&cluster, &format!("{RECOMMEND}/1")).await;
    assert_eq!(
        (&answer["model_version"], &answer["recommendations"][0]["model"]),
        (&V2.into(), &"item_cf".into())
    );
    let answer = get(&cluster, &format!("{RECOMMEND}/1?model=als")).await;
    assert_eq!((&answer["model_version"], &answer["source"]), (&V1.into(), &"model".into()));

    // Before anything is live it is not the model's fault.
    cluster.publish(|metadata| {
        metadata.live_version.clear();
        metadata.default_model.clear();
        metadata.served.clear();
    });
    cluster.router.serves(None).await;
    let answer = cluster.router.get(&format!("{RECOMMEND}/1?model=item_cf")).await;
    answer.refused(StatusCode::SERVICE_UNAVAILABLE, &["no model is live yet"]);
}

#[tokio::test]
async fn a_model_of_a_later_release_is_refused_and_never_asked_as_another() {
    let cluster = cluster().await;
    // V2 becomes one of a model that this release has not; then the default model is that one.
    let unknown = |metadata: &mut Metadata| {
        metadata.versions[1].model = "of_tomorrow".into();
        metadata.served[1].model = "of_tomorrow".into();
    };
    cluster.publish(unknown);
    for _ in 0..500 {
        if cluster.router.get(&format!("{SIMILAR}/3?model=item_cf")).await.status != StatusCode::OK {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let answer = cluster.router.get(&format!("{SIMILAR}/3?model=item_cf")).await;
    answer.refused(StatusCode::SERVICE_UNAVAILABLE, &["no version of model 'item_cf' is live"]);
    assert_eq!(get(&cluster, &format!("{SIMILAR}/3")).await["model_version"], V1);

    cluster.take_received();
    cluster.publish(|metadata| {
        V2.clone_into(&mut metadata.live_version);
        V1.clone_into(&mut metadata.previous_version);
        metadata.default_model = "of_tomorrow".into();
    });
    let health = cluster.router.healthy("V2", |health| health["model_version"] == V2).await;
    assert_eq!((&health["status"], &health["model_loaded"]), (&json!("degraded"), &json!(false)));
    assert_eq!(cluster.router.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let says = [V2, "'of_tomorrow'", "update the router"];
    for path in [format!("{RECOMMEND}/1"), format!("{SIMILAR}/3"), "/v1/items/3".to_owned()] {
        let answer = cluster.router.get(&path).await;
        answer.refused(StatusCode::SERVICE_UNAVAILABLE, &says);
        assert!(answer.retry_after_seconds() >= 1);
    }
    assert!(cluster.take_received().is_empty(), "no worker is asked");
    // The models that it knows still answer.
    let answer = get(&cluster, &format!("{SIMILAR}/3?model=als")).await;
    assert_eq!(answer["model_version"], V1);
}
