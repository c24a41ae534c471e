//! The task that owns the raft node, its log and the state machine.
//!
//! One turn, in this order, which is what keeps promises across crashes: take events, tick, and if
//! raft has something ready: send what needs no disk; install a snapshot; persist entries and hard state
//! with one fsync; only then send what promises that they are persisted; apply what is committed. An error
//! while persisting drops the node, because its memory may be ahead of the disk, and builds it anew.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use protobuf::Message as _;
use raft::{
    Config, RawNode, ReadOnlyOption, ReadState, SnapshotStatus, StateRole, Storage as _,
    eraftpb::{ConfChange, ConfChangeV2, ConfState, Entry, EntryType, Message},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    door::{Door, Refusals},
    error::{ProposeError, RaftStartError},
    inbox::Event,
    log_error::LogStoreError,
    log_store::{LogStore, Owner},
    lost_log::heartbeat_beyond_the_log,
    member::{Leadership, PeerStatus, RaftConfig, RaftStatus},
    outlets::{Outlets, Publishers, say_snapshot},
    state_machine::StateMachine,
    transport::Links,
};

/// Events looked at in one turn, so that ticks and persisting are not put off for long.
const TURN_EVENTS: usize = 128;
const HEARTBEAT_TICKS: usize = 2;
const ELECTION_TICKS: usize = 10;
/// How long the driver waits before it rebuilds a node whose disk failed.
const REBUILD_PAUSE: Duration = Duration::from_secs(1);

/// A proposal's id: the term it was made in and a count. A term has one leader, so no two are alike.
type ProposalId = (u64, u64);
type ProposalReply = oneshot::Sender<Result<Bytes, ProposeError>>;

/// Reads that wait for the state to reach an index.
struct PendingRead<V> {
    index: u64,
    reply: oneshot::Sender<Arc<V>>,
}

pub(super) struct Driver<S: StateMachine> {
    config: RaftConfig,
    machine: S,
    /// Before any command: what a rebuilt node starts from.
    initial: Bytes,
    node: RawNode<LogStore>,
    conf_state: ConfState,
    applied: u64,
    events: mpsc::Receiver<Event<S::View>>,
    links: Links,
    door: Door,
    publish: Publishers<S::View>,
    proposals: BTreeMap<ProposalId, ProposalReply>,
    /// Counts proposals and reads, so that each has an id of its own.
    counter: u64,
    reads: BTreeMap<Vec<u8>, oneshot::Sender<Arc<S::View>>>,
    waiting_reads: Vec<PendingRead<S::View>>,
    last_tick: Instant,
}

