//! How far a job is: its phase for people, its fraction for bars, its seconds per phase for reports, and how long the rest
//! will take.
//!
//! A job is cut into phases, each a span of the whole, and a phase into steps ([`Tracker::steps`]). The fraction never
//! becomes less: what an attempt does again shows when it is beyond what was done before.

use std::collections::{BTreeMap, HashMap};

use shoal_proto::v1::JobInfo;
use tokio::time::{Duration, Instant};

use crate::leader::{JobProgress, Progress};

/// The rate is told after so long, and after so much of the job.
const RATE_SECONDS_MIN: Duration = Duration::from_secs(1);
const RATE_FRACTION_MIN: f64 = 0.02;

/// Of what is left of a phase's span, what a step takes of which nothing was said.
const UNTOLD_SHARE: f64 = 0.5;

/// A phase of a job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    /// Its key in `phase_seconds`, which people and programs read.
    pub(super) name: &'static str,
    /// What people are told.
    pub(super) text: &'static str,
    /// Where it begins and ends in the job's bar, from 0 to 1. Shares are judged by how long phases took of data sets with
    /// some million ratings; nothing but the bar and the time that is left depend on them.
    pub(super) span: (f64, f64),
}

/// Collects a job's progress and reports it.
pub(super) struct Tracker {
    sink: Progress,
    job_id: String,
    known: JobProgress,
    /// The phase's name in `phase_seconds`, and since when.
    phase: (String, Instant),
    /// Where in the job the phase ends.
    end: f64,
    /// Where in the job the step begins and ends; a phase without steps is one.
    step: (f64, f64),
    /// What the phase's next steps weigh.
    weights: Vec<f64>,
    /// From when, and from which fraction on, the rate is measured.
    rate_from: (Instant, f64),
    /// What has come of the attempts so far and outlives them.
    milestones: u32,
}

impl Tracker {
    pub(super) fn new(sink: Progress, info: &JobInfo) -> Self {
        let known = JobProgress {
            phase_seconds: info.phase_seconds.clone().into_iter().collect(),
            ..JobProgress::default()
        };
        let now = Instant::now();
        Self {
            sink,
            job_id: info.job_id.clone(),
            known,
            phase: (String::new(), now),
            end: 0.0,
            step: (0.0, 0.0),
            weights: Vec::new(),
            rate_from: (now, 0.0),
            milestones: 0,
        }
    }

    /// Something is done that a later attempt need not do again.
    pub(super) fn milestone(&mut self) {
        self.milestones += 1;
    }

    /// How often something was.
    pub(super) fn milestones(&self) -> u32 {
        self.milestones
    }

    /// Something begins that has no share of the bar. `text` is its name in `phase_seconds` too.
    pub(super) fn wait(&mut self, text: &str) {
        self.enter(text, text, (self.known.fraction, self.known.fraction));
    }

    /// Notes that a phase begins: people see its name, and its seconds are counted from now.
    pub(super) fn begin(&mut self, phase: &Phase) {
        self.enter(phase.name, phase.text, phase.span);
    }

    /// One of several parts of a phase begins, with a text and a span of its own.
    pub(super) fn begin_part(&mut self, phase: &Phase, text: &str, span: (f64, f64)) {
        self.enter(phase.name, text, span);
    }

    fn enter(&mut self, name: &str, text: &str, span: (f64, f64)) {
        self.add_seconds();
        self.phase = (name.to_owned(), Instant::now());
        (self.step, self.end) = (span, span.1);
        self.weights.clear();
        text.clone_into(&mut self.known.phase);
        self.reach(span.0);
    }

    /// What the phase's next steps weigh beside each other; together they are what is left of it.
    pub(super) fn steps(&mut self, weights: impl IntoIterator<Item = f64>) {
        self.step = (self.step.0, self.step.0);
        self.weights = weights.into_iter().collect();
        self.weights.reverse();
    }

    /// The phase's next step begins.
    pub(super) fn step(&mut self) {
        let left: f64 = self.weights.iter().sum();
        let share = match self.weights.pop() {
            Some(weight) if left > 0.0 => weight / left,
            _ => UNTOLD_SHARE,
        };
        // Before the first step the span is the phase's own.
        let begin = if self.step.1 < self.end { self.step.1 } else { self.step.0 };
        self.step = (begin, begin + (self.end - begin) * share);
        self.reach(begin);
    }

    /// How much of the step is done, 0 to 1; of the phase where it has no steps.
    pub(super) fn done(&mut self, share: f64) {
        self.reach(self.step.0 + (self.step.1 - self.step.0) * share.clamp(0.0, 1.0));
    }

    /// The seconds that each phase has taken so far, over all attempts.
    pub(super) fn phase_seconds(&mut self) -> HashMap<String, f64> {
        self.add_seconds();
        self.known.phase_seconds.clone().into_iter().collect()
    }

    /// The seconds that all phases have taken so far.
    pub(super) fn seconds(&mut self) -> f64 {
        self.add_seconds();
        self.known.phase_seconds.values().sum()
    }

    /// The seconds per phase, when the job is over.
    pub(super) fn finish(mut self) -> BTreeMap<String, f64> {
        self.add_seconds();
        self.known.phase_seconds
    }

