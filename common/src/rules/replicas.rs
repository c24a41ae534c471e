//! Shards that are not served, or by too few workers, and why.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::v1::{ClusterStatus, NodeHealth, NodeLoss, NodeRole};

use super::{Seen, Trouble};
use crate::{
    clock::UtcTime,
    readable::{counted, to_the_second},
    replication::{Serves, VersionReplication, replication},
};

pub(super) fn unserved(seen: &Seen<'_>) -> Vec<Trouble> {
    troubles(
        seen.status,
        VersionReplication::unserved,
        "served by no worker: answers lack their users and items",
    )
}

pub(super) fn under_replicated(seen: &Seen<'_>) -> Vec<Trouble> {
    let asked = counted(u64::from(seen.status.replicas_asked), "worker");
    let what = format!("ready on fewer than {asked}: another loss may cost answers");
    troubles(seen.status, VersionReplication::under_replicated, &what)
}

/// One trouble for all versions that miss shards for the same reasons.
fn troubles(status: &ClusterStatus, missing: fn(&VersionReplication) -> u32, what: &str) -> Vec<Trouble> {
    let metadata = status.metadata.clone().unwrap_or_default();
    let versions = replication(&metadata, status.replicas_asked.max(1));
    let concerned = versions.iter().filter(|version| version.serves == Serves::Live && missing(version) > 0);
    let mut by_reasons: BTreeMap<(Vec<String>, String), Vec<String>> = BTreeMap::new();
    for version in concerned {
        let (why, remedy) = reasons(version, status);
        let (count, all) = (missing(version), version.shards);
        by_reasons.entry((why, remedy)).or_default().push(format!("{count} of {all} of {}", version.version));
    }
    let trouble = |((why, remedy), versions): ((Vec<String>, String), Vec<String>)| Trouble {
        what: format!("Shards are {what}: {}.", versions.join(", ")),
        why,
        remedy,
    };
    by_reasons.into_iter().map(trouble).collect()
}

/// Why shards of a version are missing, and what helps.
#[must_use]
pub fn reasons(version: &VersionReplication, status: &ClusterStatus) -> (Vec<String>, String) {
    let (mut why, mut remedies) = (Vec::new(), BTreeSet::new());
    let metadata = status.metadata.clone().unwrap_or_default();
    let is_up_worker = |node: &&shoal_proto::v1::NodeInfo| {
        node.role() == NodeRole::Worker && node.health() == NodeHealth::Up
    };
    let up = metadata.nodes.iter().filter(is_up_worker).count() as u64;
    let asked = u64::from(status.replicas_asked);
    if version.placed_on_too_few > 0 {
        if up < asked {
            why.push(format!(
                "{} asked for, and {} up",
                counted(asked, "replica") + verb(asked),
                counted(up, "worker") + verb(up)
            ));
            remedies.insert(format!(
                "Start another worker, or ask for fewer replicas with coordinator.replicas = {}.",
                up.max(1)
            ));
        } else {
            why.push(format!("{} being placed anew", shards(version.placed_on_too_few)));
            remedies.insert("Wait a moment.".to_owned());
        }
    }
    for (node, count) in &version.lost {
        why.push(format!("{node} {}, and has {}", lost(status, node), shards(*count)));
        remedies.insert(format!(
            "Start {node} again; after coordinator.replace_after_ms other workers load its shards, if there are any."
        ));
    }
    for (node, count) in &version.loading {
        let of_node = status.node_status.iter().find(|known| known.node == *node);
        match of_node.and_then(|known| known.load_errors.get(&version.version)) {
            Some(error) => {
                why.push(format!("{node} cannot load {}: {error}", shards(*count)));
                remedies.insert("Mend what the reason names; the worker tries again by itself.".to_owned());
            }
            None => {
                why.push(format!("{node} has {} still to load", shards(*count)));
                remedies.insert("Wait until it is loaded.".to_owned());
            }
        }
    }
    (why, remedies.into_iter().collect::<Vec<_>>().join(" "))
}

fn verb(count: u64) -> &'static str {
    if count == 1 { " is" } else { " are" }
}

fn shards(count: u32) -> String {
    counted(u64::from(count), "shard")
}

/// Since when and why a node is not there, as half a sentence.
#[must_use]
pub fn lost(status: &ClusterStatus, node: &str) -> String {
    let Some(known) = status.node_status.iter().find(|known| known.node == node) else {
        return "is down".to_owned();
    };
    let since = match known.down_since_unix_ms {
        0 => String::new(),
        since => format!(" at {}", to_the_second(&UtcTime::from_unix_ms(since).iso_8601())),
    };
    match known.loss() {
        NodeLoss::Left => format!("left{since} because it was asked to stop"),
        NodeLoss::LeaseExpired => format!("was last heard of shortly before{}", since.replacen(" at", "", 1)),
        NodeLoss::Unspecified => format!("is down{}", since.replacen(" at", " since", 1)),
    }
}
