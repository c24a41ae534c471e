//! What all calls of the service share: whether this member leads, commands and reads, and how refusals are said.

use std::{net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use shoal_common::{
    rpc::{not_leader, wrong_cluster},
    shutdown::Shutdown,
    tls::host_of,
};
use shoal_proto::v1::{CommandReply, JobInfo, Protection, RefusalKind, metadata_command::Command};
use tokio::{sync::Semaphore, time::Instant};
use tonic::Status;

use super::places::{Places, Shares};
use crate::{
    leader::{CommandError, Leader},
    raft::{ProposeError, ReadError},
    state::ClusterState,
};

/// Streams of metadata, and of jobs, that are open at once.
pub(super) const WATCHERS_MAX: usize = 1_024;
/// Streams of jobs that the holder of one token may watch at once.
pub(super) const WATCHES_OF_A_TOKEN_MAX: usize = 64;

/// How long a read waits for a quorum.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a name or an id that something is asked for by.
const ID_BYTES_MAX: usize = 128;

/// A stream of replies.
pub(super) type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service of one member.
#[derive(Clone)]
pub struct CoordinatorService {
    pub(super) leader: Leader,
    pub(super) shutdown: Shutdown,
    /// For nodes that are not in the registry yet.
    pub(super) nodes: Places,
    /// For jobs that wait.
    pub(super) queue: Places,
    pub(super) watchers: Arc<Semaphore>,
    pub(super) job_watchers: Arc<Semaphore>,
    pub(super) job_watches_by_token: Shares,
}

impl CoordinatorService {
    /// Answers from what `leader` shares; streams end when a stop is asked for.
    #[must_use]
    pub fn new(leader: Leader, shutdown: Shutdown) -> Self {
        let [watchers, job_watchers] = [(); 2].map(|()| Arc::new(Semaphore::new(WATCHERS_MAX)));
        Self {
            leader,
            shutdown,
            nodes: Places::default(),
            queue: Places::default(),
            watchers,
            job_watchers,
            job_watches_by_token: Shares::default(),
        }
    }

    pub(super) fn check_leads(&self) -> Result<(), Status> {
        self.leader.check_leads()
    }

    pub(super) fn own_id(&self) -> u64 {
        self.leader.raft_id()
    }

    /// What stands between a member and whoever can reach it. Members speak TLS all or none, or they would not hear each other.
    pub(super) fn protection_of(&self, member: u64, address: &str) -> Protection {
        let own = self.leader.config.protection;
        if member == self.own_id() || own == Protection::Certificates {
            return own;
        }
        let host = host_of(address).trim_start_matches('[').trim_end_matches(']');
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback());
        if is_loopback { Protection::Loopback } else { Protection::None }
    }

    pub(super) fn check_cluster(&self, cluster_id: &str) -> Result<(), Status> {
        let expected = &self.leader.config.cluster_id;
        if cluster_id == expected { Ok(()) } else { Err(wrong_cluster(expected, cluster_id)) }
    }

    pub(super) async fn command(&self, command: Command) -> Result<CommandReply, Status> {
        self.command_once(String::new(), command).await
    }

    pub(super) async fn command_once(
        &self,
        request_id: String,
        command: Command,
    ) -> Result<CommandReply, Status> {
        self.check_leads()?;
        // It is remembered with its answer.
        short("request_id", &request_id)?;
        self.leader.command_once(request_id, command).await.map_err(|error| status_of(&error))
    }

    /// The state as of now, from the leader.
    pub(super) async fn read(&self) -> Result<Arc<ClusterState>, Status> {
        self.check_leads()?;
        let read = self.leader.raft.read(Instant::now() + READ_PATIENCE).await;
        read.map_err(|error: ReadError| Status::unavailable(error.to_string()))
    }

    pub(super) fn job_of(&self, state: &ClusterState, job_id: &str) -> Result<JobInfo, Status> {
        let job = state.jobs.get(job_id).map(|job| job.info.clone());
        let job = job.ok_or_else(|| {
            Status::not_found(format!("there is no job '{job_id}'; `shoal jobs list` shows those there are"))
        })?;
        Ok(self.leader.progress.fill(job))
    }
}

pub(super) fn stopping() -> Status {
    Status::unavailable("this coordinator is stopping")
}

fn status_of(error: &CommandError) -> Status {
    match error {
        CommandError::Refused { kind, reason } => match kind {
            RefusalKind::NotFound => Status::not_found(reason),
            RefusalKind::Precondition => Status::failed_precondition(reason),
            _ => Status::invalid_argument(reason),
        },
        CommandError::Raft(ProposeError::NotLeader { leader_address }) => {
            not_leader(leader_address.as_deref())
        }
        CommandError::Raft(ProposeError::Busy) => Status::resource_exhausted(error.to_string()),
        CommandError::Raft(ProposeError::TooLarge { .. }) => Status::invalid_argument(error.to_string()),
        CommandError::Raft(_) => Status::unavailable(error.to_string()),
    }
}

/// Refuses a name or an id that nothing can have, before it gets into a command.
pub(super) fn short(what: &str, text: &str) -> Result<(), Status> {
    if text.len() <= ID_BYTES_MAX {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "{what} has {} bytes; at most {ID_BYTES_MAX} are taken",
        text.len()
    )))
}

pub(super) fn invalid(problems: &[String]) -> Result<(), Status> {
    if problems.is_empty() { Ok(()) } else { Err(Status::invalid_argument(problems.join("; "))) }
}
