//! Lists of item CF and content that are diverse, or ranked by predicted ratings.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shoal_proto::v1::{RankBy, RecommendRequest, recommender_client::RecommenderClient};

use crate::{
    blend::{RATING_SLOPE, cluster, get, listed, post},
    fixture::{
        Cluster, V2,
        answers::{numbers, rating_by_neighbours, rating_by_profile, rating_of},
        world::{self, Row},
    },
    grpc::{channel, integer},
    lists::marginally_relevant,
};

const RECOMMEND: &str = "/recommendations/recommend";
/// As the registry names them, and as clients do.
const MODELS: [(&str, &str); 2] = [("item_cf", "item_cf"), ("content_based", "content")];

/// The user's unseen items that pass by what the rated ones add up to, best first.
fn ranked<'a>(cluster: &'a Cluster, user: &Row, passes: impl Fn(&Row) -> bool) -> Vec<(f32, &'a Row)> {
    let seen = cluster.world.seen(user);
    let score = |item: &Row| {
        seen.iter().map(|row| rating_of(user, *row) * world::similarity(*row, item.row)).sum::<f32>()
    };
    let unseen = cluster.world.items.iter().filter(|item| !seen.contains(&item.row) && passes(item));
    let mut all: Vec<(f32, &Row)> = unseen.map(|item| (score(item), item)).collect();
    all.retain(|entry| entry.0 > 0.0);
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.number.cmp(&b.1.number)));
    all
}

/// What somebody has rated: global rows and ratings.
fn rated_by(cluster: &Cluster, user: &Row) -> Vec<(u32, f32)> {
    cluster.world.seen(user).into_iter().map(|row| (row, rating_of(user, row))).collect()
}

/// The items that pass of which a model predicts a rating by somebody with this bias, best first. A movie without a
/// rating is one of what was rated, and says nothing.
fn by_rating<'a>(
    cluster: &'a Cluster,
    model: &str,
    rated: &[(u32, f32)],
    bias: f32,
    passes: impl Fn(&Row) -> bool,
) -> Vec<(f32, &'a Row)> {
    let ratings: Vec<f32> = rated.iter().map(|entry| entry.1).filter(|rating| !rating.is_nan()).collect();
    let mean = ratings.iter().sum::<f32>() / ratings.len() as f32;
    let predict = |item: &Row| match model {
        "item_cf" => rating_by_neighbours(rated, item),
        _ => rating_by_profile(V2, mean, item),
    };
    let unseen = cluster.world.items.iter().filter(|item| rated.iter().all(|entry| entry.0 != item.row));
    let unseen = unseen.filter(|item| passes(item));
    let mut all: Vec<(f32, &Row)> = unseen.filter_map(|item| Some((bias + predict(item)?, item))).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.number.cmp(&b.1.number)));
    all
}

fn numbered(scored: &[(f32, &Row)]) -> Vec<(i64, f32)> {
    scored.iter().map(|entry| (entry.1.number, entry.0)).collect()
}

/// As the models know it.
fn likeness(model: &str, a: &Row, b: &Row) -> f64 {
    if model == "item_cf" {
        return f64::from(world::similarity(a.row, b.row));
    }
    let vector = |item: &Row| -> BTreeMap<u32, f32> {
        let (features, values) = world::features(item);
        features.into_iter().chain(100..).zip(values).collect()
    };
    let (a, b) = (vector(a), vector(b));
    a.iter().filter_map(|(at, value)| Some(f64::from(value * b.get(at)?))).sum()
}

/// What is listed of the pool.
fn diverse(model: &str, mut pool: Vec<(f32, &Row)>, n: usize, diversity: f64) -> Vec<(i64, f32)> {
    pool.truncate(5 * n);
    let scores: Vec<f32> = pool.iter().map(|entry| entry.0).collect();
    let likeness = |a: usize, b: usize| likeness(model, pool[a].1, pool[b].1);
    let chosen = marginally_relevant(&scores, likeness, n, diversity);
    chosen.into_iter().map(|at| (pool[at].1.number, pool[at].0)).collect()
}

/// What somebody with this user's ratings would ask with.
fn session(cluster: &Cluster, user: &Row) -> Value {
    let items = cluster.world.items.iter();
    let rated = items.filter(|item| cluster.world.seen(user).contains(&item.row));
    let rated = rated.map(|item| json!({"movie_id": item.number, "rating": rating_of(user, item.row)}));
    json!({ "items": rated.collect::<Vec<Value>>() })
}

