//! A state machine that remembers what it applied.

use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use shoal_coordinator::raft::{RestoreError, StateMachine};

/// Bytes of a command that are remembered: its name. The rest is ballast.
const NAME_BYTES: usize = 16;

/// A command that makes whoever applies it panic.
pub(crate) const POISON: &str = "poison";

/// A command that was applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Applied {
    pub(crate) index: u64,
    pub(crate) name: String,
}

/// The commands in the order in which they were applied. The reply to a command is its index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    applied: Arc<Vec<Applied>>,
    gate: Gate,
    /// Bytes that a snapshot has besides.
    ballast: usize,
}

impl Ledger {
    /// Applies nothing while the gate is shut.
    pub(crate) fn behind(gate: Gate) -> Self {
        Self { gate, ..Self::default() }
    }

    /// Its snapshots are longer by so many bytes.
    pub(crate) fn with_ballast(self, ballast: usize) -> Self {
        Self { ballast, ..self }
    }
}

impl StateMachine for Ledger {
    type View = Vec<Applied>;

    fn apply(&mut self, index: u64, command: &[u8]) -> Bytes {
        self.gate.pass();
        let name = String::from_utf8_lossy(&command[..command.len().min(NAME_BYTES)]).into_owned();
        assert_ne!(name, POISON, "as the test wants it");
        Arc::make_mut(&mut self.applied).push(Applied { index, name });
        Bytes::copy_from_slice(&index.to_le_bytes())
    }

    fn snapshot(&self) -> Bytes {
        let line = |applied: &Applied| format!("{} {}\n", applied.index, applied.name);
        let mut text = self.applied.iter().map(line).collect::<String>();
        if self.ballast > 0 {
            text.push('#');
            text.extend(std::iter::repeat_n('x', self.ballast - 1));
        }
        text.into()
    }

    fn check(&self, snapshot: &[u8]) -> Result<(), RestoreError> {
        Self::default().restore(snapshot)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let text = str::from_utf8(snapshot).map_err(|error| RestoreError(error.to_string()))?;
        let line = |line: &str| {
            let (index, name) = line.split_once(' ')?;
            Some(Applied { index: index.parse().ok()?, name: name.to_owned() })
        };
        let applied: Option<Vec<Applied>> =
            text.lines().filter(|line| !line.starts_with('#')).map(line).collect();
        self.applied = Arc::new(applied.ok_or_else(|| RestoreError("a line is not whole".into()))?);
        Ok(())
    }

    fn view(&self) -> Arc<Vec<Applied>> {
        Arc::clone(&self.applied)
    }
}

/// Holds up whoever wants to pass, thread and all, as a slow disk does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Held>, Condvar)>);

#[derive(Debug, Default)]
struct Held {
    shut: bool,
    waiting: bool,
}

impl Gate {
    pub(crate) fn shut(&self) {
        self.0.0.lock().unwrap().shut = true;
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().shut = false;
        self.0.1.notify_all();
    }

    /// Whether somebody is held up.
    pub(crate) fn holds(&self) -> bool {
        self.0.0.lock().unwrap().waiting
    }

    fn pass(&self) {
        let mut held = self.0.0.lock().unwrap();
        held.waiting = held.shut;
        held = self.0.1.wait_while(held, |held| held.shut).unwrap();
        held.waiting = false;
    }
}
