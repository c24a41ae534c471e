//! What is refused of what comes from other members' addresses.
//!
//! The raft crate trusts whoever speaks to it: some messages make it panic, and a term near the largest number leaves no
//! term for the next election. So every message is looked at here before raft sees it: [`check_form`] needs the message
//! alone, and comes before the message waits for the driver; [`Door`] knows the member's own log.
//!
//! No release sends what is refused here, so nothing is lost by it that a member waits for. Not handled: a member that
//! lies in well-formed messages. Who may speak at all is a matter of the connection.

use std::{sync::Arc, time::Duration};

use raft::{
    INVALID_ID, Raft, StateRole, Storage,
    eraftpb::{EntryType, Message, MessageType},
};
use shoal_common::log_limit::LogLimit;
use tokio::time::Instant;

use super::{pieces::PieceError, state_machine::RestoreError};

/// A term may be so much larger than the member's own. A group that elected a leader every second without an end would
/// take twelve days for it.
const TERM_JUMP_MAX: u64 = 1 << 20;

/// The largest term and the largest place in a log that are believed: what follows them can be counted too.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// The largest context: raft's own and those of reads have up to 24 bytes.
const CONTEXT_BYTES_MAX: usize = 64;

/// A line about refused messages comes at most so often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("members do not send {0:?}")]
    Kind(MessageType),
    #[error("{kind:?} must not be of term {term}")]
    Term { kind: MessageType, term: u64 },
    #[error("its term {term} is too far from this member's own term {own}")]
    TermJump { term: u64, own: u64 },
    #[error("{0:?} names a place that no log has")]
    Place(MessageType),
    #[error("its entries do not follow each other")]
    Entries,
    #[error("its context has {0} bytes")]
    Context(usize),
    #[error("its snapshot is of a group with other members; check coordinator.peers")]
    Members,
    #[error("{0}; this member keeps its own log; run one release on all coordinators")]
    Snapshot(#[source] RestoreError),
}

impl Refusal {
    /// The label of this refusal in metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Kind(_) => "kind",
            Self::Term { .. } => "term",
            Self::TermJump { .. } => "term_jump",
            Self::Place(_) => "place",
            Self::Entries => "entries",
            Self::Context(_) => "context",
            Self::Members => "members",
            Self::Snapshot(_) => "snapshot",
        }
    }
}

/// Counts what is refused, and says so now and then. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Refusals(Arc<LogLimit>);

impl Refusals {
    pub(super) fn new() -> Self {
        Self(Arc::new(LogLimit::new(LOG_EVERY)))
    }

    pub(super) fn note(&self, from: u64, refusal: &Refusal) {
        self.note_as(from, refusal.name(), refusal);
    }

    /// A piece of a message that does not fit to the others.
    pub(super) fn note_piece(&self, from: u64, error: &PieceError) {
        self.note_as(from, "piece", error);
    }

    /// A stream that ends because of its sender.
    pub(super) fn note_stream(&self, from: u64, status: &tonic::Status) {
        self.note_as(from, "sender", &status.message());
    }

    fn note_as(&self, from: u64, reason: &'static str, what: &dyn std::fmt::Display) {
        metrics::counter!("shoal_coordinator_raft_refused_total", "reason" => reason).increment(1);
        if let Some(held_back) = self.0.pass() {
            tracing::warn!(from, reason, error = %what, held_back, "a raft message was refused");
        }
    }
}

/// Refuses what no member sends, whatever the receiver's log has.
pub(super) fn check_form(message: &Message) -> Result<(), Refusal> {
    let kind = message.get_msg_type();
    check_kind(kind)?;
    // A request to read is of no term, so that it can be passed on; raft panics in a follower where it has one.
    if (kind == MessageType::MsgReadIndex) != (message.term == 0) || message.term > NUMBER_MAX {
        return Err(Refusal::Term { kind, term: message.term });
    }
    let metadata = message.get_snapshot().get_metadata();
    let places = [
        message.index,
        message.log_term,
        message.commit,
        message.commit_term,
        message.reject_hint,
        metadata.index,
    ];
    // Nobody asks for a snapshot: a leader sends one when it is needed.
    if places.into_iter().any(|place| place > NUMBER_MAX) || message.request_snapshot != 0 {
        return Err(Refusal::Place(kind));
    }
    if message.context.len() > CONTEXT_BYTES_MAX {
        return Err(Refusal::Context(message.context.len()));
    }
    match kind {
        MessageType::MsgAppend => check_entries(message),
        // Raft looks at the only one without counting.
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp if message.entries.len() != 1 => {
            Err(Refusal::Entries)
        }
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => {
            let bytes = message.entries[0].data.len();
            if bytes > CONTEXT_BYTES_MAX { Err(Refusal::Context(bytes)) } else { Ok(()) }
        }
        MessageType::MsgSnapshot
            if metadata.index == 0 || metadata.term == 0 || metadata.term > message.term =>
        {
            Err(Refusal::Place(kind))
        }
        _ => Ok(()),
    }
}

