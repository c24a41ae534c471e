//! Workers that fail, hang, refuse or do not hold what they should: who is asked again, and what the
//! client hears.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shoal_common::rpc::queue_full;
use shoal_proto::v1::NodeHealth;
use tonic::Status;

use crate::fixture::{Cluster, PATIENCE, Router, Setup, V1, V2, world};

const RECOMMEND: &str = "/recommendations/recommend/1?n=25";

/// The answer is the whole one of this version.
fn assert_whole(cluster: &Cluster, answer: &Value, version: &str) {
    assert_eq!(answer["model_version"], version);
    let expected = cluster.world.recommended(version, cluster.world.user(1), 25);
    let found: Vec<(f32, i64)> = answer["recommendations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|movie| (movie["score"].as_f64().unwrap() as f32, movie["movie_id"].as_i64().unwrap()))
        .collect();
    let expected: Vec<(f32, i64)> =
        expected.into_iter().map(|(score, id)| (score, id.to_string().parse().unwrap())).collect();
    assert_eq!(found, expected);
    assert_eq!(answer["shards"], json!({ "total": 4, "ok": 4, "failed": 0 }));
}

/// The answer lacks exactly the movies of these shards.
fn assert_without(cluster: &Cluster, answer: &Value, shards: &BTreeSet<u32>) {
    let user = cluster.world.user(1);
    let mut without = cluster.world.seen(user);
    without
        .extend(cluster.world.items.iter().filter(|item| shards.contains(&item.shard)).map(|item| item.row));
    let vector = world::ranking_vector(V1, "user", user);
    let expected = cluster
        .world
        .best(25, &without, |item| world::dot(&vector, &world::ranking_vector(V1, "item", item)));
    let found: Vec<i64> = answer["recommendations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|movie| movie["movie_id"].as_i64().unwrap())
        .collect();
    let expected: Vec<i64> = expected.into_iter().map(|(_, id)| id.to_string().parse().unwrap()).collect();
    assert_eq!(found, expected);
    let failed = shards.len();
    assert_eq!(answer["shards"], json!({ "total": 4, "ok": 4 - failed, "failed": failed }));
}

/// Every shard that `top_items` was asked for: the worker and the shard, in order of arrival per worker.
fn asked(cluster: &Cluster) -> Vec<(usize, u32)> {
    let received = cluster.take_received();
    let top_items = received.into_iter().filter(|(_, call)| call.method == "top_items");
    top_items.flat_map(|(worker, call)| call.shards.into_iter().map(move |shard| (worker, shard))).collect()
}

#[tokio::test]
async fn each_worker_gets_one_call_for_all_its_shards_and_each_shard_is_asked_once() {
    let cluster = Cluster::start(Setup::default()).await;
    for _ in 0..20 {
        assert_whole(&cluster, &cluster.router.get(RECOMMEND).await.ok(), V1);
        let received = cluster.take_received();
        let lookups = received.iter().filter(|(_, call)| call.method == "lookup_user").count();
        let calls: Vec<_> = received.iter().filter(|(_, call)| call.method == "top_items").collect();
        assert_eq!((lookups, lookups + calls.len()), (1, received.len()));
        let workers: BTreeSet<usize> = calls.iter().map(|(worker, _)| *worker).collect();
        assert_eq!(workers.len(), calls.len(), "one call a worker");
        let mut shards: Vec<u32> = calls.iter().flat_map(|(_, call)| call.shards.clone()).collect();
        shards.sort_unstable();
        assert_eq!(shards, [0, 1, 2, 3]);
    }
}

#[tokio::test]
async fn a_shard_that_a_worker_lacks_is_asked_of_another_replica_alone() {
    let cluster = Cluster::start(Setup::default()).await;
    for shard in 0..world::SHARDS {
        let owners: Vec<usize> =
            (0..3).filter(|&number| cluster.workers[number].shards.contains(&shard)).collect();
        for &lacking in &owners {
            cluster.workers[lacking].behave(|behaviour| behaviour.missing_shards = [shard].into());
            // Whichever replica is tried first, within some queries the lacking one is.
            for _ in 0..30 {
                cluster.take_received();
                assert_whole(&cluster, &cluster.router.get(RECOMMEND).await.ok(), V1);
                let asked = asked(&cluster);
                let again = asked.iter().filter(|(_, asked)| *asked == shard).count();
                assert_eq!(asked.len(), 4 + again - 1, "other shards were asked once: {asked:?}");
                if again == 2 {
                    break;
                }
            }
            cluster.workers[lacking].behave(|behaviour| behaviour.missing_shards.clear());
        }
    }
}

#[tokio::test]
async fn a_killed_worker_costs_nobody_an_answer() {
    let mut cluster = Cluster::start(Setup::default()).await;
    cluster.workers[1].kill();
    for _ in 0..50 {
        assert_whole(&cluster, &cluster.router.get(RECOMMEND).await.ok(), V1);
    }
}

#[tokio::test]
async fn workers_that_a_new_leader_has_not_heard_from_are_asked() {
    let mut cluster = Cluster::start(Setup::default()).await;
    cluster.publish(|metadata| {
        metadata.leader_term += 1;
        metadata.loaded.retain(|worker, _| worker == "worker-1");
        V2.clone_into(&mut metadata.live_version);
    });
    cluster.router.serves(Some(V2)).await;
    // The only one that has spoken to it is lost.
    cluster.workers[1].kill();
    let coordinators = vec![cluster.coordinators[0].address.clone()];
    let started_later = Router::start(&Setup::default(), coordinators).await;
    started_later.serves(Some(V2)).await;
    for router in [&cluster.router, &started_later] {
        for _ in 0..20 {
            assert_whole(&cluster, &router.get(RECOMMEND).await.ok(), V2);
        }
    }
}

#[tokio::test]
async fn a_retry_goes_to_a_replica_that_was_there_a_moment_ago() {
    let mut cluster = Cluster::start(Setup { replicas: 3, ..Setup::default() }).await;
    cluster.workers[0].kill();
    for _ in 0..5 {
        assert_whole(&cluster, &cluster.router.get(RECOMMEND).await.ok(), V1);
    }
    // One of the two that are left has lost what it had.
    for lacking in [1, 2] {
        cluster.workers[lacking].behave(|behaviour| behaviour.missing_shards = (0..4).collect());
        for _ in 0..20 {
            assert_whole(&cluster, &cluster.router.get(RECOMMEND).await.ok(), V1);
        }
        cluster.workers[lacking].behave(|behaviour| behaviour.missing_shards.clear());
    }
}

#[tokio::test]
async fn a_hanging_worker_costs_nobody_an_answer() {
    // Every late call may have a twin: how many there are depends on how busy the machine is.
    let cluster = Cluster::start(Setup { hedge_percent: 100, ..Setup::default() }).await;
    cluster.workers[1].behave(|behaviour| behaviour.hanging = ["lookup_user", "top_items"].into());
    for _ in 0..50 {
        assert_whole(&cluster, &cluster.router.get(RECOMMEND).await.ok(), V1);
    }
    assert!(!cluster.workers[1].take_received().is_empty(), "it was asked");
    cluster.workers[1].behave(|behaviour| behaviour.hanging.clear());
}

#[tokio::test]
async fn without_hedges_a_hanging_worker_uses_up_the_time() {
    let setup = Setup { workers: 2, replicas: 1, timeout: Duration::from_millis(400), ..Setup::default() };
    let cluster = Cluster::start(setup).await;
    let user_shard = cluster.world.user(1).shard;
    let (owner, other) = if cluster.workers[0].shards.contains(&user_shard) { (0, 1) } else { (1, 0) };
    cluster.workers[other].behave(|behaviour| behaviour.hanging = ["top_items"].into());
    let answer = cluster.router.get(RECOMMEND).await.ok();
    assert_without(&cluster, &answer, &cluster.workers[other].shards);
    let answer = cluster.router.get(&format!("{RECOMMEND}&complete=true")).await;
    answer.refused(StatusCode::SERVICE_UNAVAILABLE, &["2 of 4 item shards"]);
    assert!(answer.retry_after_seconds() >= 1);
    // Slow is not gone: a worker that is late is asked again at once.
    assert_eq!(cluster.router.get("/recommendations/health").await.ok()["status"], "healthy");

    cluster.workers[owner].behave(|behaviour| behaviour.hanging = ["lookup_user"].into());
    let answer = cluster.router.get(RECOMMEND).await;
    answer.refused(StatusCode::GATEWAY_TIMEOUT, &["longer than it may"]);
    assert!(answer.retry_after_seconds() >= 1);
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.hanging.clear());
    }
}

