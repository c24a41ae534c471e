//! Every metric there is: its name, type, labels and help, and which roles have it. What is not listed here is not emitted, and
//! `docs/metrics.md` has the same list; tests hold both.
//!
//! Names follow Prometheus: base units, `_total` for counters, the role in the name where only one role has the metric. A label
//! has few values, all known beforehand but for those of [`Values::Open`].

use shoal_proto::v1::NodeRole::{self, Coordinator, Router, Worker};

/// What a metric's value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts values by size.
    Histogram,
}

impl Kind {
    /// As the exposition format and the documentation call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What values a label may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// These; each has a series from the start.
    Of(&'static [&'static str]),
    /// What comes up; there is no series before.
    Open,
}

/// A label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What its value does.
    pub kind: Kind,
    /// The nodes that have it.
    pub roles: &'static [NodeRole],
    /// Its labels.
    pub labels: &'static [Label],
    /// What it says, in a sentence.
    pub help: &'static str,
}

const fn metric(
    kind: Kind,
    roles: &'static [NodeRole],
    name: &'static str,
    labels: &'static [Label],
    help: &'static str,
) -> Metric {
    Metric { name, kind, roles, labels, help }
}

const fn counter(
    roles: &'static [NodeRole],
    name: &'static str,
    labels: &'static [Label],
    help: &'static str,
) -> Metric {
    metric(Kind::Counter, roles, name, labels, help)
}

const fn gauge(
    roles: &'static [NodeRole],
    name: &'static str,
    labels: &'static [Label],
    help: &'static str,
) -> Metric {
    metric(Kind::Gauge, roles, name, labels, help)
}

const fn histogram(
    roles: &'static [NodeRole],
    name: &'static str,
    labels: &'static [Label],
    help: &'static str,
) -> Metric {
    metric(Kind::Histogram, roles, name, labels, help)
}

const fn one_of(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values: Values::Of(values) }
}

const fn open(name: &'static str) -> Label {
    Label { name, values: Values::Open }
}

const ALL: &[NodeRole] = &[Coordinator, Worker, Router];
const STORED: &[NodeRole] = &[Coordinator, Worker];
const WATCHERS: &[NodeRole] = &[Worker, Router];
const COORDINATORS: &[NodeRole] = &[Coordinator];
const WORKERS: &[NodeRole] = &[Worker];
const ROUTERS: &[NodeRole] = &[Router];

/// What is asked of a store.
const OPERATIONS: Label = one_of("operation", &["read", "write", "list", "delete", "link"]);
/// What jobs are for.
const JOB_KINDS: Label = one_of("kind", &["import", "training", "lists"]);

