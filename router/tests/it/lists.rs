//! What lists can be made into: filtered, diverse, explained, paged; for sessions, for many users at once, and for
//! nobody in particular.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixture::{
    Answer, Cluster, Setup, V1, V2,
    answers::rating_of,
    world::{self, HELD_OUT_USER, Row, Scored},
};

/// Ids and scores of a list.
fn listed(list: &Value) -> Vec<(f32, i64)> {
    let of_movie =
        |movie: &Value| (movie["score"].as_f64().unwrap() as f32, movie["movie_id"].as_i64().unwrap());
    list.as_array().unwrap().iter().map(of_movie).collect()
}

fn numbered(scored: Vec<Scored>) -> Vec<(f32, i64)> {
    scored.into_iter().map(|(score, id)| (score, id.to_string().parse().unwrap())).collect()
}

/// The user's best among the items that pass, seen ones included.
fn best(cluster: &Cluster, user: i64, n: usize, passes: impl Fn(&Row) -> bool) -> Vec<(f32, i64)> {
    let vector = world::ranking_vector(V1, "user", cluster.world.user(user));
    let without: Vec<u32> =
        cluster.world.items.iter().filter(|item| !passes(item)).map(|item| item.row).collect();
    let score = |item: &Row| world::dot(&vector, &world::ranking_vector(V1, "item", item));
    numbered(cluster.world.best(n, &without, score))
}

async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    cluster.router.send(Method::POST, &format!("/recommendations/{path}"), Some(&body.to_string())).await
}

#[tokio::test]
async fn filters_leave_as_many_as_there_are() {
    let cluster = Cluster::start(Setup::default()).await;
    let seen = cluster.world.seen(cluster.world.user(1));
    let unseen = |item: &Row| !seen.contains(&item.row);
    let has = |item: &Row, genre: &str| world::genres(item).iter().any(|name| name == genre);
    let between = |item: &Row, years: std::ops::RangeInclusive<i32>| {
        world::year(item).is_some_and(|year| years.contains(&year))
    };
    type Passes<'a> = Box<dyn Fn(&Row) -> bool + 'a>;
    let cases: Vec<(&str, Passes<'_>)> = vec![
        ("exclude_seen=false", Box::new(|_| true)),
        ("genres=comedy", Box::new(|item| unseen(item) && has(item, "Comedy"))),
        ("genres=Film-Noir,Western", Box::new(|item| unseen(item) && has(item, "Film-Noir"))),
        ("genres=Western", Box::new(|_| false)),
        (
            "genres=%22%C3%A9POUVANTE,%20%22%22gore%22%22%20%26%20DR%C3%94LE%22",
            Box::new(|item| unseen(item) && has(item, world::ODD_GENRE)),
        ),
        (
            "exclude_genres=Film-Noir&exclude_genres=Western,%22e%CC%81pouvante,%20%22%22gore%22%22%20%26%20dr%C3%B4le%22",
            Box::new(|item| unseen(item) && !has(item, "Comedy")),
        ),
        (
            "exclude_ids=1&exclude_ids=2,3&exclude_ids=",
            Box::new(|item| unseen(item) && ![1, 2, 3].contains(&item.number)),
        ),
        ("exclude_genres=COMEDY", Box::new(|item| unseen(item) && !has(item, "Comedy"))),
        (
            "genres=Comedy&exclude_genres=Film-Noir",
            Box::new(|item| unseen(item) && has(item, "Comedy") && !has(item, "Film-Noir")),
        ),
        ("year_min=1990&year_max=1999", Box::new(|item| unseen(item) && between(item, 1990..=1999))),
        ("year_max=1980", Box::new(|item| unseen(item) && between(item, 0..=1980))),
        ("exclude_ids=1,2,%203,99999", Box::new(|item| unseen(item) && ![1, 2, 3].contains(&item.number))),
        ("allow_ids=10,20,30,99999", Box::new(|item| unseen(item) && [10, 20, 30].contains(&item.number))),
        ("allow_ids=", Box::new(|_| false)),
        (
            "exclude_seen=false&allow_ids=3,6,9,12&genres=Comedy&exclude_ids=6",
            Box::new(|item| [3, 9, 12].contains(&item.number)),
        ),
    ];
    for (query, passes) in &cases {
        for n in [3, 100] {
            let answer =
                cluster.router.get(&format!("/recommendations/recommend/1?n={n}&{query}")).await.ok();
            assert_eq!(listed(&answer["recommendations"]), best(&cluster, 1, n, passes), "{query}");
        }
    }
    // What is popular is filtered too.
    let answer = cluster.router.get("/recommendations/recommend/99999?genres=Film-Noir&n=3").await.ok();
    let others: Vec<u32> =
        cluster.world.items.iter().filter(|item| !has(item, "Film-Noir")).map(|item| item.row).collect();
    let expected = numbered(cluster.world.best(3, &others, world::popularity));
    assert_eq!(listed(&answer["recommendations"]), expected);
}

