//! What else the status tells.

use std::collections::BTreeMap;

use shoal_proto::v1::{JobState, NodeHealth, NodeLoss, NodeReport, NodeRole};

use super::{Seen, Trouble, replicas::lost};
use crate::{
    metadata_changes::encoded_bytes,
    readable::{bytes, counted},
    replication::shards_by_worker,
    rpc::MESSAGE_BYTES_MAX,
};

/// A job that failed so long ago is of interest.
const FAILED_LATELY_MS: i64 = 15 * 60 * 1_000;
/// Free share of a disk below which it is nearly full.
const DISK_FREE_LEAST: f64 = 0.1;
/// A certificate that ends within this should be replaced.
const EXPIRES_SOON_MS: i64 = 14 * 24 * 60 * 60 * 1_000;
/// Share of what a message can hold from which metadata is large.
const METADATA_SHARE: f64 = 0.25;

/// Nodes with what they say of themselves; coordinators by their number.
fn reports<'a>(seen: &Seen<'a>) -> Vec<(String, &'a NodeReport)> {
    let coordinators = seen
        .status
        .coordinators
        .iter()
        .filter_map(|member| Some((format!("coordinator {}", member.raft_id), member.report.as_ref()?)));
    let is_up = |name: &str| {
        let nodes = seen.status.metadata.iter().flat_map(|metadata| &metadata.nodes);
        nodes.into_iter().any(|node| node.name == name && node.health() == NodeHealth::Up)
    };
    let nodes = seen.status.node_status.iter().filter(|known| is_up(&known.node));
    coordinators.chain(nodes.filter_map(|known| Some((known.node.clone(), known.report.as_ref()?)))).collect()
}

pub(super) fn routers_not_ready(seen: &Seen<'_>) -> Vec<Trouble> {
    let Some(metadata) = &seen.status.metadata else { return Vec::new() };
    if metadata.served.iter().all(|served| served.live_version.is_empty()) {
        // Before anything is live no router has anything to answer.
        return Vec::new();
    }
    let is_router =
        |name: &str| metadata.nodes.iter().any(|node| node.name == name && node.role() == NodeRole::Router);
    let waiting =
        reports(seen).into_iter().filter(|(name, report)| is_router(name) && !report.waits_for.is_empty());
    let trouble = |(name, report): (String, &NodeReport)| Trouble {
        what: format!("{name} is not ready for queries."),
        why: vec![report.waits_for.clone()],
        remedy:
            "Where it does not become ready by itself, look at its log and at what is wrong with workers."
                .to_owned(),
    };
    waiting.map(trouble).collect()
}

pub(super) fn nodes_down(seen: &Seen<'_>) -> Vec<Trouble> {
    let Some(metadata) = &seen.status.metadata else { return Vec::new() };
    let placed = shards_by_worker(metadata);
    let down = metadata.nodes.iter().filter(|node| node.health() == NodeHealth::Down);
    let has_left = |name: &str| {
        seen.status.node_status.iter().any(|known| known.node == name && known.loss() == NodeLoss::Left)
    };
    let trouble = |node: &shoal_proto::v1::NodeInfo| {
        let shards = placed.get(&node.name).map_or(0, |shards| shards.placed);
        let shards = if shards == 0 {
            String::new()
        } else {
            format!(
                ", and {} placed on it",
                counted(u64::from(shards), "shard") + if shards == 1 { " is" } else { " are" }
            )
        };
        Trouble {
            what: format!("{} at {} {}{shards}.", node.name, node.address, lost(seen.status, &node.name)),
            why: Vec::new(),
            remedy: format!("Start it again, or forget it with `shoal nodes forget {}`.", node.name),
        }
    };
    // One that was asked to stop is nobody's surprise; what it leaves missing is told of shards.
    down.filter(|node| !has_left(&node.name)).map(trouble).collect()
}

pub(super) fn coordinators_down(seen: &Seen<'_>) -> Vec<Trouble> {
    let members = &seen.status.coordinators;
    let down: Vec<_> = members.iter().filter(|member| !member.leader && !member.recently_active).collect();
    if down.is_empty() {
        return Vec::new();
    }
    let left = (members.len() - down.len()).saturating_sub(members.len() / 2 + 1);
    let trouble = |member: &&shoal_proto::v1::CoordinatorStatus| Trouble {
        what: format!("Coordinator {} at {} is down.", member.raft_id, member.address),
        why: vec![match left {
            0 => "when one more is lost nothing can be changed".to_owned(),
            more => format!("{more} more may be lost before nothing can be changed"),
        }],
        remedy: "Start it again; one that has lost its disk gets everything from the others.".to_owned(),
    };
    down.iter().map(trouble).collect()
}