#[tokio::test]
async fn the_deadline_travels_and_shrinks() {
    let cluster = Cluster::start(Setup::default()).await;
    cluster.router.get(RECOMMEND).await.ok();
    let received = cluster.take_received();
    let timeouts = |method: &str| -> Vec<Duration> {
        let of_method = received.iter().filter(|(_, call)| call.method == method);
        of_method.map(|(_, call)| call.timeout.expect("every call has a deadline")).collect()
    };
    let (lookup, scoring) = (timeouts("lookup_user"), timeouts("top_items"));
    assert_eq!(lookup.len(), 1);
    assert!(!scoring.is_empty());
    assert!(lookup[0] < PATIENCE, "the way back is taken off");
    assert!(scoring.iter().all(|timeout| *timeout < lookup[0]), "the second call has what the first left");
}

#[tokio::test]
async fn lost_shards_are_told_and_may_be_refused() {
    let mut cluster = Cluster::start(Setup { replicas: 1, ..Setup::default() }).await;
    let owner_of_user = |cluster: &Cluster, worker: usize| {
        cluster.workers[worker].shards.contains(&cluster.world.user(1).shard)
    };
    let lost = (0..3).find(|&worker| !owner_of_user(&cluster, worker)).unwrap();
    cluster.workers[lost].kill();
    let shards = cluster.workers[lost].shards.clone();
    for _ in 0..5 {
        assert_without(&cluster, &cluster.router.get(RECOMMEND).await.ok(), &shards);
    }
    let answer = cluster.router.get(&format!("{RECOMMEND}&complete=true")).await;
    let what = format!("{} of 4 item shards do not answer", shards.len());
    answer.refused(StatusCode::SERVICE_UNAVAILABLE, &[&what]);
    assert!(answer.retry_after_seconds() >= 1);
    let similar = cluster.router.get("/recommendations/similar/1?complete=true").await;
    assert_eq!(similar.status, StatusCode::SERVICE_UNAVAILABLE, "{}", similar.text);

    let owner = (0..3).find(|&worker| owner_of_user(&cluster, worker)).unwrap();
    cluster.workers[owner].kill();
    let answer = cluster.router.get(RECOMMEND).await;
    answer.refused(StatusCode::SERVICE_UNAVAILABLE, &["the shard of user 1 does not answer"]);
    assert!(answer.retry_after_seconds() >= 1);
    let status = |health: &Value| health["status"] == "degraded";
    cluster.router.healthy("lost shards", status).await;
}

