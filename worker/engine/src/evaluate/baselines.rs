//! The random baseline's lists. Those of the popularity baseline are in [`super`].

use shoal_core::hash::{mix64, pair_hash};

/// Draws per place of the list before what is left of the catalogue is counted out instead.
const DRAWS_PER_PLACE: u64 = 16;

/// `length` rows drawn evenly from those with training ratings, less `exclude` (ascending); fewer when there
/// are not as many. The same seed and user give the same list: `user_hash` is the hash of the user's id.
#[must_use]
pub fn random_list(
    length: usize,
    train_counts: &[u32],
    exclude: &[u32],
    user_hash: u64,
    seed: u64,
) -> Vec<u32> {
    let rows = train_counts.len() as u64;
    let listable = |row: u32| train_counts[row as usize] > 0 && exclude.binary_search(&row).is_err();
    let draw = |number: u64, below: u64| {
        // The upper half of the product is even over 0..below but for 1 in 2⁶⁴ / below.
        ((u128::from(pair_hash(user_hash, mix64(number), seed)) * u128::from(below)) >> 64) as u64
    };
    let mut list = Vec::with_capacity(length);
    if rows == 0 {
        return list;
    }
    for number in 0..DRAWS_PER_PLACE * length as u64 {
        if list.len() == length {
            return list;
        }
        let row = draw(number, rows) as u32;
        if listable(row) && !list.contains(&row) {
            list.push(row);
        }
    }
    // Most rows cannot be listed: shuffle those that can (Fisher and Yates), as far as they are needed.
    let mut left: Vec<u32> = (0..rows as u32).filter(|&row| listable(row) && !list.contains(&row)).collect();
    let missing = (length - list.len()).min(left.len());
    for place in 0..missing {
        let number = (DRAWS_PER_PLACE * length as u64) + place as u64;
        let other = place + draw(number, (left.len() - place) as u64) as usize;
        left.swap(place, other);
    }
    list.extend(&left[..missing]);
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_are_distinct_listable_rows_as_many_as_there_are(
            counts in prop::collection::vec(0_u32..3, 0..50),
            exclude in prop::collection::btree_set(0_u32..50, 0..20),
            length in 0_usize..25,
            user: u64,
            seed: u64,
        ) {
            let exclude: Vec<u32> = exclude.into_iter().collect();
            let list = random_list(length, &counts, &exclude, user, seed);
            let listable: Vec<u32> = (0..counts.len() as u32)
                .filter(|row| counts[*row as usize] > 0 && !exclude.contains(row))
                .collect();
            prop_assert_eq!(list.len(), length.min(listable.len()));
            let mut sorted = list.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), list.len());
            prop_assert!(sorted.iter().all(|row| listable.contains(row)));
            prop_assert_eq!(random_list(length, &counts, &exclude, user, seed), list);
        }
    }

    #[test]
    fn every_row_comes_equally_often() {
        for listable in [40_u32, 4] {
            let counts: Vec<u32> = (0..40).map(|row| u32::from(row < listable)).collect();
            let mut seen = [0_u32; 40];
            for user in 0..4_000 {
                for row in random_list(2, &counts, &[], mix64(user), 7) {
                    seen[row as usize] += 1;
                }
            }
            let expected = f64::from(8_000 / listable);
            for &times in &seen[..listable as usize] {
                assert!(
                    (f64::from(times) - expected).abs() < 6.0 * expected.sqrt(),
                    "{times} for {expected}"
                );
            }
        }
    }
}
