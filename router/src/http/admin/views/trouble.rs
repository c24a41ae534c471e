//! What is wrong with the cluster.

use serde::Serialize;
use shoal_common::rules::{Finding, only_by_metrics};
use utoipa::ToSchema;

/// A rule that the cluster breaks, and what helps.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trouble {
    /// The rule's name, which its alert in Prometheus has too.
    rule: &'static str,
    /// `critical` where users notice, `warning` where they will when something else fails too.
    severity: &'static str,
    /// A sentence that says what is wrong.
    what: String,
    /// Why, a half sentence each.
    why: Vec<String>,
    /// What to do.
    remedy: String,
}

impl From<&Finding> for Trouble {
    fn from(finding: &Finding) -> Self {
        let trouble = finding.trouble.clone();
        Self {
            rule: finding.rule,
            severity: finding.severity.name(),
            what: trouble.what,
            why: trouble.why,
            remedy: trouble.remedy,
        }
    }
}

/// Everything that is wrong, as far as the coordinators can tell.
#[derive(Debug, Serialize, ToSchema)]
pub struct Troubles {
    /// The worst first.
    wrong: Vec<Trouble>,
    /// Rules that need to know how something was before.
    only_prometheus_tells: Vec<&'static str>,
}

impl From<&[Finding]> for Troubles {
    fn from(found: &[Finding]) -> Self {
        Self { wrong: found.iter().map(Trouble::from).collect(), only_prometheus_tells: only_by_metrics() }
    }
}