pub(super) fn unreachable(seen: &Seen<'_>) -> Vec<Trouble> {
    let trouble = |worker: &shoal_proto::v1::UnreachableWorker| Trouble {
        what: format!("Jobs go on without {}, which sends heartbeats and is not reached.", worker.node),
        why: vec![worker.reason.clone()],
        remedy: "Look at its node.advertise and at firewalls.".to_owned(),
    };
    seen.status.unreachable.iter().map(trouble).collect()
}

pub(super) fn load_failing(seen: &Seen<'_>) -> Vec<Trouble> {
    let mut by_reason: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for known in &seen.status.node_status {
        for (version, error) in &known.load_errors {
            by_reason.entry((version, error)).or_default().push(&known.node);
        }
    }
    let trouble = |((version, error), nodes): ((&str, &str), Vec<&str>)| Trouble {
        what: format!("{} cannot load {version}.", nodes.join(", ")),
        why: vec![error.to_owned()],
        remedy: "Mend what the reason names; workers try again by themselves.".to_owned(),
    };
    by_reason.into_iter().map(trouble).collect()
}

pub(super) fn mixed_versions(seen: &Seen<'_>) -> Vec<Trouble> {
    let mut by_version: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (node, report) in reports(seen) {
        by_version.entry(&report.version).or_default().push(node);
    }
    if by_version.len() < 2 {
        return Vec::new();
    }
    let why = by_version.iter().map(|(version, nodes)| format!("{version}: {}", nodes.join(", ")));
    vec![Trouble {
        what: format!("Nodes of {} releases run.", by_version.len()),
        why: why.collect(),
        remedy: "Finish the upgrade: coordinators one at a time, then workers, then routers.".to_owned(),
    }]
}

pub(super) fn jobs_failed(seen: &Seen<'_>) -> Vec<Trouble> {
    let failed = seen.jobs.iter().filter(|job| {
        job.state() == JobState::Failed && seen.now_unix_ms - job.finished_unix_ms < FAILED_LATELY_MS
    });
    let trouble = |job: &shoal_proto::v1::JobInfo| Trouble {
        what: format!("{} has failed.", job.job_id),
        why: vec![job.error.clone()],
        remedy: format!("`shoal jobs show {}` says more of it.", job.job_id),
    };
    failed.map(trouble).collect()
}

pub(super) fn disks(seen: &Seen<'_>) -> Vec<Trouble> {
    let full = reports(seen).into_iter().filter(|(_, report)| {
        let (free, size) = (report.disk_free_bytes as f64, report.disk_size_bytes as f64);
        size > 0.0 && free < DISK_FREE_LEAST * size
    });
    let trouble = |(node, report): (String, &NodeReport)| Trouble {
        what: format!(
            "The disk of {node} is nearly full: {} of {} are free.",
            bytes(report.disk_free_bytes),
            bytes(report.disk_size_bytes)
        ),
        why: Vec::new(),
        remedy: "Make room where its node.data_dir is.".to_owned(),
    };
    full.map(trouble).collect()
}

pub(super) fn certificates(seen: &Seen<'_>) -> Vec<Trouble> {
    let ending = reports(seen).into_iter().filter(|(_, report)| {
        let ends = report.certificate_expires_unix_ms;
        ends > 0 && ends - seen.now_unix_ms < EXPIRES_SOON_MS
    });
    let trouble = |(node, report): (String, &NodeReport)| {
        let days = (report.certificate_expires_unix_ms - seen.now_unix_ms).max(0) as u64 / 86_400_000;
        Trouble {
            what: format!("The certificate of {node} ends in {}.", counted(days, "day")),
            why: Vec::new(),
            remedy: "`shoal certs create --renew` makes a new one; put it in the place of the old."
                .to_owned(),
        }
    };
    ending.map(trouble).collect()
}

pub(super) fn metadata_large(seen: &Seen<'_>) -> Vec<Trouble> {
    let size = seen.status.metadata.as_ref().map_or(0, encoded_bytes);
    if (size as f64) < METADATA_SHARE * MESSAGE_BYTES_MAX as f64 {
        return Vec::new();
    }
    vec![Trouble {
        what: format!(
            "What every node is told has {}; {} cannot be sent.",
            bytes(size as u64),
            bytes(MESSAGE_BYTES_MAX as u64)
        ),
        why: Vec::new(),
        remedy: "Forget nodes that are gone with `shoal nodes forget NAME`.".to_owned(),
    }]
}
