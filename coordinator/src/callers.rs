//! Who may call which method of a coordinator.

use shoal_common::{access::Callers, tls::PeerRole};

/// Members of the group speak raft; workers and routers beat and follow the metadata; the rest is administration.
pub(crate) fn callers(path: &str) -> Option<Callers> {
    let method = path.strip_prefix("/shoal.v1.Coordinator/");
    match (path, method) {
        ("/shoal.v1.Raft/Send", _) => Some(Callers::Roles(&[PeerRole::Coordinator])),
        (_, Some("Heartbeat")) => Some(Callers::Roles(&[PeerRole::Worker, PeerRole::Router])),
        (_, Some("WatchMetadata")) => {
            Some(Callers::Roles(&[PeerRole::Worker, PeerRole::Router, PeerRole::Admin]))
        }
        (_, Some(_)) => Some(Callers::Roles(&[PeerRole::Admin])),
        _ if path.starts_with("/grpc.health.v1.Health/") => Some(Callers::Anyone),
        _ => None,
    }
}
