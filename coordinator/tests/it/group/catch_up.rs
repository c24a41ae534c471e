//! Members that were away, and what brings them up to date.

use std::fs;

use crate::support::{
    disk::{self, Disk},
    eventually,
    group::{Group, Settings, names},
};

/// A follower of whoever leads.
async fn follower(group: &Group) -> u64 {
    let leader = group.leader().await;
    group.ids().into_iter().find(|id| *id != leader).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_for_a_little_catches_up_from_the_log() {
    let mut group = Group::start(3, Settings { snapshot_every_entries: 20, ..Settings::default() });
    group.commit_many("before", 5).await;
    let away = follower(&group).await;
    group.kill(away).await;
    // Less than the tail that compactions leave.
    group.commit_many("while", 100).await;
    group.revive(away);
    assert_eq!(group.agreed().await.len(), 105);
    group.kill(away).await;
    // Its own log has every entry: no snapshot had to be sent.
    let log = Disk::open(&group.folder_of(away));
    assert_eq!(log.span().0, 2);
    drop(log);
    group.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_for_long_catches_up_by_a_snapshot() {
    let mut group = Group::start(3, Settings { snapshot_every_entries: 100, ..Settings::default() });
    group.commit_many("before", 5).await;
    let away = follower(&group).await;
    group.kill(away).await;
    group.commit_many("while", 450).await;
    group.revive(away);
    assert_eq!(group.agreed().await.len(), 455);
    // It goes on as any other, and starts again from what it was sent.
    for round in 0..2 {
        group.commit_many(&format!("{round}-"), 3).await;
        group.kill(away).await;
        let log = Disk::open(&group.folder_of(away));
        assert!(log.span().0 > 100, "it has no entries from before the snapshot");
        drop(log);
        group.revive(away);
    }
    assert_eq!(group.agreed().await.len(), 461);
    group.kill_all().await;
}

/// The state has grown beyond what one message can carry, and beyond what goes in one piece.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_any_size_is_sent_in_pieces() {
    let megabytes = 1024 * 1024;
    for (whole_bytes_max, ballast) in
        [(megabytes, 3 * megabytes), (500, 0), (shoal_coordinator::raft::WHOLE_BYTES_MAX, 70 * megabytes)]
    {
        let settings = Settings { snapshot_every_entries: 100, whole_bytes_max, ..Settings::default() };
        let mut group = Group::start(3, Settings { ballast, ..settings });
        let away = follower(&group).await;
        group.kill(away).await;
        group.commit_many("while", 450).await;
        group.revive(away);
        assert_eq!(group.agreed().await.len(), 450, "with {ballast} bytes more");
        group.kill(away).await;
        let log = Disk::open(&group.folder_of(away));
        assert!(log.span().0 > 100, "it has no entries from before the snapshot");
        drop(log);
        group.kill_all().await;
    }
}

/// The leader still counts on what the member had acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_has_lost_its_log_is_brought_back() {
    // From the others' logs, and from a snapshot.
    for (late, snapshot_every_entries) in [(50, 1_000), (300, 40)] {
        let mut group = Group::start(3, Settings { snapshot_every_entries, ..Settings::default() });
        group.commit_many("early", 10).await;
        let lost = follower(&group).await;
        let old = tempfile::tempdir().unwrap();
        group.kill(lost).await;
        disk::copy(&group.folder_of(lost), old.path());
        group.revive(lost);
        group.commit_many("late", late).await;
        assert_eq!(group.agreed().await.len(), 10 + late);

        // The whole disk, then what was written since a copy was made. Nothing is proposed meanwhile.
        for copy in [None, Some(old.path())] {
            group.kill(lost).await;
            fs::remove_dir_all(group.folder_of(lost)).unwrap();
            if let Some(copy) = copy {
                disk::copy(copy, &group.folder_of(lost));
            }
            group.revive(lost);
            assert_eq!(group.agreed().await.len(), 10 + late);
        }
        // It counts again: with it, and without another, there is a quorum.
        let other = group.ids().into_iter().find(|id| *id != lost).unwrap();
        group.kill(other).await;
        group.commit("after").await;
        assert_eq!(group.agreed().await.len(), 10 + late + 1);
        group.kill_all().await;
    }
}

