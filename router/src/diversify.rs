//! Lists of unlike items: maximal marginal relevance (Carbonell and Goldstein 1998). Pure.
//!
//! From a pool of good items the list is filled one by one with the item that is best at
//!
//! > (1 − d) · relevance − d · likeness
//!
//! relevance being the score, scaled over the pool to 0…1, and likeness the greatest cosine between the
//! item's factors and those of an item already chosen (0 for the first). d = 0 keeps the order of the scores.

/// An item of the pool.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// By which the pool is ordered.
    pub score: f32,
    /// The item's factors.
    pub factors: Vec<f32>,
}

/// Positions in the pool, which is in order, of the `n` items to list. Ties go to the better score.
#[must_use]
pub fn diversify(pool: &[Candidate], n: usize, diversity: f32) -> Vec<usize> {
    let (Some(best), Some(worst)) = (pool.first(), pool.last()) else { return Vec::new() };
    let (best, spread) = (f64::from(best.score), f64::from(best.score) - f64::from(worst.score));
    let relevance =
        |at: usize| if spread > 0.0 { 1.0 - (best - f64::from(pool[at].score)) / spread } else { 1.0 };
    let norms: Vec<f64> = pool.iter().map(|item| dot(&item.factors, &item.factors).sqrt()).collect();
    let diversity = f64::from(diversity);
    let mut likeness = vec![f64::NEG_INFINITY; pool.len()];
    let mut left: Vec<usize> = (0..pool.len()).collect();
    let mut chosen = Vec::with_capacity(n.min(pool.len()));
    while chosen.len() < n {
        let marginal = |at: usize| {
            let likeness = if chosen.is_empty() { 0.0 } else { likeness[at] };
            (1.0 - diversity) * relevance(at) - diversity * likeness
        };
        // `max_by` takes the last of equals: going backwards that is the better score.
        let next = (0..left.len()).rev().max_by(|&a, &b| marginal(left[a]).total_cmp(&marginal(left[b])));
        let Some(next) = next.map(|place| left.remove(place)) else { break };
        chosen.push(next);
        for &at in &left {
            let norms = norms[at] * norms[next];
            let cosine = if norms > 0.0 { dot(&pool[at].factors, &pool[next].factors) / norms } else { 0.0 };
            likeness[at] = likeness[at].max(cosine);
        }
    }
    chosen
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool() -> impl Strategy<Value = Vec<Candidate>> {
        let candidate = (-3_i8..4, prop::collection::vec(-2_i8..3, 3));
        prop::collection::vec(candidate, 0..25).prop_map(|pool| {
            let mut pool: Vec<Candidate> = pool
                .into_iter()
                .map(|(score, factors)| Candidate {
                    score: f32::from(score),
                    factors: factors.into_iter().map(f32::from).collect(),
                })
                .collect();
            pool.sort_by(|a, b| b.score.total_cmp(&a.score));
            pool
        })
    }

    /// The definition, word for word.
    fn naive(pool: &[Candidate], n: usize, d: f64) -> Vec<usize> {
        let (max, min) = pool.iter().fold((f64::MIN, f64::MAX), |(max, min), item| {
            (max.max(f64::from(item.score)), min.min(f64::from(item.score)))
        });
        let cosine = |a: &Candidate, b: &Candidate| {
            let norms = dot(&a.factors, &a.factors).sqrt() * dot(&b.factors, &b.factors).sqrt();
            if norms > 0.0 { dot(&a.factors, &b.factors) / norms } else { 0.0 }
        };
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < n.min(pool.len()) {
            let marginal = |at: usize| {
                let likeness =
                    chosen.iter().map(|&of| cosine(&pool[at], &pool[of])).reduce(f64::max).unwrap_or(0.0);
                let scaled =
                    if max > min { 1.0 - (max - f64::from(pool[at].score)) / (max - min) } else { 1.0 };
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
            prop_assert_eq!(diversify(&pool, n, d), naive(&pool, n, f64::from(d)));
        }

        #[test]
        fn no_diversity_keeps_the_order(pool in pool(), n in 0_usize..30) {
            let expected: Vec<usize> = (0..pool.len().min(n)).collect();
            prop_assert_eq!(diversify(&pool, n, 0.0), expected);
        }
    }
}
