//! Whether a node hears of the leading coordinator: what its log and its metrics say of it.

use tonic::Status;

/// Contact with the leading coordinator, as heartbeats find it. A change is said once, and not at every beat.
#[derive(Debug)]
pub struct LeaderContact {
    is_there: bool,
}

impl Default for LeaderContact {
    /// A node that starts says nothing until it has lost contact.
    fn default() -> Self {
        Self { is_there: true }
    }
}

impl LeaderContact {
    /// The leader has answered.
    pub fn made(&mut self) {
        if !self.is_there {
            tracing::info!("the coordinators are back");
        }
        self.turn(true);
    }

    /// The leader has not answered.
    pub fn lost(&mut self, status: &Status) {
        if self.is_there {
            tracing::warn!(error = status.message(), "cannot reach the leading coordinator, serving on");
        }
        self.turn(false);
    }

    fn turn(&mut self, is_there: bool) {
        self.is_there = is_there;
        metrics::gauge!("shoal_coordinators_reached").set(f64::from(u8::from(is_there)));
    }
}
