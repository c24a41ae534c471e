//! Restarts, snapshots and compaction.

use std::{fs, path::Path, sync::Arc, time::Duration};

use crate::support::{
    disk::{self, Disk, ForgetfulDisk},
    eventually,
    group::{Group, Settings, names},
};

/// Entries that a compaction leaves before the snapshot.
const TAIL: u64 = 256;

/// A group of one elects itself within a few ticks.
pub(super) fn alone(snapshot_every_entries: u64) -> Settings {
    Settings { tick: Duration::from_millis(5), snapshot_every_entries, ..Settings::default() }
}

/// Waits until a member has its snapshot at what it has applied.
pub(super) async fn snapshot_taken(group: &Group, id: u64, index: u64) {
    let file = disk::snapshot_file(&group.folder_of(id), index);
    eventually("the snapshot is taken, and the one before removed", || {
        let only = disk::snapshot_files(&group.folder_of(id)).len() == 1;
        (only && file.exists()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything_acknowledged() {
    for snapshot_every in [1_000, 7] {
        let mut group = Group::start(1, alone(snapshot_every));
        for round in 0..4 {
            group.commit_many(&format!("{round}-"), 10).await;
            group.kill(1).await;
            group.revive(1);
        }
        let applied = group.agreed().await;
        let expected: Vec<String> =
            (0..4).flat_map(|round| (0..10).map(move |number| format!("{round}-{number}"))).collect();
        assert_eq!(names(&applied), expected);
        assert!(applied.is_sorted());
        group.kill_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn power_that_is_lost_right_after_an_answer_loses_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    for snapshot_every in [1_000, 1, 3] {
        let forgetful = Arc::new(ForgetfulDisk::default());
        let mut group = Group::found_on(forgetful.clone(), 1, alone(snapshot_every));
        group.revive(1);
        let mut images = Vec::new();
        for number in 0..6 {
            let index = group.commit(&format!("{number}")).await;
            if snapshot_every == 1 {
                snapshot_taken(&group, 1, index).await;
            }
            let image = scratch.path().join(format!("{snapshot_every}-{number}"));
            be_quiet(&group).await;
            forgetful.copy(&group.folder_of(1), &image);
            images.push(image);
        }
        let applied = group.agreed().await;
        group.kill_all().await;
        for (number, image) in images.iter().enumerate() {
            let restarted = start_from(image, alone(1_000)).await;
            assert_eq!(restarted.agreed().await[..], applied[..=number]);
            restarted.kill_all().await;
        }
    }
}

/// Copies a folder in which nothing happens.
pub(super) async fn copy_quiet(group: &Group, to: &Path) {
    be_quiet(group).await;
    disk::copy(&group.folder_of(1), to);
}

/// Waits until nothing happens in a lone member's folder: everything is acknowledged and applied, and the
/// snapshot that the last command may have caused is taken.
async fn be_quiet(group: &Group) {
    let folder = group.folder_of(1);
    // The turn that answered is over when the next one, a read's, has begun.
    group.member(1).read().await;
    eventually("one snapshot is left", || (disk::snapshot_files(&folder).len() == 1).then_some(())).await;
}

/// A group of one on a copied folder.
pub(super) async fn start_from(image: &Path, settings: Settings) -> Group {
    let mut group = Group::found(1, settings);
    fs::create_dir_all(group.folder_of(1)).unwrap();
    disk::copy(image, &group.folder_of(1));
    group.revive(1);
    group
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_keeps_a_tail_and_never_passes_what_is_applied() {
    let mut group = Group::start(1, alone(100));
    group.commit_many("c", 420).await;
    group.kill(1).await;

    let log = Disk::open(&group.folder_of(1));
    let (snapshot, (first, last)) = (log.snapshot(), log.span());
    assert!(snapshot.index > 300 && snapshot.index <= last, "{snapshot:?} {last}");
    assert_eq!(snapshot.term, log.term_of(snapshot.index));
    assert_eq!(first, snapshot.index - TAIL + 1);
    // What is applied is committed, on disk too.
    assert!(log.hard_state().commit >= snapshot.index);
    drop(log);
    assert_eq!(disk::snapshot_files(&group.folder_of(1)).len(), 1);

    group.revive(1);
    assert_eq!(group.agreed().await.len(), 420);
    group.commit("after").await;
    group.kill_all().await;
}

/// The terms of a log and of the member's hard state go apart when it votes in elections that nobody wins.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_has_the_term_of_its_last_entry_after_the_term_changed_without_entries() {
    let mut group = Group::start(3, Settings::default());
    group.commit_many("c", 20).await;
    group.agreed().await;
    for id in 1..=3 {
        group.kill(id).await;
    }
    let log = Disk::open(&group.folder_of(1));
    let last = log.span().1;
    let term = log.term_of(last);
    log.set_hard_state(|hard_state| {
        hard_state.term = term + 5;
        hard_state.commit = last;
    });
    drop(log);

    // Alone it leads nobody, so nothing is added to the log.
    group.set_snapshot_every(5);
    group.revive(1);
    eventually("the log is applied", || (group.member(1).applied_index() == last).then_some(())).await;
    snapshot_taken(&group, 1, last).await;
    group.kill(1).await;
    let log = Disk::open(&group.folder_of(1));
    assert_eq!((log.snapshot().index, log.snapshot().term), (last, term));
    assert_eq!((log.span().1, log.hard_state().term), (last, term + 5));
    drop(log);

    // Others catch up from such a snapshot, and what follows fits to it.
    fs::remove_dir_all(group.folder_of(3)).unwrap();
    for id in 1..=3 {
        group.revive(id);
    }
    group.commit_many("d", 20).await;
    assert_eq!(group.agreed().await.len(), 40);
    group.kill_all().await;
}
