//! Metrics of running nodes.

use std::collections::BTreeSet;

use shoal_common::telemetry::{
    SERIES_MAX,
    list::{METRICS, Values},
};
use shoal_proto::v1::NodeRole;

use crate::support::{Http, shared};

/// The name of a series without what histograms add.
fn metric_of(series: &str) -> &str {
    let name = series.split(['{', ' ']).next().unwrap();
    ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

#[tokio::test]
async fn every_metric_is_there_with_its_help_and_series_are_bounded() {
    let shared = shared().await;
    let nodes = [
        ("coordinator-1", NodeRole::Coordinator),
        ("worker-1", NodeRole::Worker),
        ("router-1", NodeRole::Router),
    ];
    for (name, role) in nodes {
        let addresses = std::fs::read(shared.cluster.dir().join(name).join("addresses.json")).unwrap();
        let addresses: serde_json::Value = serde_json::from_slice(&addresses).unwrap();
        let url = format!("http://{}", addresses["metrics"].as_str().unwrap());
        let text = Http::new(&url).get("/metrics").await.text;
        let series: Vec<&str> =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert!(series.len() <= SERIES_MAX, "{name} has {} series", series.len());
        let listed = METRICS.iter().filter(|metric| metric.is_of(role));
        for metric in listed.clone() {
            let head = format!(
                "# HELP {} {}\n# TYPE {} {}\n",
                metric.name,
                metric.help,
                metric.name,
                metric.kind.name()
            );
            // What has an open label may have nothing to say yet.
            let is_open = metric.labels.iter().any(|label| label.values == Values::Open);
            assert!(is_open || text.contains(&head), "{name} has no\n{head}{text}");
            let first = metric.first_series();
            assert!(
                is_open || series.iter().filter(|line| metric_of(line) == metric.name).count() >= first.len()
            );
        }
        let listed: BTreeSet<&str> = listed.map(|metric| metric.name).collect();
        let strangers: Vec<&&str> = series.iter().filter(|line| !listed.contains(metric_of(line))).collect();
        assert!(strangers.is_empty(), "{name}: {strangers:?}");
    }
}