/// Of all kinds there are, those that members send. A member says the others to itself, or uses them for what is not used
/// here: proposals are made where the leader is, and leadership is handed over by the leader.
fn check_kind(kind: MessageType) -> Result<(), Refusal> {
    match kind {
        MessageType::MsgAppend
        | MessageType::MsgAppendResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgSnapshot
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTimeoutNow
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => Ok(()),
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => Err(Refusal::Kind(kind)),
    }
}

/// Entries follow the place that the message names, in terms that do not fall. A log has no place of term 0: raft takes
/// that for a place beyond its end, and matches.
fn check_entries(message: &Message) -> Result<(), Refusal> {
    if message.index == 0 || message.log_term == 0 || message.log_term > message.term {
        return Err(Refusal::Place(MessageType::MsgAppend));
    }
    let (mut index, mut term) = (message.index, message.log_term);
    for entry in &message.entries {
        // Members do not come and go.
        let is_command = entry.get_entry_type() == EntryType::EntryNormal;
        if entry.index != index + 1 || entry.term < term || !is_command {
            return Err(Refusal::Entries);
        }
        (index, term) = (entry.index, entry.term);
    }
    if term > message.term { Err(Refusal::Entries) } else { Ok(()) }
}

/// Looks at messages beside the member's own log.
#[derive(Debug)]
pub(super) struct Door {
    /// Numbers of all members, ascending.
    members: Vec<u64>,
    refusals: Refusals,
    step_every: Duration,
    stepped_at: Option<Instant>,
}

impl Door {
    /// Of a member of this group, which may step towards a far term once in `step_every`.
    pub(super) fn new(members: Vec<u64>, refusals: Refusals, step_every: Duration) -> Self {
        Self { members, refusals, step_every, stepped_at: None }
    }

    /// Whether raft may see the message, whose form is checked. `check_snapshot` reads a state without keeping it.
    pub(super) fn admits<S: Storage>(
        &mut self,
        raft: &mut Raft<S>,
        message: &Message,
        check_snapshot: impl FnOnce(&[u8]) -> Result<(), RestoreError>,
    ) -> bool {
        let kind = message.get_msg_type();
        if kind == MessageType::MsgReadIndex && raft.state != StateRole::Leader {
            // Meant for one that led until now, and asked anew of whoever leads next.
            return false;
        }
        let Err(refusal) = self.check(raft, message, check_snapshot) else { return true };
        self.refusals.note(message.from, &refusal);
        if matches!(refusal, Refusal::TermJump { .. }) {
            self.step_towards(raft);
        }
        false
    }

    fn check<S: Storage>(
        &self,
        raft: &Raft<S>,
        message: &Message,
        check_snapshot: impl FnOnce(&[u8]) -> Result<(), RestoreError>,
    ) -> Result<(), Refusal> {
        let (kind, term, own) = (message.get_msg_type(), message.term, raft.term);
        if term > own.saturating_add(TERM_JUMP_MAX) {
            return Err(Refusal::TermJump { term, own });
        }
        // Who answers the leader of this term has been sent what the answer names.
        let answers =
            kind == MessageType::MsgAppendResponse && term == own && raft.state == StateRole::Leader;
        let is_beyond = message.index > raft.raft_log.last_index()
            || (message.reject && message.reject_hint > message.index);
        if answers && is_beyond {
            return Err(Refusal::Place(kind));
        }
        if kind == MessageType::MsgSnapshot {
            let members = message.get_snapshot().get_metadata().get_conf_state();
            let mut voters = members.get_voters().to_vec();
            voters.sort_unstable();
            let others = [members.get_learners(), members.get_learners_next(), members.get_voters_outgoing()];
            if voters != self.members || others.iter().any(|others| !others.is_empty()) || members.auto_leave
            {
                return Err(Refusal::Members);
            }
            check_snapshot(message.get_snapshot().get_data()).map_err(Refusal::Snapshot)?;
        }
        Ok(())
    }

    /// Brings a member that knows no leader nearer to a far term. One that was away while terms were used up gets to
    /// the others so; the terms that a stranger makes up are used up no faster than the largest one can wait for.
    fn step_towards<S: Storage>(&mut self, raft: &mut Raft<S>) {
        let is_early = self.stepped_at.is_some_and(|at| at.elapsed() < self.step_every);
        if raft.leader_id != INVALID_ID || is_early || raft.term > NUMBER_MAX - TERM_JUMP_MAX {
            return;
        }
        self.stepped_at = Some(Instant::now());
        let term = raft.term + TERM_JUMP_MAX;
        tracing::warn!(
            from = raft.term,
            to = term,
            "no leader is known and terms are far ahead: going towards them"
        );
        raft.become_follower(term, INVALID_ID);
    }
}
