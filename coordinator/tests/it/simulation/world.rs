//! What is known of all hosts together: the trace, and what must hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use shoal_coordinator::{
    raft::{Leadership, RestoreError, StateMachine},
    state::{ClusterState, Metadata},
};
use shoal_proto::v1::{CommandReply, MetadataCommand};

/// What the simulation knows of all members; clones share it.
#[derive(Clone, Default)]
pub(super) struct World(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    time: Duration,
    trace: Vec<String>,
    /// Whoever led in a term.
    leaders: BTreeMap<u64, u64>,
    /// Whoever leads now, as the members say.
    leading: BTreeMap<u64, u64>,
    /// The command at each place in the log, with its reply.
    log: BTreeMap<u64, (Vec<u8>, Bytes)>,
    /// Jobs whose creation was acknowledged.
    acknowledged: BTreeSet<String>,
    /// The state of each member, and the place of its last command.
    states: BTreeMap<u64, (u64, Arc<ClusterState>)>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap()
    }

    pub(super) fn set_time(&self, time: Duration) {
        self.known().time = time;
    }

    /// Notes that something happened.
    pub(super) fn note(&self, event: &str) {
        let mut known = self.known();
        let line = format!("{:>7} ms  {event}", known.time.as_millis());
        known.trace.push(line);
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.known().trace.clone()
    }

    /// A member's view of who leads. No two lead in one term, and a leader knows what was acknowledged.
    pub(super) fn leadership(&self, member: u64, leadership: &Leadership, state: &ClusterState) {
        let Leadership { term, leader_id, is_leader, .. } = leadership;
        self.note(&format!("{member} is in term {term}, led by {leader_id:?}, leads: {is_leader}"));
        let mut known = self.known();
        known.leading.remove(&member);
        if *is_leader {
            known.leading.insert(member, *term);
            let leader = *known.leaders.entry(*term).or_insert(member);
            assert_eq!(leader, member, "two lead in term {term}");
            let missing = known.acknowledged.iter().find(|job_id| !state.jobs.contains_key(*job_id));
            assert_eq!(missing, None, "the leader of term {term} lacks what was acknowledged");
        }
    }

    /// A member has stopped.
    pub(super) fn stopped(&self, member: u64) {
        self.known().leading.remove(&member);
    }

    /// Everybody who has led, by term.
    pub(super) fn leaders(&self) -> BTreeMap<u64, u64> {
        self.known().leaders.clone()
    }

    /// Whoever leads now, in the newest term.
    pub(super) fn leader(&self) -> Option<u64> {
        self.known().leading.iter().max_by_key(|(_, term)| **term).map(|(member, _)| *member)
    }

    pub(super) fn acknowledge(&self, job_id: &str) {
        let is_new = self.known().acknowledged.insert(job_id.to_owned());
        assert!(is_new, "{job_id} was made for two requests");
    }

    pub(super) fn acknowledged(&self) -> BTreeSet<String> {
        self.known().acknowledged.clone()
    }

    /// Every member applies the same command at the same place, with the same reply.
    fn applied(&self, member: u64, index: u64, command: &[u8], reply: &Bytes, state: Arc<ClusterState>) {
        let text = match MetadataCommand::decode(command) {
            Ok(MetadataCommand { command: Some(command), request_id }) => {
                format!("{request_id:?} {command:?}")
            }
            other => format!("{other:?}"),
        };
        let answer = CommandReply::decode(reply.clone()).unwrap();
        self.note(&format!("{member} applies {index}: {text} -> {answer:?}"));
        assert_eq!(state.broken_invariants(), Vec::<&str>::new(), "member {member} after {index}");
        let mut known = self.known();
        let first = known.log.entry(index).or_insert_with(|| (command.to_vec(), reply.clone()));
        assert_eq!((&first.0[..], &first.1), (command, reply), "member {member} at {index}");
        let before = known.states.insert(member, (index, state)).map_or(0, |(index, _)| index);
        assert!(before < index, "member {member} goes back from {before} to {index}");
    }

    /// A member starts from a snapshot, or is sent one.
    fn restored(&self, member: u64, state: Arc<ClusterState>) {
        self.note(&format!("{member} is restored to a state with {} jobs", state.jobs.len()));
        self.known().states.insert(member, (0, state));
    }

    pub(super) fn everybody_has_the_same(&self) {
        let known = self.known();
        let mut states = known.states.values().map(|(_, state)| state);
        let first = states.next().unwrap();
        assert!(states.all(|state| state == first), "members have different states");
        assert!(known.acknowledged.iter().all(|job_id| first.jobs.contains_key(job_id)));
        assert_eq!(first.jobs.len(), known.acknowledged.len(), "a request was carried out twice");
    }
}

/// A member's state machine, watched.
pub(super) struct Watched {
    pub(super) machine: Metadata,
    pub(super) member: u64,
    pub(super) world: World,
}

impl StateMachine for Watched {
    type View = ClusterState;

    fn apply(&mut self, index: u64, command: &[u8]) -> Bytes {
        let reply = self.machine.apply(index, command);
        self.world.applied(self.member, index, command, &reply, self.machine.view());
        reply
    }

    fn snapshot(&self) -> Bytes {
        self.machine.snapshot()
    }

    fn check(&self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.machine.check(snapshot)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.machine.restore(snapshot)?;
        // What a snapshot holds must come back from it.
        assert_eq!(ClusterState::from_snapshot(&self.machine.snapshot())?, *self.machine.view());
        self.world.restored(self.member, self.machine.view());
        Ok(())
    }

    fn view(&self) -> Arc<ClusterState> {
        self.machine.view()
    }
}
