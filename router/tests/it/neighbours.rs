//! Lists of item CF and content that are more than their order: diverse ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shoal_proto::v1::{RecommendRequest, recommender_client::RecommenderClient};

use crate::{
    blend::{cluster, get, listed, post},
    fixture::{
        Cluster,
        answers::rating_of,
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
        let first = |n: usize| -> Vec<(i64, f32)> {
            pool[..n].iter().map(|entry| (entry.1.number, entry.0)).collect()
        };
        let mut moved = 0;
        for (n, diversity) in [(6, 0.0), (6, 0.25), (4, 0.5), (6, 1.0)] {
            let expected = diverse(model, pool.clone(), n, diversity);
            let query = format!("model={model}&n={n}&diversity={diversity}");
            let answer = get(&cluster, &format!("{RECOMMEND}/1?{query}")).await;
            assert_eq!(listed(&answer["recommendations"], "score"), expected);
            assert_eq!(answer["next_cursor"].is_null(), diversity > 0.0, "{answer}");
            moved += usize::from(expected != first(n));
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
