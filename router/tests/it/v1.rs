//! The product's own face: `/v1`, of items.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shoal_common::{ids::IdKind, title_words::TitleWords};
use shoal_proto::v1::TitleMatch;

use crate::fixture::{
    Answer, Cluster, Setup, V1,
    answers::title_match,
    world::{self, ITEMS, Row},
};

async fn get(cluster: &Cluster, path: &str) -> Value {
    cluster.router.get(path).await.ok()
}

async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    cluster.router.send(Method::POST, path, Some(&body.to_string())).await
}

/// A value in the other face's words: the same answer, its names changed.
fn in_own_words(value: &Value, list: &str) -> Value {
    let name = |key: &str| match key {
        "movie_id" => "item_id".to_owned(),
        "genres" => "categories".to_owned(),
        "unknown_movies" => "unknown_items".to_owned(),
        "unknown_genres" => "unknown_categories".to_owned(),
        key if key == list => "items".to_owned(),
        other => other.to_owned(),
    };
    match value {
        Value::Object(object) => Value::Object(
            object
                .iter()
                .filter(|(key, _)| *key != "timestamp")
                .map(|(key, value)| (name(key), in_own_words(value, list)))
                .collect(),
        ),
        Value::Array(values) => values.iter().map(|value| in_own_words(value, list)).collect(),
        other => other.clone(),
    }
}

fn without_time(mut value: Value) -> Value {
    assert!(value["timestamp"].as_str().unwrap().ends_with('Z'));
    value.as_object_mut().unwrap().remove("timestamp");
    value
}

#[tokio::test]
async fn both_faces_give_one_answer_each_in_its_words() {
    let cluster = Cluster::start(Setup::default()).await;
    let session = |id: &str| json!({ "items": [{ id: 40, "rating": 4.5 }, { id: "7" }, { id: 99_999 }] });
    let cases = [
        ("users/1/recommendations?n=3&explain=true", "recommend/1?n=3&explain=true", "recommendations"),
        (
            "users/1/recommendations?categories=comedy,none&exclude_categories=%22x,y%22&year_min=1980",
            "recommend/1?genres=comedy,none&exclude_genres=%22x,y%22&year_min=1980",
            "recommendations",
        ),
        ("recommendations?user_id=99999&n=2", "recommend?user_id=99999&n=2", "recommendations"),
        ("popular?n=4&order=trending&categories=Comedy", "popular?n=4&order=trending&genre=Comedy", "movies"),
        ("popular?categories=Western", "popular?genre=Western", "movies"),
        ("items/5/similar?n=7", "similar/5?n=7", "similar_movies"),
        ("similar?item_id=5", "similar?movie_id=5", "similar_movies"),
        ("health", "health", ""),
    ];
    for (own, other, list) in cases {
        let own = without_time(get(&cluster, &format!("/v1/{own}")).await);
        let other = get(&cluster, &format!("/recommendations/{other}")).await;
        assert_eq!(own, in_own_words(&other, list));
    }
    let posts = [
        ("recommendations?n=4", "recommend?n=4", session("item_id"), session("movie_id"), "recommendations"),
        (
            "recommendations/batch?n=2&categories=none",
            "batch?n=2&genres=none",
            json!({ "user_ids": [1, "2", 99_999] }),
            json!({ "user_ids": [1, "2", 99_999] }),
            "recommendations",
        ),
        (
            "predictions",
            "predict",
            json!({ "user_id": 2, "item_id": 33 }),
            json!({ "user_id": 2, "movie_id": 33 }),
            "",
        ),
    ];
    for (own, other, own_body, other_body, list) in posts {
        let own = without_time(post(&cluster, &format!("/v1/{own}"), &own_body).await.ok());
        let other = post(&cluster, &format!("/recommendations/{other}"), &other_body).await.ok();
        assert_eq!(own, in_own_words(&other, list));
    }
}

#[tokio::test]
async fn pages_follow_one_another() {
    let cluster = Cluster::start(Setup::default()).await;
    let first = get(&cluster, "/v1/users/3/recommendations?n=4").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = get(&cluster, &format!("/v1/users/3/recommendations?n=4&cursor={cursor}")).await;
    let both = get(&cluster, "/v1/users/3/recommendations?n=8").await;
    let items = |answer: &Value| answer["items"].as_array().unwrap().clone();
    assert_eq!([items(&first), items(&second)].concat(), items(&both));
}

