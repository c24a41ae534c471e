//! Workers and leaders that are lost in the middle of a training.

use tonic::Status;

use super::{
    worker::{Act, Seen},
    *,
};

/// What the workers were told to load at the beginning of an attempt.
fn load(seen: &[Seen], attempt: u32) -> TrainLoad {
    let of_attempt = seen.iter().filter(|seen| seen.attempt == attempt);
    let mut loads = of_attempt.filter_map(|seen| match &seen.step {
        Step::TrainLoad(load) => Some(load.clone()),
        _ => None,
    });
    let first = loads.next().expect("the attempt has begun");
    assert!(loads.all(|load| load == first), "all are told the same");
    first
}

/// The first sweep that an attempt solves.
fn first_sweep(seen: &[Seen], attempt: u32) -> u32 {
    let of_attempt = seen.iter().filter(|seen| seen.attempt == attempt);
    let sweeps = of_attempt.filter_map(|seen| match &seen.step {
        Step::TrainHalfStep(step) if step.solve => Some(step.sweep),
        _ => None,
    });
    sweeps.min().expect("the attempt has solved something")
}

/// One more, not one after the other until the lease has expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_worker_means_one_more_attempt_from_the_last_committed_sweep() {
    let mut world = World::with_films_and(1, 3, Duration::from_secs(3)).await;
    world.stage.play(|seen| {
        if seen.attempt == 1 && is_half_step(seen, 4, Side::Users) { Act::Hold } else { Act::Do }
    });
    let job = world.train(5, false).await;
    world.reached("it is in its fourth sweep", |seen| is_half_step(seen, 4, Side::Users)).await;
    world.workers.retain(|worker| worker.name != "worker-3");
    let job = world.cluster.over(&job).await;
    assert_eq!(
        (job.state(), job.attempt, job.committed_sweeps),
        (JobState::Succeeded, 2, 5),
        "{}",
        job.error
    );

    let seen = world.stage.seen();
    assert_eq!(load(&seen, 1).checkpoint_path, "");
    let again = load(&seen, 2);
    assert_eq!(again.checkpoint_path, format!("checkpoints/{}/001-00002", job.job_id));
    let names: Vec<&str> = again.workers.iter().map(|worker| worker.node.as_str()).collect();
    assert_eq!(names, ["worker-1", "worker-2"]);
    assert!(again.owners.len() == 8 && again.owners.iter().all(|owner| owner.node != "worker-3"));
    assert_eq!(first_sweep(&seen, 2), 3);
    world.end().await;
}

