//! Logs and metrics. Installed once per process by whoever owns `main`; roles only emit.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    EnvFilter, fmt::time::SystemTime, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// A line of text for people to read.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be parsed.
    #[error("the log filter '{filter}' is not valid: {source}; try 'info' or 'info,shoal_worker=debug'")]
    Filter {
        /// The filter as it was configured.
        filter: String,
        /// What the parser said.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber is already installed.
    #[error("logging was already set up")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
    /// The metrics recorder could not be installed.
    #[error("cannot set up metrics")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
}

/// Sends log lines to standard error.
///
/// # Errors
/// When the filter is not valid or logging was set up before.
pub fn install_logs(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_timer(SystemTime);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    }
    .map_err(TelemetryError::AlreadySet)
}

/// Latency buckets in seconds: 100 µs to 10 s.
const SECONDS_BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Installs the process's metrics recorder; the handle renders Prometheus text.
///
/// # Errors
/// When a recorder is already installed.
pub fn install_metrics() -> Result<PrometheusHandle, TelemetryError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
        .map_err(TelemetryError::Metrics)?
        .upkeep_timeout(Duration::from_secs(5))
        .install_recorder()
        .map_err(TelemetryError::Metrics)
}
