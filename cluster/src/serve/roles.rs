//! The three roles of one process.

use std::{sync::Arc, time::Duration};

use shoal_common::{
    audit::Audit,
    clock::Clock,
    config::ServeConfig,
    rpc::{Channels, InProcess},
    shutdown::Shutdown,
    store::Store,
};
use shoal_coordinator::node::CoordinatorError;
use shoal_router::{http::RenderMetrics, node::RouterError};
use shoal_worker::node::WorkerError;
use tokio::task::{JoinError, JoinHandle};

use crate::client::ClusterClient;

pub use shoal_router::node::Doors;

/// How long background tasks of coordinator and worker may take to end.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A role of the process has ended.
#[derive(Debug, thiserror::Error)]
pub enum RolesError {
    /// The coordinator.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// The worker.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The router.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// A task of a role has panicked.
    #[error("a role has panicked; the log says where")]
    Panicked(#[from] JoinError),
    /// A role has ended although nobody asked it to.
    #[error("the {0} has ended although nobody asked it to; the log says why")]
    Ended(&'static str),
}

/// Coordinator and worker of this process, which nobody else can call.
#[derive(Debug)]
pub struct Roles {
    channels: Channels,
    shutdown: Shutdown,
    coordinator: JoinHandle<Result<(), CoordinatorError>>,
    worker: JoinHandle<Result<(), WorkerError>>,
}

impl Roles {
    /// Starts coordinator and worker.
    #[must_use]
    pub fn start(config: &ServeConfig, store: &Store, clock: &Arc<dyn Clock>) -> Self {
        let doors = InProcess::default();
        let channels = Channels::new(Arc::new(doors.clone()));
        // They outlive the router, which asks them until it has drained.
        let shutdown = Shutdown::new();
        let coordinator = shoal_coordinator::node::run(
            config.coordinator.clone(),
            doors.listen(ServeConfig::COORDINATOR),
            store.clone(),
            channels.clone(),
            Arc::clone(clock),
            // Nobody can call them but this process.
            Audit::nowhere(),
            shutdown.clone(),
        );
        let worker = shoal_worker::node::run(
            config.worker.clone(),
            doors.listen(ServeConfig::WORKER),
            channels.clone(),
            store.clone(),
            Arc::clone(clock),
            Audit::nowhere(),
            shutdown.clone(),
        );
        let (coordinator, worker) = (tokio::spawn(coordinator), tokio::spawn(worker));
        Self { channels, shutdown, coordinator, worker }
    }

    /// Asks the coordinator of this process.
    #[must_use]
    pub fn client(&self) -> ClusterClient {
        ClusterClient::new(self.channels.clone(), vec![ServeConfig::COORDINATOR.to_owned()])
    }

    /// Runs the router until `shutdown` is requested and it has drained, then ends the others.
    ///
    /// # Errors
    /// When a role fails or ends early.
    pub async fn run(
        mut self,
        config: &ServeConfig,
        doors: Doors,
        clock: Arc<dyn Clock>,
        metrics: RenderMetrics,
        audit: Audit,
        shutdown: Shutdown,
    ) -> Result<(), RolesError> {
        let router = shoal_router::node::run(
            config.router.clone(),
            doors,
            self.channels.clone(),
            clock,
            metrics,
            audit,
            shutdown.clone(),
        );
        let ended = tokio::select! {
            biased;
            // The router's end is the outcome; the others end with it.
            ended = router => ended.map_err(RolesError::from),
            ended = &mut self.coordinator => early(ended, "coordinator"),
            ended = &mut self.worker => early(ended, "worker"),
        };
        shutdown.request();
        self.shutdown.request();
        // One that has ended already has said so above.
        if !self.coordinator.is_finished() {
            note((&mut self.coordinator).await.map(|ended| ended.map_err(RolesError::from)));
        }
        if !self.worker.is_finished() {
            note((&mut self.worker).await.map(|ended| ended.map_err(RolesError::from)));
        }
        self.shutdown.drain(DRAIN_MAX).await;
        ended
    }
}

/// A failure while ending changes nothing any more.
fn note(ended: Result<Result<(), RolesError>, JoinError>) {
    if let Err(error) = ended.map_err(RolesError::from).and_then(|ended| ended) {
        tracing::warn!(%error, "a role did not end well");
    }
}

/// The end of a role that was not asked for.
fn early<E>(ended: Result<Result<(), E>, JoinError>, role: &'static str) -> Result<(), RolesError>
where
    RolesError: From<E>,
{
    ended??;
    Err(RolesError::Ended(role))
}
