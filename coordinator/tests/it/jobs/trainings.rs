//! Trainings, when nothing goes wrong, when somebody cancels them, and when they cannot succeed.

use shoal_common::store::Manifest;
use tonic::Status;

use super::{worker::Act, *};

#[tokio::test(flavor = "multi_thread")]
async fn a_training_goes_through_its_steps_and_publishes_a_version() {
    let world = World::with_films(1, 2).await;
    let job = world.train(3, false).await;
    let job = world.cluster.over(&job).await;
    assert_eq!(
        (job.state(), job.attempt, job.committed_sweeps),
        (JobState::Succeeded, 1, 3),
        "{}",
        job.error
    );

    // Every step once at each worker, none before everybody has done the one before. A checkpoint is due after
    // every second sweep, and after the last, which is measured as the version.
    let words: Vec<String> = world.stage.seen().iter().map(|seen| word(&seen.step)).collect();
    let expected = "load, route, send items 0, solve users 1, solve items 1, solve users 2, solve items 2, \
                    write checkpoints, evaluate 2, solve users 3, solve items 3, write checkpoints, \
                    write models, load for a model, items, baselines, measure";
    let twice: Vec<&str> = expected.split(", ").flat_map(|step| [step, step]).collect();
    assert_eq!(words, twice);

    // Sums over all shards: 4 × 50 pairs with a squared error of 4 × 32.
    let metrics = job.sweeps.last().unwrap();
    let (rating, ranking) = (metrics.rating.unwrap(), metrics.ranking.unwrap());
    assert_eq!((job.sweeps.len(), metrics.sweep, rating.pairs, ranking.users), (2, 3, 200, 40));
    assert_eq!((rating.mse, rating.mae, rating.rmse), (0.64, 0.6, 0.8));
    assert!((rating.r2 - (1.0 - 0.64 / (14.0 - 3.5 * 3.5))).abs() < 1e-12);
    assert_eq!((ranking.recall_at_20, ranking.popularity_ndcg_at_20), (0.4, 0.1));

    let models =
        world.cluster.ask(|mut leader| async move { leader.list_models(ListModelsRequest {}).await });
    let models = models.await.unwrap().versions;
    let [version] = &models[..] else { panic!("{models:?}") };
    assert_eq!((&version.name, version.state()), (&job.model_version, VersionState::Ready));
    assert_eq!(version.metrics.as_ref(), Some(metrics));
    assert_eq!((version.rating_mean, version.dataset_name.as_str()), (3.5, "films"));
    let stored = world.cluster.stored();
    let of_version: Vec<&String> = stored.iter().filter(|path| !path.starts_with("datasets/")).collect();
    let of = |name: &str| format!("models/als/{}/{name}", version.name);
    let files = ["manifest.json", "metadata.json", "model_info.json", "worker-1.bin", "worker-2.bin"].map(of);
    let latest = "models/als/model_latest".to_owned();
    assert_eq!(of_version, files.iter().chain([&latest]).collect::<Vec<_>>());

    // And what every model is measured by.
    let evaluation = version.evaluation.clone().unwrap();
    let (lists, rating) = (evaluation.model.unwrap(), evaluation.rating.unwrap());
    assert_eq!((lists.users, lists.at[1].k, lists.at[1].ndcg, rating.rmse), (40, 20, 0.5, 0.8));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_training_ends_at_once_and_leaves_nothing() {
    let world = World::with_films(1, 2).await;
    let before = world.cluster.stored();
    world.stage.play(|seen| if is_half_step(seen, 3, Side::Items) { Act::Hold } else { Act::Do });
    let running = world.train(6, true).await;
    world.reached("it is in its third sweep", |seen| is_half_step(seen, 3, Side::Items)).await;
    assert!(world.cluster.stored().len() > before.len(), "there is a checkpoint");
    // One that waits for its turn is cancelled without having begun.
    let waiting = world.train(6, true).await;
    for job_id in [&waiting, &running] {
        world.cancel(job_id).await;
        let job = world.cluster.over(job_id).await;
        assert_eq!((job.state(), job.error.as_str()), (JobState::Cancelled, ""));
        assert_eq!(job.model_version, "");
    }
    assert!(world.stage.seen().iter().all(|seen| seen.job_id == running));
    let released = world.stage.released();
    assert_eq!(released.iter().filter(|job_id| **job_id == running).count(), 2);
    assert_eq!(world.cluster.stored(), before);
    let again = world.cluster.ask(|mut leader| {
        let request = JobRequest { job_id: running.clone() };
        async move { leader.cancel_job(request).await }
    });
    assert_eq!(again.await.unwrap_err().code(), tonic::Code::FailedPrecondition);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_would_come_again_fails_the_job_with_its_sentence() {
    let world = World::with_films(1, 2).await;
    let before = world.cluster.stored();
    world.stage.play(|seen| {
        let is_it = seen.worker == "worker-2" && matches!(seen.step, Step::TrainRoute(_));
        if is_it {
            Act::Refuse(Status::invalid_argument("the block is damaged; import it anew"))
        } else {
            Act::Do
        }
    });
    let job = world.train(2, true).await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt), (JobState::Failed, 1));
    assert_eq!(job.error, "worker 'worker-2': the block is damaged; import it anew");
    assert_eq!(world.cluster.stored(), before);
    // It is not in the way of the next.
    world.stage.play(|_| Act::Do);
    world.trained().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_bring_nothing_end_and_sweeps_count_as_something() {
    let world = World::with_films(1, 1).await;
    // The first attempt commits two sweeps and ends without a result in the next; the others get no further.
    world.stage.play(|seen| match &seen.step {
        Step::TrainHalfStep(step) if step.solve && step.sweep == 3 && seen.attempt == 1 => Act::Drop,
        Step::TrainHalfStep(step) if step.solve && step.sweep == 3 => {
            Act::Refuse(Status::unavailable("going down"))
        }
        _ => Act::Do,
    });
    let job = world.train(20, false).await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.committed_sweeps), (JobState::Failed, 2));
    assert_eq!(job.error, "5 attempts failed, the last because: worker 'worker-1': going down");
    assert_eq!(job.attempt, 1 + 5);
    world.end().await;
}

