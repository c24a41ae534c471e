//! Each rule that the status tells of, on a cluster that breaks it.

use shoal_proto::v1::{
    CoordinatorStatus, JobState, Metadata, ModelVersion, NodeHealth, NodeInfo, NodeLoss, NodeReport,
    NodeRole, NodeStatus, Placement, ServedModel, ShardReplicas, Side, UnreachableWorker,
};

use super::*;

const NOW: i64 = 1_780_000_000_000;
const DAY: i64 = 86_400_000;

fn node(name: &str, role: NodeRole) -> NodeInfo {
    NodeInfo {
        name: name.to_owned(),
        role: role.into(),
        address: format!("{name}:1"),
        health: NodeHealth::Up.into(),
        ..NodeInfo::default()
    }
}

fn report() -> NodeReport {
    NodeReport {
        version: "1.0".to_owned(),
        disk_free_bytes: 500,
        disk_size_bytes: 1_000,
        certificate_expires_unix_ms: NOW + 90 * DAY,
        ..NodeReport::default()
    }
}

fn known(name: &str) -> NodeStatus {
    NodeStatus { node: name.to_owned(), report: Some(report()), ..NodeStatus::default() }
}

/// Two workers and a router, one shard on both workers, and three coordinators.
fn well() -> ClusterStatus {
    let loaded = shoal_proto::v1::LoadedVersion {
        version: "v".to_owned(),
        user_shards: vec![0],
        ..Default::default()
    };
    let loaded = shoal_proto::v1::LoadedVersions { versions: vec![loaded] };
    let shard = ShardReplicas {
        side: Side::Users.into(),
        shard: 0,
        nodes: vec!["worker-1".to_owned(), "worker-2".to_owned()],
    };
    let metadata = Metadata {
        nodes: vec![
            node("worker-1", NodeRole::Worker),
            node("worker-2", NodeRole::Worker),
            node("router-1", NodeRole::Router),
        ],
        served: vec![ServedModel { live_version: "v".to_owned(), ..ServedModel::default() }],
        versions: vec![ModelVersion { name: "v".to_owned(), ..ModelVersion::default() }],
        placements: vec![Placement { shards: vec![shard], ..Placement::default() }],
        loaded: [("worker-1".to_owned(), loaded.clone()), ("worker-2".to_owned(), loaded)].into(),
        ..Metadata::default()
    };
    let coordinator = |raft_id| CoordinatorStatus {
        raft_id,
        leader: raft_id == 1,
        recently_active: true,
        report: Some(report()),
        ..CoordinatorStatus::default()
    };
    ClusterStatus {
        metadata: Some(metadata),
        coordinators: (1..=3).map(coordinator).collect(),
        replicas_asked: 2,
        node_status: ["worker-1", "worker-2", "router-1"].map(known).to_vec(),
        ..ClusterStatus::default()
    }
}

/// The rules that a changed cluster breaks, and all that is said of them.
fn broken(change: impl FnOnce(&mut ClusterStatus)) -> (Vec<&'static str>, String) {
    let mut status = well();
    change(&mut status);
    let found = findings(&Seen { status: &status, jobs: &[], now_unix_ms: NOW });
    let text = found.iter().map(Finding::text).collect::<Vec<_>>().join("\n");
    (found.iter().map(|finding| finding.rule).collect(), text)
}

#[track_caller]
fn breaks(rules: &[&str], says: &[&str], change: impl FnOnce(&mut ClusterStatus)) {
    let (found, text) = broken(change);
    assert_eq!(found, rules, "{text}");
    for part in says {
        assert!(text.contains(part), "'{part}' is missing: {text}");
    }
}

fn nodes(status: &mut ClusterStatus) -> &mut Vec<NodeInfo> {
    &mut status.metadata.as_mut().unwrap().nodes
}

#[test]
fn a_cluster_that_is_well_breaks_no_rule() {
    breaks(&[], &[], |_| {});
}

