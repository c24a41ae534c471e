//! How much memory trainings hold, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

static HELD: AtomicU64 = AtomicU64::new(0);

/// Counts bytes as held for as long as it lives.
#[derive(Debug)]
pub(super) struct HeldMemory(u64);

impl HeldMemory {
    pub(super) fn of(bytes: u64) -> Self {
        HELD.fetch_add(bytes, Ordering::Relaxed);
        Self(bytes)
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Bytes of the factors that the trainings of this process hold.
#[must_use]
pub(crate) fn held_bytes() -> u64 {
    HELD.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_held_no_longer() {
        let held = HeldMemory::of(1 << 40);
        assert!(held_bytes() >= 1 << 40);
        drop(held);
        assert!(held_bytes() < 1 << 40);
    }
}
