//! Answering a promotion or a rollback: only when the switch is made and everybody is told of it.

use std::{sync::Arc, time::Duration};

use shoal_proto::v1::{
    Metadata, NodeInfo, NodeRole, PromoteAbort, PromoteReply, ServedModel, metadata_command::Command,
};
use tokio::time::Instant;
use tonic::{Response, Status};

use super::member::{CoordinatorService, stopping};
use crate::state::ClusterState;

/// How long a promote waits for the workers to load the version.
const PROMOTE_PATIENCE: Duration = Duration::from_secs(300);

/// How often a wait looks again when nothing told it to.
const POLL: Duration = Duration::from_millis(50);

/// How long a switch waits for routers that are up. One that cannot hear of metadata notices it by its heartbeats within
/// some seconds, and begins anew.
const ROUTERS_PATIENCE: Duration = Duration::from_secs(15);
const ROUTERS_POLL: Duration = Duration::from_millis(10);

impl CoordinatorService {
    /// Waits until a version is live, or it is clear that it will not be.
    pub(super) async fn wait_live(&self, version: &str) -> Result<Response<PromoteReply>, Status> {
        let give_up_at = Instant::now() + PROMOTE_PATIENCE;
        let mut states = self.leader.raft.view();
        loop {
            let state = Arc::clone(&states.borrow_and_update());
            let served = state.served_with(version);
            if served.live_version == version {
                return self.announced(promoted(served, &state)).await.map(Response::new);
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

    /// Waits until workers and routers are told of a switch, and until routers answer by it, so that a caller who then
    /// asks finds the switch, or a later one. Who is late is named in the reply.
    ///
    /// # Errors
    /// When this member stops leading, so that the caller asks its successor.
    pub(super) async fn announced(&self, switched: PromoteReply) -> Result<PromoteReply, Status> {
        let shows = |metadata: &Metadata| {
            let live = metadata.served.iter().find(|served| served.model == switched.model);
            live.is_some_and(|served| served.live_version == switched.live_version)
                && metadata.default_model == switched.default_model
        };
        let stands = || {
            let state = self.leader.raft.view();
            let state = state.borrow();
            let live = state.served.get(&switched.model);
            live.is_some_and(|served| served.live_version == switched.live_version)
                && state.default_model == switched.default_model
        };
        let told = self.leader.metadata();
        let patience = tokio::time::sleep(ROUTERS_PATIENCE);
        tokio::pin!(patience);
        // What the switch is first seen in.
        let mut known_as = None;
        // Another promotion may have come after ours.
        while stands() {
            self.check_leads()?;
            let metadata = Arc::clone(&told.borrow());
            if known_as.is_none() && shows(&metadata) {
                known_as = Some((metadata.leader_term, metadata.revision));
            }
            if known_as.is_some_and(|known_as| self.late_routers(known_as).is_empty()) {
                break;
            }
            tokio::select! {
                biased;
                () = self.shutdown.requested() => return Err(stopping()),
                () = tokio::time::sleep(ROUTERS_POLL) => {}
                () = &mut patience => break,
            }
        }
        let late = known_as.filter(|_| stands()).map(|known_as| self.late_routers(known_as));
        let late_routers = late.unwrap_or_default().iter().map(late_router).collect();
        Ok(PromoteReply { late_routers, ..switched })
    }

    /// Routers that are up and have not said that they answer by this metadata or a later one. One that knows of no
    /// metadata answers nobody, and one of an earlier release is not waited for: it does not say what it answers by.
    fn late_routers(&self, known_as: (u64, u64)) -> Vec<NodeInfo> {
        let state = Arc::clone(&self.leader.raft.view().borrow());
        let is_late = |info: &&NodeInfo| {
            let beat = self.leader.members.last(&info.name);
            let beat = beat.filter(|beat| beat.at.elapsed() < self.leader.config.lease);
            info.role() == NodeRole::Router
                && beat.is_some_and(|beat| match beat.answers_by {
                    None => beat.loaded.is_none(),
                    Some(answers_by) => answers_by != (0, 0) && answers_by < known_as,
                })
        };
        let infos = state.nodes.values().filter_map(|record| record.info.as_ref());
        infos.filter(is_late).cloned().collect()
    }
}

fn late_router(router: &NodeInfo) -> String {
    format!(
        "router '{}' at {} has not said within {} s that it answers from the version; until it does, it may answer from \
         the one before",
        router.name,
        router.address,
        ROUTERS_PATIENCE.as_secs()
    )
}

pub(super) fn promoted(served: ServedModel, state: &ClusterState) -> PromoteReply {
    PromoteReply {
        live_version: served.live_version,
        previous_version: served.previous_version,
        model: served.model,
        default_model: state.default_model.clone(),
        late_routers: Vec::new(),
    }
}