/// What a leader could not get agreed on before it was lost must give way to what the others have agreed on.
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_nobody_agreed_on_give_way() {
    // With few entries since, and with so many that a snapshot replaces them.
    for (since, snapshot_every_entries) in [(5, 1_000), (400, 50)] {
        let mut group = Group::start(3, Settings { snapshot_every_entries, ..Settings::default() });
        group.commit_many("before", 5).await;
        let leader = group.leader().await;
        let others: Vec<u64> = group.ids().into_iter().filter(|id| *id != leader).collect();
        for &id in &others {
            group.kill(id).await;
        }
        let alone = group.member(leader);
        let hopeless = (0..20).map(|number| alone.propose_bytes(format!("hopeless{number}").into()));
        for outcome in futures::future::join_all(hopeless).await {
            outcome.expect_err("there is no quorum");
        }
        group.kill(leader).await;
        let log = Disk::open(&group.folder_of(leader));
        assert!(log.span().1 >= 5 + 20, "its log has them");
        drop(log);

        for &id in &others {
            group.revive(id);
        }
        group.commit_many("since", since).await;
        group.revive(leader);
        let applied = group.agreed().await;
        assert!(applied.iter().all(|applied| !applied.name.starts_with("hopeless")));
        assert_eq!(applied.len(), 5 + since);
        group.kill(leader).await;
        group.revive(leader);
        assert_eq!(group.agreed().await, applied);
        group.kill_all().await;
    }
}

/// A long log is rewritten into a shorter one. What a snapshot that was installed has cleared away must not come
/// back by that, nor take with it what came after.
#[tokio::test(flavor = "multi_thread")]
async fn long_logs_are_shortened_and_start_again() {
    let mut group = Group::start(3, Settings { snapshot_every_entries: 8, ..Settings::default() });
    let away = follower(&group).await;
    group.kill(away).await;
    group.commit_many("while", 300).await;
    group.revive(away);
    assert_eq!(group.agreed().await.len(), 300);
    // Enough to be worth it, then enough for a compaction to leave it all behind.
    let (noise, mut names_since) = (noise(), Vec::new());
    for number in 0..10 + 300 {
        let name = format!("{number:016}");
        let ballast = if number < 10 { &noise[..] } else { &[] };
        group.commit_bytes(&name, [name.as_bytes(), ballast].concat().into()).await;
        names_since.push(name);
    }
    let applied = group.agreed().await;
    assert_eq!(names(&applied[300..]), names_since);
    for id in 1..=3 {
        group.kill(id).await;
        assert!(disk::is_shortened(&group.folder_of(id)));
    }
    for id in 1..=3 {
        group.revive(id);
    }
    group.commit("after").await;
    let restarted = group.agreed().await;
    assert_eq!(restarted[..applied.len()], applied[..]);
    group.kill_all().await;
}

/// Two megabytes that do not get smaller by compression.
fn noise() -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let words = std::iter::repeat_with(|| {
        // xorshift64 of Marsaglia (2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(256 * 1024).flatten().collect()
}

/// A leader whose snapshot file cannot be read goes on leading; the next snapshot brings the others up to date.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_sent_stops_nobody() {
    let mut group = Group::start(3, Settings { snapshot_every_entries: 100, ..Settings::default() });
    let away = follower(&group).await;
    group.kill(away).await;
    group.commit_many("while", 450).await;
    // Whoever of them leads.
    for id in group.ids() {
        for name in disk::snapshot_files(&group.folder_of(id)) {
            fs::remove_file(group.folder_of(id).join(name)).unwrap();
        }
    }
    group.revive(away);
    group.commit_many("with", 10).await;
    assert_eq!(names(&group.member(away).view()), Vec::<&str>::new(), "nothing could be sent");
    group.commit_many("until", 100).await;
    eventually("the next snapshot is sent", || (group.member(away).view().len() == 560).then_some(())).await;
    group.kill_all().await;
}
