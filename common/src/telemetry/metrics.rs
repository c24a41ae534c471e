//! The process's metrics: installed once, described, and there from the start.

use std::{path::PathBuf, sync::Arc, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use shoal_proto::v1::NodeRole;

use super::{
    TelemetryError,
    info::{self, set_info},
    list::{Kind, METRICS, Metric},
    process,
};

/// Latency buckets in seconds. Fewer would not tell 1 from 2 ms, and each is a series of every route.
const SECONDS_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Buckets of steps of jobs, in seconds.
const STEP_BUCKETS: [f64; 5] = [0.1, 1.0, 10.0, 60.0, 600.0];
/// Series that one node may have, whatever it is asked.
pub const SERIES_MAX: usize = 300;

/// The process's metrics. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    /// The node's own folder, whose disk is looked at.
    folder: Option<Arc<PathBuf>>,
}

/// Installs the process's recorder, with every metric of these roles at 0. `version` is that of the release.
///
/// # Errors
/// When a recorder is already installed.
pub fn install_metrics(roles: &[NodeRole], version: &str) -> Result<Metrics, TelemetryError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
        .and_then(|builder| {
            let steps = Matcher::Full("shoal_worker_step_seconds".to_owned());
            builder.set_buckets_for_metric(steps, &STEP_BUCKETS)
        })
        .map_err(TelemetryError::Metrics)?
        .upkeep_timeout(Duration::from_secs(5))
        .install_recorder()
        .map_err(TelemetryError::Metrics)?;
    let wanted = METRICS.iter().filter(|metric| roles.iter().any(|role| metric.is_of(*role)));
    wanted.for_each(begin);
    let built = roles.iter().map(|role| {
        let role = role.as_str_name().trim_start_matches("NODE_ROLE_").to_lowercase();
        vec![("version", version.to_owned()), ("role", role)]
    });
    set_info("shoal_build_info", built.collect());
    Ok(Metrics { handle, folder: None })
}

/// Describes a metric and makes its first series.
fn begin(metric: &Metric) {
    match metric.kind {
        Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
        Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
        Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
    }
    // The process's own are read when they are asked for, and facts are told as such.
    if metric.name.starts_with("process_") || metric.name.ends_with("_info") {
        return;
    }
    for labels in metric.first_series() {
        match metric.kind {
            Kind::Counter => metrics::counter!(metric.name, &labels).absolute(0),
            Kind::Gauge => metrics::gauge!(metric.name, &labels).set(0.0),
            Kind::Histogram => drop(metrics::histogram!(metric.name, &labels)),
        }
    }
}

impl Metrics {
    /// The same, of a node with a folder of its own.
    #[must_use]
    pub fn with_folder(self, folder: PathBuf) -> Self {
        let folder = (!folder.as_os_str().is_empty()).then(|| Arc::new(folder));
        Self { folder, ..self }
    }

    /// Prometheus text of everything as it is now.
    #[must_use]
    pub fn render(&self) -> String {
        if let Some((free, size)) = self.disk_bytes() {
            metrics::gauge!("shoal_disk_free_bytes").set(free as f64);
            metrics::gauge!("shoal_disk_size_bytes").set(size as f64);
        }
        let mut text = self.handle.render();
        text.push_str(&info::render());
        text.push_str(&process::render());
        text
    }

    /// Free and all bytes of the disk with the node's folder.
    #[must_use]
    pub fn disk_bytes(&self) -> Option<(u64, u64)> {
        process::disk_bytes(self.folder.as_deref()?)
    }

    /// Folds up what histograms have taken; to be called every few seconds.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}
