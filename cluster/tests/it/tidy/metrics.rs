//! The list of metrics against what emits them, and against what is written of them.

use std::collections::BTreeSet;

use shoal_common::telemetry::list::{Label, METRICS, Metric, Values};

use super::{
    files, is_test, none, read,
    rust::{Piece, pieces, without_tests},
};

/// What emits a metric, in code before its name.
const MACROS: [&str; 3] = ["counter!(", "gauge!(", "histogram!("];
/// Where names stand without being emitted, and where some are emitted by lists of names.
const LISTS: &str = "common/src/telemetry";

/// The names that sources emit, with the place of each.
fn emitted() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in files(&[".rs"]).iter().filter(|path| !is_test(path) && !path.starts_with(LISTS)) {
        let text = read(path);
        let mut before = String::new();
        for piece in pieces(without_tests(&text)) {
            match piece {
                Piece::Code(_, code) => before = code,
                Piece::Text(line, name) => {
                    let is_emitted = MACROS.iter().any(|begin| before.trim_end().ends_with(begin));
                    if is_emitted || name.starts_with("shoal_") && name.contains("_") && is_of_list(&name) {
                        found.push((name, format!("{}:{line}", path.display())));
                    }
                    before.clear();
                }
                Piece::Comment(..) => {}
            }
        }
    }
    found
}

fn is_of_list(name: &str) -> bool {
    METRICS.iter().any(|metric| metric.name == name)
}

#[test]
fn what_is_emitted_is_listed_and_what_is_listed_is_emitted() {
    let emitted = emitted();
    let strangers: Vec<String> = emitted
        .iter()
        .filter(|(name, _)| !is_of_list(name))
        .map(|(name, place)| format!("{place}: {name}"))
        .collect();
    none(&strangers, "metrics that common/src/telemetry/list.rs does not have");
    let names: BTreeSet<&str> = emitted.iter().map(|(name, _)| name.as_str()).collect();
    // These are written by the telemetry itself.
    let by_itself = ["process_", "shoal_build_info", "shoal_disk_"];
    let silent: Vec<String> = METRICS
        .iter()
        .filter(|metric| !by_itself.iter().any(|begin| metric.name.starts_with(begin)))
        .filter(|metric| !names.contains(metric.name))
        .map(|metric| metric.name.to_owned())
        .collect();
    none(&silent, "metrics that are listed and that nothing emits");
}

/// A metric as its line in the documentation.
fn row(metric: &Metric) -> String {
    let values = |label: &Label| match label.values {
        Values::Of(values) => values.join(", "),
        Values::Open => "…".to_owned(),
    };
    let labels: Vec<String> =
        metric.labels.iter().map(|label| format!("`{}`: {}", label.name, values(label))).collect();
    let roles: Vec<String> = metric
        .roles
        .iter()
        .map(|role| role.as_str_name().trim_start_matches("NODE_ROLE_").to_lowercase())
        .collect();
    let nodes = if roles.len() == 3 { "all".to_owned() } else { roles.join(", ") };
    format!(
        "| `{}` | {} | {nodes} | {} | {} |",
        metric.name,
        metric.kind.name(),
        labels.join("; "),
        metric.help
    )
}

#[test]
fn the_documentation_has_the_same_metrics() {
    let document = read("docs/metrics.md");
    let written: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let listed: Vec<String> = METRICS.iter().map(row).collect();
    let missing: Vec<String> =
        listed.iter().filter(|row| !written.contains(&row.as_str())).cloned().collect();
    none(&missing, "lines that docs/metrics.md lacks");
    let wrong: Vec<String> = written
        .iter()
        .filter(|row| !listed.iter().any(|known| known == *row))
        .map(ToString::to_string)
        .collect();
    none(&wrong, "lines of docs/metrics.md that are not so");
}

/// What a board, a rule or a chapter asks for is there.
#[test]
fn only_metrics_that_there_are_are_asked_for() {
    let mut strangers = Vec::new();
    for path in files(&[".md", ".yml", ".json"]) {
        if path.ends_with("CHANGELOG.md") {
            continue;
        }
        let text = read(&path);
        for word in text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
            let is_role = ["shoal_coordinator_", "shoal_worker_", "shoal_router_"]
                .iter()
                .any(|role| word.starts_with(role));
            let name =
                ["_bucket", "_sum", "_count"].iter().fold(word, |name, ending| name.trim_end_matches(ending));
            if is_role && !word.ends_with('_') && !is_of_list(word) && !is_of_list(name) {
                strangers.push(format!("{}: {word}", path.display()));
            }
        }
    }
    none(&strangers, "metrics that nothing emits");
}
