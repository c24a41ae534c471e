//! How fuzz targets are tried without libFuzzer: on their examples, whole and mutated. The targets are in the `fuzz` crates of
//! the roles, whose tests call this.

use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{TestError, TestRunner},
};

/// A target: its name, the function that takes any bytes and must return, and examples that it takes whole.
pub type Target = (&'static str, fn(&[u8]), Vec<Vec<u8>>);

/// Bytes set, then a piece doubled or left out.
type Edits = (Vec<(Index, u8)>, Option<(Index, Index, bool)>);

/// Tries every target on its examples as they are.
///
/// # Panics
/// When a target has no example, or panics on one.
pub fn try_examples(targets: &[Target]) {
    for (name, target, examples) in targets {
        assert!(!examples.is_empty(), "{name} has no example");
        examples.iter().for_each(|example| target(example));
    }
}

/// Tries every target so many times on a mutated example, and on bytes that mean nothing.
///
/// # Panics
/// When a target panics: with the smallest case that was found and its seed.
pub fn try_mutated(targets: &[Target], cases: u32) {
    let edits = (vec((any::<Index>(), any::<u8>()), 0..6), any::<Option<(Index, Index, bool)>>());
    let arriving = (any::<Index>(), edits, vec(any::<u8>(), 0..80));
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) });
    let outcome = runner.run(&arriving, |(chosen, edits, anything)| {
        for (_, target, examples) in targets {
            target(&mutated(&examples[chosen.index(examples.len())], &edits));
            target(&anything);
        }
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, (chosen, edits, anything))) => {
            panic!("{reason}: example {chosen:?} with {edits:?}, or {anything:?}\n{runner}")
        }
        Err(TestError::Abort(reason)) => panic!("{reason}\n{runner}"),
    }
}

fn mutated(example: &[u8], (bytes, piece): &Edits) -> Vec<u8> {
    let mut mutated = example.to_vec();
    if mutated.is_empty() {
        return mutated;
    }
    for (at, byte) in bytes {
        let at = at.index(mutated.len());
        mutated[at] = *byte;
    }
    if let Some((one, other, doubled)) = piece {
        let (one, other) = (one.index(mutated.len()), other.index(mutated.len()));
        let piece = one.min(other)..one.max(other);
        let inserted = if *doubled { mutated[piece.clone()].repeat(2) } else { Vec::new() };
        mutated.splice(piece, inserted);
    }
    mutated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses_a_seven(bytes: &[u8]) {
        assert!(!bytes.contains(&7), "a seven");
    }

    #[test]
    fn a_target_that_panics_on_a_mutation_is_found() {
        let targets: [Target; 1] = [("sevens", refuses_a_seven, vec![vec![1; 40]])];
        try_examples(&targets);
        let found = std::panic::catch_unwind(|| try_mutated(&targets, 4_096)).unwrap_err();
        let said = found.downcast_ref::<String>().unwrap();
        assert!(said.contains("a seven"), "{said}");
    }
}
