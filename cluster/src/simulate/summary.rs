//! The figures of a simulation under the names that its users' scripts read, and their objectives. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use shoal_common::clock::UtcTime;

use super::tally::Tally;

/// What was to be done.
#[derive(Debug, Clone, Serialize)]
pub struct Configuration {
    /// Requests per second.
    pub rate: f64,
    /// How long requests were to be sent, in seconds.
    pub duration: f64,
    /// Address of the service that was asked.
    pub api_base_url: String,
}

/// When it was done.
#[derive(Debug, Clone, Serialize)]
pub struct Execution {
    /// ISO 8601, UTC.
    pub start_time: String,
    /// When the last answer had come.
    pub end_time: String,
    /// Seconds between them, stragglers included.
    pub actual_duration: f64,
}

/// What became of the requests.
#[derive(Debug, Clone, Serialize)]
pub struct Requests {
    /// Those that were sent and are over.
    pub total: u64,
    /// With a good answer that passed every check.
    pub successful: u64,
    /// Requests without an answer, or with one that failed a check.
    pub failed: u64,
    /// Successful requests in percent of all.
    pub success_rate: f64,
    /// Requests sent per second: below the rate where too many were under way to send the next in time.
    pub actual_rate: f64,
}

/// Seconds from when a request was due to its answer, of all requests.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub median: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub stdev: f64,
}

/// What the summary file holds.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// What was to be done.
    pub configuration: Configuration,
    /// When it was done.
    pub execution: Execution,
    /// What became of the requests.
    pub requests: Requests,
    /// How long they took.
    pub latency: Latency,
    /// How many failed, by why.
    pub errors: BTreeMap<String, u64>,
}

/// What the service is to reach.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Objective {
    /// What, and the bound.
    pub name: &'static str,
    /// The figure that was measured.
    pub value: f64,
    /// Unit of the figure.
    pub unit: &'static str,
    /// Whether it is within the bound.
    pub met: bool,
}

/// Percent of the requests that must succeed.
const SUCCESS_RATE_MIN: f64 = 99.0;
/// Seconds within which 95 % of the answers must come.
const P95_MAX: f64 = 0.5;
/// Seconds within which 99 % of the answers must come.
const P99_MAX: f64 = 1.0;
/// Percent by which the rate may be off.
const RATE_ERROR_MAX: f64 = 5.0;

impl Summary {
    /// The figures of a simulation that began at this Unix time. `whole` says that it was not interrupted.
    #[must_use]
    pub fn new(configuration: Configuration, start_unix_ms: i64, whole: bool, tally: &Tally) -> Self {
        let latencies = &tally.latencies;
        let planned = if whole { configuration.duration } else { 0.0 };
        let span = tally.last_sent.as_secs_f64().max(planned);
        let total = tally.total();
        let seconds = tally.last_answer.as_secs_f64().max(span);
        let time = |after: f64| UtcTime::from_unix_ms(start_unix_ms + (after * 1e3) as i64).iso_8601();
        let p50 = latencies.quantile(0.5);
        Self {
            execution: Execution { start_time: time(0.0), end_time: time(seconds), actual_duration: seconds },
            requests: Requests {
                total,
                successful: tally.succeeded,
                failed: tally.failed(),
                success_rate: 100.0 * tally.succeeded as f64 / total.max(1) as f64,
                actual_rate: if span > 0.0 { total as f64 / span } else { 0.0 },
            },
            latency: Latency {
                min: latencies.min(),
                max: latencies.max(),
                mean: latencies.mean(),
                median: p50,
                p50,
                p95: latencies.quantile(0.95),
                p99: latencies.quantile(0.99),
                stdev: latencies.stdev(),
            },
            errors: tally.errors.clone(),
            configuration,
        }
    }

    /// The objectives, and which are met.
    #[must_use]
    pub fn objectives(&self) -> [Objective; 4] {
        let requests = &self.requests;
        let rate_error = 100.0 * (requests.actual_rate / self.configuration.rate - 1.0).abs();
        let any = requests.total > 0;
        let objective = |name, value, unit, met: bool| Objective { name, value, unit, met: met && any };
        let (p95, p99) = (self.latency.p95, self.latency.p99);
        [
            objective("success > 99 %", requests.success_rate, "%", requests.success_rate > SUCCESS_RATE_MIN),
            objective("p95 < 500 ms", p95 * 1e3, "ms", p95 < P95_MAX),
            objective("p99 < 1 s", p99 * 1e3, "ms", p99 < P99_MAX),
            objective("rate within 5 %", rate_error, "% off", rate_error <= RATE_ERROR_MAX),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use shoal_common::ids::EntityId;

    use super::*;
    use crate::simulate::{
        checks::Facts,
        client::{Failure, Outcome},
        plan::Question,
        tally::Record,
    };

    /// Ten requests a second for ten seconds, each of which takes `latency_ms` and is sent `late_ms` too late.
    fn summary(latency_ms: u64, late_ms: u64, failures: usize) -> Summary {
        let mut tally = Tally::new(Duration::from_secs(10));
        for at in 0..100 {
            let due = Duration::from_millis(100 * at as u64);
            let result = if at < failures {
                Err(Failure::Status(503))
            } else {
                Ok(Facts { version: "v1".into(), ..Facts::default() })
            };
            tally.add(&Record {
                due,
                sent: due + Duration::from_millis(late_ms),
                latency: Duration::from_millis(latency_ms),
                question: Question::Similar { item: EntityId::Integer(1) },
                outcome: Outcome { status: Some(200), result },
            });
        }
        let configuration = Configuration { rate: 10.0, duration: 10.0, api_base_url: "http://x".into() };
        Summary::new(configuration, 1_795_515_300_000, true, &tally)
    }

    fn met(summary: &Summary) -> [bool; 4] {
        summary.objectives().map(|objective| objective.met)
    }

    #[test]
    fn the_file_has_the_names_that_scripts_read() {
        let file = serde_json::to_value(summary(250, 0, 1)).unwrap();
        let names = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(names(&file), ["configuration", "errors", "execution", "latency", "requests"]);
        assert_eq!(names(&file["configuration"]), ["api_base_url", "duration", "rate"]);
        assert_eq!(names(&file["execution"]), ["actual_duration", "end_time", "start_time"]);
        assert_eq!(
            names(&file["requests"]),
            ["actual_rate", "failed", "success_rate", "successful", "total"]
        );
        assert_eq!(names(&file["latency"]), ["max", "mean", "median", "min", "p50", "p95", "p99", "stdev"]);
        assert_eq!(file["errors"], json!({"status 503": 1}));
        assert_eq!(file["execution"]["start_time"], "2026-11-24T10:15:00.000Z");
        assert_eq!(file["execution"]["end_time"], "2026-11-24T10:15:10.150Z");
        assert_eq!(file["requests"]["success_rate"], 99.0);
        assert_eq!(file["requests"]["actual_rate"], 10.0);
    }

    #[test]
    fn each_objective_is_judged() {
        assert_eq!(met(&summary(250, 0, 0)), [true; 4]);
        assert_eq!(met(&summary(250, 0, 1)), [false, true, true, true]);
        assert_eq!(met(&summary(600, 0, 0)), [true, false, true, true]);
        assert_eq!(met(&summary(1_100, 0, 0)), [true, false, false, true]);
        assert_eq!(met(&summary(250, 1_000, 0)), [true, true, true, false]);
        let nothing =
            Summary::new(summary(1, 0, 0).configuration, 0, false, &Tally::new(Duration::from_secs(1)));
        assert_eq!(met(&nothing), [false; 4]);
    }
}
