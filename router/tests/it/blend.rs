//! Answers of a blend, and ratings from profiles: what workers are asked with, and what is made of what they say.

use reqwest::Method;
use serde_json::{Value, json};
use shoal_proto::v1::{
    AlsParameters, HybridModel, HybridSource, Metadata, ModelParameters, ModelVersion, ObjectiveChoice,
    ServedModel, model_parameters,
};

use crate::fixture::{
    Cluster, Setup, V1, V2,
    answers::{rating_by_neighbours, rating_by_profile, rating_of},
    world::{self, BLEND_WEIGHTS, RATING_MEAN, Row},
};

const RECOMMEND: &str = "/recommendations/recommend";
const PREDICT: &str = "/recommendations/predict";
/// A version that only blends name.
const PART: &str = "als_model_v0";
/// By how much a cosine of 1 raises a rating that a profile predicts.
pub(crate) const RATING_SLOPE: f64 = 0.75;
/// What its ratings start from.
const PART_MEAN: f64 = 1.25;

/// V1 of ALS is the default, V2 of another model is live too; a blend has an ALS version that nobody serves.
fn served(metadata: &mut Metadata, model: &str) {
    let live = |model: &str, live: &str| ServedModel {
        model: model.into(),
        live_version: live.into(),
        ..ServedModel::default()
    };
    let sources = ["als", "item_cf", "content_based", "popularity"].into_iter().zip(BLEND_WEIGHTS);
    let sources = sources.map(|(model, weight)| HybridSource {
        model: model.into(),
        version: if model == "als" { PART.into() } else { String::new() },
        weight: f64::from(weight),
        ..HybridSource::default()
    });
    let version = &mut metadata.versions[1];
    model.clone_into(&mut version.model);
    version.rating_slope = if model == "content_based" { RATING_SLOPE } else { 0.0 };
    version.hybrid =
        (model == "hybrid").then(|| HybridModel { sources: sources.collect(), ..HybridModel::default() });
    metadata.components = vec![ModelVersion {
        name: PART.into(),
        model: "als".into(),
        rating_mean: PART_MEAN,
        model_parameters: Some(ModelParameters {
            split: None,
            model: Some(model_parameters::Model::Als(AlsParameters {
                objective: ObjectiveChoice::Both.into(),
                ..AlsParameters::default()
            })),
        }),
        ..ModelVersion::default()
    }];
    metadata.served = vec![live("als", V1), live(model, V2)];
    metadata.default_model = "als".into();
}

