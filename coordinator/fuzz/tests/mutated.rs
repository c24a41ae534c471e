//! Every target on its examples, whole and mutated. A fixed number of rounds, with the case printed on failure.

use shoal_coordinator_fuzz::targets;
use shoal_fuzz::{try_examples, try_mutated};

#[test]
fn examples_are_taken() {
    try_examples(&targets());
}

#[test]
fn whatever_arrives_is_taken_or_refused() {
    // Opening a log takes some milliseconds, and each case opens four.
    try_mutated(&targets(), 64);
}
