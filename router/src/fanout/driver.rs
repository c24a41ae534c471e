//! Carries a fan-out out: makes the calls, keeps the time, tells the machine.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use shoal_common::rpc::{is_lost_on_the_way, is_version_missing, remaining};
use shoal_core::hash::mix64;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::machine::{Attempt, Machine, Outcome};
use crate::replicas::{Call, Replica, choose};

/// Given back for the way from the worker to the client. A call that fails with no more than this left
/// has used up its time, whatever it says: there is none for another try.
pub(crate) const DEADLINE_MARGIN: Duration = Duration::from_millis(5);

/// Hedges per hundred calls are paid for from this account, in hundredths of a call.
const HEDGE_ACCOUNT_MAX: i64 = 1_000;
const HEDGE_COST: i64 = 100;

const TIME_IS_UP: &str = "the query's time is up";

/// What one shard of a call came back with.
#[derive(Debug)]
pub enum ShardAnswer<T> {
    /// What the shard answered.
    Answered(T),
    /// None, for the worker does not have the shard; another replica may.
    Absent(String),
    /// None; any replica would say the same.
    Final(String),
}

/// What came of a fan-out.
#[derive(Debug)]
pub struct Answers<T> {
    /// By shard, those that answered.
    pub answers: Vec<(u32, T)>,
    /// How many did not.
    pub failed: usize,
    /// Why the last of those did not.
    pub failure: Option<Status>,
    /// Whether a worker said that it does not hold what metadata says it does.
    pub stale: bool,
}

/// Shared by all fan-outs of a router: the hedge budget and the latency that counts as slow.
#[derive(Debug)]
pub struct FanOut {
    hedge_after_min: Duration,
    hedge_percent: u32,
    hedge_account: AtomicI64,
    /// Running estimate of the 95th percentile of a call's latency.
    p95_us: AtomicU64,
    draws: AtomicU64,
}

impl FanOut {
    /// Hedges a call after the 95th percentile of latency but not before `hedge_after_min`, and at most
    /// `hedge_percent` of a hundred calls, beyond a few that are free at the start.
    #[must_use]
    pub fn new(hedge_after_min: Duration, hedge_percent: u32, seed: u64) -> Self {
        Self {
            hedge_after_min,
            hedge_percent,
            hedge_account: AtomicI64::new(HEDGE_ACCOUNT_MAX),
            p95_us: AtomicU64::new(0),
            draws: AtomicU64::new(mix64(seed)),
        }
    }

    /// Asks `shards`, each with its candidates, until all have answered or cannot, or `deadline` has passed.
    /// `call` makes one call to a worker for some shards.
    pub async fn run<T, C, F>(
        &self,
        shards: Vec<(u32, Vec<Arc<Replica>>)>,
        deadline: Instant,
        call: C,
    ) -> Answers<T>
    where
        T: Send,
        C: Fn(Arc<Replica>, Vec<u32>) -> F + Send,
        F: Future<Output = Result<Vec<(u32, ShardAnswer<T>)>, Status>> + Send,
    {
        let mut workers = Workers::default();
        let draw = mix64(self.draws.fetch_add(1, Ordering::Relaxed));
        let (mut machine, first) = Machine::start(
            shards.into_iter().map(|(shard, candidates)| (shard, workers.in_order(&candidates, draw))),
        );
        let mut result = Answers { answers: Vec::new(), failed: 0, failure: None, stale: false };
        let mut calls = FuturesUnordered::new();
        let begin = |attempt: Attempt| {
            metrics::counter!("shoal_router_fanout_attempts_total", "kind" => attempt.kind.name())
                .increment(1);
            let worker = &workers.list[attempt.worker];
            let under_way = worker.begin();
            let answer = call(Arc::clone(worker), attempt.shards.clone());
            async move { (attempt, under_way, answer.await) }
        };
        self.earn(first.len());
        calls.extend(first.into_iter().map(begin));
        let hedge_after = self.hedge_after();
        let mut hedge_at = Instant::now() + hedge_after;
        let half_time_at = Instant::now() + remaining(deadline) / 2;
        let mut half_time = false;
        while !machine.is_done() {
            tokio::select! {
                // Answers first: one that is there needs neither hedge nor deadline.
                biased;
                Some((attempt, call, answer)) = calls.next() => {
                    let answer = in_time(answer, deadline);
                    let more = self.take_answer(&mut machine, &mut result, &attempt, call, answer);
                    if !more.is_empty() {
                        hedge_at = Instant::now() + hedge_after;
                    }
                    calls.extend(more.into_iter().map(begin));
                }
                () = tokio::time::sleep_until(deadline) => {
                    result.failure.get_or_insert_with(|| Status::deadline_exceeded(TIME_IS_UP));
                    machine.deadline();
                }
                () = tokio::time::sleep_until(half_time_at), if !half_time => {
                    half_time = true;
                    calls.extend(machine.half_time().into_iter().map(begin));
                }
                () = tokio::time::sleep_until(hedge_at), if self.hedge_percent > 0 && machine.can_hedge() => {
                    hedge_at = Instant::now() + hedge_after;
                    if self.pay() {
                        calls.extend(machine.hedge().into_iter().map(begin));
                    }
                }
            }
        }
        result.failed = machine.failed();
        metrics::counter!("shoal_router_fanout_shard_failures_total").increment(result.failed as u64);
        result
    }

