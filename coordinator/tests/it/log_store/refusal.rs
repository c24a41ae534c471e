//! What a member refuses to start on: with words, never with a panic.

use std::{error::Error as _, fs};

use shoal_coordinator::raft::RaftConfig;

use super::restart::alone;
use crate::support::{
    disk::{self, Disk},
    door::Door,
    group::{Group, Member, Settings, names},
    ledger::Ledger,
};

/// Why a member cannot start, causes included.
pub(super) fn refusal_of(group: &Group, id: u64) -> String {
    refusal_with(group.config_of(id))
}

fn refusal_with(config: RaftConfig) -> String {
    let Err(error) = Member::start(config, Ledger::default(), &Door::open()) else {
        panic!("the member has started")
    };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A group of one that has stopped with a snapshot and entries before and after it.
async fn stopped() -> Group {
    let mut group = Group::start(1, alone(300));
    group.commit_many("c", 310).await;
    group.kill(1).await;
    group
}

type Tamper = Box<dyn Fn(&Disk)>;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_contradicts_itself_is_refused_with_words() {
    let group = stopped().await;
    let folder = group.folder_of(1);
    let good = tempfile::tempdir().unwrap();
    disk::copy(&folder, good.path());
    let log = Disk::open(&folder);
    let (snapshot, last, term) = (log.snapshot().index, log.span().1, log.hard_state().term);
    drop(log);

    let cases: [(&str, Tamper, String); 7] = [
        (
            "more is committed than there is",
            Box::new(move |log| log.set_hard_state(|hard_state| hard_state.commit = last + 1)),
            format!("entries up to {} are committed", last + 1),
        ),
        (
            "less is committed than applied",
            Box::new(move |log| log.set_hard_state(|hard_state| hard_state.commit = snapshot - 1)),
            format!("a snapshot at {snapshot}"),
        ),
        (
            "entries of a term it has not heard of",
            Box::new(move |log| log.set_hard_state(|hard_state| hard_state.term = term - 1)),
            format!("of term {term}"),
        ),
        ("no hard state", Box::new(|log| log.forget("hard_state")), "it has no hard state".to_owned()),
        ("no start", Box::new(|log| log.forget("truncated")), "it has no start".to_owned()),
        (
            "a hole after its start",
            Box::new(move |log| log.compact_to(snapshot + 1)),
            format!("entries start at Some({})", snapshot + 1),
        ),
        (
            "nothing after its start",
            Box::new(move |log| log.compact_to(last + 1)),
            format!("and a snapshot at {snapshot}"),
        ),
    ];
    for (what, tamper, expected) in cases {
        fs::remove_dir_all(&folder).unwrap();
        disk::copy(good.path(), &folder);
        tamper(&Disk::open(&folder));
        let refusal = refusal_of(&group, 1);
        assert!(refusal.contains(&expected), "{what}: {refusal}");
        assert!(refusal.contains("is not whole") && refusal.contains("restore it from a copy"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_read_is_refused_and_kept() {
    let mut group = stopped().await;
    let file = group.folder_of(1).join(disk::snapshot_files(&group.folder_of(1)).pop().unwrap());
    let whole = fs::read(&file).unwrap();
    fs::write(&file, "no line of a ledger").unwrap();
    let refusal = refusal_of(&group, 1);
    assert!(refusal.contains("the snapshot cannot be restored"), "{refusal}");
    fs::write(&file, whole).unwrap();
    group.revive(1);
    assert_eq!(group.agreed().await.len(), 310);
    group.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_member_cluster_or_group_is_refused() {
    let mut group = Group::start(3, Settings::default());
    group.commit_many("c", 3).await;
    for id in 1..=3 {
        group.kill(id).await;
    }
    let own = group.config_of(1);
    let of_another_member = RaftConfig { folder: group.folder_of(2), ..own.clone() };
    let in_another_cluster = RaftConfig { cluster_id: "d".into(), ..own.clone() };
    let with_other_members =
        RaftConfig { peers: own.peers.clone().into_iter().filter(|(id, _)| *id < 3).collect(), ..own };
    for (config, expected) in [
        (of_another_member, "it belongs to member 2 of cluster 'c', this is member 1 of cluster 'c'"),
        (in_another_cluster, "this is member 1 of cluster 'd'"),
        (with_other_members, "its group has the members [1, 2, 3], the configuration names [1, 2]"),
    ] {
        let refusal = refusal_with(config);
        assert!(refusal.contains(expected) && refusal.contains("coordinator.peers"), "{refusal}");
    }
    // Asking has changed nothing.
    for id in 1..=3 {
        group.revive(id);
    }
    assert_eq!(names(&group.agreed().await), ["c0", "c1", "c2"]);
    group.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_used_by_one_member_at_a_time() {
    let group = Group::start(1, alone(1_000));
    group.commit("c").await;
    let refusal = refusal_of(&group, 1);
    assert!(refusal.contains("cannot open the raft log"), "{refusal}");
    group.commit("d").await;
    group.kill_all().await;
}
