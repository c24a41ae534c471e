//! What to do when shards answer, fail or are late. Pure: events in, effects out; time is the
//! driver's.
//!
//! One attempt per worker carries all the shards it was chosen for. A failed shard is tried once more
//! on a replica that was not asked for it yet; one that is not where it was looked for (the worker is gone, or has not
//! loaded it) is looked for on the next replica whatever was tried before, which costs no worker anything. An attempt that is late may get a twin, one for each shard
//! at most; one that has used up half of the time counts as failed, but may answer all the same. A shard
//! contributes at most one answer, whoever gives it first.

use std::collections::BTreeMap;

/// A worker, as a position in the driver's list.
pub type Worker = usize;

/// Why an attempt was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It belongs to the first wave.
    First,
    /// An earlier attempt failed.
    Retry,
    /// An earlier attempt is slow.
    Hedge,
}

impl Kind {
    /// The kind's label in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Retry => "retry",
            Self::Hedge => "hedge",
        }
    }
}

/// A call to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 0.
    pub id: usize,
    /// The worker to call.
    pub worker: Worker,
    /// The shards that the call is for.
    pub shards: Vec<u32>,
    /// Whether the call is a first one, a retry or a hedge.
    pub kind: Kind,
}

/// How one shard of an attempt came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The shard has answered.
    Answered,
    /// The shard has not answered, and another replica may.
    Retryable,
    /// The worker is out of reach, or does not have the shard.
    Absent,
    /// The shard has not answered, and any replica would say the same.
    Final,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Answered,
    Failed,
}

#[derive(Debug)]
struct Shard {
    state: State,
    /// Who may be asked, in order of preference, and whether they were.
    candidates: Vec<(Worker, bool)>,
    /// Attempts under way that carry it.
    under_way: usize,
    retried: bool,
    hedged: bool,
}

impl Shard {
    /// Whether there is somebody who was not asked.
    fn has_candidate(&self) -> bool {
        self.candidates.iter().any(|candidate| !candidate.1)
    }
}

/// The state of one fan-out: which shards have answered, and which attempts are under way.
#[derive(Debug)]
pub struct Machine {
    shards: BTreeMap<u32, Shard>,
    attempts: Vec<Attempt>,
    open: Vec<bool>,
}

impl Machine {
    /// Begins: each shard goes to the first of its candidates. Shards without one fail at once.
    #[must_use]
    pub fn start(shards: impl IntoIterator<Item = (u32, Vec<Worker>)>) -> (Self, Vec<Attempt>) {
        let shards = shards.into_iter().map(|(shard, candidates)| {
            let candidates: Vec<_> = candidates.into_iter().map(|worker| (worker, false)).collect();
            let state = if candidates.is_empty() { State::Failed } else { State::Pending };
            (shard, Shard { state, candidates, under_way: 0, retried: false, hedged: false })
        });
        let mut machine = Self { shards: shards.collect(), attempts: Vec::new(), open: Vec::new() };
        let all: Vec<u32> = machine.shards.keys().copied().collect();
        let first = machine.ask(&all, Kind::First);
        (machine, first)
    }

    /// An attempt came back: the shards whose answer is to be used, and the attempts to make.
    pub fn reply(&mut self, attempt: usize, outcomes: &[(u32, Outcome)]) -> (Vec<u32>, Vec<Attempt>) {
        if !std::mem::replace(&mut self.open[attempt], false) {
            return (Vec::new(), Vec::new());
        }
        let (mut accepted, mut failed, mut absent) = (Vec::new(), Vec::new(), Vec::new());
        for shard in self.attempts[attempt].shards.clone() {
            // What an answer does not mention it has not answered.
            let outcome = outcomes
                .iter()
                .find(|outcome| outcome.0 == shard)
                .map_or(Outcome::Retryable, |outcome| outcome.1);
            let Some(state) = self.shards.get_mut(&shard) else { continue };
            state.under_way -= 1;
            match (state.state, outcome) {
                (State::Pending, Outcome::Answered) => {
                    state.state = State::Answered;
                    accepted.push(shard);
                }
                // Another attempt that carries it may still answer.
                (State::Pending, _) if state.under_way > 0 => {}
                (State::Pending, Outcome::Final) => state.state = State::Failed,
                (State::Pending, Outcome::Retryable) => failed.push(shard),
                (State::Pending, Outcome::Absent) => absent.push(shard),
                _ => {}
            }
        }
        let (again, lost): (Vec<u32>, Vec<u32>) =
            failed.into_iter().partition(|shard| self.may_retry(*shard));
        let (elsewhere, nowhere): (Vec<u32>, Vec<u32>) =
            absent.into_iter().partition(|shard| self.shards[shard].has_candidate());
        for shard in lost.into_iter().chain(nowhere) {
            self.fail(shard);
        }
        for shard in &again {
            self.note_retry(*shard);
        }
        (accepted, self.ask(&[again, elsewhere].concat(), Kind::Retry))
    }

