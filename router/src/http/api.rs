//! What every handler has: who answers queries, and what the service says of itself.

use std::sync::Arc;

use crate::query::Queries;

/// Renders the process's metrics as Prometheus text.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// The state of the routes.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) queries: Queries,
    pub(super) metrics: RenderMetrics,
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
