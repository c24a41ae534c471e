//! The state of a cluster for people.

use serde_json::Value;
use shoal_common::replication::{Serves, replication};
use shoal_proto::v1::{ClusterStatus, NodeReport, NodeStatus};

use super::{Align, Table, bytes, json, shown_line, unprotected};
use crate::rules;

fn known_of<'a>(status: &'a ClusterStatus, node: &str) -> Option<&'a NodeStatus> {
    status.node_status.iter().find(|known| known.node == node)
}

/// The cluster's state for people; `now_unix_ms` is now.
#[must_use]
pub fn status_text(status: &ClusterStatus, now_unix_ms: i64) -> String {
    let json = json::status(status);
    let mut lines = head(status, &json);
    lines.extend(remarks(status, &json));
    let versions = versions_table(&json);
    let versions = if versions.is_empty() { String::new() } else { format!("\n{versions}") };
    format!(
        "{}\n{versions}\n{}\n{}",
        lines.join("\n"),
        coordinators_table(status, &json, now_unix_ms),
        nodes_table(status, &json, now_unix_ms)
    )
}

fn head(status: &ClusterStatus, json: &Value) -> Vec<String> {
    let or_none = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let mut lines = vec![
        format!(
            "cluster {}, term {}, log committed to {}",
            status.cluster_id, status.term, status.commit_index
        ),
        format!("live version  {}", or_none(&json["live_version"])),
        format!("before it     {}", or_none(&json["previous_version"])),
    ];
    if let Some(promoting) = json["promoting_version"].as_str() {
        lines.push(format!("being loaded  {promoting}"));
    }
    let default = &json["default_model"];
    for served in json["models"].as_array().into_iter().flatten().filter(|served| served["model"] != *default)
    {
        if let Some(live) = served["live_version"].as_str() {
            lines.push(format!("live too      {live}"));
        }
        if let Some(promoting) = served["promoting_version"].as_str().filter(|_| !default.is_null()) {
            lines.push(format!("being loaded  {promoting}"));
        }
    }
    lines.push(format!(
        "shards        {} of {} served, {} fully replicated",
        status.shards_served, status.shards_total, status.shards_fully_replicated
    ));
    if status.replicas_asked > 0 {
        lines.push(format!("replicas      {} asked for", status.replicas_asked));
    }
    lines
}

/// What is to be known beside the tables.
fn remarks(status: &ClusterStatus, json: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let nodes = || json["nodes"].as_array().into_iter().flatten();
    for router in nodes().filter(|node| node["health"] == "up") {
        if let (Some(name), Some(http)) = (router["name"].as_str(), router["http_address"].as_str()) {
            lines.push(format!("HTTP          {http} ({name})"));
        }
    }
    let unprotected = unprotected(status);
    if !unprotected.is_empty() {
        lines.push(format!(
            "INSECURE      other machines reach {}, and nobody is asked there who it is",
            unprotected.join(", ")
        ));
    }
    for worker in &status.unreachable {
        let (node, reason) = (&worker.node, &worker.reason);
        lines.push(format!("jobs go on without {node}, which sends heartbeats: {reason}"));
    }
    for node in nodes().filter(|node| node["health"] == "up") {
        if let (Some(name), Some(reason)) = (node["name"].as_str(), node["waits_for"].as_str()) {
            lines.push(format!("{name} is not ready: {reason}"));
        }
    }
    for node in nodes().filter(|node| node["health"] != "up") {
        let name = node["name"].as_str().unwrap_or_default();
        lines.push(format!("{name} {}", rules::lost(status, name)));
    }
    let metadata = status.metadata.clone().unwrap_or_default();
    let concerned = replication(&metadata, status.replicas_asked.max(1)).into_iter();
    for version in concerned.filter(|of| of.serves == Serves::Live && of.under_replicated() > 0) {
        let (count, all) = (version.under_replicated(), version.shards);
        let why = rules::reasons(&version, status).0.join("; ");
        lines.push(format!("{count} of {all} shards of {} are not fully replicated: {why}", version.version));
    }
    lines.into_iter().map(|line| shown_line(&line).into_owned()).collect()
}

