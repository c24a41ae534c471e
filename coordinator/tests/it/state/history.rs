//! How jobs are numbered and named, and what is forgotten of them.

use shoal_coordinator::state::{FINISHED_JOBS_BYTES_MAX, FINISHED_JOBS_KEPT, LOST_NODES_KEPT};

use super::*;

fn info(machine: &Machine, job_id: &str) -> JobInfo {
    machine.state().jobs[job_id].info.clone()
}

fn known_ids(state: &ClusterState) -> Vec<String> {
    state.jobs_by_age().into_iter().map(|job| job.info.clone().job_id).collect()
}

/// The command, created at a time.
fn created_at(command: Command, created_unix_ms: i64) -> Command {
    let Command::CreateJob(CreateJob { info: Some(info), counted }) = command else {
        panic!("it creates no job: {command:?}")
    };
    Command::CreateJob(CreateJob { info: Some(JobInfo { created_unix_ms, ..info }), counted })
}

fn node(name: &str, health: NodeHealth, down_since_unix_ms: i64) -> Command {
    let info = NodeInfo { name: name.into(), health: health.into(), ..Default::default() };
    Command::UpsertNode(NodeRecord { info: Some(info), down_since_unix_ms, ..NodeRecord::default() })
}

#[test]
fn job_ids_count_by_one_whatever_else_is_in_the_log() {
    let mut machine = Machine::new();
    for number in 1..=5 {
        for other in 0..number {
            machine.accept(node(&format!("n{other}"), NodeHealth::Up, 0));
        }
        // What is refused takes no number.
        machine.refuse(training_job("gone", false), RefusalKind::NotFound);
        let job_id = machine.accept(import_job("films", 0)).job_id;
        assert_eq!(job_id, format!("job-{number:06}"));
        machine.end(&job_id, JobState::Failed);
    }
}

#[test]
fn jobs_of_the_same_second_keep_their_times_and_get_names_of_their_own() {
    let mut machine = Machine::new();
    let second = 1_795_515_300_000;
    let mut stamps = Vec::new();
    for number in 0..70 {
        let at = second + number * 80;
        let job_id = machine.accept(import_job("films", at)).job_id;
        assert_eq!(info(&machine, &job_id).created_unix_ms, at);
        stamps.push(info(&machine, &job_id).stamp);
    }
    assert_eq!(stamps[..2], ["20261124_101500", "20261124_101500_002"]);
    assert_eq!(stamps[12..14], ["20261124_101500_013", "20261124_101501"]);
    assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
}

#[test]
fn a_stamp_is_not_given_again_while_a_data_set_or_a_version_has_it() {
    let mut machine = Machine::new();
    let at = 1_795_515_300_000;
    let register = |version, dataset| Command::RegisterVersion(RegisterVersion { version, dataset });
    let first = version("als_model_v1_20261124_101500", "films", "20261124_101500");
    machine.accept(register(Some(first), Some(dataset("films", "20261124_101500"))));
    // No job has the stamp, but the names that it would give are taken.
    let import = machine.accept(import_job("films", at)).job_id;
    assert_eq!(info(&machine, &import).stamp, "20261124_101500_002");
    let training = machine.accept(created_at(training_job("films", false), at)).job_id;
    assert_eq!(info(&machine, &training).stamp, "20261124_101500_003");
    let other = machine.accept(import_job("books", at)).job_id;
    assert_eq!(info(&machine, &other).stamp, "20261124_101500");
}

