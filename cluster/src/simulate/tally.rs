//! What became of the requests, added up. Pure.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::{client::Outcome, plan::Question};

/// Latencies are counted in microseconds up to this many: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Significant digits of a percentile.
const DIGITS: u8 = 3;
/// Spans of time that are plotted; stragglers may add as many again.
const SPANS: usize = 100;

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it was due, counted from the start.
    pub due: Duration,
    /// When it was sent: no earlier, and later where too many others were under way.
    pub sent: Duration,
    /// From when it was due to the answer.
    pub latency: Duration,
    /// The request, before it was sent.
    pub question: Question,
    /// How it ended.
    pub outcome: Outcome,
}

/// Latencies of some requests.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
    sum: f64,
    squares: f64,
}

impl Latencies {
    fn new() -> Self {
        // Fails for a digit count or bounds that make no sense, which these are not.
        #[expect(clippy::expect_used, reason = "the bounds are constants within the library's")]
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS).expect("valid bounds");
        Self { histogram, sum: 0.0, squares: 0.0 }
    }

    fn add(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.histogram.saturating_record(us.max(1));
        self.sum += latency.as_secs_f64();
        self.squares += latency.as_secs_f64().powi(2);
    }

    /// How many latencies were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency in seconds that a share of the requests (0 to 1) do not exceed; 0 without any.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        self.histogram.value_at_quantile(share) as f64 / 1e6
    }

    /// The least in seconds.
    #[must_use]
    pub fn min(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.histogram.min() as f64 / 1e6 }
    }

    /// The most in seconds.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.histogram.max() as f64 / 1e6
    }

    /// The mean in seconds; 0 without any.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.count().max(1) as f64
    }

    /// The standard deviation in seconds; 0 without any.
    #[must_use]
    pub fn stdev(&self) -> f64 {
        // Rounding may take it below zero where all are alike.
        (self.squares / self.count().max(1) as f64 - self.mean().powi(2)).max(0.0).sqrt()
    }
}

/// A span of time in the plots.
#[derive(Debug, Clone)]
pub struct Span {
    /// Requests that were due in it.
    pub due: u64,
    /// Those that were answered well in it.
    pub succeeded: u64,
    /// Those that failed in it.
    pub failed: u64,
    /// Latencies of those due in it.
    pub latencies: Latencies,
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Tally {
    /// Latencies of all requests, failed ones too.
    pub latencies: Latencies,
    /// Requests that were answered with success.
    pub succeeded: u64,
    /// How many failed, by why.
    pub errors: BTreeMap<String, u64>,
    /// Requests by HTTP status; those without an answer are none.
    pub statuses: BTreeMap<String, u64>,
    /// Lists by where they came from.
    pub sources: BTreeMap<String, u64>,
    /// Answers by the version that gave them.
    pub versions: BTreeMap<String, u64>,
    /// Answers that lacked shards.
    pub incomplete: u64,
    /// Spans of equal length from the start.
    pub spans: Vec<Span>,
    /// Seconds of a span.
    pub span_seconds: f64,
    /// When the last request was sent.
    pub last_sent: Duration,
    /// When the last answer came.
    pub last_answer: Duration,
}

impl Tally {
    /// Nothing yet, of a simulation that lasts so long.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Self {
            latencies: Latencies::new(),
            succeeded: 0,
            errors: BTreeMap::new(),
            statuses: BTreeMap::new(),
            sources: BTreeMap::new(),
            versions: BTreeMap::new(),
            incomplete: 0,
            spans: Vec::new(),
            span_seconds: duration.as_secs_f64() / SPANS as f64,
            last_sent: Duration::ZERO,
            last_answer: Duration::ZERO,
        }
    }

    /// Counts one request with its outcome.
    pub fn add(&mut self, record: &Record) {
        let answered = record.due + record.latency;
        self.latencies.add(record.latency);
        self.last_sent = self.last_sent.max(record.sent);
        self.last_answer = self.last_answer.max(answered);
        let status = record.outcome.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        *self.statuses.entry(status).or_default() += 1;
        let due_in = self.span(record.due);
        due_in.due += 1;
        due_in.latencies.add(record.latency);
        match &record.outcome.result {
            Ok(facts) => {
                self.span(answered).succeeded += 1;
                self.succeeded += 1;
                self.incomplete += u64::from(facts.incomplete);
                *self.versions.entry(facts.version.clone()).or_default() += 1;
                if !facts.source.is_empty() {
                    *self.sources.entry(facts.source.clone()).or_default() += 1;
                }
            }
            Err(failure) => {
                self.span(answered).failed += 1;
                *self.errors.entry(failure.to_string()).or_default() += 1;
            }
        }
    }

    fn span(&mut self, at: Duration) -> &mut Span {
        let number = ((at.as_secs_f64() / self.span_seconds) as usize).min(2 * SPANS - 1);
        while self.spans.len() <= number {
            self.spans.push(Span { due: 0, succeeded: 0, failed: 0, latencies: Latencies::new() });
        }
        &mut self.spans[number]
    }

    /// Requests that are over.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.latencies.count()
    }

    /// How many requests failed, for whatever reason.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.total() - self.succeeded
    }
}

