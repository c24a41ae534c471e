//! Who did what: a JSON line for each change of state and each refusal, for people who have to know afterwards.
//!
//! [`Audit`] owns a node's file of lines, which is rotated by size. A change is written before its caller is answered. Refusals
//! are what strangers cause, so they are summed where they come in floods (`refusals`), and the lines say how many
//! were left out. A line never has a token or a user's id; whoever makes an [`Entry`] sees to it.

mod entry;
mod layer;
mod refusals;
mod rotated;

use std::{
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub use self::{
    entry::{Entry, Outcome, TokenId, Who},
    layer::{AuditLayer, Audited},
};
use self::{refusals::Refusals, rotated::RotatedFile};
use crate::{clock::Clock, log_limit::LogLimit, shutdown::Shutdown};

/// How often refusals that were held back are summed up.
const SETTLE_EVERY: Duration = Duration::from_secs(10);

/// How often a file that cannot be written is told of in the log.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// A file, and how much of it is kept.
    File {
        /// The newest lines; older ones are in `<path>.1`, `<path>.2` and so on.
        path: PathBuf,
        /// Bytes of one file.
        bytes_max: u64,
        /// Files that are kept, the newest among them.
        files: u32,
    },
    /// Standard error.
    StandardError,
}

/// The lines cannot be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write the audit log '{path}': {source}; node.audit names another file, or '-' for standard error"
)]
pub struct AuditError {
    /// The file that cannot be opened.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Writes a node's lines. Clones share the file.
#[derive(Clone)]
pub struct Audit(Option<Arc<Shared>>);

struct Shared {
    /// Of which node the lines are.
    node: String,
    clock: Arc<dyn Clock>,
    sink: Mutex<Sink>,
    refusals: Mutex<Refusals>,
    complaints: LogLimit,
}

enum Sink {
    File(RotatedFile),
    StandardError,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("node", &self.0.as_ref().map(|shared| &shared.node)).finish()
    }
}

impl Audit {
    /// Writes nothing, for servers in tests.
    #[must_use]
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// Opens the file of the node called `node`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(target: AuditTarget, node: &str, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        let sink = match target {
            AuditTarget::StandardError => Sink::StandardError,
            AuditTarget::File { path, bytes_max, files } => {
                let opened = RotatedFile::open(path.clone(), bytes_max, files);
                Sink::File(opened.map_err(|source| AuditError { path, source })?)
            }
        };
        Ok(Self(Some(Arc::new(Shared {
            node: node.to_owned(),
            clock,
            sink: Mutex::new(sink),
            refusals: Mutex::default(),
            complaints: LogLimit::new(COMPLAIN_EVERY),
        }))))
    }

    /// Sums up refusals that were held back, again and again and at the end.
    pub fn settle_until(&self, shutdown: &Shutdown) {
        let (audit, stop) = (self.clone(), shutdown.clone());
        shutdown.spawn("audit", async move {
            loop {
                let stopped = tokio::select! {
                    biased;
                    () = stop.requested() => true,
                    () = tokio::time::sleep(SETTLE_EVERY) => false,
                };
                audit.settle();
                if stopped {
                    return;
                }
            }
        });
    }

    /// Writes what became of an attempt to change something.
    pub fn note(&self, entry: &Entry) {
        let Some(shared) = &self.0 else { return };
        shared.write(entry, 0);
    }

    /// Writes a refusal that strangers cause as often as they like, or counts it.
    pub fn refuse(&self, entry: Entry) {
        let Some(shared) = &self.0 else { return };
        metrics::counter!("shoal_audit_refusals_total").increment(1);
        let due = shared.refusals().note(entry, Instant::now());
        due.iter().for_each(|(entry, left_out)| shared.write(entry, *left_out));
    }

    /// A change that is under way: its line is written when it ends, also when its caller leaves before.
    #[must_use]
    pub fn begin(&self, action: &'static str, who: Who) -> Pending {
        let entry = Entry::new(action, who, Outcome::unconfirmed("the caller left before the answer"));
        Pending { audit: self.clone(), entry: Some(entry) }
    }

    /// Writes the sums of what was held back.
    fn settle(&self) {
        let Some(shared) = &self.0 else { return };
        let due = shared.refusals().settle(Instant::now());
        due.iter().for_each(|(entry, left_out)| shared.write(entry, *left_out));
    }
}

