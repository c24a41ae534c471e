//! What a node tells systemd, or another service manager that speaks its protocol: that it listens, that it is alive, that
//! it stops. Without one (`NOTIFY_SOCKET`) nothing is told.

use sd_notify::NotifyState;

/// Says that the node has started; `status` is shown beside its state.
pub(in crate::cli) fn started(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the node drains.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says again and again that the node is alive, where a watchdog wants to hear it: a runtime that hangs says nothing. It
/// goes on while the node drains.
pub(super) fn feed_watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    tokio::spawn(async move {
        loop {
            tell(&[NotifyState::Watchdog]);
            tokio::time::sleep(interval / 3).await;
        }
    });
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager was not told how the node is");
    }
}
