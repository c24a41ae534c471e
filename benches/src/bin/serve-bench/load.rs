//! Loads: `shoal simulate` as a process, and the search for the highest rate that is borne.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A rate is borne while p99 stays below this, in seconds.
const P99_MAX: f64 = 0.050;
/// ... and nearly all answers are right, and the rate is kept.
const SUCCESS_MIN: f64 = 99.9;
const RATE_MIN: f64 = 0.95;
/// Between the rates that are tried until one is not borne.
const STEP: f64 = 1.5;
/// Halvings of the span between the last rate that was borne and the first that was not.
const HALVINGS: usize = 3;
/// No rate above this is tried.
const RATE_MAX: f64 = 50_000.0;

/// What is asked in a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The best items for users.
    Recommend,
    /// Items like items that are in users' lists.
    Similar,
}

impl Route {
    /// As in the path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Recommend => "recommend",
            Self::Similar => "similar",
        }
    }
}

/// Starts programs that ask a service at a constant rate.
#[derive(Debug)]
pub(crate) struct Load {
    shoal: PathBuf,
    users: PathBuf,
    logs: PathBuf,
    seconds: u32,
}

/// The questions of one measurement and their rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// The route that every request asks.
    pub(crate) route: Route,
    pub(crate) rate: f64,
    pub(crate) seconds: u32,
    /// Requests under way at a time.
    pub(crate) concurrency: u32,
}

impl Load {
    /// The generated data's users are the numbers from 1 on.
    pub(crate) fn new(shoal: &Path, work: &Path, users: u64, seconds: u32) -> anyhow::Result<Self> {
        let (list, logs) = (work.join("users.txt"), work.join("loads"));
        let mut text = String::new();
        for user in 1..=users {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{user}");
        }
        std::fs::write(&list, text).with_context(|| format!("cannot write '{}'", list.display()))?;
        if logs.exists() {
            std::fs::remove_dir_all(&logs)?;
        }
        Ok(Self { shoal: shoal.to_owned(), users: list, logs, seconds: seconds.max(1) })
    }

    /// The shape of a load of recommendations at this rate.
    pub(crate) fn shape(&self, rate: f64) -> Shape {
        Shape { route: Route::Recommend, rate, seconds: self.seconds, concurrency: 256 }
    }

    /// Asks a service and returns what the simulator prints.
    pub(crate) fn run(&self, url: &str, shape: Shape, parameters: &[&str]) -> anyhow::Result<Value> {
        let mut command = Command::new(&self.shoal);
        command
            .args(["simulate", "--json", "--api", "v1", "--url", url, "--unknown", "0"])
            .args(["--mix", &format!("{}=1", shape.route.name())])
            .args(["--popularity", "uniform", "--timeout", "120"])
            .args(["--rate", &shape.rate.to_string(), "--duration", &shape.seconds.to_string()])
            .args(["--concurrency", &shape.concurrency.to_string()])
            .args(parameters.iter().flat_map(|parameter| ["--param", parameter]))
            .arg("--users")
            .arg(&self.users)
            // A folder each: loads of the same second would name the same files.
            .arg("--logs")
            .arg(self.logs.join(format!(
                "{}-{}-{:.0}",
                url.rsplit(':').next().unwrap_or_default(),
                shape.route.name(),
                shape.rate
            )))
            .stdin(Stdio::null());
        let output = command.output().with_context(|| format!("cannot run '{}'", self.shoal.display()))?;
        // It exits with 1 when an objective is missed, which is a figure like any other here.
        if !matches!(output.status.code(), Some(0 | 1)) || output.stdout.is_empty() {
            bail!("`shoal simulate` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("`shoal simulate` printed no JSON")
    }

    /// The most requests per second that are borne, and every load that was tried.
    pub(crate) fn most(
        &self,
        url: &str,
        route: Route,
        first: f64,
        parameters: &[&str],
    ) -> anyhow::Result<(f64, Vec<Value>)> {
        let mut tried = Vec::new();
        let mut bears = |rate: f64| -> anyhow::Result<bool> {
            let shape = Shape { route, ..self.shape(rate.round()) };
            let found = self.run(url, shape, parameters)?;
            let borne = is_borne(&found);
            println!("    {rate:.0}/s: p99 {:.1} ms, {borne}", number(&found, "/latency/p99") * 1e3);
            tried.push(serde_json::json!({
                "rate": rate.round(), "borne": borne, "p50": number(&found, "/latency/p50"),
                "p99": number(&found, "/latency/p99"), "errors": found["errors"],
            }));
            Ok(borne)
        };
        let (mut borne, mut not_borne) = (0.0, first);
        while not_borne <= RATE_MAX && bears(not_borne)? {
            (borne, not_borne) = (not_borne, not_borne * STEP);
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(borne, not_borne);
            if bears(middle)? { borne = middle } else { not_borne = middle }
        }
        Ok((borne.round(), tried))
    }
}

/// A figure of what the simulator printed.
pub(crate) fn number(found: &Value, path: &str) -> f64 {
    found.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// Whether p99 stays below 50 ms, nearly all answers are right and the rate is kept.
pub(crate) fn is_borne(found: &Value) -> bool {
    number(found, "/latency/p99") < P99_MAX
        && number(found, "/requests/success_rate") >= SUCCESS_MIN
        && number(found, "/requests/actual_rate") >= RATE_MIN * number(found, "/configuration/rate")
}
