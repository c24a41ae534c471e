//! What becomes of those who wait for an answer.

use std::time::Duration;

use shoal_coordinator::raft::{COMMAND_BYTES_MAX, ProposeError, ReadError};
use tokio::time::Instant;

use crate::support::{
    PATIENCE, eventually,
    group::{Group, Settings, names},
    ledger::{Gate, POISON},
};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_proposals_end_as_unknown_and_then_as_not_leader() {
    let mut group = Group::start(3, Settings::default());
    group.commit("before").await;
    let leader = group.leader().await;
    for id in group.ids().into_iter().filter(|id| *id != leader) {
        group.kill(id).await;
    }
    let member = group.member(leader);
    // It resigns when it has not heard of a quorum for a while; the deadline is much later.
    assert_eq!(member.propose("hopeless").await, Err(ProposeError::Unknown));
    let resigned = eventually("it says that nobody leads", || {
        let known = member.handle.leadership().borrow().clone();
        (!known.is_leader).then_some(known)
    })
    .await;
    assert_eq!(resigned.leader_id, None);
    let refused = member.propose("late").await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader_address: None }));
    let deadline = Instant::now() + Duration::from_secs(1);
    assert_eq!(member.handle.read(deadline).await.unwrap_err(), ReadError::Timeout);
    assert_eq!(names(&member.view()), ["before"]);
    group.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_ends_at_its_deadline_and_may_happen_later() {
    let mut group = Group::found(1, Settings { tick: Duration::from_millis(5), ..Settings::default() });
    let gate = Gate::default();
    group.revive_behind(1, gate.clone());
    group.leader().await;
    gate.shut();
    let member = group.member(1);
    let deadline = Instant::now() + Duration::from_millis(100);
    assert_eq!(member.handle.propose("c".into(), deadline).await, Err(ProposeError::Unknown));
    assert!(member.view().is_empty());
    gate.open();
    eventually("it happens all the same", || (names(&member.view()) == ["c"]).then_some(())).await;
    group.kill_all().await;
}

/// More than a member can take is refused at once, and what it took it carries out.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_is_refused_at_once() {
    let mut group = Group::found(1, Settings { tick: Duration::from_millis(5), ..Settings::default() });
    let gate = Gate::default();
    group.revive_behind(1, gate.clone());
    group.leader().await;
    gate.shut();
    let member = group.member(1);
    let held = tokio::spawn({
        let handle = member.handle.clone();
        async move { handle.propose("held".into(), Instant::now() + PATIENCE).await }
    });
    eventually("it is held up", || gate.holds().then_some(())).await;
    let proposals = (0..5_000).map(|number| member.propose_bytes(format!("{number}").into()));
    let proposals = futures::future::join_all(proposals);
    // Those that are refused need no driver.
    let opening = async {
        tokio::task::yield_now().await;
        gate.open();
    };
    let (outcomes, ()) = tokio::join!(proposals, opening);
    held.await.unwrap().unwrap();
    let refused = outcomes.iter().filter(|outcome| **outcome == Err(ProposeError::Busy)).count();
    let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(refused > 0 && refused + taken == 5_000, "{refused} refused, {taken} taken");
    assert_eq!(member.view().len(), taken + 1);
    group.kill_all().await;
}

/// Two that propose the same are two: each is answered for its own.
#[tokio::test(flavor = "multi_thread")]
async fn equal_proposals_are_told_apart() {
    let group = Group::start(3, Settings::default());
    group.leader().await;
    let same = (0..10).map(|_| group.commit("same"));
    let mut indexes = futures::future::join_all(same).await;
    indexes.sort_unstable();
    let applied: Vec<u64> = group.agreed().await.iter().map(|applied| applied.index).collect();
    assert_eq!(applied, indexes);
    group.kill_all().await;
}

/// A member that gets a snapshot answers reads that wait for what the snapshot holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_waits_is_answered_by_a_snapshot() {
    let mut group = Group::start(3, Settings { snapshot_every_entries: 50, ..Settings::default() });
    let leader = group.leader().await;
    let away = group.ids().into_iter().find(|id| *id != leader).unwrap();
    group.kill(away).await;
    group.commit_many("c", 400).await;
    group.revive(away);
    // Asked at once, before it can have heard of anything.
    assert_eq!(group.member(away).read().await.len(), 400);
    group.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_no_message_could_carry_is_refused_and_stops_nobody() {
    let group = Group::start(3, Settings::default());
    group.commit("before").await;
    let leader = group.member(group.leader().await);
    let size_bytes = COMMAND_BYTES_MAX + 1;
    let refused = leader.propose_bytes(vec![0; size_bytes].into()).await;
    assert_eq!(refused, Err(ProposeError::TooLarge { size_bytes }));
    let mut largest = b"the largest     ".to_vec();
    largest.resize(COMMAND_BYTES_MAX, 0);
    group.commit_bytes("the largest     ", largest.into()).await;
    assert_eq!(names(&group.agreed().await), ["before", "the largest     "]);
    group.kill_all().await;
}

/// A driver that has panicked holds on to nothing: its member leads nobody, and nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_driver_has_died_leads_nobody() {
    let group = Group::start(1, Settings { tick: Duration::from_millis(5), ..Settings::default() });
    group.commit("before").await;
    let member = group.member(1);
    assert_eq!(member.propose(POISON).await, Err(ProposeError::Unknown));
    tokio::time::timeout(PATIENCE, member.handle.stopped()).await.unwrap();
    let known = member.handle.leadership().borrow().clone();
    assert_eq!((known.is_leader, known.leader_id), (false, None));
    assert_eq!(member.propose("after").await, Err(ProposeError::Stopped));
    assert_eq!(member.handle.read(Instant::now() + PATIENCE).await.unwrap_err(), ReadError::Stopped);
    group.kill_all().await;
}