#[tokio::test]
async fn a_worker_that_is_down_is_not_asked() {
    let cluster = Cluster::start(Setup::default()).await;
    cluster.publish(|metadata| metadata.nodes[1].set_health(NodeHealth::Down));
    let workers_up = |health: &Value| health["status"] == "healthy";
    cluster.router.healthy("health", workers_up).await;
    // Queries that began with the older metadata may still come; those after the next revision do not.
    cluster.publish(|metadata| V2.clone_into(&mut metadata.live_version));
    cluster.router.serves(Some(V2)).await;
    cluster.take_received();
    for _ in 0..30 {
        assert_whole(&cluster, &cluster.router.get(RECOMMEND).await.ok(), V2);
    }
    assert!(cluster.workers[1].take_received().is_empty());
}

#[tokio::test]
async fn workers_without_a_lease_are_asked_while_their_successor_has_nothing() {
    let cluster = Cluster::start(Setup::default()).await;
    cluster.publish(|metadata| {
        let successor = metadata.nodes[0].name.clone();
        for node in &mut metadata.nodes[1..] {
            node.set_health(NodeHealth::Down);
        }
        for shard in metadata.placements.iter_mut().flat_map(|placement| &mut placement.shards) {
            shard.nodes = vec![successor.clone()];
        }
        V2.clone_into(&mut metadata.live_version);
    });
    cluster.router.serves(Some(V2)).await;
    for _ in 0..30 {
        assert_whole(&cluster, &cluster.router.get(RECOMMEND).await.ok(), V2);
    }
}

#[tokio::test]
async fn a_refusal_that_all_would_give_is_not_tried_elsewhere() {
    let cluster = Cluster::start(Setup::default()).await;
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.refusal = Some(Status::invalid_argument("no such thing")));
    }
    let answer = cluster.router.get(RECOMMEND).await;
    answer.refused(StatusCode::SERVICE_UNAVAILABLE, &["no such thing"]);
    assert_eq!(cluster.take_received().len(), 1);
    for worker in &cluster.workers {
        worker.behave(|behaviour| {
            behaviour.refusal = None;
            behaviour.broken_shards = [2].into();
        });
    }
    assert_without(&cluster, &cluster.router.get(RECOMMEND).await.ok(), &[2].into());
    assert_eq!(asked(&cluster).len(), 4);
}

#[tokio::test]
async fn full_queues_are_tried_elsewhere_and_then_told_with_a_hint() {
    let cluster = Cluster::start(Setup::default()).await;
    let full = queue_full("this worker's queue is full".to_owned(), Duration::from_millis(2_100));
    cluster.workers[0].behave(|behaviour| behaviour.refusal = Some(full.clone()));
    for _ in 0..20 {
        assert_whole(&cluster, &cluster.router.get(RECOMMEND).await.ok(), V1);
    }
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.refusal = Some(full.clone()));
    }
    let answer = cluster.router.get(RECOMMEND).await;
    answer.refused(StatusCode::TOO_MANY_REQUESTS, &["overloaded"]);
    assert_eq!(answer.retry_after_seconds(), 3, "whole seconds, rounded up");
}

