//! What the coordinator decodes: messages of other members, its own log, snapshots and commands. Each function takes any
//! bytes and must return: a panic, a loop without end or memory beyond what the bytes ask for is a finding.
//!
//! `cargo test -p shoal-coordinator-fuzz` tries every target on mutated examples; CONTRIBUTING says how to let libFuzzer
//! search for hours.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "examples are made by the code that is tried")]

use std::path::{Path, PathBuf};

use prost::Message as _;
use shoal_coordinator::{
    raft::{StateMachine as _, open_log, read_message},
    record_checks::{
        dataset_problems, kind_of, missing_blocks, missing_parts, part_problems, version_problems,
    },
    state::{ClusterState, Metadata},
};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    DatasetInfo, HybridModel, HybridSource, MetadataCommand, MetadataSnapshot, ModelVersion, NodeInfo,
    NodeRecord, ObjectEntry, RaftEnvelope, RegisterModelRequest, RegisterVersion, ShardStats,
    metadata_command::Command,
};

const CLUSTER: &str = "fuzz";
const INITIAL: &[u8] = b"initial";

/// An envelope of another member, and what it carries.
pub fn raft_message(bytes: &[u8]) {
    let _ = read_message(bytes);
    if let Ok(envelope) = RaftEnvelope::decode(bytes) {
        let _ = read_message(&envelope.message);
    }
}

/// A member's log on disk, of which a file was written over: the first byte says which, the others are what it holds.
pub fn raft_log(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let folder = folder();
    open_log(folder.path(), CLUSTER, INITIAL).unwrap();
    let files = files(folder.path());
    std::fs::write(&files[usize::from(choice) % files.len()], rest).unwrap();
    let _ = open_log(folder.path(), CLUSTER, INITIAL);
}

/// A folder in memory where the system has one: a log is synced with every write, and here nothing has to last.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    found.sort();
    found
}

/// The state of a snapshot.
pub fn snapshot(bytes: &[u8]) {
    if let Ok(state) = ClusterState::from_snapshot(bytes) {
        let kept = state.to_snapshot().encode_to_vec();
        let again = ClusterState::from_snapshot(&kept).expect("a snapshot of ours");
        assert_eq!(again.to_snapshot().encode_to_vec(), kept, "a state that was read is kept as it is");
    }
}

/// A command from the log.
pub fn command(bytes: &[u8]) {
    let mut state = Metadata::new(CLUSTER);
    state.apply(2, bytes);
    let kept = state.snapshot();
    state.restore(&kept).expect("a snapshot of ours");
}

/// A version that somebody registers, with its data set: whoever looks at it gives reasons, however large the numbers.
pub fn registration(bytes: &[u8]) {
    let Ok(RegisterModelRequest { version, dataset, .. }) = RegisterModelRequest::decode(bytes) else {
        return;
    };
    if let Some(version) = &version {
        let _ = version_problems(version);
    }
    let Some(dataset) = dataset else { return };
    let _ = dataset_problems(&dataset);
    let kind = version.as_ref().and_then(kind_of).unwrap_or(ModelKind::Als);
    for objects in [Vec::new(), vec![ObjectEntry { path: dataset.path, ..ObjectEntry::default() }]] {
        let _ = part_problems(&objects, dataset.shard_count);
        let _ = missing_parts(kind, &objects, dataset.shard_count);
        let _ = missing_blocks(&objects, dataset.shard_count);
    }
}

/// All targets of this crate.
#[must_use]
pub fn targets() -> Vec<shoal_fuzz::Target> {
    // A heartbeat (8) from 2 to 1 in term 3 with an entry; by hand, as members speak another protobuf library.
    let message = vec![8, 8, 16, 1, 24, 2, 32, 3, 58, 6, 16, 3, 24, 9, 34, 0];
    let envelope = RaftEnvelope {
        cluster_id: CLUSTER.to_owned(),
        from: 2,
        to: 1,
        message: message.clone().into(),
        piece: None,
    };
    vec![
        ("raft_message", raft_message, vec![message, envelope.encode_to_vec()]),
        ("raft_log", raft_log, logs()),
        ("snapshot", snapshot, vec![state().encode_to_vec(), nameless().encode_to_vec(), Vec::new()]),
        ("command", command, commands()),
        ("registration", registration, vec![registered().encode_to_vec()]),
    ]
}

fn version() -> ModelVersion {
    ModelVersion { name: "v".to_owned(), dataset_name: "d".to_owned(), ..ModelVersion::default() }
}

fn state() -> MetadataSnapshot {
    let dataset = DatasetInfo { name: "d".to_owned(), version: "1".to_owned(), ..DatasetInfo::default() };
    MetadataSnapshot {
        cluster_id: CLUSTER.to_owned(),
        versions: vec![version()],
        datasets: vec![dataset],
        live_version: "v".to_owned(),
        ..MetadataSnapshot::default()
    }
}

/// What is served was lost with such a version once.
fn nameless() -> MetadataSnapshot {
    let version = ModelVersion { name: String::new(), ..version() };
    MetadataSnapshot { versions: vec![version], live_version: "another".to_owned(), ..state() }
}

fn registered() -> RegisterModelRequest {
    let shard = ShardStats { rows: 3, ratings: 5, ..ShardStats::default() };
    let dataset = DatasetInfo {
        path: "item_factors/part-00000.safetensors".to_owned(),
        shard_count: 1,
        user_shards: vec![shard],
        item_shards: vec![shard],
        rating_max: 5.0,
        ..DatasetInfo::default()
    };
    let source = HybridSource { weight: 0.5, ..HybridSource::default() };
    let hybrid = Some(HybridModel { sources: vec![source], ..HybridModel::default() });
    let version = ModelVersion { model: "als".to_owned(), hybrid, ..version() };
    RegisterModelRequest { version: Some(version), dataset: Some(dataset), request_id: "r".to_owned() }
}

fn logs() -> Vec<Vec<u8>> {
    let folder = folder();
    open_log(folder.path(), CLUSTER, INITIAL).unwrap();
    let whole = files(folder.path()).into_iter().enumerate().map(|(at, file)| {
        let bytes = std::fs::read(file).unwrap();
        // Zeros that were allocated ahead say nothing.
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| (last + 16).min(bytes.len()));
        [&[at as u8], &bytes[..end]].concat()
    });
    whole.collect()
}

fn commands() -> Vec<Vec<u8>> {
    let info = NodeInfo { name: "w".to_owned(), ..NodeInfo::default() };
    let commands = [
        Command::UpsertNode(NodeRecord { info: Some(info), ..NodeRecord::default() }),
        Command::RegisterVersion(RegisterVersion { version: Some(version()), ..RegisterVersion::default() }),
    ];
    let command = |command| MetadataCommand { request_id: "r".to_owned(), command: Some(command) };
    commands.into_iter().map(|one| command(one).encode_to_vec()).collect()
}
