//! Answering a promotion or a rollback: only when the switch is made and everybody is told of it.

use std::{sync::Arc, time::Duration};

use shoal_proto::v1::{Metadata, PromoteAbort, PromoteReply, ServedModel, metadata_command::Command};
use tokio::time::Instant;
use tonic::{Response, Status};

use super::coordinator::{CoordinatorService, stopping};
use crate::{leader::COMMAND_PATIENCE, state::ClusterState};

/// How long a promote waits for the workers to load the version.
const PROMOTE_PATIENCE: Duration = Duration::from_secs(300);

/// How often a wait looks again when nothing told it to.
const POLL: Duration = Duration::from_millis(50);

impl CoordinatorService {
    /// Waits until a version is live, or it is clear that it will not be.
    pub(super) async fn wait_live(&self, version: &str) -> Result<Response<PromoteReply>, Status> {
        let give_up_at = Instant::now() + PROMOTE_PATIENCE;
        let mut states = self.leader.raft.view();
        loop {
            let state = Arc::clone(&states.borrow_and_update());
            let served = state.served_with(version);
            if served.live_version == version {
                return Ok(Response::new(self.announced(promoted(served, &state)).await));
            }
            if served.promoting_version != version {
                return Err(Status::aborted(format!(
                    "the promotion of '{version}' was given up or overtaken by another"
                )));
            }
            let errors = self.leader.load_errors(&state, version);
            if !errors.is_empty() || Instant::now() >= give_up_at {
                let reason = if errors.is_empty() {
                    "the workers did not report it loaded in time".to_owned()
                } else {
                    errors.join("; ")
                };
                self.command(Command::PromoteAbort(PromoteAbort { version: version.to_owned() })).await?;
                return Err(Status::failed_precondition(format!(
                    "version '{version}' cannot be served: {reason}; the live version stays"
                )));
            }
            tokio::select! {
                biased;
                // Leaving comes first: the next leader goes on with the promotion.
                () = self.shutdown.requested() => return Err(stopping()),
                changed = states.changed() => if changed.is_err() { return Err(stopping()) },
                () = tokio::time::sleep(POLL) => self.check_leads()?,
            }
        }
    }

    /// Waits until workers and routers are told of a switch, so that a caller who then looks at the metadata finds
    /// the switch there, or a later one. A member that stops leading is not waited for: its successor tells of the
    /// switch with the first metadata of its term.
    pub(super) async fn announced(&self, switched: PromoteReply) -> PromoteReply {
        let shows = |metadata: &Arc<Metadata>| {
            let live = metadata.served.iter().find(|served| served.model == switched.model);
            live.is_some_and(|served| served.live_version == switched.live_version)
                && metadata.default_model == switched.default_model
        };
        let stands = |state: &ClusterState| {
            let live = state.served.get(&switched.model);
            live.is_some_and(|served| served.live_version == switched.live_version)
                && state.default_model == switched.default_model
        };
        let mut told = self.leader.metadata();
        let patience = tokio::time::sleep(COMMAND_PATIENCE);
        tokio::pin!(patience);
        while !shows(&told.borrow_and_update())
            && stands(&self.leader.raft.view().borrow())
            && self.check_leads().is_ok()
        {
            tokio::select! {
                biased;
                () = self.shutdown.requested() => break,
                changed = told.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(POLL) => {}
                () = &mut patience => break,
            }
        }
        switched
    }
}

pub(super) fn promoted(served: ServedModel, state: &ClusterState) -> PromoteReply {
    PromoteReply {
        live_version: served.live_version,
        previous_version: served.previous_version,
        model: served.model,
        default_model: state.default_model.clone(),
    }
}
