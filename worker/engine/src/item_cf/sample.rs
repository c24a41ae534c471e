//! Which ratings of a very active user take part in pairs.

use shoal_core::hash::{mix64, pair_hash};

/// Positions (ascending) of at most `most` of a user's items. All of them when there are no more; else
/// those with the smallest hashes of user, item row and seed: an even sample that depends on nothing
/// else, so every worker and every attempt draws the same.
#[must_use]
pub fn sample(items: &[u32], most: usize, user_hash: u64, seed: u64) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..items.len()).collect();
    if items.len() <= most {
        return positions;
    }
    let key = |at: &usize| (pair_hash(user_hash, mix64(u64::from(items[*at])), seed), *at);
    if most > 0 {
        positions.select_nth_unstable_by_key(most - 1, key);
    }
    positions.truncate(most);
    positions.sort_unstable();
    positions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_the_smallest_hashes(
            items in prop::collection::btree_set(0_u32..500, 0..60),
            most in 0_usize..70,
            user: u64,
            seed: u64,
        ) {
            let items: Vec<u32> = items.into_iter().collect();
            let mut naive: Vec<usize> = (0..items.len()).collect();
            naive.sort_by_key(|&at| pair_hash(user, mix64(u64::from(items[at])), seed));
            naive.truncate(most);
            naive.sort_unstable();
            prop_assert_eq!(sample(&items, most, user, seed), naive);
        }
    }

    #[test]
    fn every_item_is_drawn_equally_often() {
        let items: Vec<u32> = (0..30).collect();
        let mut drawn = [0_u32; 30];
        for user in 0..3_000 {
            sample(&items, 10, mix64(user), 5).into_iter().for_each(|at| drawn[at] += 1);
        }
        assert!(drawn.iter().all(|times| (850..1_150).contains(times)), "{drawn:?}");
    }
}
