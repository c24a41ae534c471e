//! Imports.

use tonic::Status;

use super::{
    worker::{Act, Seen},
    *,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_through_its_steps_and_publishes_what_the_workers_found() {
    let world = World::start(1, 2).await;
    let catalogue = SourceFile {
        uri: "movies.csv".into(),
        content: FileContent::Items.into(),
        length_bytes: 1_000,
        ..Default::default()
    };
    world.stage.files.lock().unwrap().push(catalogue);
    let job = world.import("films").await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt, job.progress), (JobState::Succeeded, 1, 1.0), "{}", job.error);

    // Four shards a side, half of them at each worker, with ten users and five items a shard.
    let dataset = job.dataset.unwrap();
    assert_eq!((dataset.users, dataset.items, dataset.ratings), (40, 20, 800));
    assert_eq!((dataset.rating_min, dataset.rating_max, dataset.rating_mean), (0.5, 5.0, 3.5));
    assert_eq!((dataset.catalogue_items, dataset.shard_count), (4, 4));
    assert_eq!((dataset.user_id_kind(), dataset.item_id_kind()), (IdKind::Integer, IdKind::Text));
    let shards: Vec<u32> = dataset.user_shards.iter().map(|shard| shard.shard).collect();
    assert_eq!(shards, [0, 1, 2, 3]);

    // Three ranges of a megabyte and the catalogue, with lines counted through each file; ratings have a header.
    let report = dataset.report.unwrap();
    assert_eq!((report.rows_read, report.rows_accepted, report.duplicates), (4_000, 3_996, 2));
    assert_eq!(report.files, ["ratings.csv", "movies.csv"]);
    let [rejection] = &report.rejections[..] else { panic!("{:?}", report.rejections) };
    let lines: Vec<u64> = rejection.examples.iter().map(|example| example.line).collect();
    assert_eq!((rejection.count, &lines[..]), (4, &[8, 1_008, 2_008][..]));

    // Nobody begins a step before everybody has done the one before.
    let words: Vec<String> = world.stage.seen().iter().map(|seen| word(&seen.step)).collect();
    let mut parsed = words[2..6].to_vec();
    parsed.sort();
    assert_eq!(words[..2], ["begin", "begin"]);
    assert_eq!(parsed, ["parse 0", "parse 0", "parse 0", "parse 1"]);
    assert_eq!(words[6..], ["sort", "sort", "build", "build"]);

    let store = world.cluster.stored();
    let path = dataset.path;
    let of = |name: &str| format!("{path}/{name}");
    assert_eq!(store, ["manifest.json", "metadata.json", "worker-1.bin", "worker-2.bin"].map(of));
    assert_eq!(world.stage.released(), [job.job_id.clone(), job.job_id]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bad_rows_are_refused_with_examples_and_leave_nothing() {
    let world = World::start(1, 2).await;
    let source = DatasetSource { uri: "/films".into(), bad_rows_ratio_max: 0.0, ..Default::default() };
    let request = ImportDatasetRequest { name: "films".into(), source: Some(source), ..Default::default() };
    let started = world.cluster.ask(|mut leader| {
        let request = request.clone();
        async move { leader.import_dataset(request).await }
    });
    let job = world.cluster.over(&started.await.unwrap().job_id).await;
    assert_eq!((job.state(), job.attempt), (JobState::Failed, 1));
    for part in
        ["3 of 3000 rows of 'ratings.csv' are bad", "no number", "ratings.csv line 8", "--max-bad-rows"]
    {
        assert!(job.error.contains(part), "{}", job.error);
    }
    assert!(world.stage.seen().iter().all(|seen| !matches!(seen.step, Step::IngestSort(_))));
    assert_eq!(world.cluster.stored(), Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_of_a_megabyte_reaches_the_job_with_its_beginning_and_its_end() {
    let world = World::start(1, 2).await;
    world.stage.play(|seen| match &seen.step {
        Step::IngestParse(_) => {
            let columns = "'colonne é', ".repeat(80_000);
            Act::Refuse(Status::invalid_argument(format!(
                "no column is 'userid' among {columns}; name it with --user-col"
            )))
        }
        _ => Act::Do,
    });
    let job = world.import("films").await;
    let job = world.cluster.over(&job).await;
    assert_eq!(job.state(), JobState::Failed);
    let error = &job.error;
    assert!(error.contains("': no column is 'userid' among 'colonne é', "), "{error}");
    assert!(
        error.contains(" characters left out) …") && error.ends_with("; name it with --user-col"),
        "{error}"
    );
    assert!((2_000..=8 * 1024).contains(&error.len()), "{} bytes", error.len());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_lost_in_an_import_makes_it_begin_anew() {
    let mut world = World::start(1, 3).await;
    world.stage.play(|seen| {
        if seen.attempt == 1 && matches!(seen.step, Step::IngestSort(_)) { Act::Hold } else { Act::Do }
    });
    let job = world.import("films").await;
    world.reached("it sorts", |seen| matches!(seen.step, Step::IngestSort(_))).await;
    let lost = world.workers.remove(1);
    let beat = lost.beat.clone();
    drop(lost);
    // What it sent last may come after the leader has noticed the loss.
    eventually_async("the attempt has failed", || async {
        (world.cluster.job(&job).await.phase == "waiting for workers").then_some(())
    })
    .await;
    let late = world.cluster.ask(|mut leader| {
        let beat = beat.clone();
        async move { leader.heartbeat(beat).await }
    });
    late.await.unwrap();
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt), (JobState::Succeeded, 2), "{}", job.error);
    let second: Vec<Seen> = world.stage.seen().into_iter().filter(|seen| seen.attempt == 2).collect();
    assert!(second.iter().all(|seen| seen.worker != "worker-2"));
    let begins = second.iter().filter_map(|seen| match &seen.step {
        Step::IngestBegin(begin) => {
            Some((begin.owners.len(), begin.workers.len(), begin.staging_path.clone()))
        }
        _ => None,
    });
    let staging = format!("staging/{}/002", job.job_id);
    assert_eq!(begins.collect::<Vec<_>>(), vec![(8, 2, staging.clone()), (8, 2, staging)]);
    assert_eq!(job.dataset.unwrap().ratings, 800);
    world.end().await;
}
