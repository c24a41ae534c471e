//! Kept answers: what is kept, what is not, and when it is dropped.

use serde_json::Value;

use crate::fixture::{Cluster, Setup, V1, V2};

async fn cluster() -> Cluster {
    Cluster::start(Setup { cache_entries: 100, ..Setup::default() }).await
}

async fn get(cluster: &Cluster, query: &str) -> Value {
    cluster.router.get(&format!("/recommendations/recommend/{query}")).await.ok()
}

async fn stats(cluster: &Cluster) -> Value {
    cluster.router.get("/recommendations/health").await.ok()["cache_stats"].clone()
}

/// The same list, apart from where it came from.
fn assert_same(a: &Value, b: &Value) {
    for field in ["user_id", "recommendations", "model_version", "shards", "next_cursor"] {
        assert_eq!(a[field], b[field], "{field}");
    }
}

#[tokio::test]
async fn a_kept_answer_is_the_same_and_asks_nobody() {
    let cluster = cluster().await;
    let first = get(&cluster, "1?n=5&genres=Comedy,Drama").await;
    assert_eq!(first["source"], "model");
    cluster.take_received();
    // The same in other words.
    for query in ["1?n=5&genres=Comedy,Drama", "1?genres=drama,comedy,DRAMA&n=5&complete=true"] {
        let again = get(&cluster, query).await;
        assert_eq!(again["source"], "cache");
        assert_same(&first, &again);
    }
    assert!(cluster.take_received().is_empty());
    let stats = stats(&cluster).await;
    assert_eq!(
        (&stats["size"], &stats["max_size"], &stats["ttl_hours"]),
        (&1.into(), &100.into(), &1.0.into())
    );
    assert_eq!((&stats["hits"], &stats["misses"], &stats["evictions"]), (&2.into(), &1.into(), &0.into()));
    let metrics = cluster.router.get("/metrics").await.text;
    assert!(metrics.contains(r#"shoal_router_cache_requests_total{outcome="hit"}"#), "{metrics}");
    assert!(metrics.contains(r#"source="cache""#), "{metrics}");
}

#[tokio::test]
async fn every_parameter_is_part_of_the_key() {
    let cluster = cluster().await;
    let queries = [
        "1",
        "2",
        "1?n=11",
        "1?rank_by=rating",
        "1?exclude_seen=false",
        "1?genres=Comedy",
        "1?exclude_genres=Comedy",
        "1?year_min=1990",
        "1?year_max=1990",
        "1?exclude_ids=1",
        "1?allow_ids=1,2,3",
        "1?diversity=0.5",
        "1?explain=true",
    ];
    for query in queries {
        assert_eq!(get(&cluster, query).await["source"], "model", "{query}");
    }
    for query in queries {
        assert_eq!(get(&cluster, query).await["source"], "cache", "{query}");
    }
    let page = get(&cluster, "1").await["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(get(&cluster, &format!("1?cursor={page}")).await["source"], "model");
    assert_eq!(get(&cluster, &format!("1?cursor={page}")).await["source"], "cache");
}

#[tokio::test]
async fn the_cache_can_be_passed_by() {
    let cluster = cluster().await;
    assert_eq!(get(&cluster, "1?use_cache=false").await["source"], "model");
    assert_eq!(stats(&cluster).await["size"], 0);
    get(&cluster, "1").await;
    assert_eq!(get(&cluster, "1?use_cache=false").await["source"], "model");
    assert_eq!(get(&cluster, "1?use_cache=true").await["source"], "cache");
}

#[tokio::test]
async fn what_may_be_better_the_next_time_is_not_kept() {
    let cluster = cluster().await;
    for _ in 0..2 {
        assert_eq!(get(&cluster, "99999").await["source"], "fallback_popular");
    }
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.broken_shards = [2].into());
    }
    let lacking = get(&cluster, "1").await;
    assert_eq!((&lacking["source"], &lacking["shards"]["failed"]), (&"model".into(), &1.into()));
    for worker in &cluster.workers {
        worker.behave(|behaviour| behaviour.broken_shards.clear());
    }
    let whole = get(&cluster, "1").await;
    assert_eq!((&whole["source"], &whole["shards"]["failed"]), (&"model".into(), &0.into()));
    assert_eq!(stats(&cluster).await["size"], 1);
}

#[tokio::test]
async fn a_switch_of_versions_drops_everything_at_once() {
    let cluster = cluster().await;
    for version in [V2, V1, V2] {
        let before = get(&cluster, "1").await;
        assert_eq!(get(&cluster, "1").await["source"], "cache");
        cluster.publish(|metadata| version.clone_into(&mut metadata.live_version));
        cluster.router.serves(Some(version)).await;
        let after = get(&cluster, "1").await;
        assert_eq!((&after["source"], after["model_version"].as_str()), (&"model".into(), Some(version)));
        assert_ne!(before["model_version"], after["model_version"]);
        assert_eq!(stats(&cluster).await["size"], 1, "the old answers are gone");
    }
}
