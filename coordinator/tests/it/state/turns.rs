//! Whose job is next where several wait.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn import_of(submitter: &str) -> Command {
    let Command::CreateJob(CreateJob { info: Some(info), counted }) = import_job("films", 0) else {
        panic!("an import begins with another command")
    };
    let info = Some(JobInfo { submitter: submitter.to_owned(), ..info });
    Command::CreateJob(CreateJob { info, counted })
}

/// Begins the job that is next, and ends it: who asked for it, and its id.
fn take_turn(machine: &mut Machine) -> Option<(String, String)> {
    let state = machine.state();
    let info = state.jobs_in_turn().into_iter().find(|job| !job.is_over())?.info.clone();
    machine.update(&info.job_id, Update::AttemptStarted(AttemptStarted { attempt: 1, ..Default::default() }));
    machine.end(&info.job_id, JobState::Succeeded);
    Some((info.submitter, info.job_id))
}

#[test]
fn one_who_asks_for_many_does_not_keep_others_waiting() {
    let mut machine = Machine::new();
    for submitter in ["ada", "ada", "ada", "ada", "bob", "bob", ""] {
        machine.accept(import_of(submitter));
    }
    let turns: Vec<String> =
        std::iter::from_fn(|| take_turn(&mut machine)).map(|(submitter, _)| submitter).collect();
    assert_eq!(turns, ["ada", "bob", "", "ada", "bob", "ada", "ada"]);
    // Who has been away comes before those who have just had a turn, and a job that has begun before all that wait.
    for submitter in ["ada", "bob", "eve"] {
        machine.accept(import_of(submitter));
    }
    let begun = machine.accept(import_of("ada")).job_id;
    machine.update(&begun, Update::AttemptStarted(AttemptStarted { attempt: 1, ..Default::default() }));
    assert_eq!(take_next(&mut machine, &begun), ["eve", "bob", "ada"]);
}

/// Who is next while a job runs, one after the other.
fn take_next(machine: &mut Machine, running: &str) -> Vec<String> {
    let state = machine.state();
    assert_eq!(state.jobs_in_turn().iter().find(|job| !job.is_over()).unwrap().info.job_id, running);
    machine.end(running, JobState::Succeeded);
    std::iter::from_fn(|| take_turn(machine)).map(|(submitter, _)| submitter).collect()
}

proptest! {
    /// Between two turns of one, everybody else who waits has one; each one's jobs stay in order.
    #[test]
    fn whoever_waits_has_a_turn(asked in prop::collection::vec((0_usize..4, 0_usize..2), 1..40)) {
        let names = ["a", "b", "c", ""];
        let mut machine = Machine::new();
        let mut waiting: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut passed_over: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
        let turn = |machine: &mut Machine, waiting: &mut BTreeMap<String, Vec<String>>,
                        passed_over: &mut BTreeMap<String, BTreeMap<String, u32>>| {
            let Some((submitter, job_id)) = take_turn(machine) else { return Ok(()) };
            let own = waiting.get_mut(&submitter).unwrap();
            prop_assert_eq!(own.remove(0), job_id);
            passed_over.remove(&submitter);
            for (other, _) in waiting.iter().filter(|(name, jobs)| **name != submitter && !jobs.is_empty()) {
                let times = passed_over.entry(other.clone()).or_default().entry(submitter.clone()).or_default();
                *times += 1;
                prop_assert!(*times <= 1, "{} was passed over by {} twice", other, submitter);
            }
            Ok(())
        };
        for (submitter, turns) in asked {
            let job_id = machine.accept(import_of(names[submitter])).job_id;
            waiting.entry(names[submitter].to_owned()).or_default().push(job_id);
            for _ in 0..turns {
                turn(&mut machine, &mut waiting, &mut passed_over)?;
            }
        }
        while waiting.values().any(|jobs| !jobs.is_empty()) {
            turn(&mut machine, &mut waiting, &mut passed_over)?;
        }
    }
}
