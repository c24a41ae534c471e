//! An item that nobody has rated, from a file of items to somebody's list.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use crate::support::{Cluster, Http, SMALL, Shape, folder, generate};

const NEW: i64 = 777_777;

/// Adds an item to the file under the new id, of the genres and the year of the one that has the most genres; that
/// one's id.
fn add_twin(items: &Path) -> i64 {
    let text = std::fs::read_to_string(items).unwrap();
    let rows = text.lines().skip(1);
    let twin = rows.max_by_key(|row| row.rsplit(',').next().unwrap().split('|').count()).unwrap();
    let (id, rest) = twin.split_once(',').unwrap();
    std::fs::write(items, format!("{}\n{NEW},{rest}\n", text.trim_end())).unwrap();
    id.parse().unwrap()
}

/// Users who gave the item the most that anybody gave it.
fn who_likes(ratings: &Path, item: i64) -> Vec<i64> {
    let text = std::fs::read_to_string(ratings).unwrap();
    let of_item: Vec<(i64, f64)> = text
        .lines()
        .skip(1)
        .filter_map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            let of_item = cells[1] == item.to_string();
            of_item.then(|| (cells[0].parse().unwrap(), cells[2].parse().unwrap()))
        })
        .collect();
    let best = of_item.iter().map(|rating| rating.1).fold(0.0, f64::max);
    of_item.into_iter().filter(|rating| rating.1 == best).map(|rating| rating.0).collect()
}

fn ids(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|item| item["movie_id"].as_i64().unwrap()).collect()
}

async fn listed(http: &Http, user: i64, more: &str) -> Value {
    let path = format!("/recommendations/recommend/{user}?model=content&n=100{more}");
    let answer = http.get(&path).await.ok();
    assert_eq!(answer["source"], "model", "{answer:#}");
    answer["recommendations"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_nobody_has_rated_is_recommended_by_what_it_is() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let twin = add_twin(&data.join("movies.csv"));
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 2, settings: Vec::new() }).await;
    cluster.import(&data, "items");
    cluster.shoal(&["train", "--models", "content", "--promote"]).exits_with(0);
    let http = cluster.http();

    // It is like its twin, whichever of the two is asked for.
    for (asked, found) in [(twin, NEW), (NEW, twin)] {
        let similar = http.get(&format!("/recommendations/similar/{asked}?model=content&n=20")).await.ok();
        // Nearest is not said: the twin has tags, of which nobody has given the new one any.
        assert!(ids(&similar["similar_movies"]).contains(&found), "{found} is not like {asked}: {similar:#}");
    }

    // Somebody who likes the twin is recommended it, among all items and among a few.
    let fans = who_likes(&data.join("ratings.csv"), twin);
    let mut told = BTreeSet::new();
    for &user in fans.iter().take(20) {
        if ids(&listed(&http, user, "").await).contains(&NEW) {
            told.insert(user);
        }
    }
    let user = *told.first().unwrap_or_else(|| panic!("none of {fans:?} is recommended the new item"));
    let few = listed(&http, user, &format!("&allow_ids={NEW},{twin}&exclude_seen=false")).await;
    let mut few = ids(&few);
    few.sort_unstable();
    assert_eq!(few, BTreeSet::from([NEW, twin]).into_iter().collect::<Vec<_>>());
    let explained = listed(&http, user, &format!("&allow_ids={NEW}&explain=true")).await;
    assert!(!explained[0]["explanation"]["items"].as_array().unwrap().is_empty(), "{explained:#}");
}
