//! The fan-out in simulated time: seeded workers that answer, fail or are late, and what must hold whatever
//! they do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use shoal_router::{
    fanout::{Answers, FanOut, ShardAnswer},
    replicas::{Replica, Replicas},
};
use tokio::time::Instant;
use tonic::{Code, Status};

const DEADLINE: Duration = Duration::from_millis(1_000);
const HEDGE_AFTER: Duration = Duration::from_millis(20);

/// What a worker does with every call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Answers,
    /// Says that it lacks every second shard of those it is asked for.
    Lacks,
    Fails(Code),
    Hangs,
}

#[derive(Debug, Clone, Copy)]
struct Worker {
    does: Does,
    after_ms: u64,
}

/// One call, as it was made.
#[derive(Debug, Clone)]
struct Made {
    at: Duration,
    worker: usize,
    shards: Vec<u32>,
}

/// Runs one fan-out over shards with these candidates in paused time: what came of it, the calls made, and
/// when it ended.
fn run(
    workers: &[Worker],
    shards: &[BTreeSet<usize>],
    hedge_percent: u32,
) -> (Answers<usize>, Vec<Made>, Duration) {
    let fanout = FanOut::new(HEDGE_AFTER, hedge_percent, 3);
    run_with(&fanout, workers, shards)
}

/// As [`run`], by a fan-out that has run before.
fn run_with(
    fanout: &FanOut,
    workers: &[Worker],
    shards: &[BTreeSet<usize>],
) -> (Answers<usize>, Vec<Made>, Duration) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let replicas = Replicas::default();
        let all: Vec<Arc<Replica>> =
            (0..workers.len()).map(|worker| replicas.get(&worker.to_string(), "h:1")).collect();
        let candidates =
            (0..).zip(shards.iter().map(|of| of.iter().map(|&worker| all[worker].clone()).collect()));
        let begun = Instant::now();
        let made: Mutex<Vec<Made>> = Mutex::default();
        let call = |replica: Arc<Replica>, shards: Vec<u32>| {
            let worker: usize = replica.name.parse().unwrap();
            made.lock().unwrap().push(Made { at: begun.elapsed(), worker, shards: shards.clone() });
            let behaviour = workers[worker];
            async move {
                if behaviour.does == Does::Hangs {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(behaviour.after_ms)).await;
                match behaviour.does {
                    Does::Fails(code) => Err(Status::new(code, "on purpose")),
                    Does::Lacks => Ok(shards
                        .iter()
                        .map(|&shard| match shard % 2 {
                            0 => (shard, ShardAnswer::Absent("not here".to_owned())),
                            _ => (shard, ShardAnswer::Answered(worker)),
                        })
                        .collect()),
                    _ => Ok(shards.iter().map(|&shard| (shard, ShardAnswer::Answered(worker))).collect()),
                }
            }
        };
        let answers = fanout.run(candidates.collect(), begun + DEADLINE, call).await;
        let ended = begun.elapsed();
        (answers, made.into_inner().unwrap(), ended)
    })
}

fn worker() -> impl Strategy<Value = Worker> {
    let does = prop_oneof![
        4 => Just(Does::Answers),
        1 => Just(Does::Lacks),
        1 => Just(Does::Hangs),
        1 => Just(Does::Fails(Code::Unavailable)),
        1 => Just(Does::Fails(Code::ResourceExhausted)),
        1 => Just(Does::Fails(Code::InvalidArgument)),
    ];
    (does, prop_oneof![0_u64..15, 15_u64..60, 900_u64..1_100])
        .prop_map(|(does, after_ms)| Worker { does, after_ms })
}

