//! What the leader's parts, the jobs and the services share: the replicated state and how to change it, the members, the
//! store, and the channels to workers.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use shoal_common::{
    access::TokenUses,
    audit::Audit,
    clock::Clock,
    node_report::Reporter,
    rpc::{Channels, not_leader},
    store::Store,
};
use shoal_proto::v1::{
    CommandReply, MetadataCommand, Protection, RefusalKind, TokenInfo, UpdateJob, metadata_command::Command,
    update_job::Update,
};
use tokio::{sync::watch, time::Instant};
use tonic::Status;

use super::{
    members::Members,
    metadata::Published,
    own_acts::{own_act, tell},
    progress::Progress,
    unreachable::UnreachableWorkers,
};
use crate::{
    raft::{ProposeError, RaftHandle},
    state::ClusterState,
};

/// How long a command may take to be agreed on.
pub const COMMAND_PATIENCE: Duration = Duration::from_secs(5);

/// A command that was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError {
    /// The state refuses it.
    #[error("{reason}")]
    Refused {
        /// Why the state refuses it, for programs.
        kind: RefusalKind,
        /// A sentence for people.
        reason: String,
    },
    /// It was not agreed on.
    #[error(transparent)]
    Raft(#[from] ProposeError),
}

/// Settings of the leader's work.
#[derive(Debug, Clone)]
pub struct LeaderConfig {
    /// Id of the cluster, the same on every node.
    pub cluster_id: String,
    /// Number of this member in the raft group, from 1.
    pub raft_id: u64,
    /// A node that has not been heard of for this long is down.
    pub lease: Duration,
    /// A node that has been down for this long has its shards served by others.
    pub replace_after: Duration,
    /// Workers that serve each shard.
    pub replicas: u32,
    /// Jobs that may wait at once.
    pub queued_jobs: usize,
    /// The token that a cluster gets which has never had one, as the registry is to know it.
    pub first_token: Option<TokenInfo>,
    /// What stands between this member and whoever can reach it.
    pub protection: Protection,
    /// What this member says of itself.
    pub reporter: Reporter,
}

/// What the leader's parts and the services share. Clones share it.
#[derive(Debug, Clone)]
pub struct Leader {
    /// How long leases last, and other settings.
    pub config: LeaderConfig,
    /// The state that all members have, and how commands reach it.
    pub raft: RaftHandle<ClusterState>,
    /// Who has been heard of.
    pub members: Arc<Members>,
    /// Who of them cannot be worked with.
    pub unreachable: UnreachableWorkers,
    /// Where data sets and models are.
    pub store: Store,
    /// Connections to the workers.
    pub channels: Channels,
    /// The clock of time stamps.
    pub clock: Arc<dyn Clock>,
    /// Where changes are told.
    pub audit: Audit,
    /// How far running jobs are.
    pub progress: Progress,
    /// Tokens whose use is to be written down.
    pub token_uses: TokenUses,
    pub(super) metadata: watch::Sender<Arc<Published>>,
}

impl Leader {
    /// Nothing heard of yet.
    #[must_use]
    pub fn new(
        config: LeaderConfig,
        raft: RaftHandle<ClusterState>,
        store: Store,
        channels: Channels,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> Self {
        let metadata = watch::Sender::new(Arc::new(Published::default()));
        Self {
            config,
            raft,
            members: Arc::default(),
            unreachable: UnreachableWorkers::default(),
            store,
            channels,
            clock,
            audit,
            progress: Progress::default(),
            token_uses: TokenUses::default(),
            metadata,
        }
    }

    /// What is served where; changes when any of it does.
    #[must_use]
    pub fn metadata(&self) -> watch::Receiver<Arc<Published>> {
        self.metadata.subscribe()
    }

    /// Refuses what only the leader does where this member does not lead.
    ///
    /// # Errors
    /// Who leads, where it is known.
    pub fn check_leads(&self) -> Result<(), Status> {
        let leadership = self.raft.leadership();
        let known = leadership.borrow();
        if known.is_leader {
            return Ok(());
        }
        // One that leads but does not know yet what was acknowledged must not name itself.
        let elsewhere = known.leader_address.as_deref().filter(|_| known.leader_id != Some(self.raft_id()));
        Err(not_leader(elsewhere))
    }

    /// Number of this member in the raft group, from 1.
    #[must_use]
    pub fn raft_id(&self) -> u64 {
        self.config.raft_id
    }

    /// Proposes a command of the leader's own, and waits until it is agreed on. The audit log is told of it where users would
    /// call it a change.
    ///
    /// # Errors
    /// When the state refuses it, or it was not agreed on in time.
    pub async fn command(&self, command: Command) -> Result<CommandReply, CommandError> {
        let act = own_act(&command);
        let reply = self.command_once(String::new(), command).await;
        if let Some(act) = act {
            tell(&self.audit, act, &reply);
        }
        reply
    }

    /// Proposes a command that a caller has asked for, and waits until it is agreed on; whoever answers the caller tells the
    /// audit log. One that comes again with the same request id is answered as the first time and changes nothing.
    ///
    /// # Errors
    /// When the state refuses it, or it was not agreed on in time.
    pub async fn command_once(
        &self,
        request_id: String,
        command: Command,
    ) -> Result<CommandReply, CommandError> {
        let bytes = MetadataCommand { command: Some(command), request_id }.encode_to_vec();
        let reply = self.raft.propose(bytes.into(), Instant::now() + COMMAND_PATIENCE).await?;
        // A reply is made by this very release.
        let reply = CommandReply::decode(reply).unwrap_or_default();
        match reply.refusal() {
            RefusalKind::Unspecified => Ok(reply),
            kind => Err(CommandError::Refused { kind, reason: reply.reason }),
        }
    }
    /// Proposes a change of a job, and waits until it is agreed on.
    ///
    /// # Errors
    /// When the state refuses it, or it was not agreed on in time.
    pub async fn update_job(&self, job_id: &str, update: Update) -> Result<(), CommandError> {
        let update = UpdateJob { job_id: job_id.to_owned(), update: Some(update) };
        self.command(Command::UpdateJob(update)).await?;
        Ok(())
    }
}