/// The second version is of this model, which clients call by this name.
pub(crate) async fn cluster(model: &str, name: &str) -> Cluster {
    let cluster = Cluster::start(Setup { cache_entries: 100, ..Setup::default() }).await;
    cluster.publish(|metadata| served(metadata, model));
    for _ in 0..500 {
        let answer = cluster.router.get(&format!("/recommendations/similar/1?model={name}")).await;
        if answer.status == reqwest::StatusCode::OK {
            return cluster;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the router never answers by {name}");
}

pub(crate) async fn get(cluster: &Cluster, path: &str) -> Value {
    cluster.router.get(path).await.ok()
}

pub(crate) async fn post(cluster: &Cluster, path: &str, body: &Value) -> Value {
    cluster.router.send(Method::POST, path, Some(&body.to_string())).await.ok()
}

pub(crate) fn listed(list: &Value, score: &str) -> Vec<(i64, f32)> {
    let movies = list.as_array().unwrap().iter();
    movies.map(|movie| (movie["movie_id"].as_i64().unwrap(), movie[score].as_f64().unwrap() as f32)).collect()
}

/// As the workers have them.
fn levels(cluster: &Cluster, user: &Row, item: &Row) -> [f32; 4] {
    let vector = world::ranking_vector(V2, "user", user);
    let product = world::dot(&vector, &world::ranking_vector(V2, "item", item));
    let seen = cluster.world.seen(user).into_iter();
    let rated: f32 = seen.map(|row| rating_of(user, row) * world::similarity(row, item.row)).sum();
    [(product + 64.0) / 128.0, rated / 64.0, rated / 128.0, world::popularity(item) / 8.0]
}

/// The user's unseen items by the blend, best first.
fn blended(cluster: &Cluster, user: &Row) -> Vec<(i64, f32)> {
    let seen = cluster.world.seen(user);
    let unseen = cluster.world.items.iter().filter(|item| !seen.contains(&item.row));
    let score = |item: &Row| {
        levels(cluster, user, item).iter().zip(BLEND_WEIGHTS).map(|(level, weight)| level * weight).sum()
    };
    let mut all: Vec<(i64, f32)> = unseen.map(|item| (item.number, score(item))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

#[tokio::test]
async fn lists_of_a_blend_are_ranked_by_all_of_its_sources() {
    let cluster = cluster("hybrid", "hybrid").await;
    let user = cluster.world.user(1);
    let expected = blended(&cluster, user);
    let first = get(&cluster, &format!("{RECOMMEND}/1?model=hybrid&n=12")).await;
    assert_eq!(listed(&first["recommendations"], "score"), expected[..12]);
    assert_eq!((&first["model_version"], &first["source"]), (&V2.into(), &"model".into()));
    for movie in first["recommendations"].as_array().unwrap() {
        let item = cluster.world.item(movie["movie_id"].as_i64().unwrap());
        let rating = world::predicted(V2, user, item).clamp(0.5, 5.0);
        assert_eq!(
            (&movie["model"], movie["predicted_rating"].as_f64()),
            (&"hybrid".into(), Some(f64::from(rating)))
        );
    }
    let kept = get(&cluster, &format!("{RECOMMEND}/1?model=hybrid&n=12")).await;
    assert_eq!((&kept["source"], &kept["recommendations"]), (&"cache".into(), &first["recommendations"]));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = get(&cluster, &format!("{RECOMMEND}/1?model=hybrid&n=12&cursor={cursor}")).await;
    assert_eq!(listed(&second["recommendations"], "score"), expected[12..24]);
    let batch = json!({"user_ids": [1, 2]});
    let batch = post(&cluster, "/recommendations/batch?model=hybrid&n=12", &batch).await;
    assert_eq!(batch["results"][0]["recommendations"], first["recommendations"]);
    let all = get(&cluster, &format!("{RECOMMEND}/1?model=hybrid&n=12&genres=comedy")).await;
    let comedies = |number: &i64| !world::genres(cluster.world.item(*number)).is_empty();
    let comedies: Vec<(i64, f32)> = expected.iter().filter(|entry| comedies(&entry.0)).copied().collect();
    assert_eq!(listed(&all["recommendations"], "score"), comedies[..comedies.len().min(12)]);

    // By predicted ratings, if that is asked for.
    let rated = get(&cluster, &format!("{RECOMMEND}/1?model=hybrid&n=60&rank_by=rating")).await;
    for (number, score) in listed(&rated["recommendations"], "score") {
        assert_eq!(score, world::predicted(V2, user, cluster.world.item(number)));
    }
    assert_eq!(rated["ranked_by"], "rating");
    let held_out = get(&cluster, &format!("{RECOMMEND}/7?model=hybrid")).await;
    assert_eq!(
        (&held_out["source"], &held_out["recommendations"][0]["model"]),
        (&"fallback_popular".into(), &"popularity".into())
    );
}

#[tokio::test]
async fn a_blend_whose_als_version_predicts_no_ratings_ranks_by_those_of_item_cf() {
    let cluster = cluster("hybrid", "hybrid").await;
    cluster.workers.iter().for_each(|worker| worker.behave(|behaviour| behaviour.lacks.rating = true));
    let user = cluster.world.user(1);
    let seen = cluster.world.seen(user);
    let rated: Vec<(u32, f32)> = seen.iter().map(|row| (*row, rating_of(user, *row))).collect();
    let unseen = cluster.world.items.iter().filter(|item| !seen.contains(&item.row));
    let mut expected: Vec<(i64, f32)> =
        unseen.filter_map(|item| Some((item.number, rating_by_neighbours(&rated, item)?))).collect();
    expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    assert!(expected.len() > 10, "the case has something to list");
    let path = format!("{RECOMMEND}/1?model=hybrid&rank_by=rating&n=100");
    let answer = get(&cluster, &path).await;
    assert_eq!((&answer["ranked_by"], &answer["source"]), (&"rating".into(), &"model".into()));
    assert_eq!(listed(&answer["recommendations"], "score"), expected);
    // Each of them is what predict says, and its parts are explained as item CF's are.
    let explained = get(&cluster, &format!("{path}&explain=true")).await;
    for (movie, (number, rating)) in explained["recommendations"].as_array().unwrap().iter().zip(&expected) {
        let body = json!({"user_id": 1, "movie_id": number});
        let predicted = post(&cluster, &format!("{PREDICT}?model=hybrid"), &body).await;
        assert_eq!(predicted["predicted_rating"].as_f64().unwrap() as f32, rating.clamp(0.5, 5.0));
        assert_eq!(predicted["source"], "model");
        assert!(!movie["explanation"]["items"].as_array().unwrap().is_empty(), "{movie}");
    }
    let path = "/recommendations/batch?model=hybrid&rank_by=rating&n=100";
    let batch = post(&cluster, path, &json!({"user_ids": [1]})).await;
    assert_eq!(batch["results"][0]["recommendations"], answer["recommendations"]);
    // Somebody who has rated nothing has nothing to predict from.
    let looked_at = json!({"items": [{"movie_id": 5}]}).to_string();
    let path = format!("{RECOMMEND}?model=hybrid&rank_by=rating");
    let answer = cluster.router.send(Method::POST, &path, Some(&looked_at)).await;
    answer.refused(
        reqwest::StatusCode::BAD_REQUEST,
        &["'rank_by'", "rating to predict others from", "'ranking'"],
    );
}

#[tokio::test]
async fn a_blend_says_what_each_source_adds_and_answers_sessions() {
    let cluster = cluster("hybrid", "hybrid").await;
    let user = cluster.world.user(1);
    let answer = get(&cluster, &format!("{RECOMMEND}/1?model=hybrid&n=5&explain=true")).await;
    for movie in answer["recommendations"].as_array().unwrap() {
        let item = cluster.world.item(movie["movie_id"].as_i64().unwrap());
        let explanation = &movie["explanation"];
        assert_eq!((&explanation["score"], &explanation["items"]), (&movie["score"], &json!([])));
        let levels = levels(&cluster, user, item);
        let sources = explanation["sources"].as_array().unwrap();
        assert_eq!(sources.len(), 4);
        let names = ["als", "item_cf", "content", "popularity"];
        for (((source, name), weight), level) in sources.iter().zip(names).zip(BLEND_WEIGHTS).zip(levels) {
            let number = |key: &str| source[key].as_f64().unwrap() as f32;
            assert_eq!((&source["model"], number("level")), (&name.into(), level));
            assert_eq!((number("weight"), number("contribution")), (weight, weight * level));
        }
    }

    // A session's row is solved from what it rated, and what it rated is asked with.
    let rated = [(3_i64, 4.0_f32), (8, 2.0)].map(|(number, rating)| (cluster.world.item(number), rating));
    let body = rated.map(|(item, rating)| json!({"movie_id": item.number, "rating": rating}));
    let path = format!("{RECOMMEND}?model=hybrid&n=20");
    let session = post(&cluster, &path, &json!({ "items": body })).await;
    let row: Vec<f32> = (0..4)
        .map(|at| {
            rated.iter().map(|(item, rating)| rating * world::ranking_vector(V2, "item", item)[at]).sum()
        })
        .collect();
    for (number, score) in listed(&session["recommendations"], "score") {
        let item = cluster.world.item(number);
        let product = world::dot(&row, &world::ranking_vector(V2, "item", item));
        let parts: f32 = rated.iter().map(|(of, rating)| rating * world::similarity(of.row, item.row)).sum();
        let levels = [(product + 64.0) / 128.0, parts / 64.0, parts / 128.0, world::popularity(item) / 8.0];
        let expected: f32 = levels.iter().zip(BLEND_WEIGHTS).map(|(level, weight)| level * weight).sum();
        assert_eq!(score, expected);
    }
}

#[tokio::test]
async fn a_blend_is_alike_and_predicts_by_its_versions() {
    let cluster = cluster("hybrid", "hybrid").await;
    let world = &cluster.world;
    let item = world.item(3);
    let similar = get(&cluster, "/recommendations/similar/3?model=hybrid&n=50").await;
    let vector = world::ranking_vector(V2, "item", item);
    let likeness = |other: &Row| {
        let by_factors = world::cosine(&vector, &world::ranking_vector(V2, "item", other)).max(0.0);
        by_factors * BLEND_WEIGHTS[0] + world::similarity(item.row, other.row)
    };
    let mut expected: Vec<(i64, f32)> =
        world.items.iter().map(|other| (other.number, likeness(other))).collect();
    expected.retain(|entry| entry.0 != 3 && entry.1 > 0.0);
    expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    expected.truncate(50);
    assert_eq!(listed(&similar["similar_movies"], "similarity"), expected);
    assert_eq!(similar["similar_movies"][0]["model"], "hybrid");

    // Ratings start from the mean of the version that predicts them.
    let user = world.user(1);
    let body = json!({"user_id": 1, "movie_id": 3});
    let answer = post(&cluster, &format!("{PREDICT}?model=hybrid"), &body).await;
    let expected = world::predicted(V2, user, item) - (RATING_MEAN - PART_MEAN) as f32;
    assert_eq!(answer["predicted_rating"].as_f64(), Some(f64::from(expected.clamp(0.5, 5.0))));
    assert_eq!((&answer["source"], &answer["model_version"]), (&"model".into(), &V2.into()));
}

#[tokio::test]
async fn ratings_are_predicted_from_profiles() {
    let cluster = cluster("content_based", "content").await;
    let world = &cluster.world;
    let user = world.user(1);
    let ratings: Vec<f32> = world.seen(user).into_iter().map(|row| rating_of(user, row)).collect();
    let mean = ratings.iter().sum::<f32>() / ratings.len() as f32;
    let bias = world::rating_bias(V2, "user", user);
    let mut sources = Vec::new();
    for item in &world.items[..12] {
        let body = json!({"user_id": 1, "movie_id": item.number});
        let answer = post(&cluster, &format!("{PREDICT}?model=content"), &body).await;
        let predicted = rating_by_profile(V2, mean, item);
        let baseline = RATING_MEAN as f32 + bias + world::rating_bias(V2, "item", item);
        let (known, expected) = (predicted.is_some(), predicted.map_or(baseline, |rating| bias + rating));
        let found = answer["predicted_rating"].as_f64().unwrap() as f32;
        assert_eq!(found, expected.clamp(0.5, 5.0), "{answer}");
        assert_eq!(answer["source"], if known { "model" } else { "baseline" });
        sources.push(known);
    }
    assert!(sources.contains(&true) && sources.contains(&false));
}
