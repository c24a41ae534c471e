//! Held-out metrics.