#[tokio::test]
async fn an_item_is_described() {
    let cluster = Cluster::start(Setup::default()).await;
    for number in [3, 5] {
        let item = cluster.world.item(number);
        for path in [format!("/v1/items/{number}"), format!("/v1/item?item_id={number}")] {
            let answer = without_time(get(&cluster, &path).await);
            let expected = json!({
                "item_id": number, "title": world::title(item), "categories": world::genres(item),
                "year": world::year(item), "ratings": world::ratings(item),
                "popularity": f64::from(world::popularity(item)), "model_version": V1,
            });
            assert_eq!(answer, expected);
        }
    }
    let unknown = cluster.router.get(&format!("/v1/items/{}", ITEMS + 1)).await;
    unknown.refused(StatusCode::NOT_FOUND, &[&format!("item {} is unknown", ITEMS + 1)]);
}

/// The items that a search has to find, in its order.
fn expected<'a>(items: &'a [Row], query: &str) -> Vec<(TitleMatch, &'a Row)> {
    let words = TitleWords::of(query).words;
    let found = items.iter().filter_map(|item| Some((title_match(&world::title(item), &words)?, item)));
    let mut found: Vec<_> = found.collect();
    found.sort_by(|a, b| {
        let key = |found: &(TitleMatch, &Row)| (found.0 as i32, std::cmp::Reverse(world::ratings(found.1)));
        key(a).cmp(&key(b)).then(a.1.id.cmp(&b.1.id))
    });
    found
}

#[tokio::test]
async fn titles_are_found_in_one_order_and_all_are_counted() {
    let cluster = Cluster::start(Setup::default()).await;
    let name = |of: TitleMatch| match of {
        TitleMatch::Title => "title",
        TitleMatch::Words => "words",
        TitleMatch::Prefixes => "prefixes",
        other => panic!("{other:?} is no match of this world's titles"),
    };
    for (query, n) in
        [("film", 50), ("FÎLM+1", 10), ("film+17+the", 3), ("the+5%27", 1), ("fil+t", 7), ("nothing", 5)]
    {
        let answer = get(&cluster, &format!("/v1/items?query={query}&n={n}")).await;
        let expected = expected(&cluster.world.items, &query.replace('+', " ").replace("%27", "'"));
        assert_eq!(answer["matched"], expected.len(), "{query}");
        assert_eq!(answer["shards"], json!({ "total": 4, "ok": 4, "failed": 0 }));
        let found: Vec<(i64, &str)> = answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (item["item_id"].as_i64().unwrap(), item["match"].as_str().unwrap()))
            .collect();
        let expected: Vec<(i64, &str)> =
            expected.iter().take(n).map(|(of, item)| (item.number, name(*of))).collect();
        assert_eq!(found, expected, "{query}");
    }
    let seventeen = get(&cluster, "/v1/items?query=film+17+the").await;
    let item = cluster.world.item(17);
    let described = json!({
        "item_id": 17, "title": world::title(item), "categories": world::genres(item), "year": world::year(item),
        "ratings": world::ratings(item), "popularity": f64::from(world::popularity(item)), "match": "title",
    });
    assert_eq!(seventeen["items"][0], described);
}

#[tokio::test]
async fn a_search_without_some_shards_says_so() {
    let cluster = Cluster::start(Setup::default()).await;
    let whole = get(&cluster, "/v1/items?query=film&n=50").await;
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.broken_shards = [1].into());
    }
    let answer = get(&cluster, "/v1/items?query=film&n=50").await;
    assert_eq!(answer["shards"], json!({ "total": 4, "ok": 3, "failed": 1 }));
    let own = cluster.world.items.iter().filter(|item| item.shard == 1).count() as u64;
    assert_eq!(answer["matched"].as_u64().unwrap() + own, whole["matched"].as_u64().unwrap());
    let answer = cluster.router.get("/v1/items?query=film&complete=true").await;
    answer.refused(StatusCode::SERVICE_UNAVAILABLE, &["1 of 4 item shards", "broken"]);
}

