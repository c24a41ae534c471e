//! How far a job is: its phase for people, its fraction for bars, its seconds per phase for reports.

use std::collections::{BTreeMap, HashMap};

use shoal_proto::v1::JobInfo;
use tokio::time::Instant;

use crate::leader::{JobProgress, Progress};

/// Collects a job's progress and reports it.
pub(super) struct Tracker {
    sink: Progress,
    job_id: String,
    known: JobProgress,
    /// The phase's name in `phase_seconds`, and since when.
    phase: (String, Instant),
    /// Where in the job the phase begins and ends.
    span: (f64, f64),
    /// What has come of the attempts so far and outlives them.
    milestones: u32,
}

impl Tracker {
    pub(super) fn new(sink: Progress, info: &JobInfo) -> Self {
        let known = JobProgress {
            phase_seconds: info.phase_seconds.clone().into_iter().collect(),
            ..JobProgress::default()
        };
        Self {
            sink,
            job_id: info.job_id.clone(),
            known,
            phase: (String::new(), Instant::now()),
            span: (0.0, 0.0),
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

    /// A phase begins whose share of the job is not known.
    pub(super) fn phase(&mut self, name: &str) {
        self.begin(name, name, (self.known.fraction, self.known.fraction));
    }

    /// A phase begins: `name` for the seconds, `text` for people, `span` of the job.
    pub(super) fn begin(&mut self, name: &str, text: &str, span: (f64, f64)) {
        self.add_seconds();
        self.phase = (name.to_owned(), Instant::now());
        self.span = span;
        text.clone_into(&mut self.known.phase);
        self.known.fraction = span.0;
        self.report();
    }

    /// How much of the phase is done, 0 to 1.
    pub(super) fn done(&mut self, share: f64) {
        self.known.fraction = self.span.0 + (self.span.1 - self.span.0) * share.clamp(0.0, 1.0);
        self.report();
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

    fn add_seconds(&mut self) {
        let (name, since) = &mut self.phase;
        let now = Instant::now();
        if !name.is_empty() {
            *self.known.phase_seconds.entry(name.clone()).or_default() += (now - *since).as_secs_f64();
        }
        *since = now;
    }

    fn report(&self) {
        self.sink.report(&self.job_id, self.known.clone());
    }
}
