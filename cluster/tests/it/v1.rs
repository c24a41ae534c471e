//! `/v1` and the command line's titles against a real cluster: what is found is held against the data set's own files.

use std::{collections::HashMap, path::Path};

use serde_json::{Value, json};

use crate::support::{Shared, shared};

/// What the files say of an item.
#[derive(Debug)]
struct Film {
    id: i64,
    title: String,
    ratings: Vec<f64>,
}

fn films(data: &Path) -> Vec<Film> {
    let read = |file| std::fs::read_to_string(data.join(file)).unwrap();
    let mut ratings: HashMap<i64, Vec<f64>> = HashMap::new();
    for line in read("ratings.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        ratings.entry(fields[1].parse().unwrap()).or_default().push(fields[2].parse().unwrap());
    }
    let of_line = |line: &str| {
        let (id, rest) = line.split_once(',').unwrap();
        let (title, _) = rest.rsplit_once(',').unwrap();
        let id = id.parse().unwrap();
        let title = title.trim_matches('"').to_owned();
        Film { id, title, ratings: ratings.get(&id).cloned().unwrap_or_default() }
    };
    read("movies.csv").lines().skip(1).map(of_line).collect()
}

fn words(text: &str) -> Vec<String> {
    let folded = text.to_lowercase().replace('\'', "");
    folded
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn ids(answer: &Value) -> Vec<i64> {
    answer["items"].as_array().unwrap().iter().map(|item| item["item_id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_faces_answer_from_one_version() {
    let Shared { cluster, oracle, version, .. } = shared().await;
    let http = cluster.http();
    let (user, item) = (oracle.users()[3], oracle.items()[20]);
    let own = http.get(&format!("/v1/users/{user}/recommendations?n=7&explain=true")).await.ok();
    let other = http.get(&format!("/recommendations/recommend/{user}?n=7&explain=true")).await.ok();
    assert_eq!(own["model_version"], version.as_str());
    let of_other: Vec<i64> = other["recommendations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|movie| movie["movie_id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids(&own), of_other);
    assert_eq!(
        own["items"][0]["explanation"]["items"][0]["item_id"],
        other["recommendations"][0]["explanation"]["items"][0]["movie_id"]
    );
    let own = http.get(&format!("/v1/items/{item}/similar?n=7")).await.ok();
    let other = http.get(&format!("/recommendations/similar/{item}?n=7")).await.ok();
    assert_eq!(own["items"][0]["item_id"], other["similar_movies"][0]["movie_id"]);
    let own = http.post("/v1/predictions", json!({"user_id": user, "item_id": item})).await.ok();
    let other = http.post("/recommendations/predict", json!({"user_id": user, "movie_id": item})).await.ok();
    assert_eq!(own["predicted_rating"], other["predicted_rating"]);
    let session = json!({"items": [{"item_id": item, "rating": 5}, {"item_id": 987_654_321}]});
    let own = http.post("/v1/recommendations?n=3", session).await.ok();
    assert_eq!((ids(&own).len(), &own["unknown_items"]), (3, &json!([987_654_321])));
    let batch = http.post("/v1/recommendations/batch?n=2", json!({"user_ids": [user]})).await.ok();
    assert_eq!(ids(&batch["results"][0]), of_other[..2]);
    assert_eq!(ids(&http.get("/v1/popular?n=4").await.ok()).len(), 4);
    assert_eq!(http.get("/v1/health").await.ok()["status"], "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_described_and_found_as_the_files_have_them() {
    let Shared { cluster, data, .. } = shared().await;
    let (http, films) = (cluster.http(), films(data));
    let all: Vec<f64> = films.iter().flat_map(|film| film.ratings.clone()).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    for film in films.iter().step_by(9) {
        let answer = http.get(&format!("/v1/items/{}", film.id)).await.ok();
        assert_eq!((&answer["item_id"], &answer["title"]), (&json!(film.id), &json!(film.title)));
        assert_eq!(answer["ratings"], film.ratings.len(), "{}", film.title);
        let year: i64 = film.title[film.title.len() - 5..film.title.len() - 1].parse().unwrap();
        assert_eq!(answer["year"], year);
        let damped = (film.ratings.iter().sum::<f64>() + 25.0 * mean) / (film.ratings.len() as f64 + 25.0);
        match answer["popularity"].as_f64() {
            Some(popularity) => assert!((popularity - damped).abs() < 1e-4, "{popularity} {damped}"),
            None => assert!(film.ratings.is_empty(), "{answer}"),
        }
    }
    let title_words = words(&films[40].title);
    let whole = title_words.join(" ");
    let beginnings: Vec<&str> = title_words.iter().map(|word| &word[..1]).collect();
    for query in [whole.as_str(), &title_words[0], &beginnings.join(" "), "t", "19", "zzzz"] {
        let answer = http.get(&format!("/v1/items?n=50&query={}", query.replace(' ', "+"))).await.ok();
        let wanted = words(query);
        let fits = |film: &&Film| {
            let of = words(&film.title);
            wanted.iter().all(|word| of.iter().any(|other| other.starts_with(word.as_str())))
        };
        let found: Vec<&Film> = films.iter().filter(fits).collect();
        assert_eq!(answer["matched"], found.len(), "{query}");
        let listed = answer["items"].as_array().unwrap();
        assert_eq!(listed.len(), found.len().min(50), "{query}");
        let key = |item: &Value| {
            let tiers = ["title", "beginning", "words", "prefixes"];
            let tier = tiers.iter().position(|tier| item["match"] == *tier).unwrap();
            (tier, std::cmp::Reverse(item["ratings"].as_u64().unwrap()), item["item_id"].as_i64().unwrap())
        };
        assert!(listed.iter().map(key).is_sorted(), "{query}: {answer:#}");
        assert!(ids(&answer).iter().all(|id| found.iter().any(|film| film.id == *id)), "{query}");
    }
    let first = &http.get(&format!("/v1/items?query={}", whole.replace(' ', "+"))).await.ok()["items"][0];
    assert_eq!((&first["title"], &first["match"]), (&json!(films[40].title), &json!("title")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_finds_items_by_their_titles() {
    let Shared { cluster, data, oracle, .. } = shared().await;
    let films = films(data);
    let without_year = |film: &Film| film.title[..film.title.len() - 7].to_owned();
    let with_title = |film: &Film| films.iter().filter(|other| other.title == film.title).count();
    let film = films.iter().find(|film| with_title(film) == 1).unwrap();
    let title = without_year(film);

    let by_title = cluster.shoal(&["similar", &title, "--json"]);
    let by_id = cluster.shoal(&["similar", &film.id.to_string(), "--json"]);
    assert_eq!(
        (by_title.json()["items"].clone(), by_id.stderr.as_str()),
        (by_id.json()["items"].clone(), "")
    );
    by_title.says(&[&title, &film.title, &format!("(item {})", film.id)]);
    let user = oracle.users()[0].to_string();
    let predicted = cluster.shoal(&["predict", &user, &title, "--json"]).json();
    assert_eq!(predicted["item_id"], film.id);
    let listed = cluster.shoal(&["items", &title.to_uppercase()]).exits_with(0).stdout;
    assert!(listed.contains(&film.title) && listed.contains("POPULARITY"), "{listed}");
    let json = cluster.shoal(&["items", &title, "-n", "1", "--json"]).json();
    assert_eq!(json["items"][0]["item_id"], film.id);

    // Twins have one title.
    let twin = films.iter().find(|film| with_title(film) > 1).unwrap();
    let several = cluster.shoal(&["similar", &without_year(twin)]).exits_with(2);
    for film in films.iter().filter(|film| film.title == twin.title) {
        assert!(several.stderr.contains(&film.id.to_string()), "{several:#?}");
    }
    assert!(several.stderr.contains("name one by its id"), "{several:#?}");
    cluster.shoal(&["similar", "zzzz"]).exits_with(3).says(&["'zzzz'", "no title", "shoal items"]);
    cluster.shoal(&["similar", "!"]).exits_with(3).says(&["'!'"]);
    // A number that is an id may be meant as the beginning of a year.
    let several = cluster.shoal(&["similar", "--title", "1"]).exits_with(2);
    assert!(several.stderr.contains("may be any of"), "{several:#?}");
    assert!(cluster.shoal(&["items", "zzzz"]).exits_with(3).stdout.contains("No title"));
}