#[tokio::test]
async fn wrong_options_are_named() {
    let cluster = Cluster::start(Setup::default()).await;
    let ids = |count: usize| (1..=count).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let many_ids = format!("exclude_ids={}", ids(1_001));
    let many_genres = format!("genres={}", ids(51));
    let cases: Vec<(&str, Vec<&str>)> = vec![
        ("year_min=MCMXC", vec!["'year_min'", "0 to 9999"]),
        ("year_max=-5", vec!["'year_max'", "0 to 9999"]),
        ("year_min=2000&year_max=1990", vec!["'year_min'", "2000", "1990"]),
        ("exclude_ids=one", vec!["'exclude_ids'", "'one'"]),
        (&many_ids, vec!["'exclude_ids'", "1001", "1000"]),
        (&many_genres, vec!["'genres'", "51", "50"]),
        ("exclude_seen=no", vec!["'exclude_seen'"]),
        ("diversity=2", vec!["'diversity'", "0 to 1"]),
        ("diversity=NaN", vec!["'diversity'", "0 to 1"]),
        ("explain=1.5", vec!["'explain'"]),
        ("use_cache=yes", vec!["'use_cache'"]),
        ("timeout_ms=0", vec!["'timeout_ms'", "1 to 60000"]),
        ("timeout_ms=60001", vec!["'timeout_ms'", "1 to 60000"]),
        ("cursor=abc", vec!["'cursor'"]),
    ];
    for (query, parts) in cases {
        let answer = cluster.router.get(&format!("/recommendations/recommend/1?{query}")).await;
        answer.refused(StatusCode::BAD_REQUEST, &parts);
    }
}

