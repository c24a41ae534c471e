//! The coordinator through its public surface.
//!
//! Lessons that other projects paid for, and the tests that hold them:
//!
//! - a snapshot carries the term of its last entry: `log_store::restart::a_snapshot_has_the_term_of_its_last_entry_…`
//! - no field is missing from it: `state::properties::every_field_is_in_the_snapshot`, `a_snapshot_restores_the_whole_state`
//! - state and log are one record: `log_store::crash::a_log_that_was_cut_off_anywhere_starts_with_what_was_whole`
//! - a contradiction is refused with words: `log_store::refusal::a_log_that_contradicts_itself_is_refused_with_words`
//! - compaction keeps a tail, within what is applied: `log_store::restart::a_compaction_keeps_a_tail_…`
//! - no founder is special: `group::agreement::any_two_founders_make_a_group_and_the_third_joins_it`
//! - who waits is known by an id, and woken by a snapshot: `group::waiters::equal_proposals_are_told_apart`,
//!   `a_read_that_waits_is_answered_by_a_snapshot`
//! - one task owns raft: `group::agreement::proposals_reads_and_hand_overs_at_once_all_come_to_an_end`
//! - agreement waits for no shard: `jobs::trainings::nothing_waits_for_a_step_that_does_not_end`
//! - ready means joined: `processes::a_coordinator_is_ready_once_it_has_joined`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod group;
mod hostile;
mod jobs;
mod leases;
mod log_store;
mod processes;
mod simulation;
mod state;
mod support;
mod tokens;
