//! The leader's terms: for as long as this member leads it publishes metadata, runs the jobs and has the controllers
//! look at the state. All of it is level-triggered: each pass compares what should be with what is reported.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shoal_common::shutdown::Shutdown;

use super::{
    handle::Leader,
    live_record,
    metadata::Publisher,
    observed::{observe, say_nothing},
};
use crate::jobs::{look_again, runner::Runner};

/// How often controllers look again when nothing told them to.
const PASS_INTERVAL: Duration = Duration::from_millis(200);

/// Leads whenever this member is the leader, until told to stop.
pub async fn run(leader: Leader, shutdown: Shutdown) {
    let mut leadership = leader.raft.leadership();
    loop {
        let known = leadership.borrow_and_update().clone();
        if known.is_leader {
            tracing::info!(term = known.term, "leading");
            lead(&leader, known.term, &shutdown).await;
            tracing::info!(term = known.term, "no longer leading");
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            changed = leadership.changed() => if changed.is_err() { return },
        }
    }
}

/// Does a leader's work until the term or the process ends.
async fn lead(leader: &Leader, term: u64, shutdown: &Shutdown) {
    let mut leadership = leader.raft.leadership();
    let mut state = leader.raft.view();
    // Nobody loses a lease because the old leader was lost.
    leader.members.grant_all(&state.borrow_and_update());
    leader.unreachable.replace(&BTreeMap::new(), 0);
    let looking = shutdown.spawn("looking for workers", look_again(leader.clone()));
    let recording = shutdown.spawn("live record", live_record::keep(leader.clone()));
    let mut jobs = Runner::new(leader.clone());
    let mut publisher = Publisher::new(term);
    loop {
        // Before the state is looked at, which then has everything that ended jobs have committed.
        jobs.forget_ended();
        let seen = Arc::clone(&state.borrow_and_update());
        publisher.publish(leader, &seen);
        jobs.reconcile(&seen, shutdown);
        leader.reconcile(&seen).await;
        observe(leader, &seen);
        tokio::select! {
            // Losing leadership comes first: nothing may be proposed in another's term.
            biased;
            () = shutdown.requested() => break,
            changed = leadership.changed() => {
                let known = leadership.borrow_and_update();
                if changed.is_err() || !known.is_leader || known.term != term {
                    break;
                }
            }
            changed = state.changed() => if changed.is_err() { break },
            () = leader.members.changed() => {}
            () = tokio::time::sleep(PASS_INTERVAL) => {}
        }
    }
    jobs.stop();
    looking.abort();
    recording.abort();
    say_nothing();
}