/// All of them, in the order in which they are documented.
pub const METRICS: &[Metric] = &[
    // Every process.
    gauge(ALL, "shoal_build_info", &[open("version"), open("role")], "The release that runs, as 1."),
    counter(ALL, "process_cpu_seconds_total", &[], "Processor time of the process, in user and system mode."),
    gauge(
        ALL,
        "process_resident_memory_bytes",
        &[],
        "Memory of the process that is in RAM, pages of mapped files among it.",
    ),
    gauge(
        ALL,
        "process_anonymous_memory_bytes",
        &[],
        "Memory of the process that is in RAM without a file behind it.",
    ),
    gauge(ALL, "process_virtual_memory_bytes", &[], "Addresses that the process has reserved."),
    gauge(ALL, "process_open_fds", &[], "Open file descriptors."),
    gauge(ALL, "process_max_fds", &[], "File descriptors that the process may have open."),
    gauge(ALL, "process_threads", &[], "Threads of the process."),
    gauge(
        ALL,
        "process_start_time_seconds",
        &[],
        "When the process started, in seconds since the Unix epoch.",
    ),
    counter(ALL, "shoal_connections_refused_total", &[], "Connections refused because there were too many."),
    counter(ALL, "shoal_connections_evicted_total", &[], "Idle connections closed to make room for others."),
    counter(
        ALL,
        "shoal_connections_timed_out_total",
        &[],
        "Connections closed because nothing came or went.",
    ),
    counter(ALL, "shoal_calls_timed_out_total", &[], "gRPC calls whose message did not come in time."),
    counter(
        ALL,
        "shoal_calls_refused_total",
        &[],
        "Calls refused for want of a certificate or token that allows them.",
    ),
    counter(ALL, "shoal_handshakes_failed_total", &[], "TLS handshakes that failed."),
    gauge(
        ALL,
        "shoal_certificate_expires_timestamp_seconds",
        &[],
        "When the node's certificate ends, in seconds since the Unix epoch; 0 without one.",
    ),
    counter(ALL, "shoal_audit_refusals_total", &[], "Refusals that the audit log was told of."),
    counter(ALL, "shoal_audit_lines_lost_total", &[], "Lines of the audit log that could not be written."),
    gauge(
        ALL,
        "shoal_disk_free_bytes",
        &[],
        "Free bytes where the node's folder is; 0 for a node without one.",
    ),
    gauge(
        ALL,
        "shoal_disk_size_bytes",
        &[],
        "Size of the file system where the node's folder is; 0 for a node without one.",
    ),
    counter(
        STORED,
        "shoal_store_errors_total",
        &[OPERATIONS],
        "Operations of the object store that failed, but for objects that are not there.",
    ),
    gauge(
        WATCHERS,
        "shoal_coordinators_reached",
        &[],
        "1 while a leading coordinator answers the node's heartbeats, else 0.",
    ),
    counter(
        WATCHERS,
        "shoal_metadata_gaps_total",
        &[],
        "Changes of the metadata that did not go on from what was known, so that all of it was fetched again.",
    ),
    // Coordinators.
    gauge(COORDINATORS, "shoal_coordinator_raft_leader", &[], "1 on the member that leads, else 0."),
    gauge(COORDINATORS, "shoal_coordinator_raft_term", &[], "The member's raft term."),
    gauge(COORDINATORS, "shoal_coordinator_raft_commit_index", &[], "The last log entry that is committed."),
    gauge(COORDINATORS, "shoal_coordinator_raft_applied_index", &[], "The last log entry that is applied."),
    histogram(
        COORDINATORS,
        "shoal_coordinator_raft_fsync_seconds",
        &[],
        "How long the log's disk took to make entries durable.",
    ),
    counter(
        COORDINATORS,
        "shoal_coordinator_raft_refused_total",
        &[one_of(
            "reason",
            &[
                "kind",
                "term",
                "term_jump",
                "place",
                "entries",
                "context",
                "members",
                "snapshot",
                "piece",
                "sender",
            ],
        )],
        "Messages to the raft group that no member sends.",
    ),
    gauge(
        COORDINATORS,
        "shoal_coordinator_snapshot_bytes",
        &[],
        "Size of the last snapshot of the registry.",
    ),
    gauge(
        COORDINATORS,
        "shoal_coordinator_members",
        &[],
        "Members of the coordinators' group; only the leader says it.",
    ),
    gauge(
        COORDINATORS,
        "shoal_coordinator_members_up",
        &[],
        "Members that the leader has heard of lately, itself among them; 0 on followers.",
    ),
    gauge(
        COORDINATORS,
        "shoal_coordinator_metadata_revision",
        &[],
        "Revision of the metadata that the leader makes known; 0 on followers.",
    ),
    gauge(
        COORDINATORS,
        "shoal_coordinator_metadata_bytes",
        &[],
        "Size of the metadata that every node is told; 0 on followers.",
    ),
    gauge(
        COORDINATORS,
        "shoal_coordinator_metadata_bytes_max",
        &[],
        "The size of metadata that cannot be sent any more; 0 on followers.",
    ),
    gauge(
        COORDINATORS,
        "shoal_coordinator_nodes",
        &[one_of("role", &["worker", "router"]), one_of("health", &["up", "down", "left"])],
        "Nodes that the leader knows, by their health; 0 on followers.",
    ),
    gauge(
        COORDINATORS,
        "shoal_coordinator_workers_unreachable",
        &[],
        "Workers that send heartbeats and that jobs go on without; 0 on followers.",
    ),
    gauge(COORDINATORS, "shoal_coordinator_shards", &[], "Shards of all live versions; 0 on followers."),
    gauge(
        COORDINATORS,
        "shoal_coordinator_shards_unserved",
        &[],
        "Shards of live versions that no worker has ready; 0 on followers.",
    ),
    gauge(
        COORDINATORS,
        "shoal_coordinator_shards_under_replicated",
        &[],
        "Shards of live versions that fewer workers have ready than are asked for; 0 on followers.",
    ),
    gauge(COORDINATORS, "shoal_coordinator_jobs_running", &[], "Jobs that run; 0 on followers."),
    gauge(
        COORDINATORS,
        "shoal_coordinator_jobs_queued",
        &[],
        "Jobs that wait for their turn; 0 on followers.",
    ),
    counter(
        COORDINATORS,
        "shoal_coordinator_jobs_total",
        &[JOB_KINDS, one_of("outcome", &["succeeded", "failed", "cancelled"])],
        "Jobs that this member has brought to their end while it led.",
    ),
    // Workers.
    gauge(WORKERS, "shoal_worker_loaded_shards", &[], "Shards of all versions that are ready to be asked."),
    counter(WORKERS, "shoal_worker_load_failures_total", &[], "Attempts to load a shard that failed."),
    gauge(
        WORKERS,
        "shoal_worker_memory_bytes",
        &[one_of("purpose", &["served", "training"])],
        "Files mapped for what is served; files mapped and factors held for jobs.",
    ),
    histogram(
        WORKERS,
        "shoal_worker_query_seconds",
        &[one_of("kind", &["lookup", "score", "batch", "facts", "fold_in", "profile", "search"])],
        "How long queries of routers took.",
    ),
    gauge(
        WORKERS,
        "shoal_worker_pending_tasks",
        &[one_of("pool", &["training", "serving"])],
        "Pieces of work in a pool of threads, under way and waiting.",
    ),
    histogram(
        WORKERS,
        "shoal_worker_step_seconds",
        &[JOB_KINDS],
        "How long steps of jobs took; the log has each by name.",
    ),
    counter(
        WORKERS,
        "shoal_worker_exchange_bytes_total",
        &[one_of("kind", &["records", "factors", "tiles"])],
        "Bytes received from other workers during jobs.",
    ),
    // Routers.
    gauge(ROUTERS, "shoal_router_ready", &[], "1 while queries may be sent to the router, else 0."),
    gauge(ROUTERS, "shoal_router_workers_up", &[], "Workers that the metadata says are up."),
    gauge(ROUTERS, "shoal_router_workers_answering", &[], "1 while a worker answers this router, else 0."),
    gauge(
        ROUTERS,
        "shoal_router_metadata_revision",
        &[],
        "Revision of the metadata that the router answers by.",
    ),
    gauge(
        ROUTERS,
        "shoal_router_live_version_info",
        &[open("model"), open("version")],
        "The live version of each model as this router knows it, as 1.",
    ),
    gauge(ROUTERS, "shoal_router_inflight_requests", &[], "HTTP requests under way."),
    counter(
        ROUTERS,
        "shoal_router_requests_total",
        &[open("route"), open("source"), open("status")],
        "HTTP requests by route, by where the answer came from, and by status.",
    ),
    histogram(
        ROUTERS,
        "shoal_router_request_seconds",
        &[one_of("route", TIMED_ROUTES)],
        "How long HTTP requests took.",
    ),
    histogram(
        ROUTERS,
        "shoal_router_call_seconds",
        &[one_of("call", &["lookup", "top_items"])],
        "How long a query waited for its user's worker, and for all shards of items.",
    ),
    counter(
        ROUTERS,
        "shoal_router_fanout_attempts_total",
        &[one_of("kind", &["first", "retry", "hedge"])],
        "Calls to workers.",
    ),
    counter(
        ROUTERS,
        "shoal_router_fanout_shard_failures_total",
        &[],
        "Shards that gave no answer to a query.",
    ),
    gauge(ROUTERS, "shoal_router_cache_entries", &[], "Answers that are kept."),
    gauge(ROUTERS, "shoal_router_cache_bytes", &[], "Size of the answers that are kept."),
    counter(
        ROUTERS,
        "shoal_router_cache_requests_total",
        &[one_of("outcome", &["hit", "miss"])],
        "Looks into the cache.",
    ),
    counter(
        ROUTERS,
        "shoal_router_cache_evictions_total",
        &[],
        "Answers that were dropped for room or for their age.",
    ),
];

