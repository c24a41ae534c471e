//! Logs and metrics. Installed once per process by whoever owns `main`; roles only emit. `list` has every metric.

mod info;
pub mod list;
mod metrics;
mod process;
pub(crate) use self::process::disk_bytes;

use tracing_subscriber::{
    EnvFilter, fmt::time::SystemTime, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

pub use self::info::set_info;
pub use self::metrics::{Metrics, SERIES_MAX, install_metrics};

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
        // Every field at the top: what is called `version` here is so everywhere.
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    }
    .map_err(TelemetryError::AlreadySet)
}
