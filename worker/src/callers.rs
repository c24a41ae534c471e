//! Who may call which method of a worker.

use shoal_common::{access::Callers, tls::PeerRole};

/// Coordinators have jobs done, workers exchange rows, routers ask.
pub(crate) fn callers(path: &str) -> Option<Callers> {
    let service = path.strip_prefix('/')?.split('/').next()?;
    match service {
        "shoal.v1.WorkerJobs" => Some(Callers::Roles(&[PeerRole::Coordinator])),
        "shoal.v1.WorkerExchange" => Some(Callers::Roles(&[PeerRole::Worker])),
        "shoal.v1.WorkerServing" => Some(Callers::Roles(&[PeerRole::Router])),
        "grpc.health.v1.Health" => Some(Callers::Anyone),
        _ => None,
    }
}
