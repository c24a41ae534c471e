//! Which workers a job can be done with: those that the leader reaches and that reach each other. Heartbeats do not tell
//! it: they show that a worker reaches the leader.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use shoal_common::{
    causes::with_causes,
    rpc::{is_lost_on_the_way, shortened},
};
use shoal_proto::v1::{CheckPeersRequest, UnreachedPeer, WorkerPeer};
use tonic::{Code, Status};

use super::{error::JobError, steps::client};
use crate::leader::{Leader, LiveWorker};

/// How long a worker may take to look for its peers, each of which has three seconds.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How often workers that cannot be worked with are looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Bytes of a reason: it is kept with the job.
const REASON_BYTES_MAX: usize = 512;

/// The workers that the leader reaches and that reach each other. The others are remembered with the reason.
///
/// # Errors
/// When the leader reaches none of them.
pub(super) async fn reachable(
    leader: &Leader,
    workers: Vec<LiveWorker>,
) -> Result<Vec<LiveWorker>, JobError> {
    let looked = join_all(workers.iter().map(|worker| look(leader, worker, &workers))).await;
    let mut unreached = BTreeMap::new();
    let mut broken = Vec::new();
    for (worker, found) in workers.iter().zip(looked) {
        match found {
            Ok(peers) => broken.extend(peers.into_iter().map(|peer| (worker.name.clone(), peer))),
            Err(reason) => {
                let own = leader.config.raft_id;
                unreached
                    .insert(worker.name.clone(), format!("coordinator {own} does not reach it: {reason}"));
            }
        }
    }
    leave_out(broken, &mut unreached);
    leader.unreachable.replace(&unreached, leader.clock.now_unix_ms());
    if unreached.len() == workers.len() {
        let each = workers.iter().filter_map(|worker| {
            let (name, address) = (&worker.name, &worker.address);
            Some(format!("'{name}' at {address} ({})", unreached.get(name)?))
        });
        return Err(JobError::Transient(format!(
            "no worker can be worked with, although all of them send heartbeats: {}; check their advertised addresses \
             and what lies between",
            each.collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(workers.into_iter().filter(|worker| !unreached.contains_key(&worker.name)).collect())
}

/// For as long as there are workers that cannot be worked with, looks for them again and again.
pub(crate) async fn look_again(leader: Leader) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        if leader.unreachable.is_empty() {
            continue;
        }
        let state = leader.raft.view().borrow().clone();
        let workers = leader.members.live_workers(&state, leader.config.lease);
        // Who is reached is noted; whether anybody is, a job says.
        let _ = reachable(&leader, workers).await;
    }
}

/// The peers that a worker does not reach.
///
/// # Errors
/// Why the leader does not reach the worker itself.
async fn look(
    leader: &Leader,
    worker: &LiveWorker,
    workers: &[LiveWorker],
) -> Result<Vec<UnreachedPeer>, String> {
    let peers = workers.iter().filter(|peer| peer.name != worker.name);
    let peers = peers.map(|peer| WorkerPeer { node: peer.name.clone(), address: peer.address.clone() });
    let request = CheckPeersRequest { cluster_id: leader.config.cluster_id.clone(), peers: peers.collect() };
    let mut client = client(leader, worker).map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(ANSWER_MAX, client.check_peers(request)).await;
    match answer {
        Ok(Ok(reply)) => Ok(reply.into_inner().unreached),
        Ok(Err(status)) if is_of_the_way(&status) => Err(with_causes(&status)),
        // It answers: one of an earlier release does not look for others.
        Ok(Err(_)) => Ok(Vec::new()),
        Err(_) => Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
    }
}

fn is_of_the_way(status: &Status) -> bool {
    is_lost_on_the_way(status) || status.code() == Code::DeadlineExceeded
}

/// Leaves out as few workers as it takes until all that are left reach each other, those with most broken links first; of
/// two, the one that is not reached. `broken` are links as the worker at their beginning has found them.
fn leave_out(mut broken: Vec<(String, UnreachedPeer)>, left_out: &mut BTreeMap<String, String>) {
    loop {
        broken.retain(|(worker, peer)| !left_out.contains_key(worker) && !left_out.contains_key(&peer.node));
        // Broken links of a worker, and those that end at it.
        let mut links: BTreeMap<&String, (usize, usize)> = BTreeMap::new();
        for (worker, peer) in &broken {
            links.entry(worker).or_default().0 += 1;
            let to = links.entry(&peer.node).or_default();
            (to.0, to.1) = (to.0 + 1, to.1 + 1);
        }
        let worst = links.into_iter().max_by_key(|(_, links)| *links).map(|(worker, _)| worker.clone());
        let Some(worst) = worst else { return };
        let to: Vec<&(String, UnreachedPeer)> =
            broken.iter().filter(|(_, peer)| peer.node == worst).collect();
        let by: Vec<String> = to.iter().map(|(worker, _)| format!("'{worker}'")).collect();
        let reason = match to.first() {
            Some((_, first)) => format!("not reached by {} ({})", by.join(", "), first.reason),
            None => {
                let from = broken.iter().filter(|(worker, _)| *worker == worst);
                let from: Vec<String> =
                    from.map(|(_, peer)| format!("'{}' ({})", peer.node, peer.reason)).collect();
                format!("it does not reach {}", from.join(", "))
            }
        };
        left_out.insert(worst, shortened(&reason, REASON_BYTES_MAX).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(broken: &[(&str, &str)]) -> Vec<String> {
        let link = |(worker, peer): &(&str, &str)| {
            let peer = UnreachedPeer { node: (*peer).to_owned(), reason: "timed out".to_owned() };
            ((*worker).to_owned(), peer)
        };
        let mut left_out = BTreeMap::new();
        leave_out(broken.iter().map(link).collect(), &mut left_out);
        left_out.into_keys().collect()
    }

    #[test]
    fn those_that_are_left_reach_each_other_and_few_are_left_out() {
        let none: [&str; 0] = [];
        assert_eq!(left_out(&[]), none);
        // Whoever is not reached, from one side or from both.
        assert_eq!(left_out(&[("a", "b")]), ["b"]);
        assert_eq!(left_out(&[("b", "a")]), ["a"]);
        assert_eq!(left_out(&[("a", "b"), ("c", "b"), ("b", "a"), ("b", "c")]), ["b"]);
        // One that reaches nobody, although all reach it.
        assert_eq!(left_out(&[("a", "b"), ("a", "c"), ("a", "d")]), ["a"]);
        // Two halves that do not see each other: one of them is left.
        assert_eq!(left_out(&[("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]).len(), 2);
        assert_eq!(left_out(&[("a", "b"), ("c", "d")]), ["b", "d"]);
    }

    #[test]
    fn a_reason_says_who_does_not_reach_whom() {
        let peer = |node: &str| UnreachedPeer { node: node.to_owned(), reason: "refused".to_owned() };
        let mut left_out = BTreeMap::new();
        leave_out(vec![("a".to_owned(), peer("b")), ("c".to_owned(), peer("b"))], &mut left_out);
        assert_eq!(left_out["b"], "not reached by 'a', 'c' (refused)");
    }
}