/// Shards of jobs are work of minutes; what is agreed on must not wait for any of it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_a_step_that_does_not_end() {
    let world = World::with_films(3, 2).await;
    world.stage.play(|seen| if matches!(seen.step, Step::TrainLoad(_)) { Act::Hold } else { Act::Do });
    let training = world.train(2, false).await;
    world.reached("it loads", |seen| matches!(seen.step, Step::TrainLoad(_))).await;
    // An import runs beside it, nodes come, and everything is answered.
    let import = world.import("books").await;
    assert_eq!(world.cluster.over(&import).await.state(), JobState::Succeeded);
    let late = FakeWorker::start("worker-9", &world.stage, world.cluster.client());
    eventually_async("a node is made known", || async {
        let nodes = world.cluster.status().await.metadata.unwrap().nodes;
        nodes.iter().any(|node| node.name == late.name).then_some(())
    })
    .await;
    let job = world.cluster.job(&training).await;
    assert_eq!((job.state(), job.phase.as_str()), (JobState::Running, "loading the ratings"));
    world.stage.release();
    assert_eq!(world.cluster.over(&training).await.state(), JobState::Succeeded);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_versions_manifest_has_every_file_of_its_folder() {
    let world = World::with_films(1, 2).await;
    let name = world.trained().await;
    let models =
        world.cluster.ask(|mut leader| async move { leader.list_models(ListModelsRequest {}).await });
    let versions = models.await.unwrap().versions;
    let version = versions.iter().find(|version| version.name == name).unwrap();
    let store = world.cluster.store();
    let manifest = Manifest::read(&store, &version.path, &version.manifest_checksum).await.unwrap();
    let paths: Vec<&str> = manifest.objects.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["metadata.json", "model_info.json", "worker-1.bin", "worker-2.bin"]);
    for name in ["metadata.json", "model_info.json"] {
        store.get_verified(&version.path, manifest.entry(name).unwrap()).await.unwrap();
    }
    world.end().await;
}
