//! The replicated state: what commands do to it, and what holds whatever the commands are.

mod commands;
mod history;
mod properties;
mod snapshots;
mod turns;

use bytes::Bytes;
use prost::Message as _;
use shoal_coordinator::{
    raft::StateMachine as _,
    state::{ClusterState, Metadata},
};
use shoal_proto::v1::{metadata_command::Command, update_job::Update, *};

/// A state machine and the index of its last command.
struct Machine {
    metadata: Metadata,
    index: u64,
}

impl Machine {
    fn new() -> Self {
        Self { metadata: Metadata::new("c"), index: 1 }
    }

    fn state(&self) -> ClusterState {
        ClusterState::clone(&self.metadata.view())
    }

    fn apply_once(&mut self, request_id: &str, command: Command) -> CommandReply {
        let command = MetadataCommand { command: Some(command), request_id: request_id.to_owned() };
        self.apply_bytes(&command.encode_to_vec().into())
    }

    fn apply_bytes(&mut self, command: &Bytes) -> CommandReply {
        self.index += 1;
        let reply = CommandReply::decode(self.metadata.apply(self.index, command)).unwrap();
        assert_eq!(self.state().broken_invariants(), Vec::<&str>::new());
        reply
    }

    /// Applies a command, which must not be refused.
    fn accept(&mut self, command: Command) -> CommandReply {
        let reply = self.apply_once("", command.clone());
        assert_eq!(reply.refusal(), RefusalKind::Unspecified, "{command:?}: {}", reply.reason);
        reply
    }

    /// Applies a command, which must be refused and change nothing.
    fn refuse(&mut self, command: Command, kind: RefusalKind) -> String {
        let before = self.state();
        let reply = self.apply_once("", command.clone());
        assert_eq!(reply.refusal(), kind, "{command:?}: {}", reply.reason);
        assert_eq!(self.state(), before, "{command:?} was refused");
        reply.reason
    }

    fn update(&mut self, job_id: &str, update: Update) {
        self.accept(update_job(job_id, update));
    }

    /// Brings a job to its end.
    fn end(&mut self, job_id: &str, state: JobState) {
        self.update(job_id, finished(state));
        self.update(job_id, Update::Cleaned(JobCleaned {}));
    }

    /// A data set that an import has published; the id of the import.
    fn import(&mut self, name: &str) -> String {
        let job_id = self.accept(import_job(name, 0)).job_id;
        self.update(&job_id, Update::DatasetPublished(dataset(name, "1")));
        self.end(&job_id, JobState::Succeeded);
        job_id
    }

    /// A version that a training on the data set "films" has published.
    fn train(&mut self, name: &str) {
        let job_id = self.accept(training_job("films", false)).job_id;
        self.update(&job_id, Update::VersionPublished(version(name, "films", "1")));
        self.end(&job_id, JobState::Succeeded);
    }

    /// With a data set and these versions.
    fn with_versions(names: &[&str]) -> Self {
        let mut machine = Self::new();
        machine.import("films");
        for name in names {
            machine.train(name);
        }
        machine
    }

    fn promote(&mut self, version: &str) {
        self.accept(promote_start(version));
        self.accept(promote_commit(version));
    }

    /// The live, previous and promoting version, and what state each version is in.
    fn served(&self) -> ([String; 3], Vec<(String, VersionState)>) {
        let state = self.state();
        let states = state.versions.values().map(|version| (version.name.clone(), version.state()));
        let states = states.collect();
        let ServedModel { live_version, previous_version, promoting_version, .. } = state.served_with("v1");
        ([live_version, previous_version, promoting_version], states)
    }
}

fn update_job(job_id: &str, update: Update) -> Command {
    Command::UpdateJob(UpdateJob { job_id: job_id.to_owned(), update: Some(update) })
}

fn import_job(name: &str, created_unix_ms: i64) -> Command {
    let import = ImportDatasetRequest { name: name.to_owned(), ..Default::default() };
    let info =
        JobInfo { kind: JobKind::Import.into(), import: Some(import), created_unix_ms, ..Default::default() };
    Command::CreateJob(CreateJob { info: Some(info), counted: true })
}

/// As the release proposed it that did not count jobs.
fn not_counted(command: Command) -> Command {
    match command {
        Command::CreateJob(create) => Command::CreateJob(CreateJob { counted: false, ..create }),
        other => other,
    }
}

fn training_job(dataset_name: &str, promote: bool) -> Command {
    let training =
        StartTrainingRequest { dataset_name: dataset_name.to_owned(), promote, ..Default::default() };
    let info = JobInfo { kind: JobKind::Training.into(), training: Some(training), ..Default::default() };
    Command::CreateJob(CreateJob { info: Some(info), counted: true })
}

fn finished(state: JobState) -> Update {
    Update::Finished(JobFinished { state: state.into(), ..Default::default() })
}

fn dataset(name: &str, version: &str) -> DatasetInfo {
    DatasetInfo { name: name.to_owned(), version: version.to_owned(), ..Default::default() }
}

fn version(name: &str, dataset_name: &str, dataset_version: &str) -> ModelVersion {
    ModelVersion {
        name: name.to_owned(),
        model: "als".to_owned(),
        dataset_name: dataset_name.to_owned(),
        dataset_version: dataset_version.to_owned(),
        ..Default::default()
    }
}

fn promote_start(version: &str) -> Command {
    Command::PromoteStart(PromoteStart { version: version.to_owned(), make_default: false })
}

fn promote_commit(version: &str) -> Command {
    Command::PromoteCommit(PromoteCommit { version: version.to_owned() })
}

fn rollback() -> Command {
    Command::Rollback(RollbackLive::default())
}
