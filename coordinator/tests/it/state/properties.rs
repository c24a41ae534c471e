//! What holds after any commands in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shoal_coordinator::state::Job;
use shoal_proto::v1::{AddToken, RevokeToken, TokenInfo, UseTokens};

use super::*;

/// Few enough names that commands meet each other.
fn name(prefix: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![1 => Just(String::new()), 12 => (0..3).prop_map(move |number| format!("{prefix}{number}"))]
}

fn any_dataset() -> impl Strategy<Value = DatasetInfo> {
    (name("d"), name("1"), any::<u64>(), 0_i64..20_000, prop::collection::vec(any::<u64>(), 0..3)).prop_map(
        |(name, version, ratings, created_unix_ms, rows)| DatasetInfo {
            ratings,
            created_unix_ms,
            user_shards: rows.iter().map(|&rows| ShardStats { rows, ..Default::default() }).collect(),
            report: Some(ImportReport { rows_read: ratings, files: vec!["f".into()], ..Default::default() }),
            rating_mean: 3.5,
            ..dataset(&name, &version)
        },
    )
}

fn any_version() -> impl Strategy<Value = ModelVersion> {
    (name("v"), name("m"), name("d"), name("1"), any::<i32>(), 0_i64..20_000).prop_map(
        |(name, model, dataset_name, dataset_version, state, created_unix_ms)| ModelVersion {
            model,
            state: state % 5,
            created_unix_ms,
            parameters: Some(AlsParameters { rank: 8, ..Default::default() }),
            metrics: Some(SweepMetrics { rating: Some(RatingMetrics::default()), ..Default::default() }),
            ..version(&name, &dataset_name, &dataset_version)
        },
    )
}

/// Stands for one of the jobs that are there when the command is applied.
fn any_job() -> impl Strategy<Value = String> {
    (0..20).prop_map(|number| format!("{number}"))
}

fn any_update() -> impl Strategy<Value = Option<Update>> {
    let metrics = any::<bool>().prop_map(|some| some.then(SweepMetrics::default));
    let update = prop_oneof![
        1 => (0_u32..5).prop_map(|attempt| {
            Update::AttemptStarted(AttemptStarted { attempt, ..Default::default() })
        }),
        1 => (0_u32..5, name("p"), metrics).prop_map(|(sweep, checkpoint_path, metrics)| {
            let phase_seconds = [("sweeps".to_owned(), 0.5)].into();
            Update::SweepCommitted(SweepCommitted { sweep, checkpoint_path, metrics, phase_seconds })
        }),
        3 => any_dataset().prop_map(Update::DatasetPublished),
        3 => any_version().prop_map(Update::VersionPublished),
        2 => (0_i32..7, name("e"), any::<i64>()).prop_map(|(state, error, finished_unix_ms)| {
            let phase_seconds = [("parsing".to_owned(), 1.5), ("sorting".to_owned(), 2.5)].into();
            Update::Finished(JobFinished { state, error, finished_unix_ms, phase_seconds })
        }),
        1 => Just(Update::Cleaned(JobCleaned {})),
    ];
    prop::option::weighted(0.97, update)
}

fn any_create() -> impl Strategy<Value = Command> {
    (any::<bool>(), name("d"), name("1"), any::<bool>(), 0_i64..20_000, any::<bool>()).prop_map(
        |(is_import, dataset_name, dataset_version, promote, created_unix_ms, counted)| {
            let (mut import, mut training) = (None, None);
            if is_import {
                import = Some(ImportDatasetRequest { name: dataset_name, ..Default::default() });
            } else {
                training = Some(StartTrainingRequest {
                    dataset_name,
                    dataset_version,
                    promote,
                    ..Default::default()
                });
            }
            let info = JobInfo { import, training, created_unix_ms, ..Default::default() };
            Command::CreateJob(CreateJob { info: Some(info), counted })
        },
    )
}