#[tokio::test]
async fn the_time_of_a_query_can_be_asked_for() {
    let cluster = Cluster::start(Setup::default()).await;
    cluster
        .workers
        .iter()
        .for_each(|worker| worker.behave(|behaviour| behaviour.hanging = ["top_items"].into()));
    let answer = cluster.router.get("/recommendations/recommend/1?timeout_ms=150").await;
    answer.refused(StatusCode::GATEWAY_TIMEOUT, &["longer than it may"]);
    cluster.workers.iter().for_each(|worker| worker.behave(|behaviour| behaviour.hanging.clear()));
    cluster.take_received();
    cluster.router.get("/recommendations/recommend/1?timeout_ms=60000").await.ok();
    // More than the router's own setting.
    assert!(cluster.take_received().iter().any(|(_, call)| call.timeout > Some(crate::fixture::PATIENCE)));
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps_or_repeats() {
    let cluster = Cluster::start(Setup::default()).await;
    let all = numbered(cluster.world.recommended(V1, cluster.world.user(2), 100));
    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("/recommendations/recommend/2?n=9{cursor}");
        let answer = cluster.router.get(&path).await.ok();
        assert_eq!(answer["recommendations"][0]["rank"], found.len() + 1);
        found.extend(listed(&answer["recommendations"]));
        pages += 1;
        if pages == 2 {
            // The version of the first page stays the one to ask, as long as it is served.
            cluster.publish(|metadata| {
                V2.clone_into(&mut metadata.live_version);
                V1.clone_into(&mut metadata.previous_version);
            });
            cluster.router.serves(Some(V2)).await;
        }
        assert_eq!(answer["model_version"], V1);
        match answer["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, all);
    assert_eq!(pages, all.len().div_ceil(9));

    // Paging ends where workers rank no further.
    let (_, rest) = cursor.split_once('-').unwrap();
    let answer = cluster.router.get(&format!("/recommendations/recommend/2?n=100&cursor=9990-{rest}")).await;
    assert_eq!(answer.ok()["recommendations"], json!([]));

    let answer = cluster.router.get(&format!("/recommendations/recommend/3?n=9{cursor}")).await;
    answer.refused(StatusCode::BAD_REQUEST, &["'cursor'", "another query"]);
    let answer = cluster.router.get(&format!("/recommendations/recommend/2?genres=Comedy{cursor}")).await;
    answer.refused(StatusCode::BAD_REQUEST, &["'cursor'", "another query"]);
    cluster.publish(|metadata| metadata.previous_version.clear());
    let gone = async {
        loop {
            let answer = cluster.router.get(&format!("/recommendations/recommend/2?n=9{cursor}")).await;
            if answer.status != StatusCode::OK {
                break answer;
            }
            tokio::task::yield_now().await;
        }
    };
    gone.await.refused(StatusCode::GONE, &[V1, "no longer served"]);
}

#[tokio::test]
async fn a_page_that_ends_with_the_last_movie_has_no_next_one() {
    let cluster = Cluster::start(Setup::default()).await;
    let all = cluster.world.recommended(V1, cluster.world.user(2), 100).len();
    for (n, follows) in [(all - 1, true), (all, false), (all + 1, false)] {
        let answer = cluster.router.get(&format!("/recommendations/recommend/2?n={n}")).await.ok();
        assert_eq!(answer["next_cursor"].is_string(), follows, "{n} of {all}");
    }
    // The same where a page before it was turned.
    let first = cluster.router.get(&format!("/recommendations/recommend/2?n={}", all / 2)).await.ok();
    let rest = all - all / 2;
    for (n, follows) in [(rest - 1, true), (rest, false)] {
        let cursor = first["next_cursor"].as_str().unwrap();
        let path = format!("/recommendations/recommend/2?n={n}&cursor={cursor}");
        let page = cluster.router.get(&path).await.ok();
        assert_eq!((listed(&page["recommendations"]).len(), page["next_cursor"].is_string()), (n, follows));
    }
}

/// Positions in a pool that is in order, chosen by maximal marginal relevance as it is defined.
pub(crate) fn marginally_relevant(
    scores: &[f32],
    likeness: impl Fn(usize, usize) -> f64,
    n: usize,
    diversity: f64,
) -> Vec<usize> {
    let (max, min) = (f64::from(scores[0]), f64::from(scores[scores.len() - 1]));
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < n.min(scores.len()) {
        let marginal = |at: usize| {
            let likeness = chosen.iter().map(|&of| likeness(at, of)).reduce(f64::max).unwrap_or(0.0);
            (1.0 - diversity) * (1.0 - (max - f64::from(scores[at])) / (max - min)) - diversity * likeness
        };
        let left = (0..scores.len()).filter(|at| !chosen.contains(at));
        chosen.extend(left.reduce(|best, at| if marginal(at) > marginal(best) { at } else { best }));
    }
    chosen
}

#[tokio::test]
async fn a_diverse_list_is_mmr_over_the_pool() {
    let cluster = Cluster::start(Setup::default()).await;
    let world = &cluster.world;
    let pool = world.recommended(V1, world.user(4), 25);
    let vector = |at: usize| {
        let item = world.items.iter().find(|item| item.id == pool[at].1).unwrap();
        world::ranking_vector(V1, "item", item).iter().map(|value| f64::from(*value)).collect::<Vec<f64>>()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = |a: usize, b: usize| {
        let (a, b) = (vector(a), vector(b));
        let norms = dot(&a, &a).sqrt() * dot(&b, &b).sqrt();
        if norms > 0.0 { dot(&a, &b) / norms } else { 0.0 }
    };
    let scores: Vec<f32> = pool.iter().map(|entry| entry.0).collect();
    let expected =
        marginally_relevant(&scores, cosine, 5, 0.5).into_iter().map(|at| pool[at].clone()).collect();
    let answer = cluster.router.get("/recommendations/recommend/4?n=5&diversity=0.5").await.ok();
    assert_eq!(listed(&answer["recommendations"]), numbered(expected));
    assert_eq!(answer["next_cursor"], Value::Null);
    let plain = cluster.router.get("/recommendations/recommend/4?n=5&diversity=0").await.ok();
    assert_eq!(listed(&plain["recommendations"]), numbered(world.recommended(V1, world.user(4), 5)));
}

/// Each explanation has the parts of the rated movies, most first, and their sum.
fn assert_explained(cluster: &Cluster, movie: &Value, rated: &BTreeMap<i64, f32>) {
    let item = world::ranking_vector(V1, "item", cluster.world.item(movie["movie_id"].as_i64().unwrap()));
    let part = |(&number, weight): (&i64, &f32)| {
        let vector = world::ranking_vector(V1, "item", cluster.world.item(number));
        (number, weight * world::dot(&vector, &item))
    };
    let parts: BTreeMap<i64, f32> = rated.iter().map(part).collect();
    let explanation = &movie["explanation"];
    assert_eq!(explanation["score"].as_f64().unwrap() as f32, parts.values().sum::<f32>());
    let items = explanation["items"].as_array().unwrap();
    assert_eq!(items.len(), parts.len().min(5));
    let mut most: Vec<f32> = parts.values().copied().collect();
    most.sort_by(|a, b| b.total_cmp(a));
    for (item, expected) in items.iter().zip(most) {
        let number = item["movie_id"].as_i64().unwrap();
        assert_eq!(item["contribution"].as_f64().unwrap() as f32, parts[&number]);
        assert_eq!(parts[&number], expected);
        assert_eq!(item["title"], world::title(cluster.world.item(number)));
    }
}

#[tokio::test]
async fn explanations_name_what_each_rated_movie_adds() {
    let cluster = Cluster::start(Setup::default()).await;
    let user = cluster.world.user(1);
    let answer = cluster.router.get("/recommendations/recommend/1?n=4&explain=true").await.ok();
    let plain = cluster.router.get("/recommendations/recommend/1?n=4").await.ok();
    assert_eq!(listed(&answer["recommendations"]), listed(&plain["recommendations"]));
    assert_eq!(plain["recommendations"][0].get("explanation"), None);
    let seen = cluster.world.seen(user);
    let rated = cluster.world.items.iter().filter(|item| seen.contains(&item.row));
    let rated: BTreeMap<i64, f32> = rated.map(|item| (item.number, rating_of(user, item.row))).collect();
    for movie in answer["recommendations"].as_array().unwrap() {
        assert_explained(&cluster, movie, &rated);
    }
    // What is popular is nobody's taste.
    let path = format!("/recommendations/recommend/{HELD_OUT_USER}?explain=true");
    let answer = cluster.router.get(&path).await.ok();
    assert_eq!(answer["source"], "fallback_popular");
    assert_eq!(answer["recommendations"][0].get("explanation"), None);
}

#[tokio::test]
async fn a_session_is_folded_in() {
    let cluster = Cluster::start(Setup::default()).await;
    let world = &cluster.world;
    let body = json!({ "items": [
        { "movie_id": 40, "rating": 4.5 }, { "movie_id": "7" }, { "movie_id": 99_999, "rating": 1 },
    ] });
    let rated: BTreeMap<i64, f32> = [(40, 4.5), (7, 1.0)].into();
    let mut vector = vec![0.0_f32; 4];
    for (&number, weight) in &rated {
        let row = world::ranking_vector(V1, "item", world.item(number));
        vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
    }
    let named: Vec<u32> = rated.keys().map(|&number| world.item(number).row).collect();
    let score = |item: &Row| world::dot(&vector, &world::ranking_vector(V1, "item", item));
    for (query, without) in [("", &named[..]), ("&exclude_seen=false", &[])] {
        let answer = post(&cluster, &format!("recommend?n=12&explain=true{query}"), &body).await.ok();
        assert_eq!(listed(&answer["recommendations"]), numbered(world.best(12, without, score)));
        assert_eq!((&answer["user_id"], &answer["source"]), (&Value::Null, &json!("model")));
        assert_eq!((&answer["unknown_movies"], &answer["model_version"]), (&json!([99_999]), &json!(V1)));
        assert!(answer["recommendations"][0]["predicted_rating"].is_number());
        for movie in answer["recommendations"].as_array().unwrap() {
            assert_explained(&cluster, movie, &rated);
        }
    }
    let filtered = post(&cluster, "recommend?genres=Film-Noir&n=4", &body).await.ok();
    let list = filtered["recommendations"].as_array().unwrap();
    assert!(!list.is_empty() && list.iter().all(|movie| movie["genres"].to_string().contains("Film-Noir")));
    // Nothing known of the session: what is popular.
    let answer = post(&cluster, "recommend?n=5", &json!({ "items": [{ "movie_id": 99_999 }] })).await.ok();
    assert_eq!(answer["source"], "fallback_popular");
    assert_eq!(listed(&answer["recommendations"]), numbered(world.best(5, &[], world::popularity)));
    assert_eq!(answer["unknown_movies"], json!([99_999]));
}

#[tokio::test]
async fn wrong_sessions_and_batches_are_refused() {
    let cluster = Cluster::start(Setup::default()).await;
    let many: Vec<Value> = (1..=1_001).map(|id| json!({ "movie_id": id })).collect();
    let users: Vec<i64> = (1..=1_001).collect();
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        ("recommend", json!([1, 2]), vec!["object", "items"]),
        ("recommend", json!({}), vec!["'items'", "missing"]),
        ("recommend", json!({ "items": 5 }), vec!["'items'", "list"]),
        ("recommend", json!({ "items": [] }), vec!["'items'", "1 to 1000"]),
        ("recommend", json!({ "items": many }), vec!["'items'", "1001", "1 to 1000"]),
        ("recommend", json!({ "items": [5] }), vec!["movie_id"]),
        ("recommend", json!({ "items": [{ "rating": 5 }] }), vec!["'movie_id'", "missing"]),
        ("recommend", json!({ "items": [{ "movie_id": 1, "rating": "5" }] }), vec!["'rating'", "number"]),
        ("recommend", json!({ "items": [{ "movie_id": 1, "rating": null }] }), vec!["'rating'", "left out"]),
        ("recommend", json!({ "items": [{ "movie_id": 1, "rating": 5.5 }] }), vec!["'rating'", "0.5 to 5"]),
        ("recommend", json!({ "items": [{ "movie_id": 1, "x": 1 }] }), vec!["'x'"]),
        ("recommend", json!({ "items": [{ "movie_id": 1 }, { "movie_id": "1" }] }), vec!["movie 1", "twice"]),
        ("recommend", json!({ "items": [{ "movie_id": 1 }], "n": 3 }), vec!["'n'", "no such field"]),
        (
            "recommend?cursor=x",
            json!({ "items": [{ "movie_id": 1 }] }),
            vec!["'cursor'", "no such parameter"],
        ),
        ("batch", json!({ "user_ids": [] }), vec!["'user_ids'", "1 to 1000"]),
        ("batch", json!({ "user_ids": users }), vec!["'user_ids'", "1001"]),
        ("batch", json!({ "user_ids": [1, "one"] }), vec!["'user_ids'", "'one'"]),
        ("batch", json!({ "user_ids": [1, null] }), vec!["'user_ids'"]),
        ("batch?n=101", json!({ "user_ids": [1] }), vec!["'n'", "1 to 100"]),
        ("batch?explain=true", json!({ "user_ids": [1] }), vec!["'explain'", "no such parameter"]),
    ];
    for (path, body, parts) in cases {
        post(&cluster, path, &body).await.refused(StatusCode::BAD_REQUEST, &parts);
    }
}

#[tokio::test]
async fn a_batch_has_the_answers_of_each_alone() {
    let cluster = Cluster::start(Setup::default()).await;
    let users: Vec<i64> = (1..=12).chain([99_999, 3, 0]).cycle().take(100).collect();
    for query in [
        "n=7",
        "n=100&exclude_seen=false",
        "n=5&genres=Comedy,Western&rank_by=rating",
        "n=8&diversity=0.4",
        "n=100&diversity=1&genres=comedy",
        "n=3&diversity=0.9&rank_by=rating",
    ] {
        cluster.take_received();
        let batch = post(&cluster, &format!("batch?{query}"), &json!({ "user_ids": users })).await.ok();
        let received = cluster.take_received();
        assert!(
            received.iter().all(|(_, call)| call.method == "lookup_users" || call.method == "top_items_many")
        );
        let results = batch["results"].as_array().unwrap();
        assert_eq!(results.len(), users.len());
        for (user, result) in users.iter().zip(results) {
            let alone = cluster.router.get(&format!("/recommendations/recommend/{user}?{query}")).await.ok();
            assert_eq!(result["user_id"], *user);
            assert_eq!(result["recommendations"], alone["recommendations"]);
            assert_eq!((&result["source"], &result["ranked_by"]), (&alone["source"], &alone["ranked_by"]));
            assert_eq!(batch["unknown_genres"], alone["unknown_genres"]);
            assert_eq!(
                (&batch["model_version"], &batch["shards"]),
                (&alone["model_version"], &alone["shards"])
            );
        }
    }
}

#[tokio::test]
async fn a_batch_tells_lost_shards_and_tries_failed_ones_elsewhere() {
    let cluster = Cluster::start(Setup::default()).await;
    let body = json!({ "user_ids": [1, 2, 3] });
    cluster.workers[0].behave(|behaviour| behaviour.missing_shards = [0, 1, 2, 3].into());
    for _ in 0..10 {
        let batch = post(&cluster, "batch", &body).await.ok();
        assert_eq!(batch["shards"], json!({ "total": 4, "ok": 4, "failed": 0 }));
    }
    for worker in &cluster.workers {
        worker.behave(|behaviour| {
            behaviour.missing_shards.clear();
            behaviour.broken_shards = [2].into();
        });
    }
    let batch = post(&cluster, "batch", &body).await.ok();
    assert_eq!(batch["shards"], json!({ "total": 4, "ok": 3, "failed": 1 }));
    let answer = post(&cluster, "batch?complete=true", &body).await;
    answer.refused(StatusCode::SERVICE_UNAVAILABLE, &["1 of 4", "broken"]);
}

#[tokio::test]
async fn popular_lists_count_time_back_from_the_newest_rating() {
    const DAY: i64 = 86_400;
    let cluster = Cluster::start(Setup::default()).await;
    let world = &cluster.world;
    let get = async |query: &str| cluster.router.get(&format!("/recommendations/popular{query}")).await;
    let answer = get("").await.ok();
    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["model_version", "movies", "shards", "timestamp"]);
    assert_eq!(listed(&answer["movies"]), numbered(world.best(10, &[], world::popularity)));
    let movie: Vec<&String> = answer["movies"][0].as_object().unwrap().keys().collect();
    assert_eq!(movie, ["genres", "movie_id", "rank", "score", "title"]);

    let answer = get("?n=20&window=7d").await.ok();
    let expected = world.best(20, &[], |item| world::windowed(item, 7 * DAY));
    assert_eq!(listed(&answer["movies"]), numbered(expected));
    let answer = get("?order=trending").await.ok();
    assert_eq!(listed(&answer["movies"]), numbered(world.best(10, &[], |item| world::trend(item, 30 * DAY))));
    let answer = get("?order=trending&window=365d&genre=comedy&n=4").await.ok();
    let no_comedy = world.items.iter().filter(|item| !world::genres(item).contains(&"Comedy".to_owned()));
    let no_comedy: Vec<u32> = no_comedy.map(|item| item.row).collect();
    let expected = world.best(4, &no_comedy, |item| world::trend(item, 365 * DAY));
    assert_eq!(listed(&answer["movies"]), numbered(expected));
    let answer = get("?order=latest&n=3").await.ok();
    let expected = world.best(3, &[], |item| world::year(item).unwrap_or_default() as f32);
    assert_eq!(listed(&answer["movies"]), numbered(expected));

    for (query, parts) in [
        ("?window=7", vec!["'window'", "'7'"]),
        ("?window=0d", vec!["'window'", "1 to 36500"]),
        ("?window=36501d", vec!["'window'", "1 to 36500"]),
        ("?order=latest&window=7d", vec!["'window'", "leave it out"]),
        ("?order=best", vec!["'order'", "'best'"]),
        ("?n=101", vec!["'n'", "1 to 100"]),
        ("?genres=Comedy", vec!["'genres'", "no such parameter"]),
    ] {
        get(query).await.refused(StatusCode::BAD_REQUEST, &parts);
    }
}
