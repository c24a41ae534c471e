//! What was measured on, and at which commit.

use std::process::Command;

use serde_json::{Value, json};

/// The machine and the commit, for a results file.
#[must_use]
pub fn describe() -> Value {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    json!({
        "cpu": model.map(|(_, name)| name.trim()),
        "cores": cores,
        "kernel": shoal_engine::als::kernel::Kernel::detect().name(),
        "commit": commit(),
    })
}

/// The checked-out commit, with a mark when files differ from it; `None` outside a checkout.
fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The middle of several figures; of an even number the mean of the two in the middle.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => f64::midpoint(figures[middle - 1], figures[middle]),
        _ => figures[middle],
    }
}