fn any_command() -> impl Strategy<Value = Command> {
    let placement = (name("d"), name("1"), prop::collection::vec(name("n"), 0..4)).prop_map(
        |(dataset_name, dataset_version, nodes)| {
            let shards = vec![ShardReplicas { side: Side::Items.into(), shard: 1, nodes }];
            Command::SetPlacement(Placement { dataset_name, dataset_version, shards })
        },
    );
    let node = (prop::option::weighted(0.9, name("n")), any::<u64>(), any::<i64>()).prop_map(
        |(name, incarnation, down_since_unix_ms)| {
            let health = if incarnation % 2 == 0 { NodeHealth::Up } else { NodeHealth::Down };
            let node = |name| NodeInfo { name, incarnation, health: health.into(), ..Default::default() };
            let info = name.map(node);
            Command::UpsertNode(NodeRecord { info, down_since_unix_ms, ..NodeRecord::default() })
        },
    );
    let update = (any_job(), any_update())
        .prop_map(|(job_id, update)| Command::UpdateJob(UpdateJob { job_id, update }));
    prop_oneof![
        2 => node,
        1 => name("n").prop_map(|name| Command::ForgetNode(ForgetNode { name })),
        2 => (name("t"), any::<bool>(), 0..3_i64).prop_map(|(id, first, expires_unix_ms)| {
            let token = TokenInfo { id, expires_unix_ms, created_unix_ms: 1, ..TokenInfo::default() };
            Command::AddToken(AddToken { token: Some(token), first })
        }),
        1 => name("t").prop_map(|id| Command::RevokeToken(RevokeToken { id })),
        1 => (name("t"), 0..3_i64).prop_map(|(id, unix_day)| {
            Command::UseTokens(UseTokens { ids: vec![id], unix_day })
        }),
        8 => any_create(),
        16 => update,
        2 => any_job().prop_map(|job_id| Command::CancelJob(CancelJob { job_id })),
        2 => placement,
        4 => (name("v"), any::<bool>()).prop_map(|(version, make_default)| {
            Command::PromoteStart(PromoteStart { version, make_default })
        }),
        4 => name("v").prop_map(|version| Command::PromoteCommit(PromoteCommit { version })),
        1 => name("v").prop_map(|version| Command::PromoteAbort(PromoteAbort { version })),
        2 => name("m").prop_map(|model| Command::Rollback(RollbackLive { model })),
        3 => (any_version(), prop::option::of(any_dataset())).prop_map(|(version, dataset)| {
            Command::RegisterVersion(RegisterVersion { version: Some(version), dataset })
        }),
    ]
}

/// A machine before its first command, and commands with request ids.
#[derive(Debug, Clone)]
struct History {
    base: u64,
    counted: bool,
    commands: Vec<(String, Command)>,
}

impl History {
    /// The first jobs are counted or not: a log may begin with the release before.
    fn create(&self, command: Command) -> Command {
        if self.counted { command } else { not_counted(command) }
    }

    /// With a data set and two versions of it, so that something can be served.
    fn machine(&self) -> Machine {
        let mut machine = Machine::new();
        machine.index = self.base;
        let import = machine.accept(self.create(import_job("d0", 0))).job_id;
        machine.update(&import, Update::DatasetPublished(dataset("d0", "10")));
        for name in ["v0", "v1"] {
            let training = machine.accept(self.create(training_job("d0", false))).job_id;
            machine.update(&training, Update::VersionPublished(version(name, "d0", "10")));
        }
        machine
    }
}

fn any_history() -> impl Strategy<Value = History> {
    let request_id = prop_oneof![3 => Just(String::new()), 1 => name("r")];
    let commands = prop::collection::vec((request_id, any_command()), 1..60);
    // Job numbers grow a digit on the way.
    let base = prop_oneof![Just(1_u64), Just(999_970)];
    (base, any::<bool>(), commands).prop_map(|(base, counted, commands)| History { base, counted, commands })
}

/// The command, with the id of a job that is there.
fn resolved(state: &ClusterState, mut command: Command) -> Command {
    if let Command::UpdateJob(UpdateJob { job_id, .. }) | Command::CancelJob(CancelJob { job_id }) =
        &mut command
    {
        let known: Vec<&String> = state.jobs.keys().collect();
        // Now and then one that is not there.
        let number: usize = job_id.parse().unwrap();
        *job_id = known.get(number % (known.len() + 1)).map_or("job-9".to_owned(), |id| id.to_string());
    }
    command
}

fn restored(machine: &Machine) -> Machine {
    let mut metadata = Metadata::new("another");
    metadata.restore(&machine.metadata.snapshot()).unwrap();
    Machine { metadata, index: machine.index }
}

/// Nothing but the answer to a request may differ.
fn same_but_for_answers(a: &ClusterState, b: &ClusterState) -> bool {
    let without = |state: &ClusterState| ClusterState { answered: BTreeMap::new(), ..state.clone() };
    without(a) == without(b)
}