#[tokio::test]
async fn diverse_lists_are_of_movies_that_the_model_calls_unlike() {
    for (registered, model) in MODELS {
        let cluster = cluster(registered, model).await;
        let user = cluster.world.user(1);
        let pool = ranked(&cluster, user, |_| true);
        let mut moved = 0;
        for (n, diversity) in [(6, 0.0), (6, 0.25), (4, 0.5), (6, 1.0)] {
            let expected = diverse(model, pool.clone(), n, diversity);
            let query = format!("model={model}&n={n}&diversity={diversity}");
            let answer = get(&cluster, &format!("{RECOMMEND}/1?{query}")).await;
            assert_eq!(listed(&answer["recommendations"], "score"), expected);
            assert_eq!(answer["next_cursor"].is_null(), diversity > 0.0, "{answer}");
            moved += usize::from(expected != numbered(&pool[..n]));
            // From the cache, explained, and for somebody who comes with the same ratings.
            let kept = get(&cluster, &format!("{RECOMMEND}/1?{query}")).await;
            assert_eq!(
                (&kept["source"], &kept["recommendations"]),
                (&"cache".into(), &answer["recommendations"])
            );
            let explained = get(&cluster, &format!("{RECOMMEND}/1?{query}&explain=true")).await;
            assert_eq!(listed(&explained["recommendations"], "score"), expected);
            for movie in explained["recommendations"].as_array().unwrap() {
                assert_eq!(movie["explanation"]["score"], movie["score"]);
            }
            let answer = post(&cluster, &format!("{RECOMMEND}?{query}"), &session(&cluster, user)).await;
            assert_eq!(listed(&answer["recommendations"], "score"), expected);
        }
        assert!(moved > 0, "some diversity changes the list");

        let comedies = ranked(&cluster, user, |item| !world::genres(item).is_empty());
        let query = format!("model={model}&n=3&diversity=0.5&genres=Comedy");
        let answer = get(&cluster, &format!("{RECOMMEND}/1?{query}")).await;
        assert_eq!(listed(&answer["recommendations"], "score"), diverse(model, comedies, 3, 0.5));

        let mut client = RecommenderClient::new(channel(&cluster).await);
        let request = RecommendRequest {
            user_id: integer(1),
            n: 4,
            diversity: 0.5,
            model: model.to_owned(),
            ..RecommendRequest::default()
        };
        let reply = client.recommend(request).await.unwrap().into_inner();
        let found: Vec<f32> = reply.recommendations.iter().map(|movie| movie.score).collect();
        let expected: Vec<f32> = diverse(model, pool, 4, 0.5).iter().map(|entry| entry.1).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn lists_by_rating_have_what_the_model_predicts_and_nothing_else() {
    let mut unlisted = 0;
    for (registered, model) in MODELS {
        let cluster = cluster(registered, model).await;
        let user = cluster.world.user(1);
        let (rated, bias) = (rated_by(&cluster, user), world::rating_bias(V2, "user", user));
        let expected = by_rating(&cluster, model, &rated, bias, |_| true);
        assert!(expected.len() > 24);
        unlisted += cluster.world.items.len() - rated.len() - expected.len();
        let query = format!("model={model}&rank_by=rating");
        let path = format!("{RECOMMEND}/1?{query}");

        let all = get(&cluster, &format!("{path}&n=100")).await;
        assert_eq!(listed(&all["recommendations"], "score"), numbered(&expected));
        assert_eq!((&all["source"], &all["model_version"]), (&"model".into(), &V2.into()));
        for movie in all["recommendations"].as_array().unwrap() {
            let number = |key: &str| movie[key].as_f64().unwrap() as f32;
            assert_eq!(number("predicted_rating"), number("score").clamp(0.5, 5.0));
            assert_eq!(movie["model"], model);
        }
        let first = get(&cluster, &format!("{path}&n=12")).await;
        let cursor = first["next_cursor"].as_str().unwrap();
        let second = get(&cluster, &format!("{path}&n=12&cursor={cursor}")).await;
        assert_eq!(listed(&second["recommendations"], "score"), numbered(&expected[12..24]));
        let comedies = by_rating(&cluster, model, &rated, bias, |item| !world::genres(item).is_empty());
        let filtered = get(&cluster, &format!("{path}&n=100&genres=Comedy")).await;
        assert_eq!(listed(&filtered["recommendations"], "score"), numbered(&comedies));
        let unlike = get(&cluster, &format!("{path}&n=5&diversity=0.5")).await;
        assert_eq!(listed(&unlike["recommendations"], "score"), diverse(model, expected.clone(), 5, 0.5));

        let users = json!({ "user_ids": [1, 7, 2, 99_999] });
        let batch = post(&cluster, &format!("/recommendations/batch?{query}&n=9"), &users).await;
        for result in batch["results"].as_array().unwrap() {
            let alone = get(&cluster, &format!("{RECOMMEND}/{}?{query}&n=9", result["user_id"])).await;
            assert_eq!(
                (&result["recommendations"], &result["source"]),
                (&alone["recommendations"], &alone["source"])
            );
        }
        assert_eq!(listed(&batch["results"][0]["recommendations"], "score"), numbered(&expected[..9]));
        assert_eq!(batch["results"][1]["source"], "fallback_popular");

        let mut client = RecommenderClient::new(channel(&cluster).await);
        let request = RecommendRequest {
            user_id: integer(1),
            n: 12,
            rank_by: RankBy::Rating.into(),
            model: model.to_owned(),
            ..RecommendRequest::default()
        };
        let reply = client.recommend(request).await.unwrap().into_inner();
        let found: Vec<f32> = reply.recommendations.iter().map(|movie| movie.score).collect();
        assert_eq!(found, expected[..12].iter().map(|entry| entry.0).collect::<Vec<f32>>());
    }
    assert!(unlisted > 0, "nothing is predicted for some movies");
}

#[tokio::test]
async fn sessions_are_ranked_by_the_ratings_that_they_have() {
    for (registered, model) in MODELS {
        let cluster = cluster(registered, model).await;
        let path = format!("{RECOMMEND}?model={model}&rank_by=rating&n=100");
        let mut rated = rated_by(&cluster, cluster.world.user(1));
        rated[0].1 = f32::NAN;
        let of_row = |row: u32| cluster.world.items.iter().find(|item| item.row == row).unwrap();
        let items = rated.iter().map(|(row, rating)| match rating.is_nan() {
            true => json!({"movie_id": of_row(*row).number}),
            false => json!({"movie_id": of_row(*row).number, "rating": rating}),
        });
        let items: Vec<Value> = items.collect();
        let answer = post(&cluster, &path, &json!({ "items": items })).await;
        let expected = by_rating(&cluster, model, &rated, 0.0, |_| true);
        assert_eq!(listed(&answer["recommendations"], "score"), numbered(&expected));

        let unrated = json!({ "items": items[..1] }).to_string();
        let refused = cluster.router.send(Method::POST, &path, Some(&unrated)).await;
        refused
            .refused(StatusCode::BAD_REQUEST, &["'rank_by'", "rating to predict others from", "'ranking'"]);
    }
}

#[tokio::test]
async fn predicted_ratings_are_explained_by_the_ratings_behind_them() {
    for (registered, model) in MODELS {
        let cluster = cluster(registered, model).await;
        let world = &cluster.world;
        let user = world.user(1);
        let rated = rated_by(&cluster, user);
        let ratings: Vec<f64> = rated.iter().map(|entry| f64::from(entry.1)).collect();
        let sum = ratings.iter().sum::<f64>();
        let mean = sum / ratings.len() as f64;
        // A profile is the number of ratings and their sum here.
        let norm = sum.hypot(ratings.len() as f64);
        let query = format!("model={model}&rank_by=rating&n=20&explain=true");
        let answer = get(&cluster, &format!("{RECOMMEND}/1?{query}")).await;
        let expected = by_rating(&cluster, model, &rated, world::rating_bias(V2, "user", user), |_| true);
        assert_eq!(listed(&answer["recommendations"], "score"), numbered(&expected[..20]));
        for movie in answer["recommendations"].as_array().unwrap() {
            let item = world.item(movie["movie_id"].as_i64().unwrap());
            let weights: f32 = rated.iter().map(|(row, _)| world::similarity(*row, item.row)).sum();
            let part = |(row, rating): &(u32, f32)| -> Option<f64> {
                if model == "item_cf" {
                    let similarity = world::similarity(*row, item.row);
                    return (similarity > 0.0).then(|| f64::from(similarity * rating / weights));
                }
                let other = world.items.iter().find(|item| item.row == *row).unwrap();
                let weight = f64::from(*rating) - mean;
                Some(RATING_SLOPE * weight * likeness(model, other, item) / norm)
            };
            let mut parts: Vec<f64> = rated.iter().filter_map(part).collect();
            parts.sort_by(|a, b| b.total_cmp(a));
            let (explanation, sum) = (&movie["explanation"], parts.iter().sum::<f64>());
            assert!((explanation["score"].as_f64().unwrap() - sum).abs() < 1e-5, "{sum}: {movie}");
            let named = explanation["items"].as_array().unwrap();
            assert_eq!(named.len(), parts.len().min(5));
            for (named, part) in named.iter().zip(parts) {
                assert!((named["contribution"].as_f64().unwrap() - part).abs() < 1e-5, "{part}: {movie}");
                let other = world.item(named["movie_id"].as_i64().unwrap());
                assert!(rated.iter().any(|entry| entry.0 == other.row));
                assert_eq!(named["title"], world::title(other));
            }
        }
    }
}

/// A sum of floats depends on its order, and the order of answers on the network.
#[tokio::test]
async fn a_profile_is_the_sum_of_its_parts_in_the_order_of_shards_whoever_answers_first() {
    let cluster = cluster("content_based", "content").await;
    for (n, late) in (5..).zip(&cluster.workers) {
        cluster.take_received();
        late.behave(|behaviour| behaviour.hanging = ["profile"].into());
        let path = format!("{RECOMMEND}/1?model=content&rank_by=rating&n={n}");
        let others_first = async {
            // The others answer meanwhile; if the machine is so busy that they do not, the order is another one.
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            late.behave(|behaviour| behaviour.hanging.clear());
        };
        let (answer, ()) = tokio::join!(cluster.router.get(&path), others_first);
        answer.ok();
        let received = cluster.take_received();
        let profiles: Vec<_> =
            received.iter().map(|(_, call)| &call.profile).filter(|profile| !profile.is_empty()).collect();
        assert!(!profiles.is_empty(), "lists were asked for by the profile");
        for profile in profiles {
            assert_eq!(numbers(profile, f32::from_le_bytes)[2], 1.0);
        }
    }
}