#[test]
fn a_log_of_the_release_that_did_not_count_jobs_gives_what_it_gave() {
    let mut machine = Machine::new();
    // A second job of one second was dated to the next that was free.
    for (asked, given) in [(5_100, 5_100), (5_100, 6_100), (5_999, 7_999), (6_000, 8_000), (4_000, 4_000)] {
        let job_id = machine.accept(not_counted(import_job("films", asked))).job_id;
        assert_eq!(job_id, format!("job-{:06}", machine.index));
        let info = info(&machine, &job_id);
        assert_eq!((info.created_unix_ms, info.stamp.as_str()), (given, ""));
    }
    assert_eq!(machine.state().last_job_number, 0);

    let mut machine = Machine::new();
    // Job numbers grow a digit on the way.
    machine.index = 999_900;
    let mut ids = Vec::new();
    for _ in 0..210 {
        let job_id = machine.accept(not_counted(import_job("films", 0))).job_id;
        machine.update(&job_id, finished(JobState::Cancelled));
        ids.push(job_id);
    }
    assert_eq!(machine.state().jobs.len(), 210);
    for job_id in &ids {
        machine.accept(update_job(job_id, Update::Cleaned(JobCleaned {})));
    }
    assert_eq!(known_ids(&machine.state()), ids[10..]);

    // Counting goes on from the youngest of them, also from a snapshot that the release before has written.
    let youngest: u64 = ids.last().unwrap().strip_prefix("job-").unwrap().parse().unwrap();
    let old = machine.metadata.snapshot();
    let mut restored = Metadata::new("another");
    restored.restore(&old).unwrap();
    let mut restored = Machine { metadata: restored, index: machine.index };
    for machine in [&mut machine, &mut restored] {
        for number in 1..=2 {
            let job_id = machine.accept(import_job("films", 0)).job_id;
            assert_eq!(job_id, format!("job-{:06}", youngest + number));
        }
        // A leader of the release before still proposes one: its place in the log, which is further on.
        let index = machine.index + 1;
        assert_eq!(machine.accept(not_counted(import_job("films", 0))).job_id, format!("job-{index:06}"));
        assert_eq!(machine.accept(import_job("films", 0)).job_id, format!("job-{:06}", index + 1));
    }
    assert_eq!(machine.state(), restored.state());
}

#[test]
fn seconds_are_those_of_all_attempts_until_the_version_is_published() {
    let mut machine = Machine::with_versions(&[]);
    let phases = |seconds: f64| [("loading".to_owned(), 1.0), ("sweeps".to_owned(), seconds)].into();
    let attempt = |attempt, seconds| {
        Update::AttemptStarted(AttemptStarted {
            attempt,
            phase_seconds: phases(seconds),
            left_out: Vec::new(),
        })
    };
    let end = |seconds| {
        let state = JobState::Failed.into();
        Update::Finished(JobFinished { state, phase_seconds: phases(seconds), ..Default::default() })
    };
    let trained = machine.accept(training_job("films", false)).job_id;
    machine.update(&trained, attempt(1, 0.0));
    // The next leader goes on with what was spent before.
    machine.update(&trained, attempt(2, 4.0));
    assert_eq!(info(&machine, &trained).phase_seconds, phases(4.0));
    let published = ModelVersion { training_seconds: 5.5, ..version("v1", "films", "1") };
    machine.update(&trained, Update::VersionPublished(published));
    machine.update(&trained, end(4.75));
    machine.update(&trained, Update::Cleaned(JobCleaned {}));
    assert_eq!(info(&machine, &trained).seconds, 5.5);

    let failed = machine.accept(training_job("films", false)).job_id;
    machine.update(&failed, end(2.5));
    machine.update(&failed, Update::Cleaned(JobCleaned {}));
    assert_eq!(info(&machine, &failed).seconds, 3.5);
}