    /// Half of the time is gone: whatever nobody has answered gets its retry now, while there is time for it.
    pub fn half_time(&mut self) -> Vec<Attempt> {
        let pending = self.shards.iter().filter(|(_, shard)| shard.state == State::Pending);
        let again: Vec<u32> =
            pending.map(|(shard, _)| *shard).filter(|shard| self.may_retry(*shard)).collect();
        for shard in &again {
            self.note_retry(*shard);
        }
        self.ask(&again, Kind::Retry)
    }

    fn note_retry(&mut self, shard: u32) {
        if let Some(state) = self.shards.get_mut(&shard) {
            state.retried = true;
        }
    }

    /// Whether [`Machine::hedge`] would make an attempt.
    #[must_use]
    pub fn can_hedge(&self) -> bool {
        !self.late().is_empty()
    }

    /// The hedge timer: the oldest attempt that is still out and has no twin yet gets one for what nobody
    /// has answered. The timer may come again: which of the late ones will never answer cannot be told.
    pub fn hedge(&mut self) -> Vec<Attempt> {
        let late = self.late();
        for shard in &late {
            if let Some(state) = self.shards.get_mut(shard) {
                state.hedged = true;
            }
        }
        self.ask(&late, Kind::Hedge)
    }

    /// The shards to hedge next. They are of one attempt: the oldest that has pending shards of which another worker has a
    /// replica.
    fn late(&self) -> Vec<u32> {
        let can_be_hedged = |shard: &u32| {
            let state = &self.shards[shard];
            state.state == State::Pending && !state.hedged && state.has_candidate()
        };
        let open = self.attempts.iter().zip(&self.open).filter(|(_, open)| **open);
        open.map(|(attempt, _)| attempt.shards.iter().copied().filter(can_be_hedged).collect::<Vec<u32>>())
            .find(|late| !late.is_empty())
            .unwrap_or_default()
    }

    /// The deadline: whatever is not answered is not.
    pub fn deadline(&mut self) {
        let pending: Vec<u32> = self
            .shards
            .iter()
            .filter(|(_, shard)| shard.state == State::Pending)
            .map(|(shard, _)| *shard)
            .collect();
        for shard in pending {
            self.fail(shard);
        }
    }

