//! Lists of unlike items: maximal marginal relevance (Carbonell and Goldstein 1998). Pure.
//!
//! From a pool of good items the list is filled one by one with the item that is best at
//!
//! > (1 − d) · relevance − d · likeness
//!
//! relevance being the score, scaled over the pool to 0…1, and likeness the greatest to an item already chosen (0 for
//! the first). d = 0 keeps the order of the scores. How alike items are is for the caller to say: see
//! [`crate::likeness`].

/// Positions in a pool of items with these scores, which are in order, of the `n` items to list. `likeness` is of the
/// items at two positions, 1 at most. Ties go to the better score.
#[must_use]
pub fn diversify(
    scores: &[f32],
    likeness: impl Fn(usize, usize) -> f64,
    n: usize,
    diversity: f32,
) -> Vec<usize> {
    let (Some(best), Some(worst)) = (scores.first(), scores.last()) else { return Vec::new() };
    let (best, spread) = (f64::from(*best), f64::from(*best) - f64::from(*worst));
    let relevance =
        |at: usize| if spread > 0.0 { 1.0 - (best - f64::from(scores[at])) / spread } else { 1.0 };
    let diversity = f64::from(diversity);
    let mut greatest = vec![f64::NEG_INFINITY; scores.len()];
    let mut left: Vec<usize> = (0..scores.len()).collect();
    let mut chosen = Vec::with_capacity(n.min(scores.len()));
    while chosen.len() < n {
        let marginal = |at: usize| {
            let likeness = if chosen.is_empty() { 0.0 } else { greatest[at] };
            (1.0 - diversity) * relevance(at) - diversity * likeness
        };
        // `max_by` takes the last of equals: going backwards that is the better score.
        let next = (0..left.len()).rev().max_by(|&a, &b| marginal(left[a]).total_cmp(&marginal(left[b])));
        let Some(next) = next.map(|place| left.remove(place)) else { break };
        chosen.push(next);
        for &at in &left {
            greatest[at] = greatest[at].max(likeness(at, next));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::likeness::Representation;

    /// An item's score, and what it is compared by.
    type Item = (f32, Representation);

    fn representation(kind: u8) -> BoxedStrategy<Representation> {
        let values = |length: usize| prop::collection::vec((-2_i8..3).prop_map(f32::from), length);
        let sparse =
            prop::collection::btree_map(0_u32..6, (0_i8..5).prop_map(|value| f32::from(value) / 8.0), 0..4);
        let list =
            prop::collection::btree_map(0_u32..25, (1_i8..5).prop_map(|value| f32::from(value) / 4.0), 0..12);
        match kind {
            0 => values(3).prop_map(Representation::of_factors).boxed(),
            1 => (sparse, prop::option::of(values(2)))
                .prop_map(|(sparse, genome)| {
                    let (features, mut values): (Vec<u32>, Vec<f32>) = sparse.into_iter().unzip();
                    values.extend(genome.into_iter().flatten().map(|value| value / 8.0));
                    Representation::of_features(features, values)
                })
                .boxed(),
            _ => (0_u32..25, list)
                .prop_map(|(row, list)| {
                    let (rows, similarities): (Vec<u32>, Vec<f32>) = list.into_iter().unzip();
                    Representation::of_neighbours(row, &rows, &similarities)
                })
                .boxed(),
        }
    }

    /// Of one kind, best first.
    fn pool() -> impl Strategy<Value = Vec<Item>> {
        let pool = (0_u8..3).prop_flat_map(|kind| {
            prop::collection::vec(((-3_i8..4).prop_map(f32::from), representation(kind)), 0..25)
        });
        pool.prop_map(|mut pool| {
            pool.sort_by(|a, b| b.0.total_cmp(&a.0));
            pool
        })
    }

    fn diversified(pool: &[Item], n: usize, diversity: f32) -> Vec<usize> {
        let scores: Vec<f32> = pool.iter().map(|item| item.0).collect();
        diversify(&scores, |a, b| pool[a].1.likeness(&pool[b].1), n, diversity)
    }

    /// The definition, word for word.
    fn naive(pool: &[Item], n: usize, d: f64) -> Vec<usize> {
        let (max, min) = pool.iter().fold((f64::MIN, f64::MAX), |(max, min), item| {
            (max.max(f64::from(item.0)), min.min(f64::from(item.0)))
        });
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < n.min(pool.len()) {
            let marginal = |at: usize| {
                let likeness = chosen.iter().map(|&of| pool[at].1.likeness(&pool[of].1));
                let likeness = likeness.reduce(f64::max).unwrap_or(0.0);
                let scaled = if max > min { 1.0 - (max - f64::from(pool[at].0)) / (max - min) } else { 1.0 };
                (1.0 - d) * scaled - d * likeness
            };
            let left = (0..pool.len()).filter(|at| !chosen.contains(at));
            let best = left.reduce(|best, at| if marginal(at) > marginal(best) { at } else { best });
            chosen.extend(best);
        }
        chosen
    }

    proptest! {
        #[test]
        fn lists_what_the_definition_says(pool in pool(), n in 0_usize..30, d in 0_u8..=4) {
            let d = f32::from(d) / 4.0;
            prop_assert_eq!(diversified(&pool, n, d), naive(&pool, n, f64::from(d)));
        }

        #[test]
        fn no_diversity_keeps_the_order(pool in pool(), n in 0_usize..30) {
            let expected: Vec<usize> = (0..pool.len().min(n)).collect();
            prop_assert_eq!(diversified(&pool, n, 0.0), expected);
        }
    }
}