#[test]
fn large_records_leave_room_for_fewer_and_open_jobs_are_never_forgotten() {
    let mut machine = Machine::new();
    let open = machine.accept(import_job("films", 0)).job_id;
    let error = "x".repeat(1 << 20);
    let mut ids = Vec::new();
    for _ in 0..40 {
        let job_id = machine.accept(import_job("films", 0)).job_id;
        let end = JobFinished { state: JobState::Failed.into(), error: error.clone(), ..Default::default() };
        machine.update(&job_id, Update::Finished(end));
        machine.update(&job_id, Update::Cleaned(JobCleaned {}));
        ids.push(job_id);
    }
    // Fifteen of a mebibyte and a little fit into sixteen.
    assert_eq!(known_ids(&machine.state()), [&[open][..], &ids[25..]].concat());
    assert!(machine.metadata.snapshot().len() as u64 <= FINISHED_JOBS_BYTES_MAX);
    // One that is larger than all together may be is still there to be looked at.
    let error = "x".repeat(FINISHED_JOBS_BYTES_MAX as usize);
    let large = machine.accept(import_job("films", 0)).job_id;
    let end = JobFinished { state: JobState::Failed.into(), error, ..Default::default() };
    machine.update(&large, Update::Finished(end));
    machine.update(&large, Update::Cleaned(JobCleaned {}));
    assert_eq!(machine.state().jobs.values().filter(|job| job.is_over()).count(), 1);
    assert!(machine.state().jobs.contains_key(&large));
}

#[test]
fn nodes_that_are_lost_for_good_and_placements_that_nobody_serves_are_forgotten() {
    let mut machine = Machine::with_versions(&["v1", "v2", "v3"]);
    let place = |dataset_name: &str, dataset_version: &str| {
        let nodes = vec!["kept".into()];
        let shards = vec![ShardReplicas { side: Side::Items.into(), shard: 0, nodes }];
        let (dataset_name, dataset_version) = (dataset_name.into(), dataset_version.into());
        Command::SetPlacement(Placement { dataset_name, dataset_version, shards })
    };
    machine.promote("v1");
    machine.accept(place("films", "1"));
    machine.accept(node("kept", NodeHealth::Down, 1));
    machine.accept(node("up", NodeHealth::Up, 0));
    for number in 0..LOST_NODES_KEPT as i64 + 10 {
        machine.accept(node(&format!("lost-{number:03}"), NodeHealth::Down, 2 + number));
    }
    let state = machine.state();
    assert_eq!(state.nodes.len(), LOST_NODES_KEPT + 2);
    assert!(["kept", "up", "lost-010"].into_iter().all(|name| state.nodes.contains_key(name)));
    assert!(!state.nodes.contains_key("lost-009"));

    // Live, previous and promoting versions keep their placements; with the last version of a data set goes its own.
    machine.accept(register_elsewhere("w1"));
    machine.accept(promote_start("w1"));
    machine.accept(place("books", "1"));
    machine.accept(promote_commit("w1"));
    assert_eq!(machine.state().placements.len(), 2);
    machine.accept(register_elsewhere("w2"));
    machine.promote("w2");
    assert_eq!(machine.state().placements.keys().collect::<Vec<_>>(), [&("books".into(), "1".into())]);
}

/// A version of the data set "books", which comes with the first of them.
fn register_elsewhere(name: &str) -> Command {
    let dataset = (name == "w1").then(|| dataset("books", "1"));
    Command::RegisterVersion(RegisterVersion { version: Some(version(name, "books", "1")), dataset })
}

/// As large as what comes of an import and a training of the four models at the defaults.
fn typical_dataset(name: &str, version: &str) -> DatasetInfo {
    let shards =
        |rows| (0..16).map(|shard| ShardStats { shard, rows, ratings: 1_250_016 }).collect::<Vec<_>>();
    DatasetInfo {
        path: format!("datasets/{name}/{version}"),
        shard_count: 16,
        user_shards: shards(8_655),
        item_shards: shards(1_671),
        report: Some(ImportReport {
            rows_read: 20_000_263,
            files: ["ratings", "movies", "tags", "genome-scores"].map(|file| format!("{file}.csv")).to_vec(),
            ..Default::default()
        }),
        manifest_checksum: "0".repeat(32),
        source_uri: format!("/data/{name}"),
        ..dataset(name, version)
    }
}