proptest! {
    // Every command is followed by a check of the invariants, in `Machine::apply_bytes`.
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_refusals_change_nothing(history in any_history()) {
        let mut machine = history.machine();
        for (request_id, command) in history.commands {
            let before = machine.state();
            let command = resolved(&before, command);
            let reply = machine.apply_once(&request_id, command.clone());
            if reply.refusal() != RefusalKind::Unspecified {
                prop_assert!(same_but_for_answers(&machine.state(), &before), "{:?}: {}", command, reply.reason);
                prop_assert!(!reply.reason.is_empty());
            }
        }
    }

    #[test]
    fn a_snapshot_restores_the_whole_state(history in any_history()) {
        let mut machine = history.machine();
        for (request_id, command) in history.commands {
            let command = resolved(&machine.state(), command);
            machine.apply_once(&request_id, command);
            prop_assert_eq!(restored(&machine).state(), machine.state());
        }
    }

    #[test]
    fn the_same_commands_give_the_same_replies_and_state(history in any_history(), restart in 0_usize..60) {
        let (mut one, mut other) = (history.machine(), history.machine());
        for (number, (request_id, command)) in history.commands.into_iter().enumerate() {
            if number == restart {
                other = restored(&other);
            }
            let command = resolved(&one.state(), command);
            let reply = one.apply_once(&request_id, command.clone());
            prop_assert_eq!(other.apply_once(&request_id, command), reply);
        }
        prop_assert_eq!(one.state(), other.state());
    }

    #[test]
    fn a_command_that_comes_again_is_answered_again_and_changes_nothing(history in any_history()) {
        let mut machine = history.machine();
        for (number, (_, command)) in history.commands.into_iter().enumerate() {
            let request_id = format!("request {number}");
            let command = resolved(&machine.state(), command);
            let reply = machine.apply_once(&request_id, command.clone());
            let after = machine.state();
            prop_assert_eq!(machine.apply_once(&request_id, command), reply);
            prop_assert_eq!(machine.state(), after);
        }
    }
}

/// A field that is added to the state does not compile here until it has a value that would be missed.
#[test]
fn every_field_is_in_the_snapshot() {
    let dataset = dataset("d", "1");
    let key = (dataset.name.clone(), dataset.version.clone());
    let node = NodeRecord {
        info: Some(NodeInfo { name: "n".into(), ..Default::default() }),
        down_since_unix_ms: 5,
        ..NodeRecord::default()
    };
    let job = Job {
        info: JobInfo { job_id: "job-000002".into(), ..Default::default() },
        checkpoint_path: "p".into(),
        cancel_requested: true,
        promote_pending: true,
        outcome: Some(JobFinished { error: "e".into(), ..Default::default() }),
        record_bytes: 3,
        begun_index: 4,
    };
    let reply = CommandReply { refusal: 1, reason: "because".into(), job_id: "job-000002".into() };
    let served = ServedModel {
        model: "m".into(),
        live_version: "v".into(),
        previous_version: "w".into(),
        promoting_version: "x".into(),
        promoting_default: true,
    };
    let state = ClusterState {
        cluster_id: "c".into(),
        nodes: [("n".to_owned(), node)].into(),
        datasets: [(key.clone(), dataset)].into(),
        placements: [(
            key,
            Placement { dataset_name: "d".into(), dataset_version: "1".into(), ..Default::default() },
        )]
        .into(),
        versions: [("v".to_owned(), version("v", "d", "1"))].into(),
        served: [("m".to_owned(), served)].into(),
        default_model: "m".into(),
        jobs: [("job-000002".to_owned(), job)].into(),
        answered: [(7, AnsweredRequest { index: 7, request_id: "r".into(), reply: Some(reply) })].into(),
        last_job_number: 9,
        tokens: [("t".to_owned(), TokenInfo { id: "t".into(), label: "l".into(), ..Default::default() })]
            .into(),
        had_tokens: true,
    };
    assert_eq!(ClusterState::from_snapshot(&state.to_snapshot().encode_to_vec()).unwrap(), state);
    assert!(ClusterState::from_snapshot(b"\xff\xff").is_err());
    let empty = MetadataSnapshot { jobs: vec![JobRecord::default()], ..state.to_snapshot() };
    assert!(ClusterState::from_snapshot(&empty.encode_to_vec()).is_err());
}
