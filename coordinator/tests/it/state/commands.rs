//! Single commands: what each does, and what it is refused for.

use super::*;

#[test]
fn a_version_goes_from_ready_to_live_to_previous_to_retired() {
    use VersionState::{Live, Ready, Retired};
    let mut machine = Machine::with_versions(&["v1", "v2", "v3"]);
    let states = |states: [VersionState; 3]| {
        ["v1", "v2", "v3"].into_iter().map(str::to_owned).zip(states).collect::<Vec<_>>()
    };
    let names = |names: [&str; 3]| names.map(str::to_owned);
    assert_eq!(machine.served(), (names(["", "", ""]), states([Ready, Ready, Ready])));

    machine.accept(promote_start("v1"));
    assert_eq!(machine.served(), (names(["", "", "v1"]), states([Ready, Ready, Ready])));
    machine.accept(promote_commit("v1"));
    assert_eq!(machine.served(), (names(["v1", "", ""]), states([Live, Ready, Ready])));
    machine.promote("v2");
    assert_eq!(machine.served(), (names(["v2", "v1", ""]), states([Ready, Live, Ready])));
    machine.promote("v3");
    assert_eq!(machine.served(), (names(["v3", "v2", ""]), states([Retired, Ready, Live])));
    // Back, and back again.
    machine.accept(rollback());
    assert_eq!(machine.served(), (names(["v2", "v3", ""]), states([Retired, Live, Ready])));
    machine.accept(rollback());
    assert_eq!(machine.served(), (names(["v3", "v2", ""]), states([Retired, Ready, Live])));
    // A retired version can be promoted again, and so can the previous one.
    machine.promote("v1");
    assert_eq!(machine.served(), (names(["v1", "v3", ""]), states([Live, Retired, Ready])));
    machine.promote("v3");
    assert_eq!(machine.served(), (names(["v3", "v1", ""]), states([Ready, Retired, Live])));
}

#[test]
fn a_promotion_is_overtaken_given_up_or_rolled_over() {
    let mut machine = Machine::with_versions(&["v1", "v2", "v3"]);
    machine.promote("v1");
    machine.accept(promote_start("v2"));
    machine.accept(promote_start("v3"));
    machine.refuse(promote_commit("v2"), RefusalKind::Precondition);
    // One that was overtaken cannot give up the other.
    let abort = |version: &str| Command::PromoteAbort(PromoteAbort { version: version.to_owned() });
    machine.accept(abort("v2"));
    assert_eq!(machine.served().0[2], "v3");
    machine.accept(abort("v3"));
    machine.refuse(promote_commit("v3"), RefusalKind::Precondition);
    // Promoting what is live ends another promotion.
    machine.accept(promote_start("v2"));
    machine.accept(promote_start("v1"));
    assert_eq!(machine.served().0[2], "");
    machine.promote("v2");
    machine.accept(promote_start("v3"));
    machine.accept(rollback());
    assert_eq!(machine.served().0, ["v1", "v2", ""].map(str::to_owned));
}

#[test]
fn what_cannot_be_promoted_or_rolled_back_is_refused() {
    let mut machine = Machine::with_versions(&["v1"]);
    machine.refuse(rollback(), RefusalKind::Precondition);
    assert!(machine.refuse(promote_start("v9"), RefusalKind::NotFound).contains("shoal models list"));
    // No name is no version: nothing live is not a version that could be switched to.
    machine.promote("v1");
    machine.refuse(promote_start(""), RefusalKind::NotFound);
    machine.refuse(promote_commit(""), RefusalKind::Precondition);
    machine.refuse(rollback(), RefusalKind::Precondition);
}

