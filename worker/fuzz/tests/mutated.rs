//! Every target on its examples, whole and mutated. A fixed number of rounds, with the case printed on failure.

use shoal_fuzz::{try_examples, try_mutated};
use shoal_worker_fuzz::targets;

#[test]
fn examples_are_taken() {
    try_examples(&targets());
}

#[test]
fn whatever_arrives_is_taken_or_refused() {
    try_mutated(&targets(), 512);
}
