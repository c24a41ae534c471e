//! Elections, commands, and reads that see what was acknowledged.

use std::{collections::BTreeMap, time::Duration};

use shoal_coordinator::raft::ProposeError;
use tokio::time::Instant;

use crate::support::{
    PATIENCE, eventually,
    group::{Group, Settings, names},
};

/// A lost leader is missed after at most 20 ticks of 30 ms, and an election may have to be repeated; the rest
/// is for a busy machine.
const ELECTION_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn three_members_elect_one_leader_and_apply_the_same_commands() {
    let group = Group::start(3, Settings::default());
    group.commit_many("c", 50).await;
    let applied = group.agreed().await;
    assert_eq!(applied.len(), 50);
    assert!(applied.is_sorted(), "the order is the log's");

    let leader = group.leader().await;
    let term = group.member(leader).handle.leadership().borrow().term;
    for id in group.ids() {
        let leadership = eventually("everybody knows the leader", || {
            let known = group.member(id).handle.leadership().borrow().clone();
            (known.leader_id == Some(leader)).then_some(known)
        })
        .await;
        assert_eq!((leadership.term, leadership.is_leader), (term, id == leader));
        assert_eq!(leadership.leader_address, Some(group.address_of(leader)));
    }
    let status = group.member(leader).handle.status().borrow().clone();
    assert!(status.peers.len() == 3 && status.applied_index == status.commit_index, "{status:?}");
    group.kill_all().await;
}

/// Every member founds the group alike, whichever are there first.
#[tokio::test(flavor = "multi_thread")]
async fn any_two_founders_make_a_group_and_the_third_joins_it() {
    for late in 1..=3 {
        let mut group = Group::found(3, Settings { tick: Duration::from_millis(20), ..Settings::default() });
        for id in (1..=3).filter(|id| *id != late) {
            group.revive(id);
        }
        group.commit("of two").await;
        group.revive(late);
        group.commit("of three").await;
        assert_eq!(names(&group.agreed().await), ["of two", "of three"]);
        group.kill_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_says_where_the_leader_is() {
    let group = Group::start(3, Settings::default());
    group.commit("c").await;
    let leader = group.leader().await;
    for id in group.ids().into_iter().filter(|id| *id != leader) {
        let leader_address = Some(group.address_of(leader));
        let expected = ProposeError::NotLeader { leader_address };
        let told = async {
            // It may not have heard of the leader yet.
            while group.member(id).propose("d").await.unwrap_err() != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.unwrap();
    }
    assert_eq!(names(&group.agreed().await), ["c"], "what was refused is not done");
    group.kill_all().await;
}

/// Linearizable: after a write was acknowledged every read at any member finds it, and no read finds less than
/// an earlier one.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_any_member_sees_every_acknowledged_write() {
    let mut group = Group::start(3, Settings::default());
    let mut written = Vec::new();
    for round in 0..3 {
        for number in 0..10 {
            let name = format!("{round}-{number}");
            group.commit(&name).await;
            written.push(name);
            for member in group.members() {
                assert_eq!(names(&member.read().await), written);
            }
        }
        // The same under another leader, and at one that has just come back.
        let leader = group.leader().await;
        group.kill(leader).await;
        group.revive(leader);
        assert_eq!(names(&group.member(leader).read().await), written);
    }
    group.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut group = Group::start(3, Settings { snapshot_every_entries: 40, ..Settings::default() });
    let mut acknowledged = BTreeMap::new();
    for round in 0..4 {
        for number in 0..30 {
            let name = format!("{round}-{number}");
            acknowledged.insert(name.clone(), group.commit(&name).await);
        }
        let leader = group.leader().await;
        group.kill(leader).await;
        let successor = tokio::time::timeout(ELECTION_MAX, group.leader()).await;
        assert_ne!(successor.expect("another leads soon"), leader);
        let name = format!("{round} without {leader}");
        acknowledged.insert(name.clone(), group.commit(&name).await);
        group.revive(leader);
    }
    // Once each, where the answers said.
    let applied = group.agreed().await;
    let applied: Vec<_> = applied.iter().map(|applied| (applied.name.clone(), applied.index)).collect();
    let mut expected: Vec<_> = acknowledged.into_iter().collect();
    expected.sort_by_key(|(_, index)| *index);
    assert_eq!(applied, expected);
    group.kill_all().await;
}

/// Several clients that do not wait for each other, and a leader that is lost while they write: whatever was
/// acknowledged is there, once; what is not known is there once or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn proposals_under_way_when_the_leader_is_lost_happen_once_or_not_at_all() {
    let mut group = Group::start(3, Settings::default());
    let leader = group.leader().await;
    let handle = group.member(leader).handle.clone();
    let clients = (0..16).map(|client| {
        let handle = handle.clone();
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let name = format!("{client}-{number}");
                let deadline = Instant::now() + PATIENCE;
                match handle.propose(name.clone().into(), deadline).await {
                    Ok(_) => acknowledged.push(name),
                    Err(_) => break,
                }
            }
            acknowledged
        })
    });
    let clients: Vec<_> = clients.collect();
    eventually("much is under way", || (group.member(leader).view().len() > 200).then_some(())).await;
    group.kill(leader).await;
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    group.commit("after").await;
    group.revive(leader);
    let applied = group.agreed().await;
    let mut found = names(&applied);
    found.sort_unstable();
    assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "a command was applied twice");
    let lost: Vec<_> =
        acknowledged.iter().filter(|name| found.binary_search(&name.as_str()).is_err()).collect();
    assert!(lost.is_empty(), "{lost:?}");
    group.kill_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_that_is_handed_over_under_load_loses_nothing() {
    let group = Group::start(3, Settings::default());
    let mut expected = Vec::new();
    for round in 0..5 {
        let leader = group.leader().await;
        group.member(leader).handle.step_down().await;
        eventually("it leads no longer", || (!group.member(leader).is_leader()).then_some(())).await;
        for number in 0..10 {
            let name = format!("{round}-{number}");
            group.commit(&name).await;
            expected.push(name);
        }
    }
    assert_eq!(names(&group.agreed().await), expected);
    group.kill_all().await;
}

/// One task owns everything of raft, and no lock is held while it waits: whatever is asked of a member at the
/// same time, none of it stands in the way of the rest.
#[tokio::test(flavor = "multi_thread")]
async fn proposals_reads_and_hand_overs_at_once_all_come_to_an_end() {
    let group = Group::start(3, Settings { snapshot_every_entries: 5, ..Settings::default() });
    group.leader().await;
    let asked = (0..8).flat_map(|client| {
        group.members().map(move |member| {
            let handle = member.handle.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    let name = format!("{client}-{number}");
                    let deadline = Instant::now() + PATIENCE;
                    // Most are not led by the member that they ask.
                    let _ = handle.propose(name.into(), deadline).await;
                    let _ = handle.view().borrow().len() + handle.status().borrow().peers.len();
                    handle.read(deadline).await.expect("a quorum is there");
                    if client == 0 && number % 5 == 0 {
                        handle.step_down().await;
                    }
                }
            })
        })
    });
    let asked = futures::future::try_join_all(asked);
    tokio::time::timeout(PATIENCE, asked).await.expect("nobody waits for ever").unwrap();
    group.agreed().await;
    group.kill_all().await;
}