fn typical_version(name: &str) -> ModelVersion {
    let at = (0..3).map(|k| ListMetrics {
        k,
        precision: 0.1,
        recall: 0.2,
        ndcg: 0.3,
        map: 0.4,
        mrr: 0.5,
        half_widths: None,
    });
    let lists =
        ListEvaluation { users: 610, at: at.collect(), novelty: 2.5, diversity: 0.7, users_in_all: 610 };
    let evaluation = Evaluation {
        rating: Some(RatingMetrics { pairs: 20_339, rmse: 0.85, mae: 0.65, mse: 0.72, r2: 0.33 }),
        rating_baseline: Some(RatingMetrics { pairs: 20_339, rmse: 0.87, mae: 0.66, mse: 0.75, r2: 0.31 }),
        model: Some(lists.clone()),
        popularity: Some(lists.clone()),
        random: Some(lists.clone()),
        newcomers: Some(lists),
        coverage: 0.2,
        gini: 0.9,
    };
    ModelVersion {
        path: format!("models/als/{name}"),
        manifest_checksum: "0".repeat(32),
        parameters: Some(AlsParameters { rank: 32, sweeps: 15, seed: 42, ..Default::default() }),
        evaluation: Some(evaluation),
        training_seconds: 1.5,
        ..version(name, "films", "1")
    }
}

/// An import or a training, from its creation to its end.
fn run_job(metadata: &mut Metadata, index: &mut u64, number: u64) {
    let mut apply = |command: Command| {
        *index += 1;
        let command = MetadataCommand { command: Some(command), request_id: format!("request-{index}") };
        let reply = CommandReply::decode(metadata.apply(*index, &command.encode_to_vec())).unwrap();
        assert_eq!(reply.refusal(), RefusalKind::Unspecified, "{}", reply.reason);
        reply
    };
    let at = 1_795_515_300_000 + number as i64 * 700;
    if number.is_multiple_of(2) {
        let job_id = apply(import_job("films", at)).job_id;
        let dataset = typical_dataset("films", &format!("{number}"));
        apply(update_job(&job_id, Update::DatasetPublished(dataset)));
        apply(update_job(&job_id, finished(JobState::Succeeded)));
        apply(update_job(&job_id, Update::Cleaned(JobCleaned {})));
        return;
    }
    let job_id = apply(created_at(training_job("films", false), at)).job_id;
    apply(update_job(&job_id, Update::AttemptStarted(AttemptStarted { attempt: 1, ..Default::default() })));
    for sweep in 1..=2 {
        let metrics = Some(SweepMetrics {
            sweep,
            rating: Some(RatingMetrics { pairs: 20_339, rmse: 0.85, ..Default::default() }),
            ranking: Some(RankingMetrics { users: 610, recall_at_20: 0.3, ..Default::default() }),
            seconds: 0.1,
            work: Some(SweepWork { solve_seconds: 0.1, ..Default::default() }),
        });
        let checkpoint_path = format!("checkpoints/{job_id}/001-{sweep:05}");
        let committed = SweepCommitted { sweep, checkpoint_path, metrics, ..Default::default() };
        apply(update_job(&job_id, Update::SweepCommitted(committed)));
    }
    let version = typical_version(&format!("als_model_v1_{number}"));
    apply(update_job(&job_id, Update::VersionPublished(version)));
    apply(update_job(&job_id, finished(JobState::Succeeded)));
    apply(update_job(&job_id, Update::Cleaned(JobCleaned {})));
}

