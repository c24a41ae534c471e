//! Whether any worker answers this router. Queries tell it by themselves; while none are asked, workers are looked for, so that
//! a router that nobody answers (its certificate was revoked, its network is cut) does not stay ready.
//!
//! Coordinators have no part in it: without them a router serves on, as long as workers answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use shoal_common::{
    health::Check,
    rpc::{Channels, with_deadline},
    shutdown::Shutdown,
    tls::PeerRole,
};
use tokio::{sync::watch, time::Instant};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{replicas::Replica, snapshot::Snapshot};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// An answer to a query counts for so long.
const ANSWER_COUNTS_FOR: Duration = Duration::from_secs(4);
/// How long a worker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Looks without any answer after which nobody answers: one may meet a moment in which all are busy.
const LOOKS_IN_VAIN: u32 = 2;

/// Why no worker answers, where that is so. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach(Arc<Mutex<Option<String>>>);

impl Reach {
    /// Why no worker answers; `None` while one does, or none is known.
    pub(crate) fn lost(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, lost: Option<String>) {
        metrics::gauge!("shoal_router_workers_answering").set(f64::from(u8::from(lost.is_none())));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &lost) {
            (None, Some(reason)) => tracing::error!(reason, "no worker answers this router"),
            (Some(_), None) => tracing::info!("workers answer this router again"),
            _ => {}
        }
        *known = lost;
    }

    /// Looks for workers until asked to stop.
    pub(crate) async fn follow(
        self,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        channels: Channels,
        stop: Shutdown,
    ) {
        let mut in_vain = 0;
        loop {
            let workers = workers_of(&snapshots.borrow());
            match looked(&workers, &channels).await {
                Ok(()) => {
                    in_vain = 0;
                    self.set(None);
                }
                Err(reason) => {
                    in_vain += 1;
                    if in_vain >= LOOKS_IN_VAIN {
                        self.set(Some(reason));
                    }
                }
            }
            tokio::select! {
                biased;
                () = stop.requested() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

/// The workers that could be asked for what is live, by name.
fn workers_of(snapshot: &Snapshot) -> Vec<Arc<Replica>> {
    let live = snapshot.live_versions_of_known_models();
    let shards = live.flat_map(|live| live.user_shards.iter().chain(&live.item_shards));
    let replicas = shards.flatten().map(|replica| (replica.name.clone(), Arc::clone(replica)));
    replicas.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Whether one of them answers, or has done so lately.
async fn looked(workers: &[Arc<Replica>], channels: &Channels) -> Result<(), String> {
    let lately = |worker: &Arc<Replica>| {
        worker.answered_at().is_some_and(|at| Instant::now().duration_since(at) < ANSWER_COUNTS_FOR)
    };
    if workers.is_empty() || workers.iter().any(lately) {
        return Ok(());
    }
    let answers = join_all(workers.iter().map(|worker| ask(worker, channels))).await;
    let mut reasons = Vec::new();
    for (worker, answer) in workers.iter().zip(answers) {
        match answer {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(format!("{} at {}: {reason}", worker.name, worker.address)),
        }
    }
    Err(format!(
        "no worker answers this router ({}); look at its certificate, at its network, and at the workers",
        reasons.join("; ")
    ))
}

async fn ask(worker: &Replica, channels: &Channels) -> Result<(), String> {
    let channel = channels.get(&worker.address, PeerRole::Worker).map_err(|error| error.to_string())?;
    let question = HealthCheckRequest { service: Check::Liveness.service().to_owned() };
    let question = with_deadline(question, Instant::now() + ANSWER_MAX, Duration::ZERO);
    let mut client = HealthClient::new(channel);
    match tokio::time::timeout(ANSWER_MAX, client.check(question)).await {
        Ok(Ok(_)) => Ok(()),
        // A worker of a release without this service answers too.
        Ok(Err(status)) if matches!(status.code(), Code::Unimplemented | Code::NotFound) => Ok(()),
        Ok(Err(status)) => Err(reason(&status)),
        Err(_) => Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
    }
}

/// What a call met: the cause of a broken connection says more than its status.
fn reason(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    let mut reason = status.message().to_owned();
    while let Some(error) = cause {
        reason = error.to_string();
        cause = error.source();
    }
    reason
}
