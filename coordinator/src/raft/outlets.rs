//! What the driver lets others see: the state, who leads, and how far the log is.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    member::{Leadership, RaftStatus},
    pieces::CUT_BYTES_MAX,
};

/// What the handle sees.
pub(super) struct Outlets<V> {
    pub(super) view: watch::Receiver<Arc<V>>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) status: watch::Receiver<RaftStatus>,
}

/// The sending ends of what the driver publishes.
pub(super) struct Publishers<V> {
    view: watch::Sender<Arc<V>>,
    /// The last entry in the view that is shown.
    view_index: u64,
    leadership: watch::Sender<Leadership>,
    status: watch::Sender<RaftStatus>,
}

impl<V> Publishers<V> {
    /// Shows the state after the entry at `index`; nobody leads yet.
    pub(super) fn new(view: Arc<V>, index: u64) -> (Self, Outlets<V>) {
        let (view, view_outlet) = watch::channel(view);
        let (leadership, leadership_outlet) = watch::channel(Leadership::default());
        let (status, status_outlet) = watch::channel(RaftStatus::default());
        let outlets = Outlets { view: view_outlet, leadership: leadership_outlet, status: status_outlet };
        (Self { view, view_index: index, leadership, status }, outlets)
    }

    /// Shows the state after the entry at `index`, but never one before what was shown: a node that is rebuilt
    /// goes through that once more, unseen.
    pub(super) fn show(&mut self, index: u64, view: Arc<V>) {
        if index >= self.view_index {
            self.view_index = index;
            self.view.send_replace(view);
        }
    }

    pub(super) fn tell(&self, leadership: Leadership, status: RaftStatus) {
        metrics::gauge!("shoal_coordinator_raft_term").set(status.term as f64);
        metrics::gauge!("shoal_coordinator_raft_commit_index").set(status.commit_index as f64);
        metrics::gauge!("shoal_coordinator_raft_applied_index").set(status.applied_index as f64);
        metrics::gauge!("shoal_coordinator_raft_leader").set(f64::from(u8::from(leadership.is_leader)));
        replace_if_changed(&self.leadership, leadership);
        replace_if_changed(&self.status, status);
    }
}

impl<V> Drop for Publishers<V> {
    /// A member whose driver has ended, even by a panic, leads nobody and follows nobody.
    fn drop(&mut self) {
        let term = self.leadership.borrow().term;
        self.leadership.send_replace(Leadership { term, ..Leadership::default() });
    }
}

/// A snapshot of so many bytes is worth an alarm: four times as much cannot be sent to a member that lags.
const SNAPSHOT_BYTES_ALARM: usize = CUT_BYTES_MAX / 4;

/// Says how large the state is. Snapshots are rare, so each is told of.
pub(super) fn say_snapshot(index: u64, bytes: usize) {
    metrics::gauge!("shoal_coordinator_snapshot_bytes").set(bytes as f64);
    if bytes > SNAPSHOT_BYTES_ALARM {
        let bytes_max = CUT_BYTES_MAX;
        tracing::error!(
            index,
            bytes,
            bytes_max,
            "the registry comes near to what a member that lags can be sent"
        );
    } else {
        tracing::info!(index, bytes, "took a snapshot");
    }
}

/// Wakes those who watch only when there is something new.
fn replace_if_changed<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|known| {
        let changed = *known != value;
        *known = value;
        changed
    });
}
