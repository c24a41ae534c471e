//! Scores of a shard's items for a user's list (Deshpande and Karypis 2004, "Item-based top-N
//! Recommendation Algorithms"). What a rated item counts for is [`crate::preference`]'s to say.

use shoal_core::topk::better_first;

use super::Neighbours;

/// The neighbour lists of a shard, turned round: for each item that a user may have rated, the shard's items
/// that have it for a neighbour. A user costs their ratings times those, not the whole shard.
#[derive(Debug)]
pub struct ListIndex {
    indptr: Vec<usize>,
    /// Rows within the shard, ascending per item.
    rows: Vec<u32>,
    similarities: Vec<f32>,
}

impl ListIndex {
    /// From a shard's lists; `items` is the number of item rows of the whole data set.
    ///
    /// # Panics
    /// When a neighbour is not below `items`.
    #[must_use]
    pub fn new(neighbours: &Neighbours, items: usize) -> Self {
        let (_, columns, _) = neighbours.parts();
        let mut indptr = vec![0; items + 1];
        for &column in columns {
            indptr[column as usize + 1] += 1;
        }
        for item in 0..items {
            indptr[item + 1] += indptr[item];
        }
        let mut next = indptr.clone();
        let (mut rows, mut similarities) = (vec![0; columns.len()], vec![0.0; columns.len()]);
        for row in 0..neighbours.len() {
            let (of_row, with) = neighbours.of(row);
            for (&column, &similarity) in of_row.iter().zip(with) {
                let at = next[column as usize];
                next[column as usize] += 1;
                // A side's rows are counted in a u32.
                (rows[at], similarities[at]) = (row as u32, similarity);
            }
        }
        Self { indptr, rows, similarities }
    }

    /// Adds to each of the shard's rows Σ weight · similarity over the user's items (global rows with a
    /// weight each, ascending) that are among the row's neighbours. Added in the order of the user's
    /// items, so that the sum does not depend on who owns the shard.
    pub fn add_scores(&self, items: &[u32], weights: &[f32], scores: &mut [f32]) {
        for (&item, &weight) in items.iter().zip(weights) {
            let range = self.indptr[item as usize]..self.indptr[item as usize + 1];
            for (&row, &similarity) in self.rows[range.clone()].iter().zip(&self.similarities[range]) {
                scores[row as usize] += weight * similarity;
            }
        }
    }
}

/// What a score of [`ListIndex::add_scores`] is made of: those of an item's neighbours (rows and similarities) that have a weight,
/// with what they add; the greatest first, ties by row.
#[must_use]
pub fn score_parts(
    (rows, similarities): (&[u32], &[f32]),
    weight: impl Fn(u32) -> Option<f32>,
) -> Vec<(u32, f32)> {
    let part = |(&row, &similarity): (&u32, &f32)| Some((row, weight(row)? * similarity));
    let mut parts: Vec<(u32, f32)> = rows.iter().zip(similarities).filter_map(part).collect();
    parts.sort_unstable_by(|a, b| better_first((a.1, &a.0), (b.1, &b.0)));
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn scores_are_the_sums_over_the_users_neighbours(
            lists in prop::collection::vec(prop::collection::btree_map(0_u32..30, -500_i16..500, 0..8), 0..20),
            user in prop::collection::btree_map(0_u32..30, 1_u8..=10, 0..15),
        ) {
            let mut neighbours = Neighbours::default();
            for list in &lists {
                let list: Vec<(f32, u32)> =
                    list.iter().map(|(&row, &s)| (f32::from(s) / 500.0, row)).collect();
                neighbours.push(&list);
            }
            let (items, weights): (Vec<u32>, Vec<f32>) =
                user.iter().map(|(&item, &half)| (item, f32::from(half) / 2.0)).unzip();
            let mut scores = vec![0.0; lists.len()];
            ListIndex::new(&neighbours, 30).add_scores(&items, &weights, &mut scores);
            for (row, (list, score)) in lists.iter().zip(scores).enumerate() {
                let exact: f64 = user
                    .iter()
                    .filter_map(|(item, &half)| Some(f64::from(*list.get(item)?) / 500.0 * f64::from(half) / 2.0))
                    .sum();
                prop_assert!((f64::from(score) - exact).abs() < 1e-4);
                let weight = |item| Some(f32::from(*user.get(&item)?) / 2.0);
                let parts = score_parts(neighbours.of(row), weight);
                prop_assert!((f64::from(parts.iter().map(|part| part.1).sum::<f32>()) - exact).abs() < 1e-4);
                prop_assert!(parts.is_sorted_by(|a, b| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)));
                prop_assert_eq!(parts.len(), list.keys().filter(|item| user.contains_key(item)).count());
            }
        }
    }
}