/// Routes whose time is told apart in metrics, and the rest of them.
pub const TIMED_ROUTES: &[&str] = &[
    "recommend",
    "recommend_for_items",
    "batch",
    "popular",
    "similar",
    "predict",
    "search",
    "item",
    "other",
];

impl Metric {
    /// Whether a node of the role has it.
    #[must_use]
    pub fn is_of(&self, role: NodeRole) -> bool {
        self.roles.contains(&role)
    }

    /// Every set of values that its labels have from the start; none where a label is open.
    #[must_use]
    pub fn first_series(&self) -> Vec<Vec<(&'static str, &'static str)>> {
        let mut series = vec![Vec::new()];
        for label in self.labels {
            let Values::Of(values) = label.values else { return Vec::new() };
            let with = |known: &Vec<(&'static str, &'static str)>| {
                let known = known.clone();
                values.iter().map(move |value| {
                    let mut series = known.clone();
                    series.push((label.name, *value));
                    series
                })
            };
            series = series.iter().flat_map(with).collect();
        }
        series
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut seen = BTreeSet::new();
        for metric in METRICS {
            let name = metric.name;
            assert!(seen.insert(name), "{name} is listed twice");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(name.starts_with("shoal_") || name.starts_with("process_"), "{name}");
            assert!(metric.kind != Kind::Histogram || name.ends_with("_seconds"), "{name} has a unit");
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}: {}", metric.help);
            if let [role] = metric.roles {
                let role = role.as_str_name().trim_start_matches("NODE_ROLE_").to_lowercase();
                assert!(name.starts_with(&format!("shoal_{role}_")), "{name} is of one role");
            }
        }
    }

    #[test]
    fn every_combination_of_known_values_is_a_series() {
        let series = |name: &str| {
            METRICS.iter().find(|metric| metric.name == name).map(|metric| metric.first_series().len())
        };
        assert_eq!(series("shoal_coordinator_jobs_total"), Some(9));
        assert_eq!(series("shoal_router_requests_total"), Some(0));
        assert_eq!(series("process_open_fds"), Some(1));
    }
}