#[test]
fn a_lost_worker_is_named_with_what_it_leaves_missing() {
    let lost = |loss: NodeLoss| {
        move |status: &mut ClusterStatus| {
            nodes(status)[1].set_health(NodeHealth::Down);
            status.node_status[1].down_since_unix_ms = NOW;
            status.node_status[1].set_loss(loss);
        }
    };
    let rules = ["ShoalShardsUnderReplicated", "ShoalNodeDown"];
    let says =
        ["worker-2 was last heard of shortly before 2026-", "and 1 shard is placed on it", "forget worker-2"];
    breaks(&rules, &says, lost(NodeLoss::LeaseExpired));
    breaks(&rules[..1], &["worker-2 left at 2026-", "has 1 shard"], lost(NodeLoss::Left));
}

#[test]
fn a_shard_that_nobody_serves_comes_first() {
    let rules = ["ShoalShardsUnserved", "ShoalShardsUnderReplicated", "ShoalLoadFailing"];
    breaks(&rules, &["worker-1 cannot load 1 shard: torn", "worker-2 has 1 shard still to load"], |status| {
        status.metadata.as_mut().unwrap().loaded.clear();
        status.node_status[0].load_errors.insert("v".to_owned(), "torn".to_owned());
    });
}

#[test]
fn replicas_that_there_are_no_workers_for_are_told_of() {
    let says = ["3 replicas are asked for, and 2 workers are up", "coordinator.replicas = 2"];
    breaks(&["ShoalShardsUnderReplicated"], &says, |status| status.replicas_asked = 3);
}

#[test]
fn coordinators_machines_and_releases_are_looked_at() {
    breaks(&["ShoalCoordinatorDown"], &["when one more is lost nothing can be changed"], |status| {
        status.coordinators[2].recently_active = false;
    });
    breaks(&["ShoalMixedVersions"], &["2.0: coordinator 2"], |status| {
        status.coordinators[1].report.as_mut().unwrap().version = "2.0".to_owned();
    });
    breaks(&["ShoalDiskNearlyFull"], &["worker-1 is nearly full: 99 B of 1.00 kB"], |status| {
        status.node_status[0].report.as_mut().unwrap().disk_free_bytes = 99;
    });
    breaks(&["ShoalCertificateExpires"], &["router-1 ends in 13 days"], |status| {
        status.node_status[2].report.as_mut().unwrap().certificate_expires_unix_ms = NOW + 14 * DAY - 1;
    });
    breaks(&["ShoalRouterNotReady"], &["router-1 is not ready", "no worker answers"], |status| {
        status.node_status[2].report.as_mut().unwrap().waits_for = "no worker answers".to_owned();
    });
    breaks(&["ShoalWorkerUnreachable"], &["without worker-1", "refused"], |status| {
        let (node, reason) = ("worker-1".to_owned(), "refused".to_owned());
        status.unreachable = vec![UnreachableWorker { node, reason, since_unix_ms: NOW }];
    });
    breaks(&["ShoalMetadataLarge"], &["nodes forget"], |status| {
        status.metadata.as_mut().unwrap().cluster_id = "x".repeat(20 << 20);
    });
}

#[test]
fn a_job_that_failed_lately_is_told_of_and_an_old_one_is_not() {
    let job = |ago: i64, state: JobState| JobInfo {
        job_id: format!("job-{ago}"),
        state: state.into(),
        finished_unix_ms: NOW - ago,
        ..JobInfo::default()
    };
    let jobs = [job(60_000, JobState::Failed), job(DAY, JobState::Failed), job(1, JobState::Succeeded)];
    let found = findings(&Seen { status: &well(), jobs: &jobs, now_unix_ms: NOW });
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert!(finding.rule == "ShoalJobFailed" && finding.text().contains("job-60000"), "{finding:?}");
}

#[test]
fn every_rule_is_told_of_here_or_left_to_prometheus() {
    assert!(only_by_metrics().len() < RULES.len() / 2);
    assert_eq!(no_leader("refused").rule, NO_LEADER);
}
