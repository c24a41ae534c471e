//! What steps of every kind of job have in common: how they say how far they are, and which errors of the store last.

use std::sync::Arc;

use shoal_common::store::StoreError;

use super::attempt::StepContext;
use crate::{ingest::OnDone, train::OnShare};

/// Adds to a step's progress.
pub(super) fn on_done(context: &StepContext) -> OnDone {
    let progress = Arc::clone(&context.progress);
    Arc::new(move |done| progress.add(done))
}

/// Says how far a step is.
pub(super) fn on_share(context: &StepContext) -> OnShare {
    let progress = Arc::clone(&context.progress);
    Arc::new(move |done, total| progress.set(done, total))
}

/// Whether the store answered, and what it answered will not change.
pub(super) fn is_damage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Damaged { .. }
            | StoreError::NotFound(_)
            | StoreError::Address { .. }
            | StoreError::Path { .. }
            | StoreError::Outside { .. }
    )
}
