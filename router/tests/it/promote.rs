//! Switching versions under load: every answer is wholly that of the version it names.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::fixture::{Cluster, Setup, V1, V2, world};

/// Panics unless the answer is what brute force over the version that it names gives.
fn check(cluster: &Cluster, user: i64, answer: &Value) -> String {
    let version = answer["model_version"].as_str().unwrap();
    let row = cluster.world.user(user);
    let found: Vec<(i64, f32, Option<f32>)> = answer["recommendations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|movie| {
            let rating = movie["predicted_rating"].as_f64().map(|rating| rating as f32);
            (movie["movie_id"].as_i64().unwrap(), movie["score"].as_f64().unwrap() as f32, rating)
        })
        .collect();
    let expected: Vec<(i64, f32, Option<f32>)> = cluster
        .world
        .recommended(version, row, 20)
        .into_iter()
        .map(|(score, id)| {
            let number = id.to_string().parse().unwrap();
            let rating = world::predicted(version, row, cluster.world.item(number));
            (number, score, Some(rating.clamp(0.5, 5.0)))
        })
        .collect();
    assert_eq!(found, expected, "of {version}");
    version.to_owned()
}

#[tokio::test]
async fn no_answer_mixes_versions_while_they_are_switched() {
    const SWITCHES: usize = 40;
    let cluster = Cluster::start(Setup::default()).await;
    let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = async |first: i64| {
        let mut seen = std::collections::BTreeSet::new();
        for user in (1..=6).cycle().skip(first as usize) {
            if done.load(Ordering::Relaxed) {
                break;
            }
            let answer = cluster.router.get(&format!("/recommendations/recommend/{user}?n=20")).await;
            seen.insert(check(&cluster, user, &answer.ok()));
            answers.fetch_add(1, Ordering::Relaxed);
        }
        seen
    };
    let switch = async {
        for round in 0..SWITCHES {
            let before = answers.load(Ordering::Relaxed);
            let version = if round % 2 == 0 { V2 } else { V1 };
            cluster.publish(|metadata| version.clone_into(&mut metadata.live_version));
            // Some answers between two switches, or none would be under way at any.
            while answers.load(Ordering::Relaxed) < before + 5 {
                tokio::task::yield_now().await;
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let (first, second, third, ()) = tokio::join!(client(0), client(2), client(4), switch);
    for seen in [first, second, third] {
        assert_eq!(seen.len(), 2, "both versions answered");
    }
}

#[tokio::test]
async fn a_query_under_way_during_a_promote_is_answered_from_its_version() {
    let cluster = Cluster::start(Setup::default()).await;
    let hang = |hanging: bool| {
        for worker in &cluster.workers {
            worker.behave(|behaviour| {
                behaviour.hanging = if hanging { ["top_items"].into() } else { [].into() };
            });
        }
    };
    hang(true);
    let promote = async {
        tokio::select! {
            () = cluster.workers[0].received("top_items") => {}
            () = cluster.workers[1].received("top_items") => {}
            () = cluster.workers[2].received("top_items") => {}
        }
        cluster.publish(|metadata| V2.clone_into(&mut metadata.live_version));
        cluster.router.serves(Some(V2)).await;
        hang(false);
    };
    let (answer, ()) = tokio::join!(cluster.router.get("/recommendations/recommend/1?n=20"), promote);
    assert_eq!(check(&cluster, 1, &answer.ok()), V1);
    let answer = cluster.router.get("/recommendations/recommend/1?n=20").await;
    assert_eq!(check(&cluster, 1, &answer.ok()), V2);
}