#[tokio::test]
async fn refusals_speak_of_items() {
    let cluster = Cluster::start(Setup::default()).await;
    let long = format!("items?query={}", "a".repeat(201));
    let many = format!("items?query={}", ["a"; 21].join("+"));
    let cases: &[(&str, u16, &[&str])] = &[
        ("items/99999/similar", 404, &["item 99999 is unknown"]),
        ("items/tt01/similar", 400, &["'item_id'", "'tt01'"]),
        ("items/tt01", 400, &["'item_id'", "'tt01'"]),
        ("similar", 400, &["'item_id'", "missing"]),
        ("recommendations", 400, &["'user_id'", "missing"]),
        ("users/one/recommendations", 400, &["'user_id'", "'one'"]),
        ("users/1/recommendations?genres=Comedy", 400, &["'genres'", "no such parameter", "'categories'"]),
        ("users/1/recommendations?categories=%22x", 400, &["'categories'", "quotation mark"]),
        ("popular?order=latest&window=7d", 400, &["'window'", "the latest items have none"]),
        ("popular?genre=Comedy", 400, &["'genre'", "no such parameter"]),
        ("items", 400, &["'query'", "missing"]),
        ("items?query=", 400, &["'query'", "no word"]),
        ("items?query=%20%21%27", 400, &["'query'", "no word"]),
        (&long, 400, &["'query'", "201 characters", "up to 200"]),
        (&many, 400, &["'query'", "21 words", "up to 20"]),
        ("items?query=a&n=51", 400, &["'n'", "from 1 to 50"]),
        ("items?query=a&model=als", 400, &["'model'", "no such parameter"]),
        ("items/1/", 404, &["/v1/items/1/", "GET / lists the routes"]),
        ("movies/1", 404, &["GET / lists the routes"]),
    ];
    for (path, status, parts) in cases {
        let answer = cluster.router.get(&format!("/v1/{path}")).await;
        answer.refused(StatusCode::from_u16(*status).unwrap(), parts);
    }
    let bodies: &[(&str, Value, u16, &[&str])] = &[
        ("predictions", json!({ "user_id": 1 }), 400, &["'item_id'", "missing"]),
        ("predictions", json!({ "user_id": 1, "movie_id": 1 }), 400, &["'item_id'", "missing"]),
        ("predictions", json!([]), 400, &["an object with user_id and item_id"]),
        ("predictions", json!({ "user_id": 1, "item_id": 99_999 }), 404, &["item 99999 is unknown"]),
        ("recommendations", json!({ "items": [] }), 400, &["'items'", "0 items", "1 to 1000"]),
        ("recommendations", json!({ "items": [5] }), 400, &["an object with item_id"]),
        ("recommendations", json!({ "items": [{ "item_id": 1, "rating": 9 }] }), 400, &["9 for item 1"]),
        (
            "recommendations",
            json!({ "items": [{ "item_id": 1 }, { "item_id": 1 }] }),
            400,
            &["item 1 is named twice"],
        ),
        (
            "recommendations?rank_by=rating",
            json!({ "items": [{ "item_id": 1 }] }),
            400,
            &["'rank_by'", "no item was given with a rating"],
        ),
    ];
    for worker in &cluster.workers {
        // So that a session without a rating has nothing to be ranked by.
        worker.behave(|behaviour| behaviour.lacks.rating = true);
    }
    for (path, body, status, parts) in bodies {
        let answer = post(&cluster, &format!("/v1/{path}"), body).await;
        answer.refused(StatusCode::from_u16(*status).unwrap(), parts);
    }
    let answer = cluster.router.send(Method::DELETE, "/v1/items/1", None).await;
    answer.refused(StatusCode::METHOD_NOT_ALLOWED, &["/v1/items/1", "DELETE"]);
}