    /// Whether nothing is left to wait for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.shards.values().all(|shard| shard.state != State::Pending)
    }

    /// Shards without an answer.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.shards.values().filter(|shard| shard.state == State::Failed).count()
    }

    fn fail(&mut self, shard: u32) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.state = State::Failed;
        }
    }

    fn may_retry(&self, shard: u32) -> bool {
        let shard = &self.shards[&shard];
        !shard.retried && shard.has_candidate()
    }

    /// One attempt per worker, each shard to the first of its candidates that was not asked.
    fn ask(&mut self, shards: &[u32], kind: Kind) -> Vec<Attempt> {
        let mut by_worker: BTreeMap<Worker, Vec<u32>> = BTreeMap::new();
        for shard in shards {
            let Some(state) = self.shards.get_mut(shard) else { continue };
            if let Some(candidate) = state.candidates.iter_mut().find(|candidate| !candidate.1) {
                candidate.1 = true;
                state.under_way += 1;
                by_worker.entry(candidate.0).or_default().push(*shard);
            }
        }
        let first = self.attempts.len();
        for (worker, shards) in by_worker {
            let id = self.attempts.len();
            self.attempts.push(Attempt { id, worker, shards, kind });
            self.open.push(true);
        }
        self.attempts[first..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcomes(attempt: &Attempt, outcome: Outcome) -> Vec<(u32, Outcome)> {
        attempt.shards.iter().map(|&shard| (shard, outcome)).collect()
    }

    #[test]
    fn a_failed_worker_costs_one_retry_for_its_shards_only() {
        let (mut machine, first) = Machine::start([(0, vec![7, 8]), (1, vec![7, 9]), (2, vec![9, 7])]);
        assert_eq!(
            first.iter().map(|a| (a.worker, a.shards.clone())).collect::<Vec<_>>(),
            [(7, vec![0, 1]), (9, vec![2])]
        );
        let (accepted, retries) = machine.reply(0, &outcomes(&first[0], Outcome::Retryable));
        assert!(accepted.is_empty());
        assert_eq!(
            retries.iter().map(|a| (a.worker, a.shards.clone(), a.kind)).collect::<Vec<_>>(),
            [(8, vec![0], Kind::Retry), (9, vec![1], Kind::Retry),]
        );
        assert_eq!(machine.reply(1, &outcomes(&first[1], Outcome::Answered)).0, [2]);
        assert_eq!(machine.reply(2, &outcomes(&retries[0], Outcome::Answered)).0, [0]);
        machine.reply(3, &outcomes(&retries[1], Outcome::Retryable));
        assert!(machine.is_done());
        assert_eq!(machine.failed(), 1);
    }

    #[test]
    fn what_is_not_there_is_looked_for_everywhere_and_costs_no_retry() {
        let (mut machine, first) = Machine::start([(0, vec![1, 2, 3, 4]), (1, vec![1, 4])]);
        let whom = |attempts: &[Attempt]| -> Vec<(Worker, Vec<u32>)> {
            attempts.iter().map(|attempt| (attempt.worker, attempt.shards.clone())).collect()
        };
        let (_, second) = machine.reply(0, &outcomes(&first[0], Outcome::Absent));
        assert_eq!(whom(&second), [(2, vec![0]), (4, vec![1])]);
        // Nobody else has the one; the other failed where it is, and is tried once more, and looked for once more.
        let (_, none) = machine.reply(2, &outcomes(&second[1], Outcome::Absent));
        assert!(none.is_empty());
        let (_, third) = machine.reply(1, &outcomes(&second[0], Outcome::Retryable));
        assert_eq!(whom(&third), [(3, vec![0])]);
        let (_, fourth) = machine.reply(3, &outcomes(&third[0], Outcome::Absent));
        assert_eq!(whom(&fourth), [(4, vec![0])]);
        assert!(machine.reply(4, &outcomes(&fourth[0], Outcome::Retryable)).1.is_empty());
        assert!(machine.is_done());
        assert_eq!(machine.failed(), 2);
    }

    #[test]
    fn the_first_answer_of_twins_wins() {
        let (mut machine, first) = Machine::start([(0, vec![1, 2])]);
        let twins = machine.hedge();
        assert_eq!((twins[0].worker, twins[0].kind), (2, Kind::Hedge));
        assert!(!machine.can_hedge() && machine.hedge().is_empty());
        assert_eq!(machine.reply(1, &outcomes(&twins[0], Outcome::Answered)).0, [0]);
        assert!(machine.is_done());
        assert!(machine.reply(0, &outcomes(&first[0], Outcome::Answered)).0.is_empty());
    }

    #[test]
    fn each_late_attempt_gets_its_twin_in_turn() {
        let (mut machine, _) = Machine::start([(0, vec![1, 3]), (1, vec![2, 3]), (2, vec![1, 2])]);
        let twins = |machine: &mut Machine| -> Vec<(Worker, Vec<u32>)> {
            machine.hedge().into_iter().map(|twin| (twin.worker, twin.shards)).collect()
        };
        assert_eq!(twins(&mut machine), [(2, vec![2]), (3, vec![0])]);
        assert_eq!(twins(&mut machine), [(3, vec![1])]);
        assert!(!machine.can_hedge());
    }

    #[test]
    fn at_half_time_silence_counts_as_failure_but_may_still_end() {
        let (mut machine, first) = Machine::start([(0, vec![1, 2]), (1, vec![1]), (2, vec![2, 1])]);
        machine.reply(1, &outcomes(&first[1], Outcome::Retryable));
        let retries = machine.half_time();
        assert_eq!(
            retries.iter().map(|a| (a.worker, a.shards.clone(), a.kind)).collect::<Vec<_>>(),
            [(2, vec![0], Kind::Retry)],
            "neither what has nobody else nor what was tried again"
        );
        assert!(machine.half_time().is_empty());
        assert_eq!(machine.reply(0, &outcomes(&first[0], Outcome::Answered)).0, [0, 1]);
        assert!(machine.reply(retries[0].id, &outcomes(&retries[0], Outcome::Answered)).0.is_empty());
    }

    #[test]
    fn what_was_tried_again_at_half_time_has_had_its_retry() {
        let (mut machine, first) = Machine::start([(0, vec![1, 2, 3])]);
        let retries = machine.half_time();
        assert_eq!(retries.iter().map(|retry| retry.worker).collect::<Vec<_>>(), [2]);
        assert!(machine.half_time().is_empty());
        assert!(machine.reply(retries[0].id, &outcomes(&retries[0], Outcome::Retryable)).1.is_empty());
        assert!(machine.reply(0, &outcomes(&first[0], Outcome::Retryable)).1.is_empty());
        assert_eq!((machine.is_done(), machine.failed()), (true, 1));
    }

    #[test]
    fn a_failed_twin_leaves_the_first_attempt_its_chance() {
        let (mut machine, first) = Machine::start([(0, vec![1, 2])]);
        machine.hedge();
        machine.reply(1, &[(0, Outcome::Retryable)]);
        assert!(!machine.is_done());
        assert_eq!(machine.reply(0, &outcomes(&first[0], Outcome::Answered)).0, [0]);
    }

    #[test]
    fn a_shard_that_nobody_has_fails_at_once() {
        let (machine, first) = Machine::start([(0, vec![])]);
        assert!(first.is_empty() && machine.is_done());
        assert_eq!(machine.failed(), 1);
    }

    proptest! {
        #[test]
        fn every_shard_ends_with_one_answer_or_none(
            candidates in prop::collection::vec(prop::collection::btree_set(0_usize..5, 0..4), 1..8),
            script in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..6), 0..40),
        ) {
            let shards = candidates.iter().enumerate().map(|(shard, workers)| (shard as u32, workers.iter().copied().collect()));
            let (mut machine, mut attempts) = Machine::start(shards);
            let mut answers = vec![0; candidates.len()];
            let (mut per_shard, mut absent) = (vec![0; candidates.len()], vec![0; candidates.len()]);
            for (pick, action) in script {
                let more = match action {
                    0 => machine.hedge(),
                    4 if pick.index(10) == 0 => machine.half_time(),
                    1 if attempts.is_empty() => Vec::new(),
                    _ if attempts.is_empty() => Vec::new(),
                    _ => {
                        let attempt = attempts[pick.index(attempts.len())].clone();
                        let outcome = [Outcome::Answered, Outcome::Retryable, Outcome::Final, Outcome::Absent]
                            [action as usize % 4];
                        if outcome == Outcome::Absent && machine.open[attempt.id] {
                            attempt.shards.iter().for_each(|&shard| absent[shard as usize] += 1);
                        }
                        let (accepted, more) = machine.reply(attempt.id, &outcomes(&attempt, outcome));
                        accepted.iter().for_each(|&shard| answers[shard as usize] += 1);
                        more
                    }
                };
                attempts.extend(more);
            }
            machine.deadline();
            prop_assert!(machine.is_done());
            for attempt in &attempts {
                attempt.shards.iter().for_each(|&shard| per_shard[shard as usize] += 1);
            }
            // The first, a retry, and a hedge; one more for each time that it was not there. Nobody twice.
            for (shard, &count) in per_shard.iter().enumerate() {
                prop_assert!(count <= 3 + absent[shard] && count <= candidates[shard].len(), "{:?}", per_shard);
            }
            prop_assert!(answers.iter().all(|&count| count <= 1), "{:?}", answers);
            prop_assert_eq!(answers.iter().filter(|&&count| count == 0).count(), machine.failed());
        }
    }
}
