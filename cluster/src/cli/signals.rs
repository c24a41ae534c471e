//! Ctrl-C and SIGTERM, and the end of a parent process, which asks for the same.

use std::time::Duration;

use anyhow::Context as _;
use shoal_common::shutdown::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::parent::leave_with_parent;

/// A local cluster whose parent is gone is stopped within this, or its last process ends all the same:
/// its own children watch it in turn.
const ORPHAN_DRAIN_MAX: Duration = Duration::from_secs(60);

/// Hears both signals from the moment it is made; until then they end the process.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    orphaned: Shutdown,
}

impl Signals {
    pub(super) fn install() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            orphaned: Shutdown::new(),
        })
    }

    /// The end of the parent process counts as a signal from now on.
    pub(super) fn watch_parent(&self) -> anyhow::Result<()> {
        leave_with_parent(self.orphaned.clone(), ORPHAN_DRAIN_MAX).context("cannot watch the parent process")
    }

    /// Waits for any of them.
    pub(super) async fn received(&mut self) {
        tokio::select! {
            biased;
            // Each asks for the same; the order means nothing.
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = self.orphaned.requested() => {}
        }
    }
}