#[test]
fn each_model_has_a_live_version_and_one_of_them_is_the_default() {
    let mut machine = Machine::with_versions(&["v1"]);
    let of = |name: &str, model: &str| ModelVersion { model: model.into(), ..version(name, "films", "1") };
    for (name, model) in [("i1", "item_cf"), ("i2", "item_cf"), ("h1", "hybrid")] {
        let register = RegisterVersion { version: Some(of(name, model)), dataset: None };
        machine.accept(Command::RegisterVersion(register));
    }
    let start = |version: &str, make_default| {
        Command::PromoteStart(PromoteStart { version: version.into(), make_default })
    };
    let back = |model: &str| Command::Rollback(RollbackLive { model: model.into() });
    let live = |machine: &Machine, version: &str| machine.state().served_with(version).live_version;
    // The first one that is live is the default, the others are not unless it is said.
    machine.accept(start("i1", false));
    assert_eq!(machine.state().default_model, "");
    machine.accept(promote_commit("i1"));
    assert_eq!(machine.state().default_model, "item_cf");
    // Two promotions go on at once.
    machine.accept(start("v1", false));
    machine.accept(start("h1", true));
    machine.accept(promote_commit("v1"));
    assert_eq!(machine.state().default_model, "item_cf");
    machine.accept(promote_commit("h1"));
    assert_eq!(machine.state().default_model, "hybrid");
    assert_eq!(["v1", "i1", "h1"].map(|version| live(&machine, version)), ["v1", "i1", "h1"]);
    let wanted = |machine: &Machine| -> Vec<String> {
        machine.state().wanted_versions().into_iter().map(|version| version.name.clone()).collect()
    };
    assert_eq!(wanted(&machine), ["h1", "v1", "i1"]);

    // Each goes back by itself.
    machine.accept(start("i2", false));
    machine.accept(promote_commit("i2"));
    assert_eq!(wanted(&machine), ["h1", "v1", "i2", "i1"]);
    machine.accept(back("item_cf"));
    assert_eq!((live(&machine, "i1"), live(&machine, "v1")), ("i1".into(), "v1".into()));
    for nothing in ["", "als", "content_based"] {
        assert!(machine.refuse(back(nothing), RefusalKind::Precondition).contains("no earlier version"));
    }
    // What is live already becomes the default at once.
    machine.accept(start("v1", true));
    assert_eq!((machine.state().default_model, live(&machine, "i1")), ("als".into(), "i1".into()));
    let states = machine.state().versions;
    assert_eq!(states["i2"].state(), VersionState::Ready);
    assert_eq!(["v1", "i1", "h1"].map(|name| states[name].state()), [VersionState::Live; 3]);
}

#[test]
fn a_snapshot_of_a_release_that_served_one_version_is_read() {
    let mut machine = Machine::with_versions(&["v1", "v2", "v3"]);
    machine.promote("v1");
    machine.promote("v2");
    machine.accept(promote_start("v3"));
    let state = machine.state();
    let old = MetadataSnapshot {
        live_version: "v2".into(),
        previous_version: "v1".into(),
        promoting_version: "v3".into(),
        served: Vec::new(),
        default_model: String::new(),
        ..state.to_snapshot()
    };
    assert_eq!(ClusterState::from_snapshot(&old.encode_to_vec()).unwrap(), state);
}

#[test]
fn a_refused_promotion_leaves_the_trainings_that_are_to_be_promoted() {
    let mut machine = Machine::with_versions(&[]);
    let job_id = machine.accept(training_job("films", true)).job_id;
    machine.refuse(promote_start(""), RefusalKind::NotFound);
    assert!(machine.state().jobs[&job_id].promote_pending);
    machine.update(&job_id, Update::VersionPublished(version("v1", "films", "1")));
    assert!(machine.state().jobs[&job_id].promote_pending);
    machine.accept(promote_start("v1"));
    assert!(!machine.state().jobs[&job_id].promote_pending);
}

#[test]
fn one_request_id_makes_one_job_and_one_rollback() {
    let mut machine = Machine::with_versions(&["v1", "v2"]);
    let first = machine.apply_once("r1", import_job("other", 0));
    let again = machine.apply_once("r1", import_job("other", 5_000));
    assert_eq!((first.refusal(), &again), (RefusalKind::Unspecified, &first));
    assert_ne!(machine.apply_once("r2", import_job("other", 0)).job_id, first.job_id);

    machine.promote("v1");
    machine.promote("v2");
    for _ in 0..3 {
        assert_eq!(machine.apply_once("r3", rollback()).refusal(), RefusalKind::Unspecified);
        assert_eq!(machine.served().0[0], "v1");
    }
    // A refusal is an answer too: what is asked again is not what comes true later.
    let refused = machine.apply_once("r4", promote_start("v3"));
    machine.train("v3");
    assert_eq!(machine.apply_once("r4", promote_start("v3")), refused);
    assert_eq!(machine.apply_once("r5", promote_start("v3")).refusal(), RefusalKind::Unspecified);
}

#[test]
fn answers_are_forgotten_in_the_end() {
    let mut machine = Machine::with_versions(&["v1"]);
    machine.apply_once("first", rollback());
    for number in 0..1_100 {
        machine.apply_once(&format!("r{number}"), promote_start("v1"));
    }
    let answered = machine.state().answered;
    assert_eq!(answered.len(), 1_024);
    assert!(answered.values().all(|answered| answered.request_id != "first"));
    assert_eq!(answered.values().last().unwrap().request_id, "r1099");
}