proptest! {
    #[test]
    fn whatever_workers_do_the_rules_hold(
        workers in prop::collection::vec(worker(), 1..6),
        picks in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..10),
        hedge in any::<bool>(),
    ) {
        let shards: Vec<BTreeSet<usize>> =
            picks.iter().map(|of| of.iter().map(|pick| pick.index(workers.len())).collect()).collect();
        let (answers, made, ended) = run(&workers, &shards, if hedge { 100 } else { 0 });
        prop_assert!(ended <= DEADLINE);
        // Every shard has one answer or counts as failed; an answer is by one of its candidates that gave one.
        let answered: BTreeMap<u32, usize> = answers.answers.iter().copied().collect();
        prop_assert_eq!(answered.len(), answers.answers.len(), "one answer a shard");
        prop_assert_eq!(answered.len() + answers.failed, shards.len());
        for (&shard, &worker) in &answered {
            prop_assert!(shards[shard as usize].contains(&worker));
            prop_assert!(matches!(workers[worker].does, Does::Answers | Does::Lacks));
        }
        for (shard, candidates) in (0_u32..).zip(&shards) {
            let asked: Vec<&Made> = made.iter().filter(|call| call.shards.contains(&shard)).collect();
            let distinct: BTreeSet<usize> = asked.iter().map(|call| call.worker).collect();
            prop_assert_eq!(distinct.len(), asked.len(), "nobody is asked twice for a shard");
            prop_assert!(distinct.is_subset(candidates));
            let is_absent = |worker: &usize| match workers[*worker].does {
                Does::Lacks => shard % 2 == 0,
                does => does == Does::Fails(Code::Unavailable),
            };
            let absent = distinct.iter().filter(|worker| is_absent(worker)).count();
            let most = 2 + usize::from(hedge) + absent;
            prop_assert!(asked.len() <= most, "the first, a retry, a hedge, and one more where it is not there");
            prop_assert!(asked.iter().all(|call| call.at < DEADLINE));
            // Only what has failed or is late is asked again.
            if let [first, again, ..] = asked[..] {
                let failed_at = first.at + Duration::from_millis(workers[first.worker].after_ms);
                let failed = workers[first.worker].does != Does::Answers && again.at >= failed_at;
                prop_assert!(failed || again.at == DEADLINE / 2 || (hedge && again.at >= HEDGE_AFTER));
            }
            // A replica that answers quickly gives the answer, if the one asked first fails, hangs or is late.
            let quick = |worker: &usize| workers[*worker].does == Does::Answers && workers[*worker].after_ms < 60;
            let can_be_replaced = |worker: &usize| match workers[*worker].does {
                Does::Answers | Does::Hangs => true,
                Does::Fails(code) => code == Code::Unavailable && workers[*worker].after_ms < 60,
                Does::Lacks => false,
            };
            let (has, lacks): (Vec<usize>, Vec<usize>) = candidates.iter().partition(|worker| quick(worker));
            if !has.is_empty() && lacks.iter().all(|worker| is_absent(worker) && workers[*worker].after_ms < 60) {
                prop_assert!(answered.contains_key(&shard), "it was looked for until it was found");
            }
            if candidates.len() == 2 && candidates.iter().any(quick) && candidates.iter().all(can_be_replaced) {
                prop_assert!(answered.contains_key(&shard), "the other replica was tried");
            }
        }
    }
}

fn quick(after_ms: u64) -> Worker {
    Worker { does: Does::Answers, after_ms }
}

#[test]
fn a_hedge_comes_after_its_delay_and_not_before() {
    let hangs = Worker { does: Does::Hangs, after_ms: 0 };
    // Both orders, since either may be asked first.
    for workers in [[hangs, quick(3)], [quick(3), hangs]] {
        let (answers, made, ended) = run(&workers, &[[0, 1].into()], 100);
        assert_eq!((answers.answers.len(), answers.failed), (1, 0));
        if made.len() == 2 {
            assert_eq!((made[1].at, ended), (HEDGE_AFTER, HEDGE_AFTER + Duration::from_millis(3)));
        } else {
            assert_eq!(ended, Duration::from_millis(3));
        }
    }
    let (_, made, _) = run(&[quick(19), quick(19)], &[[0, 1].into()], 100);
    assert_eq!(made.len(), 1, "an answer in time needs no twin");
}

#[test]
fn nothing_is_tried_again_at_the_end_of_the_time() {
    // The client side of a call ends it as cancelled a moment before the deadline.
    let cut = Worker { does: Does::Fails(Code::Cancelled), after_ms: 996 };
    let (answers, made, _) = run(&[cut], &[[0].into()], 0);
    assert_eq!((made.len(), answers.failed), (1, 1));
    assert_eq!(answers.failure.unwrap().code(), Code::DeadlineExceeded);
    let early = Worker { does: Does::Fails(Code::Unavailable), after_ms: 400 };
    let (answers, made, _) = run(&[early, early], &[[0, 1].into()], 0);
    assert_eq!((made.len(), answers.failed), (2, 1));
}

#[test]
fn without_hedges_a_worker_that_hangs_costs_half_of_the_time() {
    let hangs = Worker { does: Does::Hangs, after_ms: 0 };
    // Both orders, since either may be asked first.
    for workers in [[hangs, quick(3)], [quick(3), hangs]] {
        let (answers, made, ended) = run(&workers, &[[0, 1].into()], 0);
        assert_eq!((answers.answers.len(), answers.failed), (1, 0));
        if made.len() == 2 {
            assert_eq!((made[1].at, ended), (DEADLINE / 2, DEADLINE / 2 + Duration::from_millis(3)));
        } else {
            assert_eq!(ended, Duration::from_millis(3));
        }
    }
}

