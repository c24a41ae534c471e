//! How a node is, as orchestrators ask: started, ready, alive.
//!
//! Each [`Check`] is a service of gRPC's health protocol. A node says through [`Health`] what it waits for; the answer
//! carries that sentence, the node's role and its name in metadata, which clients of the plain protocol pass over.

use std::sync::{Arc, Mutex, PoisonError};

use tonic::{
    Request, Response, Status,
    metadata::{AsciiMetadataValue, MetadataMap, MetadataValue},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, HealthCheckResponse, health_server},
    server::{HealthReporter, HealthService},
};

use crate::{rpc::shortened, tls::PeerRole};

/// The node's name, in the metadata of an answer.
const NODE_KEY: &str = "shoal-node";
/// The node's role.
const ROLE_KEY: &str = "shoal-role";
/// What the node waits for, as UTF-8.
const WAITS_FOR_KEY: &str = "shoal-waits-for-bin";
/// The longest sentence of it.
const WAITS_FOR_BYTES_MAX: usize = 512;

/// What is asked of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Whether it has read what it keeps on its disk, and listens.
    Startup,
    /// Whether it can do its work now: a coordinator knows a leader, a worker has loaded what it is to serve, a router
    /// answers queries.
    Readiness,
    /// Whether the process does anything at all. It asks for nobody else, so that the loss of a quorum restarts no node.
    Liveness,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];

    /// The service's name in the health protocol.
    #[must_use]
    pub fn service(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }

    /// What a node is that passes: "the node is ready".
    #[must_use]
    pub fn passed(self) -> &'static str {
        match self {
            Self::Startup => "started",
            Self::Readiness => "ready",
            Self::Liveness => "alive",
        }
    }
}

/// Where a node tells how it is. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    reporter: HealthReporter,
    waits_for: Arc<Mutex<Option<String>>>,
}

/// The health service of a node.
pub type HealthServer = health_server::HealthServer<Answers>;

/// The health of a node that has started and is not ready yet, and the service that answers for it.
pub async fn of_node(role: PeerRole, node: &str) -> (Health, HealthServer) {
    let (health, answers) = answering(role, node).await;
    (health, HealthServer::new(answers))
}

async fn answering(role: PeerRole, node: &str) -> (Health, Answers) {
    let health = Health { reporter: HealthReporter::new(), waits_for: Arc::default() };
    for passed in [Check::Startup, Check::Liveness] {
        health.reporter.set_service_status(passed.service(), ServingStatus::Serving).await;
    }
    health.set_readiness(Some("it has just started".to_owned())).await;
    let answers = Answers {
        service: HealthService::from_health_reporter(health.reporter.clone()),
        waits_for: Arc::clone(&health.waits_for),
        role: AsciiMetadataValue::from_static(role.name()),
        node: node.parse().ok(),
    };
    (health, answers)
}

impl Health {
    /// Says what the node waits for before it can do its work; `None` when it can.
    pub async fn set_readiness(&self, waits_for: Option<String>) {
        let is_ready = waits_for.is_none();
        // The sentence first: whoever sees that the node is not ready is told why.
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = waits_for;
        let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(Check::Readiness.service(), status).await;
    }

    /// What the node waits for; empty when it is ready.
    #[must_use]
    pub fn waits_for(&self) -> String {
        self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// The statuses of the node's own services, which are told beside.
    #[must_use]
    pub fn services(&self) -> &HealthReporter {
        &self.reporter
    }
}

/// Answers the health protocol.
#[derive(Debug)]
pub struct Answers {
    service: HealthService,
    waits_for: Arc<Mutex<Option<String>>>,
    role: AsciiMetadataValue,
    /// `None` for a name that no header can carry.
    node: Option<AsciiMetadataValue>,
}

#[tonic::async_trait]
impl health_server::Health for Answers {
    type WatchStream = <HealthService as health_server::Health>::WatchStream;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let is_readiness = request.get_ref().service == Check::Readiness.service();
        let mut response = self.service.check(request).await?;
        let metadata = response.metadata_mut();
        metadata.insert(ROLE_KEY, self.role.clone());
        if let Some(node) = &self.node {
            metadata.insert(NODE_KEY, node.clone());
        }
        let waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waits_for) = waits_for.filter(|_| is_readiness) {
            let sentence = shortened(&waits_for, WAITS_FOR_BYTES_MAX);
            metadata.insert_bin(WAITS_FOR_KEY, MetadataValue::from_bytes(sentence.as_bytes()));
        }
        Ok(response)
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.service.watch(request).await
    }
}

/// What an answer says beside its status; all of it may be missing, and none of it is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The node's name.
    pub node: Option<String>,
    /// Its role.
    pub role: Option<String>,
    /// What it waits for.
    pub waits_for: Option<String>,
}

impl Told {
    /// Reads the metadata of an answer.
    #[must_use]
    pub fn of(metadata: &MetadataMap) -> Self {
        let text = |key| metadata.get(key)?.to_str().ok().map(str::to_owned);
        let waits_for = metadata.get_bin(WAITS_FOR_KEY).and_then(|value| value.to_bytes().ok());
        Self {
            node: text(NODE_KEY),
            role: text(ROLE_KEY),
            waits_for: waits_for
                .map(|bytes| shortened(&String::from_utf8_lossy(&bytes), WAITS_FOR_BYTES_MAX).into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_health::pb::{health_check_response::ServingStatus, health_server::Health as _};

    use super::*;

    async fn ask(answers: &Answers, check: Check) -> (ServingStatus, Told) {
        let request = HealthCheckRequest { service: check.service().to_owned() };
        let response = answers.check(Request::new(request)).await.unwrap();
        (response.get_ref().status(), Told::of(response.metadata()))
    }

    #[tokio::test]
    async fn a_node_says_what_it_waits_for_and_only_where_readiness_is_asked() {
        let (health, answers) = answering(PeerRole::Worker, "worker-1").await;
        for waits_for in [Some("shards, ünd more"), None, Some("a leader")] {
            health.set_readiness(waits_for.map(str::to_owned)).await;
            let (status, told) = ask(&answers, Check::Readiness).await;
            assert_eq!(status == ServingStatus::Serving, waits_for.is_none());
            assert_eq!(told.waits_for.as_deref(), waits_for);
            assert_eq!((told.node.as_deref(), told.role.as_deref()), (Some("worker-1"), Some("worker")));
            for check in [Check::Startup, Check::Liveness] {
                let (status, told) = ask(&answers, check).await;
                assert_eq!((status, told.waits_for), (ServingStatus::Serving, None));
            }
        }
    }

    #[tokio::test]
    async fn a_sentence_is_cut_to_what_travels() {
        let (health, answers) = answering(PeerRole::Router, "r").await;
        health.set_readiness(Some("x".repeat(100_000))).await;
        let (_, told) = ask(&answers, Check::Readiness).await;
        assert!(told.waits_for.unwrap().len() <= WAITS_FOR_BYTES_MAX);
    }
}