#[tokio::test]
async fn more_queries_than_may_run_and_wait_are_refused_at_once() {
    let cluster = Cluster::start(Setup { concurrency: 1, ..Setup::default() }).await;
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.hanging = ["lookup_user"].into());
    }
    // One runs and hangs, one waits, and the third, whichever it is, comes back at once.
    let mut answers: FuturesUnordered<_> = (0..3).map(|_| cluster.router.get(RECOMMEND)).collect();
    let refused = answers.next().await.unwrap();
    refused.refused(StatusCode::TOO_MANY_REQUESTS, &["overloaded"]);
    assert!(refused.retry_after_seconds() >= 1);
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.hanging.clear());
    }
    while let Some(answer) = answers.next().await {
        assert_whole(&cluster, &answer.ok(), V1);
    }
}

#[tokio::test]
async fn a_version_that_is_gone_is_asked_once_more_on_the_newer_metadata() {
    let cluster = Cluster::start(Setup::default()).await;
    let only_v2 = |metadata: &mut shoal_proto::v1::Metadata| {
        V2.clone_into(&mut metadata.live_version);
        metadata.versions.retain(|version| version.name == V2);
        for loaded in metadata.loaded.values_mut() {
            loaded.versions.retain(|loaded| loaded.version == V2);
        }
    };
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.versions = [V2.to_owned()].into());
    }
    let promote = async {
        // The query is under way on the old version when the new one is made known.
        tokio::select! {
            () = cluster.workers[0].received("lookup_user") => {}
            () = cluster.workers[1].received("lookup_user") => {}
            () = cluster.workers[2].received("lookup_user") => {}
        }
        cluster.publish(only_v2);
    };
    let (answer, ()) = tokio::join!(cluster.router.get(RECOMMEND), promote);
    assert_whole(&cluster, &answer.ok(), V2);
    let versions: BTreeSet<String> =
        cluster.take_received().into_iter().map(|(_, call)| call.version).collect();
    assert_eq!(versions, [V1.to_owned(), V2.to_owned()].into());
}

#[tokio::test]
async fn shards_that_nobody_holds_any_more_cost_only_themselves() {
    // Metadata says that all is there; no newer one comes within the time.
    let cluster = Cluster::start(Setup { timeout: Duration::from_secs(2), ..Setup::default() }).await;
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.missing_shards = [1].into());
    }
    assert_without(&cluster, &cluster.router.get(RECOMMEND).await.ok(), &[1].into());
    let answer = cluster.router.get(&format!("{RECOMMEND}&complete=true")).await;
    answer.refused(StatusCode::SERVICE_UNAVAILABLE, &["1 of 4 item shards", "not here"]);
}

/// Whatever a query asks of workers, it takes nothing that is of another version.
#[tokio::test]
async fn an_answer_from_another_version_is_never_taken() {
    let batch = json!({ "user_ids": [1, 2, 3] });
    let session = json!({ "items": [{ "movie_id": 1, "rating": 5 }, { "movie_id": 2, "rating": 1 }] });
    let queries: [(Method, &str, Option<String>); 4] = [
        (Method::GET, RECOMMEND, None),
        (Method::GET, "/recommendations/recommend/1?n=10&explain=true", None),
        (Method::POST, "/recommendations/batch?n=10", Some(batch.to_string())),
        (Method::POST, "/recommendations/recommend?n=10", Some(session.to_string())),
    ];
    for (method, path, body) in queries {
        let ask = async |cluster: &Cluster| {
            let answer = cluster.router.send(method.clone(), path, body.as_deref()).await.ok();
            assert_eq!(answer["model_version"], V1);
            let lists = ["recommendations", "results"].map(|field| answer[field].clone());
            assert!(lists.iter().any(|list| !list.is_null()), "{answer}");
            lists
        };
        let expected = ask(&Cluster::start(Setup::default()).await).await;
        // Each in turn, so that whichever is asked first is one that is wrong, within some queries.
        for wrong in 0..3 {
            let cluster = Cluster::start(Setup::default()).await;
            cluster.workers[wrong].behave(|behaviour| behaviour.answers_from = Some(V2.to_owned()));
            for _ in 0..10 {
                assert_eq!(ask(&cluster).await, expected, "{method} {path}");
            }
        }
    }
}