#[test]
fn without_an_answer_the_deadline_ends_it() {
    let hangs = Worker { does: Does::Hangs, after_ms: 0 };
    let (answers, made, ended) = run(&[hangs, hangs, quick(1)], &[[0, 1].into(), [2].into()], 100);
    assert_eq!(ended, DEADLINE);
    assert_eq!((answers.answers.len(), answers.failed), (1, 1));
    assert_eq!(answers.failure.unwrap().code(), Code::DeadlineExceeded);
    assert_eq!(made.len(), 3, "the first calls and one hedge");
}

#[test]
fn every_worker_that_hangs_is_hedged() {
    let hangs = Worker { does: Does::Hangs, after_ms: 0 };
    // Two that hang and one that is only late: each shard has one good replica.
    let workers = [hangs, hangs, quick(30), quick(1)];
    let (answers, _, ended) = run(&workers, &[[0, 2].into(), [1, 3].into(), [0, 3].into()], 100);
    assert_eq!((answers.answers.len(), answers.failed), (3, 0));
    assert!(ended < DEADLINE);
}

/// Twins before half-time among the calls of many fan-outs, of which every other one is late; calls that were no twins.
fn hedges_and_calls(fanout: &FanOut, runs: usize) -> (usize, usize) {
    let late = Worker { does: Does::Answers, after_ms: 200 };
    let (mut hedges, mut calls) = (0, 0);
    for _ in 0..runs {
        let (answers, made, _) = run_with(fanout, &[late, late], &[[0, 1].into()]);
        assert_eq!((answers.answers.len(), answers.failed), (1, 0));
        let twins = made.iter().filter(|call| !call.at.is_zero()).count();
        hedges += twins;
        calls += made.len() - twins;
    }
    (hedges, calls)
}

#[test]
fn hedges_are_a_few_and_then_their_share_of_the_calls() {
    const FREE: usize = 10;
    for percent in [1, 3, 10] {
        let fanout = FanOut::new(HEDGE_AFTER, percent, 3);
        // Calls that nobody has to wait for earn hedges, but no more than the free ones.
        let quick_ones = [quick(1), quick(1)];
        (0..5_000).for_each(|_| drop(run_with(&fanout, &quick_ones, &[[0, 1].into()])));
        // While every call counts as late: their latency is what the estimate settles at.
        let (hedges, calls) = hedges_and_calls(&fanout, 40);
        let share = calls * percent as usize / 100;
        assert!(hedges <= FREE + share + 1, "{hedges} hedges of {calls} calls at {percent} %");
        assert!(hedges >= FREE, "{hedges} hedges of {calls} calls at {percent} %");
    }
}

#[test]
fn metadata_is_stale_when_a_worker_lacks_what_it_should_have() {
    let of = |does, hedge| run(&[Worker { does, after_ms: 1 }], &[[0].into(), [0].into()], hedge).0;
    let answers = of(Does::Lacks, 0);
    assert_eq!((answers.answers.len(), answers.failed, answers.stale), (1, 1, true));
    for does in [Does::Answers, Does::Hangs, Does::Fails(Code::Unavailable), Does::Fails(Code::Internal)] {
        assert!(!of(does, 0).stale, "{does:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_lets_the_time_run_out_counts_as_slow() {
    let replica = Replicas::default().get("0", "h:1");
    let took = Duration::from_millis(400);
    for (code, slow) in [(Code::ResourceExhausted, false), (Code::DeadlineExceeded, true)] {
        let call = |_, _| async move {
            tokio::time::sleep(took).await;
            Err::<Vec<(u32, ShardAnswer<()>)>, _>(Status::new(code, "on purpose"))
        };
        let fanout = FanOut::new(HEDGE_AFTER, 0, 3);
        let answers = fanout.run(vec![(0, vec![replica.clone()])], Instant::now() + DEADLINE, call).await;
        assert_eq!(answers.failed, 1);
        assert_eq!(replica.cost() >= took.as_micros() as u64, slow, "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_not_for_a_worker_that_is_left_alone() {
    // The first in the list is out of reach, and of the others one is full.
    let replicas = Replicas::default();
    let all: Vec<Arc<Replica>> = ["gone", "full", "well"].map(|name| replicas.get(name, "h:1")).into();
    all[0].begin().unreachable();
    let fanout = FanOut::new(HEDGE_AFTER, 0, 3);
    for _ in 0..30 {
        let call = |replica: Arc<Replica>, shards: Vec<u32>| async move {
            match replica.name.as_str() {
                "well" => Ok(shards.into_iter().map(|shard| (shard, ShardAnswer::Answered(()))).collect()),
                "full" => Err(Status::resource_exhausted("on purpose")),
                other => panic!("'{other}' was asked"),
            }
        };
        let answers = fanout.run(vec![(0, all.clone())], Instant::now() + DEADLINE, call).await;
        assert_eq!(answers.answers.len(), 1);
    }
}
