//! The steps of an attempt that writes batch lists.

use std::sync::Arc;

use shoal_common::job_steps::{StepKind as _, step_name};
use shoal_proto::v1::{ListsClaim, ListsFinish, ListsWrite, step_event::Event, step_request::Step};

use super::{
    attempt::{Attempt, StepContext, StepError, wrong_kind},
    step_progress::{is_damage, on_done},
};
use crate::{
    lists::{ListsAttempt, ListsError},
    serve::LoadError,
};

/// An attempt that writes lists; none where a job is only tidied up after.
pub(super) struct Lists(pub(super) Option<Arc<ListsAttempt>>);

#[tonic::async_trait]
impl Attempt for Lists {
    async fn step(&self, step: Step, context: StepContext) -> Result<Event, StepError> {
        let Some(lists) = &self.0 else { return Err(wrong_kind(step_name(&step))) };
        match step {
            Step::ListsClaim(step) => Ok(ListsClaim::into_event(lists.claim(step).await?)),
            Step::ListsWrite(step) => {
                context.progress.set_total(lists.users_of(step.shard));
                let on_users = on_done(&context);
                Ok(ListsWrite::into_event(lists.write(step, context.cancelled, on_users).await?))
            }
            Step::ListsFinish(step) => Ok(ListsFinish::into_event(lists.finish(step).await?)),
            other => Err(wrong_kind(step_name(&other))),
        }
    }
}

impl From<ListsError> for StepError {
    fn from(error: ListsError) -> Self {
        match error {
            ListsError::File { .. } => Self::Exhausted(Box::new(error)),
            ListsError::Address { ref source, .. } if !is_damage(source) => {
                Self::Unavailable(Box::new(error))
            }
            ListsError::Store(ref source) if !is_damage(source) => Self::Unavailable(Box::new(error)),
            ListsError::Load(ref source) if may_pass(source) => Self::Unavailable(Box::new(error)),
            ListsError::Encode(_) | ListsError::Compute(_) => Self::Failed(Box::new(error)),
            ListsError::Cancelled => Self::Cancelled,
            ListsError::Request(_)
            | ListsError::Load(_)
            | ListsError::Rank(_)
            | ListsError::Query(_)
            | ListsError::FilterId(_)
            | ListsError::Occupied { .. }
            | ListsError::Missing { .. }
            | ListsError::Address { .. }
            | ListsError::Users { .. }
            | ListsError::Store(_) => Self::Invalid(Box::new(error)),
        }
    }
}

/// Whether a shard may be loaded later: the store was out of reach.
fn may_pass(error: &LoadError) -> bool {
    match error {
        LoadError::Manifest { source, .. } | LoadError::Fetch { source, .. } => !is_damage(source),
        _ => false,
    }
}
