//! What every handler has: who answers queries, and what the service says of itself.

use std::sync::Arc;

use super::{admin::Coordinators, traffic::Traffic};
use crate::query::Queries;

/// Renders the process's metrics as Prometheus text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the routes answer from.
#[derive(Clone)]
pub struct Sources {
    /// Queries, from the workers.
    pub queries: Queries,
    /// The process's metrics.
    pub metrics: RenderMetrics,
    /// The cluster's state, from the coordinators.
    pub coordinators: Coordinators,
    /// What the router was asked.
    pub traffic: Arc<Traffic>,
}

/// The state of the routes.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) queries: Queries,
    pub(super) metrics: RenderMetrics,
    pub(super) coordinators: Coordinators,
    pub(super) traffic: Arc<Traffic>,
    /// The origins whose pages may call, `*` for any.
    pub(super) cors_origins: Arc<[String]>,
    /// `GET /path` of every route that is described.
    pub(super) index: Arc<[String]>,
    pub(super) serves: Serves,
}

/// For whom a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// For clients: no metrics, and no page of the routes with its description.
    Clients,
    /// Also for those who look after the router. The page sends what is tried on it to where it came from, so all routes are there.
    Everybody,
}