    fn reach(&mut self, fraction: f64) {
        if fraction < self.known.fraction {
            // It is done again: how long that takes says nothing of the rest.
            self.rate_from = (Instant::now(), self.known.fraction);
        }
        self.known.fraction = self.known.fraction.max(fraction);
        self.known.remaining_seconds = self.remaining();
        self.sink.report(&self.job_id, self.known.clone());
    }

    /// How long the rest takes at the rate so far.
    fn remaining(&self) -> Option<f64> {
        let (since, from) = self.rate_from;
        let (spent, gained) = (since.elapsed(), self.known.fraction - from);
        let is_known = spent >= RATE_SECONDS_MIN && gained >= RATE_FRACTION_MIN;
        is_known.then(|| spent.as_secs_f64() * (1.0 - self.known.fraction) / gained)
    }

    fn add_seconds(&mut self) {
        let (name, since) = &mut self.phase;
        let now = Instant::now();
        if !name.is_empty() {
            *self.known.phase_seconds.entry(name.clone()).or_default() += (now - *since).as_secs_f64();
        }
        *since = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_proto::v1::JobState;

    use super::*;

    fn tracked() -> (Tracker, impl Fn() -> JobInfo) {
        let info = JobInfo { job_id: "j".to_owned(), state: JobState::Running.into(), ..JobInfo::default() };
        let sink = Progress::default();
        let tracker = Tracker::new(sink.clone(), &info);
        (tracker, move || sink.fill(info.clone()))
    }

    fn phase(name: &'static str, span: (f64, f64)) -> Phase {
        Phase { name, text: name, span }
    }

    #[derive(Debug, Clone)]
    enum Move {
        Begin(f64, f64),
        Steps(Vec<f64>),
        Step,
        Done(f64),
        Phase,
    }

    fn moves() -> impl Strategy<Value = Move> {
        prop_oneof![
            (0.0..1.0, 0.0..1.0).prop_map(|(a, b): (f64, f64)| Move::Begin(a.min(b), a.max(b))),
            prop::collection::vec(0.0..5.0, 0..4).prop_map(Move::Steps),
            Just(Move::Step),
            (-0.5..1.5).prop_map(Move::Done),
            Just(Move::Phase),
        ]
    }

    proptest! {
        #[test]
        fn the_fraction_never_becomes_less_nor_more_than_its_phase(moves in prop::collection::vec(moves(), 0..60)) {
            let (mut tracker, info) = tracked();
            let (mut before, mut most) = (0.0, 0.0_f64);
            for step in moves {
                match step {
                    Move::Begin(begin, end) => {
                        tracker.begin(&phase("x", (begin, end)));
                        most = most.max(end);
                    }
                    Move::Steps(weights) => tracker.steps(weights),
                    Move::Step => tracker.step(),
                    Move::Done(share) => tracker.done(share),
                    Move::Phase => tracker.wait("y"),
                }
                let progress = info().progress;
                prop_assert!(progress >= before && progress <= most + 1e-12, "{before} {progress} {most}");
                before = progress;
            }
        }
    }

    #[test]
    fn steps_move_the_bar_one_after_the_other_up_to_the_end_of_their_phase() {
        let (mut tracker, info) = tracked();
        tracker.begin(&phase("measuring", (0.5, 0.9)));
        tracker.steps([1.0, 1.0, 2.0]);
        let mut seen = Vec::new();
        for _ in 0..3 {
            tracker.step();
            for share in [0.5, 1.0] {
                tracker.done(share);
                seen.push((info().progress * 100.0).round());
            }
        }
        assert_eq!(seen, [55.0, 60.0, 65.0, 70.0, 80.0, 90.0]);
        // Steps of which nothing was said still move it.
        tracker.begin(&phase("others", (0.9, 1.0)));
        tracker.step();
        tracker.done(1.0);
        assert_eq!((info().progress * 100.0).round(), 95.0);
        tracker.step();
        tracker.done(1.0);
        assert_eq!((info().progress * 1_000.0).round(), 975.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_is_told_from_the_rate_so_far_and_not_while_work_is_done_again() {
        let (mut tracker, info) = tracked();
        tracker.begin(&phase("sweeps", (0.0, 1.0)));
        tracker.done(0.01);
        assert_eq!(info().remaining_seconds, None);
        tokio::time::advance(Duration::from_secs(10)).await;
        tracker.done(0.25);
        let remaining = info().remaining_seconds.unwrap();
        assert!((remaining - 30.0).abs() < 1e-6, "{remaining}");
        // Another attempt begins from the start.
        tracker.begin(&phase("loading", (0.0, 0.2)));
        tokio::time::advance(Duration::from_secs(100)).await;
        tracker.done(0.5);
        assert_eq!((info().progress, info().remaining_seconds), (0.25, None));
        tracker.begin(&phase("sweeps", (0.2, 1.0)));
        tokio::time::advance(Duration::from_secs(10)).await;
        tracker.done(0.375);
        let remaining = info().remaining_seconds.unwrap();
        assert!((info().progress - 0.5).abs() < 1e-9 && (remaining - 20.0).abs() < 1e-6, "{remaining}");
    }
}