#[cfg(test)]
mod tests {
    use shoal_common::ids::EntityId;

    use super::*;
    use crate::simulate::{
        checks::{Facts, Fault},
        client::Failure,
    };

    fn record(due_ms: u64, latency_ms: u64, result: Result<Facts, Failure>) -> Record {
        let status = match result {
            Err(Failure::Timeout | Failure::Connection) => None,
            Err(Failure::Status(status)) => Some(status),
            _ => Some(200),
        };
        Record {
            due: Duration::from_millis(due_ms),
            sent: Duration::from_millis(due_ms),
            latency: Duration::from_millis(latency_ms),
            question: Question::Similar { item: EntityId::Integer(1) },
            outcome: Outcome { status, result },
        }
    }

    #[test]
    fn everything_is_counted_where_it_belongs() {
        let facts = Facts { version: "v1".into(), source: "cache".into(), incomplete: true };
        let mut tally = Tally::new(Duration::from_secs(10));
        for due in 0..100 {
            tally.add(&record(due * 100, 1 + due, Ok(facts.clone())));
        }
        tally.add(&record(9_950, 5_000, Err(Failure::Timeout)));
        tally.add(&record(50, 1, Err(Failure::Status(503))));
        tally.add(&record(50, 1, Err(Failure::Answer(Fault::Seen))));
        assert_eq!((tally.total(), tally.succeeded, tally.failed(), tally.incomplete), (103, 100, 3, 100));
        let counts =
            |map: &BTreeMap<String, u64>| map.iter().map(|(k, n)| format!("{k}: {n}")).collect::<Vec<_>>();
        assert_eq!(counts(&tally.errors), ["answer: a seen item: 1", "status 503: 1", "timeout: 1"]);
        assert_eq!(counts(&tally.statuses), ["200: 101", "503: 1", "none: 1"]);
        assert_eq!(counts(&tally.sources), ["cache: 100"]);
        assert_eq!(tally.spans.iter().map(|span| span.due).sum::<u64>(), 103);
        // The timeout was due in the last span and over in one of the stragglers'.
        assert_eq!((tally.spans[99].due, tally.spans[149].failed), (2, 1));
        assert_eq!(tally.last_answer, Duration::from_millis(14_950));
    }

    #[test]
    fn latencies_are_those_of_the_plain_formulas() {
        let mut latencies = Latencies::new();
        assert_eq!(
            (latencies.mean(), latencies.stdev(), latencies.quantile(0.5), latencies.min()),
            (0.0, 0.0, 0.0, 0.0)
        );
        (1..=1_000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        let near =
            |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 2e-3, "{found} {expected}");
        near(latencies.quantile(0.5), 0.5);
        near(latencies.quantile(0.99), 0.99);
        near(latencies.mean(), 0.500_5);
        near(latencies.stdev(), (999_999.0_f64 / 12.0).sqrt() / 1e3);
        near(latencies.min(), 0.001);
        near(latencies.max(), 1.0);
    }
}