/// It sends heartbeats on, and so it is no lost worker.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_attempt_is_made_without_a_worker_that_others_do_not_reach() {
    let world = World::with_films(1, 3).await;
    world.stage.cut_off(&["worker-3"]);
    world.stage.play(|seen| match &seen.step {
        Step::TrainLoad(load) if seen.worker == "worker-1" && load.workers.len() == 3 => {
            Act::Refuse(Status::unavailable("worker 'worker-3' did not take the factors sent to it"))
        }
        _ => Act::Do,
    });
    let job = world.train(2, false).await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt), (JobState::Succeeded, 2), "{}", job.error);
    let names = |load: TrainLoad| load.workers.into_iter().map(|worker| worker.node).collect::<Vec<_>>();
    assert_eq!(names(load(&world.stage.seen(), 2)), ["worker-1", "worker-2"]);
    let left_out: Vec<_> = job.left_out.iter().map(|left| (left.attempt, left.node.as_str())).collect();
    assert_eq!(left_out, [(2, "worker-3")]);
    let reason = "not reached by 'worker-1', 'worker-2' (as the test says)";
    assert_eq!(job.left_out[0].reason, reason);
    let unreachable = world.cluster.status().await.unreachable;
    assert_eq!((unreachable.len(), unreachable[0].node.as_str()), (1, "worker-3"));
    assert!(unreachable[0].reason == reason && unreachable[0].since_unix_ms > 0, "{unreachable:?}");

    // What is known of it is known to the next job too, which loses no attempt by it.
    world.stage.forget();
    let job = world.train(1, false).await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt, job.left_out.len()), (JobState::Succeeded, 1, 1), "{}", job.error);

    // It is noticed without a job that it is reached again.
    world.stage.cut_off(&[]);
    eventually_async("everybody is reached", || async {
        world.cluster.status().await.unreachable.is_empty().then_some(())
    })
    .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_comes_back_takes_part_in_the_next_attempt() {
    let world = World::with_films(1, 2).await;
    // It has restarted: it knows nothing of the attempt.
    world.stage.play(|seen| {
        let is_it = seen.worker == "worker-2" && seen.attempt == 1 && is_half_step(seen, 3, Side::Users);
        if is_it { Act::Refuse(Status::failed_precondition("attempt 1 is not known")) } else { Act::Do }
    });
    let job = world.train(4, false).await;
    let job = world.cluster.over(&job).await;
    assert_eq!((job.state(), job.attempt), (JobState::Succeeded, 2), "{}", job.error);
    let seen = world.stage.seen();
    assert_eq!((load(&seen, 2).workers.len(), first_sweep(&seen, 2)), (2, 3));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_goes_on_from_the_last_committed_sweep() {
    let mut world = World::with_films(3, 2).await;
    world.stage.play(|seen| {
        if seen.attempt == 1 && is_half_step(seen, 4, Side::Items) { Act::Hold } else { Act::Do }
    });
    let job = world.train(5, true).await;
    world.reached("it is in its fourth sweep", |seen| is_half_step(seen, 4, Side::Items)).await;
    let lost = world.cluster.leader().await;
    world.cluster.kill(lost).await;
    let job = world.cluster.over(&job).await;
    assert_eq!(
        (job.state(), job.attempt, job.committed_sweeps),
        (JobState::Succeeded, 2, 5),
        "{}",
        job.error
    );
    assert_ne!(world.cluster.leader().await, lost);
    let seen = world.stage.seen();
    assert_eq!(load(&seen, 2).checkpoint_path, format!("checkpoints/{}/001-00002", job.job_id));
    assert_eq!(first_sweep(&seen, 2), 3);
    assert_eq!(job.sweeps.iter().map(|sweep| sweep.sweep).collect::<Vec<_>>(), [2, 4, 5]);
    world.end().await;
}

/// A leader that has lost its group must not take away what its successor goes on from.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_its_group_deletes_nothing() {
    let mut world = World::with_films(3, 2).await;
    world.stage.play(|seen| match seen.attempt {
        1 if is_half_step(seen, 3, Side::Users) => Act::Hold,
        // What comes after it would end the job.
        1 if is_half_step(seen, 3, Side::Items) => Act::Refuse(Status::internal("out of memory")),
        _ => Act::Do,
    });
    let job = world.train(4, false).await;
    world.reached("it is in its third sweep", |seen| is_half_step(seen, 3, Side::Users)).await;
    let checkpoints = |world: &World| {
        let stored = world.cluster.stored().into_iter();
        stored.filter(|path| path.starts_with("checkpoints/")).collect::<Vec<_>>()
    };
    let kept = checkpoints(&world);
    assert!(!kept.is_empty());
    let leader = world.cluster.leader().await;
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    for &id in &others {
        world.cluster.kill(id).await;
    }
    world.stage.release();
    world.reached("the step has failed", |seen| is_half_step(seen, 3, Side::Items)).await;
    // Long enough for the leader to have resigned.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(checkpoints(&world), kept);
    assert!(world.stage.released().iter().all(|released| *released != job));

    // What it had to say about the job's end is in its log alone.
    world.cluster.kill(leader).await;
    for &id in &others {
        world.cluster.revive(id);
    }
    let ended = world.cluster.over(&job).await;
    assert_eq!((ended.state(), ended.committed_sweeps), (JobState::Succeeded, 4), "{}", ended.error);
    assert_eq!(first_sweep(&world.stage.seen(), ended.attempt), 3);
    assert_eq!(checkpoints(&world), Vec::<String>::new());
    world.cluster.revive(leader);
    world.cluster.kill(others[0]).await;
    assert_eq!(world.cluster.job(&job).await, ended);
    world.end().await;
}