impl Shared {
    fn refusals(&self) -> std::sync::MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, entry: &Entry, left_out: u64) {
        let line = entry.line(&self.node, self.clock.now_unix_ms(), left_out);
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match &mut *sink {
            Sink::File(file) => file.write(line.as_bytes()),
            Sink::StandardError => io::stderr().lock().write_all(line.as_bytes()),
        };
        drop(sink);
        if let Err(error) = written {
            metrics::counter!("shoal_audit_lines_lost_total").increment(1);
            if let Some(more) = self.complaints.pass() {
                tracing::error!(%error, more, line, "the audit log cannot be written; the line is here instead");
            }
        }
    }
}

/// Stands for a change that is under way.
#[derive(Debug)]
pub struct Pending {
    audit: Audit,
    entry: Option<Entry>,
}

impl Pending {
    /// Says more of what is changed.
    #[must_use]
    pub fn of(mut self, what: &'static str, name: &str) -> Self {
        self.add(what, name);
        self
    }

    /// As [`Pending::of`], for what is known only later.
    pub fn add(&mut self, what: &'static str, name: &str) {
        if let Some(entry) = &mut self.entry {
            entry.add(what, name);
        }
    }

    /// Writes what became of it.
    pub fn end(mut self, outcome: Outcome) {
        let Some(mut entry) = self.entry.take() else { return };
        let is_refused = matches!(outcome, Outcome::Refused(_));
        entry.outcome = outcome;
        // Whoever may ask for a change may ask as often as they like for one that is refused.
        if is_refused { self.audit.refuse(entry) } else { self.audit.note(&entry) }
    }

    /// Writes nothing: it was not for this node to answer.
    pub fn forget(mut self) {
        self.entry = None;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.audit.note(&entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use serde_json::Value;

    use super::*;
    use crate::clock::SystemClock;

    fn audit(folder: &std::path::Path) -> (Audit, impl Fn() -> Vec<Value>) {
        let path = folder.join("audit.log");
        let target = AuditTarget::File { path: path.clone(), bytes_max: 1 << 20, files: 2 };
        let audit = Audit::open(target, "worker w", Arc::new(SystemClock)).unwrap();
        let lines = move || {
            let text = std::fs::read_to_string(&path).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        (audit, lines)
    }

    fn who(last: u8) -> Who {
        Who { address: Some(SocketAddr::from(([10, 0, 0, last], 7))), ..Who::default() }
    }

    #[test]
    fn a_change_has_one_line_however_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (audit, lines) = audit(folder.path());
        audit.begin("promote", who(1)).of("version", "v1").end(Outcome::Done);
        audit.begin("promote", who(1)).of("version", "v2\u{1b}[31m\u{202e}").end(Outcome::refused("unknown"));
        drop(audit.begin("rollback", who(1)).of("model", "als"));
        audit.begin("rollback", who(1)).forget();
        let lines = lines();
        let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, ["done", "refused", "unconfirmed"]);
        assert_eq!(lines[1]["subject"]["version"], "v2\u{1b}[31m\u{202e}");
        assert_eq!((&lines[0]["node"], &lines[0]["from"]), (&"worker w".into(), &"10.0.0.1:7".into()));
        let text = std::fs::read(folder.path().join("audit.log")).unwrap();
        assert!(text.iter().all(|byte| byte.is_ascii() && (*byte == b'\n' || !byte.is_ascii_control())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_refusals_is_a_few_lines_that_count_it() {
        let folder = tempfile::tempdir().unwrap();
        let (audit, lines) = audit(folder.path());
        let shutdown = Shutdown::new();
        audit.settle_until(&shutdown);
        for _ in 0..10_000 {
            for from in [1, 2] {
                audit.refuse(Entry::new("/s/Closed", who(from), Outcome::refused("no certificate")));
            }
        }
        assert_eq!(lines().len(), 2);
        tokio::time::sleep(2 * SETTLE_EVERY).await;
        let summed: Vec<_> = lines()[2..].iter().map(|line| line["left_out"].as_u64().unwrap()).collect();
        assert_eq!(summed, [9_999, 9_999]);
        shutdown.request();
        assert!(shutdown.drain(Duration::from_secs(1)).await);
        assert_eq!(lines().len(), 4);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let target = AuditTarget::File { path: folder.path().join("no/audit.log"), bytes_max: 1, files: 1 };
        let error = Audit::open(target, "w", Arc::new(SystemClock)).unwrap_err().to_string();
        assert!(error.contains("no/audit.log") && error.contains("node.audit"), "{error}");
    }
}
