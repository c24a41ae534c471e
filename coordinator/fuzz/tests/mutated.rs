//! Every target on its examples, whole and mutated. A fixed number of rounds, with the seed printed on failure.

use proptest::{collection::vec, prelude::*};
use shoal_coordinator_fuzz::targets;

/// Bytes set, then a piece doubled or left out.
type Edits = (Vec<(prop::sample::Index, u8)>, Option<(prop::sample::Index, prop::sample::Index, bool)>);

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

#[test]
fn examples_are_taken() {
    for (name, target, examples) in targets() {
        assert!(!examples.is_empty(), "{name}");
        examples.iter().for_each(|example| target(example));
    }
}

proptest! {
    // Opening a log takes some milliseconds, and each case opens four.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_arrives_is_taken_or_refused(
        chosen: prop::sample::Index,
        edits in (vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), any::<Option<(prop::sample::Index, prop::sample::Index, bool)>>()),
        anything in vec(any::<u8>(), 0..80),
    ) {
        for (_, target, examples) in targets() {
            target(&mutated(&examples[chosen.index(examples.len())], &edits));
            target(&anything);
        }
    }
}