#[test]
fn a_job_whose_end_is_agreed_on_takes_no_more_updates() {
    for end in [JobState::Succeeded, JobState::Failed, JobState::Cancelled] {
        let mut machine = Machine::with_versions(&[]);
        let job_id = machine.accept(training_job("films", true)).job_id;
        machine.update(&job_id, Update::AttemptStarted(AttemptStarted { attempt: 1, ..Default::default() }));
        machine.update(&job_id, finished(end));
        for is_cleaned in [false, true] {
            if is_cleaned {
                machine.update(&job_id, Update::Cleaned(JobCleaned {}));
            }
            for late in [
                Update::AttemptStarted(AttemptStarted { attempt: 2, ..Default::default() }),
                Update::SweepCommitted(SweepCommitted { sweep: 1, ..Default::default() }),
                Update::DatasetPublished(dataset("late", "1")),
                Update::VersionPublished(version("late", "films", "1")),
                finished(JobState::Succeeded),
            ] {
                let reason = machine.refuse(update_job(&job_id, late), RefusalKind::Precondition);
                assert!(reason.contains(&job_id) && reason.contains("over"), "{reason}");
            }
            let cancel = Command::CancelJob(CancelJob { job_id: job_id.clone() });
            machine.refuse(cancel, RefusalKind::Precondition);
            let job = &machine.state().jobs[&job_id];
            assert_eq!(job.promote_pending, end == JobState::Succeeded);
            assert_eq!(job.is_over(), is_cleaned);
        }
    }
}

#[test]
fn attempts_and_sweeps_only_go_up() {
    let mut machine = Machine::with_versions(&[]);
    let job_id = machine.accept(training_job("films", false)).job_id;
    let attempt = |attempt| Update::AttemptStarted(AttemptStarted { attempt, ..Default::default() });
    let sweep = |sweep, checkpoint_path: &str| {
        let checkpoint_path = checkpoint_path.to_owned();
        Update::SweepCommitted(SweepCommitted { sweep, checkpoint_path, ..Default::default() })
    };
    machine.update(&job_id, attempt(1));
    machine.update(&job_id, sweep(1, "a"));
    machine.update(&job_id, attempt(3));
    for late in [attempt(0), attempt(2), attempt(3), sweep(0, "b"), sweep(1, "b")] {
        machine.refuse(update_job(&job_id, late), RefusalKind::Precondition);
    }
    let job = machine.state().jobs[&job_id].clone();
    let info = job.info;
    assert_eq!((info.state(), info.attempt, info.committed_sweeps), (JobState::Running, 3, 1));
    assert_eq!(job.checkpoint_path, "a");
    machine.end(&job_id, JobState::Failed);
    assert_eq!(machine.state().jobs[&job_id].checkpoint_path, "");
}

#[test]
fn a_job_is_over_when_it_is_cleaned_up() {
    let mut machine = Machine::new();
    let job_id = machine.accept(import_job("films", 0)).job_id;
    let cleaned = || update_job(&job_id, Update::Cleaned(JobCleaned {}));
    machine.refuse(cleaned(), RefusalKind::Precondition);
    let outcome = JobFinished {
        state: JobState::Failed.into(),
        error: "a sentence".into(),
        finished_unix_ms: 7,
        phase_seconds: [("parsing".to_owned(), 1.5)].into(),
    };
    machine.update(&job_id, Update::Finished(outcome.clone()));
    let info = machine.state().jobs[&job_id].info.clone();
    assert_eq!(
        (info.state(), info.phase.as_str(), info.error.as_str()),
        (JobState::Queued, "cleaning up", "")
    );
    machine.accept(cleaned());
    let info = machine.state().jobs[&job_id].info.clone();
    assert_eq!(
        (info.state(), info.phase.as_str(), info.error.as_str()),
        (JobState::Failed, "", "a sentence")
    );
    assert_eq!((info.finished_unix_ms, info.phase_seconds), (7, outcome.phase_seconds));
    machine.refuse(cleaned(), RefusalKind::Precondition);
}

#[test]
fn only_an_end_ends_a_job() {
    let mut machine = Machine::new();
    let job_id = machine.accept(import_job("films", 0)).job_id;
    for state in [JobState::Unspecified, JobState::Queued, JobState::Running] {
        machine.refuse(update_job(&job_id, finished(state)), RefusalKind::Invalid);
    }
}

