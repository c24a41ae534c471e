//! Who may call which method of a coordinator.

use shoal_common::{
    access::{Callers, Scope},
    tls::PeerRole,
};

/// Members of the group speak raft; workers and routers beat and follow the metadata; the rest is for people and programs,
/// and what a later release adds is for administrators until it is named here.
pub(crate) fn callers(path: &str) -> Option<Callers> {
    let method = path.strip_prefix("/shoal.v1.Coordinator/");
    match (path, method) {
        ("/shoal.v1.Raft/Send", _) => Some(Callers::Roles(&[PeerRole::Coordinator])),
        (_, Some("DescribeMember")) => Some(Callers::Roles(&[PeerRole::Coordinator, PeerRole::Admin])),
        (_, Some("Heartbeat")) => Some(Callers::Roles(&[PeerRole::Worker, PeerRole::Router])),
        (_, Some("WatchMetadata")) => {
            Some(Callers::Roles(&[PeerRole::Worker, PeerRole::Router, PeerRole::Admin]))
        }
        (
            _,
            Some("ListDatasets" | "ListJobs" | "GetJob" | "WatchJob" | "ListModels" | "Status" | "ListNodes"),
        ) => Some(Callers::Scope(Scope::Read)),
        (_, Some("ImportDataset" | "PreviewImport" | "StartTraining" | "StartLists" | "CancelJob")) => {
            Some(Callers::Scope(Scope::Train))
        }
        (_, Some(_)) => Some(Callers::Scope(Scope::Admin)),
        _ if path.starts_with("/grpc.health.v1.Health/") => Some(Callers::Anyone),
        _ => None,
    }
}