#[test]
fn ten_thousand_jobs_leave_a_bounded_state() {
    let (mut metadata, mut index) = (Metadata::new("c"), 1);
    let mut after_half = 0;
    // The first import brings the data set that trainings name.
    let films = RegisterVersion {
        version: Some(version("v0", "films", "1")),
        dataset: Some(typical_dataset("films", "1")),
    };
    let first = MetadataCommand { command: Some(Command::RegisterVersion(films)), ..Default::default() };
    metadata.apply(index, &first.encode_to_vec());
    for number in 1..=10_000 {
        run_job(&mut metadata, &mut index, number);
        if number == 5_000 {
            after_half = metadata.snapshot().len();
        }
    }
    let state = ClusterState::clone(&metadata.view());
    assert_eq!(state.broken_invariants(), Vec::<&str>::new());
    // The last thousand jobs, by their numbers.
    let expected: Vec<String> =
        (10_001 - FINISHED_JOBS_KEPT..=10_000).map(|number| format!("job-{number:06}")).collect();
    assert_eq!(known_ids(&state), expected);
    // What people have made stays: a data set and a version are there until somebody deletes them.
    assert_eq!((state.datasets.len(), state.versions.len()), (5_001, 5_001));
    let snapshot = metadata.snapshot();
    let bytes_of = |state: ClusterState| state.to_snapshot().encoded_len();
    let registry = bytes_of(ClusterState {
        datasets: state.datasets.clone(),
        versions: state.versions.clone(),
        ..ClusterState::default()
    });
    // Besides the registry: a thousand jobs and a thousand answers, however many there were.
    let history = snapshot.len() - registry;
    assert!(history < 2 << 20, "{history} bytes besides the registry");
    let half = after_half - registry / 2;
    assert!(history.abs_diff(half) < 64 << 10, "{half} bytes after a half, {history} at the end");
    // Of a data set and a version with all that was measured.
    assert!(registry / 5_001 < 2_048, "{} bytes for a data set and a version", registry / 5_001);
    assert_eq!(ClusterState::from_snapshot(&snapshot).unwrap(), state);
}

/// ALS as the release wrote it in which it was no model among several.
fn als_before() -> AlsParameters {
    AlsParameters { rank: 8, seed: 7, test_ratio: 0.2, temporal: true, ..Default::default() }
}

/// ALS as it is written now.
fn als_now() -> ModelParameters {
    let als = AlsParameters { rank: 8, ..Default::default() };
    let split = SplitParameters { seed: 7, test_ratio: 0.2, temporal: true, ..Default::default() };
    ModelParameters { split: Some(split), model: Some(model_parameters::Model::Als(als)) }
}

#[test]
fn what_a_release_wrote_in_which_als_was_no_model_among_several_is_read() {
    // From its log.
    let mut machine = Machine::with_versions(&[]);
    let before = |name: &str| ModelVersion { parameters: Some(als_before()), ..version(name, "films", "1") };
    let training = StartTrainingRequest {
        dataset_name: "films".into(),
        parameters: Some(als_before()),
        ..Default::default()
    };
    let asked = JobInfo { kind: JobKind::Training.into(), training: Some(training), ..Default::default() };
    let create = CreateJob { info: Some(asked.clone()), counted: true };
    let job_id = machine.accept(Command::CreateJob(create)).job_id;
    machine.update(&job_id, Update::VersionPublished(before("v1")));
    machine.accept(Command::RegisterVersion(RegisterVersion { version: Some(before("v2")), dataset: None }));
    let state = machine.state();
    let is_of_now = |state: &ClusterState| {
        let versions = ["v1", "v2"].map(|name| state.versions[name].clone());
        assert!(versions.iter().all(|version| version.parameters.is_none()), "{versions:?}");
        assert!(versions.iter().all(|version| version.model_parameters == Some(als_now())), "{versions:?}");
        let training = state.jobs[&job_id].info.training.clone().unwrap();
        assert_eq!((training.parameters, training.model), (None, Some(als_now())));
    };
    is_of_now(&state);

    // And from its snapshot.
    let mut snapshot = state.to_snapshot();
    for version in &mut snapshot.versions {
        (version.parameters, version.model_parameters) = (Some(als_before()), None);
    }
    for job in snapshot.jobs.iter_mut().filter_map(|job| job.info.as_mut()) {
        if let Some(training) = &mut job.training {
            (training.parameters, training.model) = (Some(als_before()), None);
        }
    }
    is_of_now(&ClusterState::from_snapshot(&snapshot.encode_to_vec()).unwrap());
}