impl<S: StateMachine> Driver<S> {
    pub(super) fn open(
        config: RaftConfig,
        mut machine: S,
        events: mpsc::Receiver<Event<S::View>>,
        links: Links,
        refusals: Refusals,
    ) -> Result<(Self, Outlets<S::View>), RaftStartError> {
        let initial = machine.snapshot();
        let (node, applied) = open_node(&config, &initial, &mut machine)?;
        let (publish, outlets) = Publishers::new(machine.view(), applied);
        let conf_state = node.raft.prs().conf().to_conf_state();
        let members = config.peers.keys().copied().collect();
        let driver = Self {
            door: Door::new(members, refusals, config.tick * ELECTION_TICKS as u32),
            config,
            machine,
            initial,
            node,
            conf_state,
            applied,
            events,
            links,
            publish,
            proposals: BTreeMap::new(),
            counter: 0,
            reads: BTreeMap::new(),
            waiting_reads: Vec::new(),
            last_tick: Instant::now(),
        };
        Ok((driver, outlets))
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let tick_at = self.last_tick + self.config.tick;
            let first = tokio::select! {
                // Stopping comes before work, and work before the clock: a late tick is made up for below.
                biased;
                () = stop.cancelled() => break,
                event = self.events.recv() => match event {
                    Some(event) => Some(event),
                    None => break,
                },
                // More was ready than one turn takes.
                () = std::future::ready(()), if self.node.has_ready() => None,
                () = tokio::time::sleep_until(tick_at) => None,
            };
            self.take_events(first);
            if let Err(error) = self.turn() {
                tracing::error!(%error, cause = std::error::Error::source(&error).map(tracing::field::display), "the raft log failed, rebuilding from disk");
                let Some(rebuilt) = self.rebuild(&stop).await else { return };
                self = rebuilt;
            }
            self.publish();
        }
        // Other members may have them already.
        self.fail_proposals(&ProposeError::Unknown);
    }

    fn take_events(&mut self, first: Option<Event<S::View>>) {
        let mut next = first;
        for _ in 0..TURN_EVENTS {
            let Some(event) = next.take().or_else(|| self.events.try_recv().ok()) else { break };
            self.take_event(event);
        }
        let elapsed = self.last_tick.elapsed();
        let ticks = (elapsed.as_nanos() / self.config.tick.as_nanos().max(1)) as usize;
        if ticks == 0 {
            return;
        }
        self.last_tick = Instant::now();
        // Time in which this process stood still counts as no more than a heartbeat: the leader's messages may
        // be here and unread, and an election would take its office away. A leader loses nothing by it, because
        // its next heartbeat is due at once.
        let ticks = ticks.min(HEARTBEAT_TICKS);
        for _ in 0..ticks {
            self.node.tick();
        }
    }

    fn take_event(&mut self, event: Event<S::View>) {
        match event {
            Event::Message { message, .. } => self.take_message(*message),
            Event::Propose { command, reply, .. } => self.take_proposal(&command, reply),
            Event::Read { reply } => {
                self.counter += 1;
                // An answer to a read of an earlier run of this member may still be on its way.
                let run = self.node.store().openings();
                let context = [self.config.raft_id, run, self.counter].map(u64::to_le_bytes).concat();
                self.reads.retain(|_, reply| !reply.is_closed());
                self.reads.insert(context.clone(), reply);
                self.node.read_index(context);
            }
            Event::Unreachable { peer } => self.node.report_unreachable(peer),
            Event::SnapshotSent { peer, delivered } => {
                let status = if delivered { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.node.report_snapshot(peer, status);
            }
            Event::StepDown => self.step_down(),
        }
    }

    fn take_message(&mut self, mut message: Message) {
        let machine = &self.machine;
        if !self.door.admits(&mut self.node.raft, &message, |state| machine.check(state)) {
            return;
        }
        let answer = heartbeat_beyond_the_log(&self.node.raft, &mut message);
        // What raft does not want (an old term, an unknown member) it says by an error; nothing follows.
        match self.node.step(message) {
            Ok(()) => self.node.raft.msgs.extend(answer),
            Err(error) => tracing::debug!(%error, "a raft message was not taken"),
        }
    }

    fn take_proposal(&mut self, command: &Bytes, reply: ProposalReply) {
        let leads = self.node.raft.state == StateRole::Leader;
        let hands_over = self.node.raft.lead_transferee.is_some();
        if !leads || hands_over {
            // While leadership is handed over nobody can take it.
            let leader_address = self.leader_address().filter(|_| !hands_over);
            // A proposer that has gone needs no answer.
            let _ = reply.send(Err(ProposeError::NotLeader { leader_address }));
            return;
        }
        self.counter += 1;
        let id = (self.node.raft.term, self.counter);
        let mut context = id.0.to_le_bytes().to_vec();
        context.extend_from_slice(&id.1.to_le_bytes());
        match self.node.propose(context, command.to_vec()) {
            Ok(()) => {
                self.proposals.insert(id, reply);
            }
            // Too much is uncommitted.
            Err(_) => {
                let _ = reply.send(Err(ProposeError::Busy));
            }
        }
    }

    fn step_down(&mut self) {
        let me = self.config.raft_id;
        let others = self.node.raft.prs().iter().filter(|(id, _)| **id != me);
        let furthest =
            others.max_by_key(|(id, progress)| (progress.recent_active, progress.matched, u64::MAX - **id));
        if self.node.raft.state == StateRole::Leader
            && let Some((&id, _)) = furthest
        {
            self.node.transfer_leader(id);
        }
    }

    /// Everything raft has ready, in the order that keeps its promises.
    fn turn(&mut self) -> Result<(), LogStoreError> {
        if !self.node.has_ready() {
            return Ok(());
        }
        let mut ready = self.node.ready();
        self.send(ready.take_messages());
        self.take_read_states(ready.take_read_states());
        if !ready.snapshot().is_empty() {
            self.install(ready.snapshot().clone(), ready.hs().cloned())?;
        }
        let entries = ready.take_entries();
        if !entries.is_empty() || (ready.hs().is_some() && ready.must_sync()) {
            let started = Instant::now();
            self.node.mut_store().append(&entries, ready.hs())?;
            metrics::histogram!("shoal_coordinator_raft_fsync_seconds")
                .record(started.elapsed().as_secs_f64());
        }
        // These promise that what was just persisted is.
        self.send(ready.take_persisted_messages());
        self.apply(ready.take_committed_entries())?;
        let mut light = self.node.advance(ready);
        self.send(light.take_messages());
        self.apply(light.take_committed_entries())?;
        self.node.advance_apply();
        self.answer_reads();
        self.maybe_snapshot()
    }

    fn send(&mut self, messages: Vec<Message>) {
        for (peer, is_snapshot) in self.links.send(messages) {
            if is_snapshot {
                self.node.report_snapshot(peer, SnapshotStatus::Failure);
            }
            self.node.report_unreachable(peer);
        }
    }

    fn install(
        &mut self,
        snapshot: raft::eraftpb::Snapshot,
        hard_state: Option<raft::eraftpb::HardState>,
    ) -> Result<(), LogStoreError> {
        let mut hard_state = hard_state.unwrap_or_else(|| self.node.raft.hard_state());
        // A log that starts at the snapshot has committed at least that much.
        hard_state.commit = hard_state.commit.max(snapshot.get_metadata().index);
        // The state first: it was looked at before raft took it, but a log that could not be read must never be kept.
        if let Err(error) = self.machine.restore(snapshot.get_data()) {
            return Err(self.mismatch(error.to_string()));
        }
        self.node.mut_store().install(&snapshot, &hard_state)?;
        self.applied = snapshot.get_metadata().index;
        self.conf_state = snapshot.get_metadata().get_conf_state().clone();
        // What these waited for may be inside the snapshot: nobody can tell.
        self.fail_proposals(&ProposeError::Unknown);
        self.publish_view();
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), LogStoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut replies = Vec::new();
        for entry in entries {
            self.applied = entry.index;
            match entry.get_entry_type() {
                EntryType::EntryNormal => replies.extend(self.apply_command(&entry)),
                EntryType::EntryConfChange => {
                    let mut change = ConfChange::default();
                    let read = change.merge_from_bytes(&entry.data).is_ok();
                    let applied = read.then(|| self.node.apply_conf_change(&change));
                    self.take_membership(applied)?;
                }
                EntryType::EntryConfChangeV2 => {
                    let mut change = ConfChangeV2::default();
                    let read = change.merge_from_bytes(&entry.data).is_ok();
                    let applied = read.then(|| self.node.apply_conf_change(&change));
                    self.take_membership(applied)?;
                }
            }
        }
        // Whoever has an answer finds its effect in the view.
        self.publish_view();
        for (waiter, reply) in replies {
            // A proposer that has gone needs no answer.
            let _ = waiter.send(Ok(reply));
        }
        Ok(())
    }

    /// Applies a command; its reply with whoever waits for it here.
    fn apply_command(&mut self, entry: &Entry) -> Option<(ProposalReply, Bytes)> {
        // A new leader's first entry is empty.
        if entry.data.is_empty() {
            return None;
        }
        let reply = self.machine.apply(entry.index, &entry.data);
        let waiter = self.proposals.remove(&proposal_id(&entry.context)?)?;
        Some((waiter, reply))
    }

    fn take_membership(&mut self, changed: Option<raft::Result<ConfState>>) -> Result<(), LogStoreError> {
        match changed {
            Some(Ok(conf_state)) => {
                self.conf_state = conf_state;
                Ok(())
            }
            Some(Err(error)) => Err(self.mismatch(format!("a change of members cannot be applied: {error}"))),
            None => Err(self.mismatch("a change of members cannot be read".to_owned())),
        }
    }

    fn mismatch(&self, reason: String) -> LogStoreError {
        LogStoreError::Mismatch { folder: self.config.folder.clone(), reason }
    }

    fn take_read_states(&mut self, states: Vec<ReadState>) {
        for state in states {
            if let Some(reply) = self.reads.remove(&state.request_ctx) {
                self.waiting_reads.push(PendingRead { index: state.index, reply });
            }
        }
        self.answer_reads();
    }

    fn answer_reads(&mut self) {
        let applied = self.applied;
        let is_done = |read: &mut PendingRead<_>| read.index <= applied || read.reply.is_closed();
        for read in self.waiting_reads.extract_if(.., is_done) {
            let _ = read.reply.send(self.machine.view());
        }
    }

    fn maybe_snapshot(&mut self) -> Result<(), LogStoreError> {
        if self.applied < self.node.store().snapshot_index() + self.config.snapshot_every_entries {
            return Ok(());
        }
        let state = self.machine.snapshot();
        self.node.mut_store().take_snapshot(self.applied, &self.conf_state, &state)?;
        say_snapshot(self.applied, state.len());
        Ok(())
    }

    /// Builds the node anew from what is on disk, as often as it takes. Nothing when told to stop.
    async fn rebuild(mut self, stop: &CancellationToken) -> Option<Self> {
        self.fail_proposals(&ProposeError::Unknown);
        // The log opens only once: the old node has to let go of it first.
        let Self {
            config, mut machine, initial, node, events, links, door, publish, proposals, counter, ..
        } = self;
        drop(node);
        let (node, applied) = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(REBUILD_PAUSE) => {}
            }
            match open_node(&config, &initial, &mut machine) {
                Ok(opened) => break opened,
                Err(error) => {
                    tracing::error!(%error, cause = std::error::Error::source(&error).map(tracing::field::display), "the raft log still fails");
                }
            }
        };
        Some(Self {
            conf_state: node.raft.prs().conf().to_conf_state(),
            config,
            machine,
            initial,
            node,
            applied,
            events,
            links,
            door,
            publish,
            proposals,
            counter,
            // Those who wait ask again.
            reads: BTreeMap::new(),
            waiting_reads: Vec::new(),
            last_tick: Instant::now(),
        })
    }

    fn fail_proposals(&mut self, error: &ProposeError) {
        for reply in std::mem::take(&mut self.proposals).into_values() {
            let _ = reply.send(Err(error.clone()));
        }
    }

    fn leader_address(&self) -> Option<String> {
        self.config.peers.get(&self.node.raft.leader_id).cloned()
    }

    fn publish_view(&mut self) {
        self.publish.show(self.applied, self.machine.view());
    }

    /// Tells the handle who leads and how far the log is.
    fn publish(&mut self) {
        let raft = &self.node.raft;
        let (term, commit_index) = (raft.term, raft.raft_log.committed);
        let leads = raft.state == StateRole::Leader;
        let is_leader = leads && self.node.store().term(self.applied).is_ok_and(|applied| applied == term);
        let leadership = Leadership {
            term,
            leader_id: Some(raft.leader_id).filter(|&id| id != 0),
            leader_address: self.leader_address(),
            is_leader,
        };
        let peers = if leads { self.peers() } else { Vec::new() };
        if !leads {
            self.fail_proposals(&ProposeError::Unknown);
        }
        self.publish.tell(leadership, RaftStatus { term, commit_index, applied_index: self.applied, peers });
    }

    fn peers(&self) -> Vec<PeerStatus> {
        let progress: BTreeMap<u64, (u64, bool)> = self
            .node
            .raft
            .prs()
            .iter()
            .map(|(id, progress)| (*id, (progress.matched, progress.recent_active)))
            .collect();
        let status = |(id, address): (&u64, &String)| {
            let (matched, active) = progress.get(id).copied().unwrap_or_default();
            let recently_active = active || *id == self.config.raft_id;
            PeerStatus { id: *id, address: address.clone(), matched, recently_active }
        };
        self.config.peers.iter().map(status).collect()
    }
}