#[tokio::test]
async fn ids_of_any_characters_have_a_path_or_a_parameter() {
    let cluster = Cluster::start(Setup { kind: IdKind::Text, ..Setup::default() }).await;
    let id = "item%20%239%2F%C3%A9";
    let about = get(&cluster, &format!("/v1/items/{id}")).await;
    assert_eq!(about["item_id"], "item #9/é");
    let similar = get(&cluster, &format!("/v1/items/{id}/similar?n=3")).await;
    assert_eq!((&similar["item_id"], similar["items"].as_array().unwrap().len()), (&json!("item #9/é"), 3));
    let list = get(&cluster, "/v1/users/user%20%234%2F%C3%A9/recommendations").await;
    assert_eq!((&list["user_id"], &list["source"]), (&json!("user #4/é"), &json!("model")));
    for id in ["", ".", ".."] {
        let says = format!("item {id} is unknown");
        for route in ["item", "similar"] {
            let answer = cluster.router.get(&format!("/v1/{route}?item_id={id}")).await;
            answer.refused(StatusCode::NOT_FOUND, &[&says]);
        }
        let list = get(&cluster, &format!("/v1/recommendations?user_id={id}")).await;
        assert_eq!((&list["user_id"], &list["source"]), (&json!(id), &json!("fallback_popular")));
    }
}

#[tokio::test]
async fn routes_are_described_in_their_own_words_and_named_in_metrics() {
    let cluster = Cluster::start(Setup::default()).await;
    let description = get(&cluster, "/openapi.json").await;
    let paths = description["paths"].as_object().unwrap();
    for (path, routes) in paths.iter().filter(|(path, _)| path.starts_with("/v1")) {
        let text = routes.to_string().to_lowercase();
        assert!(!text.contains("movie") && !text.contains("genre"), "{path} speaks of movies: {text}");
    }
    let mut operations: Vec<&str> = paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    let all = operations.len();
    operations.sort_unstable();
    operations.dedup();
    assert_eq!(operations.len(), all, "names of operations are given once");
    let tags: Vec<&str> =
        description["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    assert_eq!(
        tags,
        ["recommendations", "items", "ratings", "service", "admin", "movies"],
        "in the order of use"
    );

    get(&cluster, "/v1/items?query=film").await;
    get(&cluster, "/v1/items/3").await;
    get(&cluster, "/v1/items/3/similar").await;
    get(&cluster, "/v1/users/1/recommendations").await;
    let metrics = cluster.router.get("/metrics").await.text;
    for series in [
        r#"{route="search",source="",status="200"}"#,
        r#"{route="item",source="",status="200"}"#,
        r#"{route="similar",source="",status="200"}"#,
        r#"{route="recommend",source="model",status="200"}"#,
    ] {
        assert!(metrics.contains(&format!("shoal_router_requests_total{series}")), "{series}");
    }
}

#[tokio::test]
async fn what_a_user_has_rated_is_told_with_titles_the_highest_first() {
    let cluster = Cluster::start(Setup::default()).await;
    let user = &cluster.world.users[1];
    let path = format!("/v1/users/{}/ratings", user.id);
    let told = get(&cluster, &path).await;
    let seen = cluster.world.seen(user);
    assert_eq!((&told["total"], &told["model_version"]), (&json!(seen.len()), &json!(V1)));
    let ratings = told["ratings"].as_array().unwrap();
    assert_eq!(ratings.len(), seen.len());
    let heights: Vec<f64> = ratings.iter().map(|rating| rating["rating"].as_f64().unwrap()).collect();
    assert!(heights.is_sorted_by(|a, b| a >= b), "{heights:?}");
    for rating in ratings {
        let item = cluster.world.items.iter().find(|item| rating["item_id"] == json!(item.number)).unwrap();
        assert!(seen.contains(&item.row), "{rating}");
        assert_eq!(rating["title"], world::title(item), "{rating}");
    }
    let first = get(&cluster, &format!("{path}?n=2")).await;
    assert_eq!(first["ratings"], json!(ratings[..2]));
    let unknown = cluster.router.get("/v1/users/987654/ratings").await;
    unknown.refused(StatusCode::NOT_FOUND, &["987654"]);
    let wrong = cluster.router.get("/v1/users/1/ratings?n=1001").await;
    wrong.refused(StatusCode::BAD_REQUEST, &["1 to 1000"]);
}
