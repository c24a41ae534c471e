//! Facts as metrics: the value is always 1, and the labels say what is so. What is so no longer has no series, unlike in the
//! recorder, where each version that was ever live would stay.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

use super::list::METRICS;

/// The labels of one fact.
type Fact = Vec<(&'static str, String)>;

static FACTS: Mutex<BTreeMap<&'static str, Vec<Fact>>> = Mutex::new(BTreeMap::new());

/// Says what is so now of a metric; what was said before of it is forgotten.
pub fn set_info(metric: &'static str, facts: Vec<Fact>) {
    FACTS.lock().unwrap_or_else(PoisonError::into_inner).insert(metric, facts);
}

/// The facts as Prometheus text.
pub(super) fn render() -> String {
    let mut text = String::new();
    for (name, facts) in FACTS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let help = METRICS.iter().find(|metric| metric.name == *name).map_or("", |metric| metric.help);
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for fact in facts {
            let labels: Vec<String> =
                fact.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            let _ = writeln!(text, "{name}{{{}}} 1", labels.join(","));
        }
        text.push('\n');
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_so_no_longer_is_gone() {
        let version = |name: &str| vec![vec![("version", name.to_owned())]];
        set_info("shoal_router_live_version_info", version("a"));
        set_info("shoal_router_live_version_info", version("b \"\\"));
        let text = render();
        assert!(text.contains("shoal_router_live_version_info{version=\"b \\\"\\\\\"} 1\n"), "{text}");
        assert!(
            !text.contains("version=\"a\"") && text.contains("# TYPE shoal_router_live_version_info gauge")
        );
    }
}
