//! Workers that answer something else than they were asked, or less than that: the attempt fails, the next one does
//! the work, and nothing of a shard is missing from what comes of the job.

use step_event::Event;

use super::{worker::Act, *};

/// No step but "claim" is answered with it, and "claim" is not answered with the other.
fn wrong_answer(step: &Step) -> Event {
    match step {
        Step::ListsClaim(_) => Event::ObjectsWritten(ObjectsWritten::default()),
        _ => Event::ListsClaimDone(ListsClaimDone::default()),
    }
}

impl World {
    /// In the n-th attempt of a job whoever is asked for the n-th of these steps answers wrongly.
    fn answer_wrongly(&self, steps: &'static [&'static str], answer: fn(&Step) -> Event) {
        self.stage.play(move |seen| {
            let wrong = steps.get(seen.attempt as usize - 1);
            let is_it = wrong.is_some_and(|wrong| word(&seen.step) == *wrong);
            if is_it { Act::Answer(Box::new(answer(&seen.step))) } else { Act::Do }
        });
    }

    /// The job, which has needed one attempt more than there are steps with wrong answers.
    async fn made_after(&self, job_id: &str, steps: &[&str]) -> JobInfo {
        let job = self.cluster.over(job_id).await;
        let attempts = steps.len() as u32 + 1;
        assert_eq!((job.state(), job.attempt), (JobState::Succeeded, attempts), "{}", job.error);
        job
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_loses_no_row_to_a_wrong_answer() {
    let world = World::start(1, 2).await;
    let steps = &["begin", "parse 0", "sort", "build"];
    world.answer_wrongly(steps, wrong_answer);
    let job = world.import("films").await;
    let dataset = world.made_after(&job, steps).await.dataset.unwrap();
    assert_eq!((dataset.users, dataset.items, dataset.ratings), (40, 20, 800));
    assert_eq!(dataset.report.unwrap().rows_read, 3_000);
    let parts = ["worker-1.bin", "worker-2.bin"].map(|part| format!("{}/{part}", dataset.path));
    let stored = world.cluster.stored();
    assert!(parts.iter().all(|part| stored.contains(part)), "{stored:?}");

    // The right kind of answer, with nothing in it.
    let steps = &["parse 0", "sort"];
    world.answer_wrongly(steps, |step| match step {
        Step::IngestParse(_) => Event::IngestParseDone(IngestParseDone::default()),
        _ => Event::IngestSortDone(IngestSortDone::default()),
    });
    let job = world.import("books").await;
    let dataset = world.made_after(&job, steps).await.dataset.unwrap();
    assert_eq!((dataset.users, dataset.report.unwrap().rows_read), (40, 3_000));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trainings_and_lists_lose_no_shard_to_a_wrong_answer() {
    let world = World::with_films(1, 2).await;
    let job = world.train(3, false).await;
    let undisturbed = world.cluster.over(&job).await;
    let steps = &["load", "route", "solve items 1", "evaluate 2", "write models", "measure"];
    world.answer_wrongly(steps, wrong_answer);
    let job = world.train(3, false).await;
    let job = world.made_after(&job, steps).await;
    let metrics = |job: &JobInfo| {
        job.sweeps.iter().map(|sweep| (sweep.sweep, sweep.rating, sweep.ranking)).collect::<Vec<_>>()
    };
    assert_eq!(metrics(&job), metrics(&undisturbed));
    let stored = world.cluster.stored();
    for part in ["worker-1.bin", "worker-2.bin"] {
        let path = format!("models/als/{}/{part}", job.model_version);
        assert!(stored.contains(&path), "{stored:?}");
    }

    // The right kind of answer, with nothing in it.
    let steps = &["load", "load for a model"];
    world.answer_wrongly(steps, |step| match step {
        Step::TrainLoad(_) => Event::TrainLoadDone(TrainLoadDone::default()),
        _ => Event::ModelLoadDone(ModelLoadDone::default()),
    });
    let empty = world.train(3, false).await;
    assert_eq!(metrics(&world.made_after(&empty, steps).await), metrics(&undisturbed));

    let steps = &["begin lists", "claim", "list 2", "finish lists"];
    world.answer_wrongly(steps, wrong_answer);
    let job = world.lists(&job.model_version).await;
    let listed = world.made_after(&job, steps).await.listed.unwrap();
    assert_eq!((listed.users, listed.rows, listed.files), (40, 400, 4));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_never_answers_what_it_is_asked_fails_the_job() {
    let world = World::with_films(1, 2).await;
    let before = world.cluster.stored();
    world.stage.play(|seen| match &seen.step {
        Step::TrainRoute(_) => Act::Answer(Box::new(wrong_answer(&seen.step))),
        _ => Act::Do,
    });
    let job = world.train(2, false).await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt), (JobState::Failed, 5));
    assert!(
        job.error.starts_with("5 attempts failed, the last because: worker 'worker-")
            && job.error.contains("answered 'lists_claim_done' to the step 'train_route'"),
        "{}",
        job.error
    );
    assert_eq!(world.cluster.stored(), before);
    world.end().await;
}