fn proposal_id(context: &[u8]) -> Option<ProposalId> {
    let (term, counter) = context.split_at_checked(8)?;
    Some((u64::from_le_bytes(term.try_into().ok()?), u64::from_le_bytes(counter.try_into().ok()?)))
}

/// Opens the log, restores the machine from its snapshot; committed entries after it are applied in the first turns.
fn open_node<S: StateMachine>(
    config: &RaftConfig,
    initial: &[u8],
    machine: &mut S,
) -> Result<(RawNode<LogStore>, u64), RaftStartError> {
    let owner = Owner {
        cluster_id: config.cluster_id.clone(),
        raft_id: config.raft_id,
        voters: config.peers.keys().copied().collect(),
    };
    let store = LogStore::open(&config.folder, Arc::clone(&config.disk), owner, initial)?;
    let (applied, state) = store.snapshot_state()?;
    machine.restore(&state)?;
    let (election_min, election_max) = match config.pinned_election_ticks {
        Some(ticks) => (ticks, ticks + 1),
        None => (ELECTION_TICKS, 2 * ELECTION_TICKS),
    };
    let settings = Config {
        id: config.raft_id,
        election_tick: ELECTION_TICKS,
        min_election_tick: election_min,
        max_election_tick: election_max,
        heartbeat_tick: HEARTBEAT_TICKS,
        applied,
        max_size_per_msg: 1024 * 1024,
        max_inflight_msgs: 256,
        check_quorum: true,
        pre_vote: true,
        batch_append: true,
        skip_bcast_commit: false,
        read_only_option: ReadOnlyOption::Safe,
        max_uncommitted_size: 64 * 1024 * 1024,
        max_committed_size_per_ready: 16 * 1024 * 1024,
        ..Config::default()
    };
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let node = RawNode::new(&settings, store, &logger).map_err(RaftStartError::Raft)?;
    Ok((node, applied))
}
