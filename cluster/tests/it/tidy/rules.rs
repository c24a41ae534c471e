//! The rules of `shoal status --why` against the alerts, which are the same.

use std::collections::BTreeMap;

use shoal_common::rules::RULES;

use super::read;

/// The alerts of a rules file, with their severity.
fn alerts(text: &str) -> BTreeMap<String, String> {
    let (mut found, mut last) = (BTreeMap::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            name.clone_into(&mut last);
        }
        if let Some(severity) = line.strip_prefix("labels: {severity: ") {
            found.insert(std::mem::take(&mut last), severity.trim_end_matches('}').to_owned());
        }
    }
    found
}

#[test]
fn alerts_and_rules_are_the_same() {
    let alerts = alerts(&read("deploy/prometheus/alerts.yml"));
    let rules: BTreeMap<String, String> =
        RULES.iter().map(|rule| (rule.name.to_owned(), rule.severity.name().to_owned())).collect();
    assert_eq!(rules.len(), RULES.len(), "no rule is listed twice");
    assert_eq!(alerts, rules);
    let tests = read("deploy/prometheus/alerts.test.yml");
    let untested: Vec<&String> =
        alerts.keys().filter(|name| !tests.contains(&format!("alertname=\"{name}\""))).collect();
    assert!(untested.is_empty(), "alerts that no test sees firing: {untested:?}");
}