#[test]
fn nobody_publishes_under_a_name_that_is_taken() {
    let mut machine = Machine::with_versions(&["v1"]);
    let import = machine.accept(import_job("films", 0)).job_id;
    machine.refuse(
        update_job(&import, Update::DatasetPublished(dataset("films", "1"))),
        RefusalKind::Precondition,
    );
    // The same job may say again what it has said.
    machine.update(&import, Update::DatasetPublished(dataset("films", "2")));
    machine.update(&import, Update::DatasetPublished(dataset("films", "2")));

    let training = machine.accept(training_job("films", false)).job_id;
    let publish = |name: &str| update_job(&training, Update::VersionPublished(version(name, "films", "1")));
    machine.refuse(publish("v1"), RefusalKind::Precondition);
    machine.accept(publish("v2"));
    machine.promote("v2");
    machine.accept(publish("v2"));
    assert_eq!(machine.state().versions["v2"].state(), VersionState::Live);
}

#[test]
fn what_has_no_name_or_no_data_set_is_refused() {
    let mut machine = Machine::new();
    machine.refuse(Command::UpsertNode(NodeRecord::default()), RefusalKind::Invalid);
    let reason = machine.refuse(training_job("films", false), RefusalKind::NotFound);
    assert!(reason.contains("import it first"), "{reason}");
    machine.import("films");
    let training = machine.accept(training_job("films", true)).job_id;
    for (published, kind) in [
        (version("", "films", "1"), RefusalKind::Invalid),
        (version("v1", "gone", "1"), RefusalKind::NotFound),
    ] {
        machine.refuse(update_job(&training, Update::VersionPublished(published)), kind);
    }
    assert_eq!(machine.state().jobs[&training].info.clone().model_version, "");
    for nameless in [dataset("", "1"), dataset("films", "")] {
        machine.refuse(update_job(&training, Update::DatasetPublished(nameless)), RefusalKind::Invalid);
    }
    let unknown = update_job("job-9", Update::Cleaned(JobCleaned {}));
    for unknown in
        [unknown, update_job("job-9", finished(JobState::Failed)), Command::CancelJob(CancelJob::default())]
    {
        machine.refuse(unknown, RefusalKind::NotFound);
    }
    let elsewhere = Placement { dataset_name: "gone".into(), ..Default::default() };
    machine.refuse(Command::SetPlacement(elsewhere), RefusalKind::NotFound);
    let twice = ShardReplicas { nodes: vec!["a".into(), "b".into(), "a".into()], ..Default::default() };
    let twice = Placement { dataset_name: "films".into(), dataset_version: "1".into(), shards: vec![twice] };
    machine.refuse(Command::SetPlacement(twice), RefusalKind::Invalid);
}

#[test]
fn a_version_of_elsewhere_comes_with_its_data_set_or_not_at_all() {
    let mut machine = Machine::with_versions(&["v1"]);
    let register = |version: ModelVersion, dataset: Option<DatasetInfo>| {
        Command::RegisterVersion(RegisterVersion { version: Some(version), dataset })
    };
    machine.accept(register(version("s1", "films", "1"), None));
    machine.accept(register(version("s2", "spark", "1"), Some(dataset("spark", "1"))));
    assert_eq!(machine.state().versions["s2"].state(), VersionState::Ready);
    assert!(machine.state().dataset("spark", "1").is_some());
    machine.promote("s2");
    for (refused, kind) in [
        (register(version("s1", "films", "1"), None), RefusalKind::Precondition),
        (register(version("s3", "gone", "1"), None), RefusalKind::NotFound),
        (register(version("s3", "films", "1"), Some(dataset("films", "1"))), RefusalKind::Precondition),
        (register(version("s3", "other", "1"), Some(dataset("another", "1"))), RefusalKind::Invalid),
        (register(version("", "films", "1"), None), RefusalKind::Invalid),
        (register(version("s3", "", ""), Some(dataset("", ""))), RefusalKind::Invalid),
    ] {
        machine.refuse(refused, kind);
    }
}

#[test]
fn a_command_of_another_release_is_refused_and_changes_nothing() {
    let mut machine = Machine::with_versions(&["v1"]);
    let before = machine.state();
    for unknown in [&b""[..], b"\xff\xff\xff", b"\xa2\x06\x00"] {
        let reply = machine.apply_bytes(&Bytes::copy_from_slice(unknown));
        assert_eq!(reply.refusal(), RefusalKind::Invalid);
    }
    assert_eq!(machine.state(), before);
}

#[test]
fn the_newest_data_set_is_found_by_its_name_alone() {
    let mut state = ClusterState::new("c");
    for (version, created_unix_ms) in [("b", 2), ("a", 3), ("c", 1)] {
        let dataset = DatasetInfo { created_unix_ms, ..dataset("films", version) };
        state.datasets.insert(("films".into(), version.into()), dataset);
    }
    assert_eq!(state.dataset("films", "").unwrap().version, "a");
    assert_eq!(state.dataset("films", "c").unwrap().version, "c");
    assert!(state.dataset("films", "d").is_none() && state.dataset("books", "").is_none());
}
