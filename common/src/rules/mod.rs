//! What may be wrong with a cluster: the one list of rules. `shoal status --why` says by it what is wrong and what to do;
//! `deploy/prometheus/alerts.yml` has an alert of the same name for each rule, which a test holds.
//!
//! The status of the cluster tells of most rules. The others need to know how something was before, which is Prometheus's to say.

mod checks;
mod replicas;
#[cfg(test)]
mod tests;

pub use self::replicas::{lost, reasons};

use shoal_proto::v1::{ClusterStatus, JobInfo};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Users notice.
    Critical,
    /// Users will notice when something else fails too.
    Warning,
}

impl Severity {
    /// The name in alerts and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What the leader says of the cluster.
    pub status: &'a ClusterStatus,
    /// Every job that is remembered.
    pub jobs: &'a [JobInfo],
    /// Now, in milliseconds since the Unix epoch.
    pub now_unix_ms: i64,
}

/// What is wrong in one place, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A sentence that says what is wrong.
    pub what: String,
    /// Why, a half sentence each; may be empty.
    pub why: Vec<String>,
    /// What to do.
    pub remedy: String,
}

type Check = fn(&Seen<'_>) -> Vec<Trouble>;

/// One rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name, which its alert has too.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Looks for it in the status; `None` where only Prometheus can tell.
    pub check: Option<Check>,
}

const fn critical(name: &'static str, check: Option<Check>) -> Rule {
    Rule { name, severity: Severity::Critical, check }
}

const fn warning(name: &'static str, check: Option<Check>) -> Rule {
    Rule { name, severity: Severity::Warning, check }
}

/// The name of the rule that a cluster breaks where no coordinator answers.
pub const NO_LEADER: &str = "ShoalNoLeader";

/// All of them, the worst first.
pub const RULES: &[Rule] = &[
    // Whoever has a status has a leader.
    critical(NO_LEADER, Some(|_| Vec::new())),
    critical("ShoalShardsUnserved", Some(replicas::unserved)),
    critical("ShoalRouterNotReady", Some(checks::routers_not_ready)),
    critical("ShoalRequestsFailing", None),
    warning("ShoalRequestsSlow", None),
    warning("ShoalAnswersIncomplete", None),
    warning("ShoalShardsUnderReplicated", Some(replicas::under_replicated)),
    warning("ShoalNodeDown", Some(checks::nodes_down)),
    warning("ShoalCoordinatorDown", Some(checks::coordinators_down)),
    warning("ShoalWorkerUnreachable", Some(checks::unreachable)),
    warning("ShoalLoadFailing", Some(checks::load_failing)),
    warning("ShoalCoordinatorsUnreached", None),
    warning("ShoalMixedVersions", Some(checks::mixed_versions)),
    warning("ShoalJobFailed", Some(checks::jobs_failed)),
    warning("ShoalTargetMissing", None),
    warning("ShoalDiskNearlyFull", Some(checks::disks)),
    warning("ShoalStoreErrors", None),
    warning("ShoalRaftDiskSlow", None),
    warning("ShoalCertificateExpires", Some(checks::certificates)),
    warning("ShoalMetadataLarge", Some(checks::metadata_large)),
    warning("ShoalAuditLinesLost", None),
];

/// A rule that is broken, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Name of the rule.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and what helps.
    pub trouble: Trouble,
}

/// Everything that is wrong, the worst first.
#[must_use]
pub fn findings(seen: &Seen<'_>) -> Vec<Finding> {
    let of_rule = |rule: &Rule| -> Vec<Finding> {
        let troubles = rule.check.map(|check| check(seen)).unwrap_or_default();
        let (name, severity) = (rule.name, rule.severity);
        troubles.into_iter().map(|trouble| Finding { rule: name, severity, trouble }).collect()
    };
    let mut found: Vec<Finding> = RULES.iter().flat_map(of_rule).collect();
    found.sort_by_key(|finding| finding.severity);
    found
}

/// What is wrong where no coordinator answers; `reason` is what the last try met.
#[must_use]
pub fn no_leader(reason: &str) -> Finding {
    let trouble = Trouble {
        what: "No coordinator leads: queries go on; trainings, imports and promotions wait.".to_owned(),
        why: vec![reason.to_owned()],
        remedy: "Start the coordinators that are down, until more than half of them are up.".to_owned(),
    };
    Finding { rule: NO_LEADER, severity: Severity::Critical, trouble }
}

/// The rules that only Prometheus can tell of.
#[must_use]
pub fn only_by_metrics() -> Vec<&'static str> {
    RULES.iter().filter(|rule| rule.check.is_none()).map(|rule| rule.name).collect()
}

impl Finding {
    /// For people, in a few lines.
    #[must_use]
    pub fn text(&self) -> String {
        let Trouble { what, why, remedy } = &self.trouble;
        let mut lines = vec![format!("{}: {what}", self.severity.name())];
        lines.extend(why.iter().map(|why| format!("  - {why}")));
        lines.push(format!("  {remedy} [{}]", self.rule));
        lines.join("\n")
    }
}
