//! Batch lists: parts that are handed out, that outlive workers and leaders, and that are taken away again.

use tonic::{Code, Status};

use super::{
    worker::{Act, Seen},
    *,
};

impl World {
    /// Starts lists of a version; of the live one where none is named.
    async fn ask_lists(&self, version: &str, parameters: ListsParameters) -> Result<String, Status> {
        let request = StartListsRequest {
            version: version.to_owned(),
            parameters: Some(parameters),
            ..StartListsRequest::default()
        };
        let reply = self.cluster.ask(|mut leader| {
            let request = request.clone();
            async move { leader.start_lists(request).await }
        });
        Ok(reply.await?.job_id)
    }

    pub(super) async fn lists(&self, version: &str) -> String {
        self.ask_lists(version, ListsParameters { n: 10, ..ListsParameters::default() }).await.unwrap()
    }
}

/// The shards whose parts were asked for in an attempt.
fn written(seen: &[Seen], attempt: u32) -> Vec<u32> {
    let of_attempt = seen.iter().filter(|seen| seen.attempt == attempt);
    let mut shards: Vec<u32> = of_attempt
        .filter_map(|seen| match &seen.step {
            Step::ListsWrite(write) => Some(write.shard),
            _ => None,
        })
        .collect();
    shards.sort_unstable();
    shards
}

fn is_write(seen: &Seen, shard: u32) -> bool {
    matches!(&seen.step, Step::ListsWrite(write) if write.shard == shard)
}

fn staged(world: &World) -> usize {
    world.cluster.stored().iter().filter(|path| path.starts_with("staging/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_shard_is_handed_out_once_and_the_sums_are_told() {
    let world = World::with_films(1, 2).await;
    let version = world.trained().await;
    world.stage.forget();
    let job = world.lists(&version).await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt, job.progress), (JobState::Succeeded, 1, 1.0), "{}", job.error);
    assert_eq!(job.lists.as_ref().map(|lists| lists.model.as_str()), Some("als"));

    let seen = world.stage.seen();
    let words: Vec<String> = seen.iter().map(|seen| word(&seen.step)).collect();
    assert_eq!(words[..3], ["begin lists", "begin lists", "claim"]);
    assert_eq!(words.last().map(String::as_str), Some("finish lists"));
    assert_eq!(written(&seen, 1), [0, 1, 2, 3]);
    let listed = job.listed.unwrap();
    assert_eq!((listed.users, listed.rows, listed.files, listed.bytes), (40, 400, 4, 4_000));
    assert_eq!(staged(&world), 0, "what only the job needed is gone");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_worker_costs_only_the_parts_that_it_had_not_written() {
    let mut world = World::with_films(1, 2).await;
    let version = world.trained().await;
    world.stage.forget();
    // Shard 3 is never written in the first attempt, the others are.
    world.stage.play(|seen| if seen.attempt == 1 && is_write(seen, 3) { Act::Hold } else { Act::Do });
    let job = world.lists(&version).await;
    eventually_async("three parts are written", || async { (staged(&world) == 3).then_some(()) }).await;
    let holding = world.stage.seen().into_iter().find(|seen| is_write(seen, 3)).unwrap().worker;
    world.workers.retain(|worker| worker.name != holding);
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt), (JobState::Succeeded, 2), "{}", job.error);
    assert_eq!(written(&world.stage.seen(), 2), [3]);
    assert_eq!(job.listed.unwrap().users, 40);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_goes_on_with_the_parts_that_are_whole() {
    let mut world = World::with_films(3, 2).await;
    let version = world.trained().await;
    world.stage.forget();
    world.stage.play(|seen| if seen.attempt == 1 && is_write(seen, 2) { Act::Hold } else { Act::Do });
    let job = world.lists(&version).await;
    eventually_async("three parts are written", || async { (staged(&world) == 3).then_some(()) }).await;
    let lost = world.cluster.leader().await;
    world.cluster.kill(lost).await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt), (JobState::Succeeded, 2), "{}", job.error);
    assert_eq!(written(&world.stage.seen(), 2), [2]);
    assert_eq!(job.listed.unwrap().rows, 400);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_not_whole_any_more_is_made_again() {
    let world = World::with_films(1, 2).await;
    let version = world.trained().await;
    world.stage.forget();
    world.stage.play(|seen| {
        if seen.attempt == 1 && matches!(seen.step, Step::ListsFinish(_)) {
            // The worker that claims next finds the second part damaged.
            return Act::Refuse(Status::unavailable("the store is out of reach"));
        }
        Act::Do
    });
    world.stage.damage(1);
    let job = world.lists(&version).await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt), (JobState::Succeeded, 2), "{}", job.error);
    assert_eq!(written(&world.stage.seen(), 2), [1]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_cancelled_are_taken_away() {
    let world = World::with_films(1, 2).await;
    let version = world.trained().await;
    world.stage.forget();
    world.stage.play(|seen| if is_write(seen, 3) { Act::Hold } else { Act::Do });
    let job = world.lists(&version).await;
    world.reached("the last part is being written", |seen| is_write(seen, 3)).await;
    world.cancel(&job).await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.listed), (JobState::Cancelled, None));
    let discards = world.stage.seen().into_iter().filter(|seen| matches!(seen.step, Step::ListsDiscard(_)));
    assert_eq!(discards.count(), 1, "one worker removes what was written");
    assert_eq!(staged(&world), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_listed_is_refused_before_there_is_a_job() {
    let world = World::with_films(1, 1).await;
    let refused = async |version: &str, parameters: ListsParameters| {
        world.ask_lists(version, parameters).await.unwrap_err()
    };
    let ten = || ListsParameters { n: 10, ..ListsParameters::default() };
    let status = refused("", ten()).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("models promote"), "{status}");
    assert_eq!(refused("als_model_v1_no", ten()).await.code(), Code::NotFound);
    let version = world.trained().await;
    for parameters in [
        ListsParameters { n: u32::MAX, ..ten() },
        ListsParameters { n: 0, ..ten() },
        ListsParameters { columns: vec![99], ..ten() },
        ListsParameters { out_uri: "lists".to_owned(), ..ten() },
    ] {
        let status = refused(&version, parameters).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    let jobs = world.cluster.ask(|mut leader| async move { leader.list_jobs(ListJobsRequest {}).await });
    assert!(jobs.await.unwrap().jobs.iter().all(|job| job.lists.is_none()));
    world.end().await;
}
