//! Crashes in the middle of a write: every state that the disk can be in.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use shoal_coordinator::raft::ProposeError;
use tempfile::TempDir;

use super::restart::{alone, copy_quiet, start_from};
use crate::support::{
    disk::{self, Disk},
    eventually,
    group::{Group, Settings, names},
};

/// A lone member's folder after it has stopped, and all that was ever in it.
struct Image {
    scratch: TempDir,
    folder: PathBuf,
    /// Every snapshot file that there was.
    snapshots: PathBuf,
    /// Everything that was acknowledged.
    names: Vec<String>,
    log: Vec<u8>,
}

impl Image {
    async fn take(commands: usize, snapshot_every: u64) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (folder, snapshots) = (scratch.path().join("image"), scratch.path().join("snapshots"));
        fs::create_dir_all(&snapshots).unwrap();
        let mut group = Group::start(1, alone(snapshot_every));
        for number in 0..=commands {
            if number > 0 {
                group.commit(&format!("c{number}")).await;
            }
            copy_quiet(&group, &folder).await;
            for name in disk::snapshot_files(&folder) {
                fs::copy(folder.join(&name), snapshots.join(name)).unwrap();
            }
        }
        group.kill(1).await;
        fs::remove_dir_all(&folder).unwrap();
        disk::copy(&group.folder_of(1), &folder);
        let names = (1..=commands).map(|number| format!("c{number}")).collect();
        let log = fs::read(disk::log_file(&folder)).unwrap();
        Self { scratch, folder, snapshots, names, log }
    }

    /// The folder of a machine that lost power when `length` bytes of the log had reached the disk.
    fn cut(&self, length: usize, padded: bool) -> PathBuf {
        let to = self.scratch.path().join(format!("cut-{length}-{padded}"));
        disk::copy(&self.folder, &to);
        for name in disk::snapshot_files(&self.snapshots) {
            fs::copy(self.snapshots.join(&name), to.join(name)).unwrap();
        }
        let mut log = OpenOptions::new().write(true).truncate(true).open(disk::log_file(&to)).unwrap();
        log.write_all(&self.log[..length]).unwrap();
        // Space that was reserved and not written.
        log.write_all(&[0; 64][..if padded { 64 } else { 0 }]).unwrap();
        to
    }
}

/// What a member that starts from a folder has, once it leads. It must start.
async fn what_is_left(folder: &Path) -> Vec<String> {
    let mut settings = alone(1_000);
    settings.tick = Duration::from_millis(1);
    let group = start_from(folder, settings).await;
    let left = names(&group.agreed().await).into_iter().map(str::to_owned).collect();
    assert_eq!(disk::snapshot_files(&group.folder_of(1)).len(), 1, "the others are unused");
    group.kill_all().await;
    left
}

/// Entries, hard states, snapshots and compactions are records of one log. Wherever it is cut off, what was
/// whole before counts, and what was torn never happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_off_anywhere_starts_with_what_was_whole() {
    let image = Image::take(7, 3).await;
    let lengths = (0..image.log.len()).step_by(11).chain([image.log.len()]);
    let cuts = lengths.enumerate().map(|(number, length)| {
        let folder = image.cut(length, number % 2 == 1);
        async move {
            let left = what_is_left(&folder).await;
            fs::remove_dir_all(&folder).unwrap();
            (length, left)
        }
    });
    let mut known = 0;
    let mut cuts = stream::iter(cuts).buffered(8);
    while let Some((length, left)) = cuts.next().await {
        assert!(left.len() >= known, "cut after {length} bytes: {left:?} after {known} commands");
        assert_eq!(left, image.names[..left.len()], "cut after {length} bytes");
        known = left.len();
    }
    assert_eq!(known, image.names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_record_torn_at_any_byte_loses_itself_alone() {
    let image = Image::take(4, 1_000).await;
    // Where the last command's record begins: what is whole of the log without its last byte.
    let torn = image.cut(image.log.len() - 1, false);
    drop(Disk::open(&torn));
    let begin = fs::metadata(disk::log_file(&torn)).unwrap().len() as usize;
    assert!(begin + 50 < image.log.len(), "the record has more than {begin}..{} bytes", image.log.len());

    let cuts = (begin..=image.log.len()).map(|length| {
        let folder = image.cut(length, false);
        async move { (length, what_is_left(&folder).await) }
    });
    let cuts: Vec<_> = stream::iter(cuts).buffered(8).collect().await;
    for (length, left) in cuts {
        let whole = if length == image.log.len() { 4 } else { 3 };
        assert_eq!(left, image.names[..whole], "cut after {length} bytes of {begin}..{}", image.log.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_snapshots_that_do_not_count_are_removed() {
    let image = Image::take(5, 3).await;
    let whole = || image.cut(image.log.len(), false);
    let folder = whole();
    // Written, but the record that makes it count was not; and one that was not written to its end.
    for name in ["snapshot-00000000000000000999.bin", "snapshot-00000000000000000999.bin.tmp-1-1"] {
        fs::write(folder.join(name), "half a li").unwrap();
    }
    // The one before is still there too.
    assert!(disk::snapshot_files(&folder).len() > 3);
    assert_eq!(what_is_left(&folder).await, image.names);
}

/// The folder is synced before the record names the file. Were it not, this is what would be found.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_counts_and_is_not_there_is_missed() {
    let image = Image::take(5, 3).await;
    let counts = disk::snapshot_files(&image.folder).pop().unwrap();
    let mut group = Group::found(1, Settings::default());
    disk::copy(&image.folder, &group.folder_of(1));
    fs::remove_file(group.folder_of(1).join(&counts)).unwrap();
    let refusal = super::refusal::refusal_of(&group, 1);
    assert!(refusal.contains(&counts) && refusal.contains("cannot read the raft snapshot"), "{refusal}");
    fs::copy(image.folder.join(&counts), group.folder_of(1).join(&counts)).unwrap();
    group.revive(1);
    assert_eq!(names(&group.agreed().await), image.names);
    group.kill_all().await;
}

/// The disk fails while the member runs: it leads nobody any more, goes back to what is on disk and tries
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_failed_is_made_up_for_once_the_disk_works_again() {
    let group = Group::start(1, alone(10));
    let member = group.member(1);
    // A folder that is not empty stands where the first snapshot has to go.
    let in_the_way = disk::snapshot_file(&group.folder_of(1), 11);
    fs::create_dir_all(in_the_way.join("full")).unwrap();
    let mut count = 0;
    while group.commit(&format!("c{count}")).await < 11 {
        count += 1;
    }
    let before = member.view();
    assert_eq!(before.len(), count + 1);
    eventually("it resigns", || (!member.is_leader()).then_some(())).await;
    let refused = member.propose("lost").await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotLeader { .. } | ProposeError::Unknown), "{refused:?}");
    // What was shown once stays to be seen while the log is gone through anew.
    assert!(member.view().starts_with(&before));

    fs::remove_dir_all(&in_the_way).unwrap();
    group.commit("after").await;
    let applied = group.agreed().await;
    assert!(applied.starts_with(&before));
    assert_eq!(applied.last().unwrap().name, "after");
    assert_eq!(disk::snapshot_files(&group.folder_of(1)).len(), 1);
    group.kill_all().await;
}