    fn take_answer<T>(
        &self,
        machine: &mut Machine,
        result: &mut Answers<T>,
        attempt: &Attempt,
        call: Call,
        answer: Result<Vec<(u32, ShardAnswer<T>)>, Status>,
    ) -> Vec<Attempt> {
        let answers = match answer {
            Ok(answers) => {
                self.note_latency(call.answered());
                answers
            }
            Err(status) => {
                let unreachable = is_lost_on_the_way(&status);
                match status.code() {
                    _ if unreachable => call.unreachable(),
                    // It is there but slow, which the end of the call notes.
                    Code::DeadlineExceeded => drop(call),
                    _ => call.refused(),
                }
                let missing = is_version_missing(&status);
                result.stale |= missing;
                let outcome = match is_retryable(&status) {
                    true if unreachable || missing => Outcome::Absent,
                    true => Outcome::Retryable,
                    false => Outcome::Final,
                };
                result.failure = Some(status);
                let outcomes: Vec<_> = attempt.shards.iter().map(|&shard| (shard, outcome)).collect();
                return machine.reply(attempt.id, &outcomes).1;
            }
        };
        let mut outcomes = Vec::with_capacity(answers.len());
        let mut values = HashMap::with_capacity(answers.len());
        for (shard, answer) in answers {
            match answer {
                ShardAnswer::Answered(value) => {
                    outcomes.push((shard, Outcome::Answered));
                    values.insert(shard, value);
                }
                ShardAnswer::Absent(reason) => {
                    result.failure = Some(Status::unavailable(reason));
                    result.stale = true;
                    outcomes.push((shard, Outcome::Absent));
                }
                ShardAnswer::Final(reason) => {
                    result.failure = Some(Status::internal(reason));
                    outcomes.push((shard, Outcome::Final));
                }
            }
        }
        let (accepted, more) = machine.reply(attempt.id, &outcomes);
        result.answers.extend(
            accepted.into_iter().filter_map(|shard| values.remove(&shard).map(|value| (shard, value))),
        );
        more
    }

    fn hedge_after(&self) -> Duration {
        Duration::from_micros(self.p95_us.load(Ordering::Relaxed)).max(self.hedge_after_min)
    }

    /// Moves the estimate up by 19 parts when a sample is above it and down by one when below: it settles where
    /// one sample in twenty is above (a frugal streaming quantile, Ma et al. 2013).
    fn note_latency(&self, latency: Duration) {
        let known = self.p95_us.load(Ordering::Relaxed);
        let sample = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let step = known / 200 + 1;
        let next = if sample > known { known + 19 * step } else { known.saturating_sub(step) };
        self.p95_us.store(next, Ordering::Relaxed);
    }

    fn earn(&self, calls: usize) {
        let earned = i64::from(self.hedge_percent) * calls as i64;
        let account = self.hedge_account.fetch_add(earned, Ordering::Relaxed) + earned;
        if account > HEDGE_ACCOUNT_MAX {
            self.hedge_account.store(HEDGE_ACCOUNT_MAX, Ordering::Relaxed);
        }
    }

    fn pay(&self) -> bool {
        let paid = self.hedge_account.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |account| {
            (account >= HEDGE_COST).then_some(account - HEDGE_COST)
        });
        paid.is_ok()
    }
}

/// An answer that is there counts, a failure at the end of the time is the end of the time: the client
/// side of a call ends it as cancelled then, which must not look like a worker that is gone.
fn in_time<T>(answer: Result<T, Status>, deadline: Instant) -> Result<T, Status> {
    answer.map_err(|status| {
        if remaining(deadline) > DEADLINE_MARGIN { status } else { Status::deadline_exceeded(TIME_IS_UP) }
    })
}

/// Whether another replica may answer where this one did not.
fn is_retryable(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented | Code::DeadlineExceeded
    )
}

/// The workers of one fan-out: each once, however many shards it has.
#[derive(Default)]
struct Workers {
    list: Vec<Arc<Replica>>,
    known: HashMap<String, usize>,
}

impl Workers {
    /// Positions of a shard's candidates: the chosen one first, those that are being left alone last. The same draw for
    /// every shard of a query sends shards with the same replicas to the same worker, which keeps the calls few.
    fn in_order(&mut self, candidates: &[Arc<Replica>], draw: u64) -> Vec<usize> {
        let chosen = choose(candidates, draw);
        let mut others: Vec<usize> = (0..candidates.len()).filter(|&at| Some(at) != chosen).collect();
        // A shard has one retry, which is not for somebody who was out of reach a moment ago.
        others.sort_by_key(|&at| !candidates[at].is_usable());
        chosen.into_iter().chain(others).map(|at| self.position(&candidates[at])).collect()
    }

    fn position(&mut self, replica: &Arc<Replica>) -> usize {
        *self.known.entry(replica.name.clone()).or_insert_with(|| {
            self.list.push(Arc::clone(replica));
            self.list.len() - 1
        })
    }
}