fn versions_table(json: &Value) -> Table {
    let mut table = Table::new(&[
        ("VERSION", Align::Left),
        ("MODEL", Align::Left),
        ("SERVES", Align::Left),
        ("SHARDS", Align::Right),
        ("SERVED", Align::Right),
        ("REPLICATED", Align::Right),
    ]);
    for of in json["versions"].as_array().into_iter().flatten() {
        let text = |key: &str| of[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| of[key].as_u64().unwrap_or_default().to_string();
        table.row([
            text("version"),
            text("model"),
            text("serves"),
            number("shards"),
            number("served"),
            number("replicated"),
        ]);
    }
    table
}

/// How long a process has run, where that is known.
fn age(report: Option<&NodeReport>, now_unix_ms: i64) -> String {
    let started = report.map(|report| report.started_unix_ms).filter(|started| *started > 0);
    let Some(started) = started else { return String::new() };
    let elapsed = (now_unix_ms - started).max(0) as f64 / 1_000.0;
    match elapsed {
        short if short < 60.0 => format!("{:.0} s", short.floor()),
        short if short < 3_600.0 => format!("{:.0} min", (short / 60.0).floor()),
        long if long < 172_800.0 => format!("{:.1} h", long / 3_600.0),
        longer => format!("{:.0} days", longer / 86_400.0),
    }
}

fn coordinators_table(status: &ClusterStatus, json: &Value, now_unix_ms: i64) -> Table {
    let mut table = Table::new(&[
        ("COORDINATOR", Align::Right),
        ("ADDRESS", Align::Left),
        ("ROLE", Align::Left),
        ("LOG", Align::Right),
        ("HEALTH", Align::Left),
        ("RELEASE", Align::Left),
        ("RUNS", Align::Right),
        ("PROTECTION", Align::Left),
    ]);
    let shown = json["coordinators"].as_array().into_iter().flatten();
    for (member, of) in shown.zip(&status.coordinators) {
        let text = |key: &str| member[key].as_str().unwrap_or_default().to_owned();
        let is = |key: &str| member[key].as_bool() == Some(true);
        table.row([
            member["raft_id"].to_string(),
            text("address"),
            if is("leader") { "leader" } else { "follower" }.to_owned(),
            member["matched"].to_string(),
            if is("leader") || is("recently_active") { "up" } else { "down" }.to_owned(),
            text("version"),
            age(of.report.as_ref(), now_unix_ms),
            text("protection"),
        ]);
    }
    table
}

fn nodes_table(status: &ClusterStatus, json: &Value, now_unix_ms: i64) -> Table {
    let mut table = Table::new(&[
        ("NODE", Align::Left),
        ("ROLE", Align::Left),
        ("ADDRESS", Align::Left),
        ("HEALTH", Align::Left),
        ("SHARDS", Align::Right),
        ("SERVED", Align::Right),
        ("RELEASE", Align::Left),
        ("RUNS", Align::Right),
        ("THREADS", Align::Right),
        ("PROTECTION", Align::Left),
    ])
    .optional(&["THREADS"]);
    for node in json["nodes"].as_array().into_iter().flatten() {
        let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
        let is_up = node["health"] == "up";
        let threads = node["threads"].as_u64().filter(|threads| *threads > 0);
        let shards = match (node["shards"]["ready"].as_u64(), node["shards"]["placed"].as_u64()) {
            (Some(ready), Some(placed)) => format!("{ready} of {placed}"),
            _ => String::new(),
        };
        let report = known_of(status, &text("name")).and_then(|known| known.report.as_ref());
        let served = node["served_bytes"].as_u64().filter(|_| is_up);
        table.row([
            text("name"),
            text("role"),
            text("address"),
            if node["loss"] == "left" { "left".to_owned() } else { text("health") },
            shards,
            served.map(bytes).unwrap_or_default(),
            text("version"),
            age(report.filter(|_| is_up), now_unix_ms),
            threads.map(|threads| threads.to_string()).unwrap_or_default(),
            text("protection"),
        ]);
    }
    table
}
