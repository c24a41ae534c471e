//! The Gramian Σ q qᵀ of a side, which the implicit objective needs because every unobserved pair
//! counts. Summed per shard in f64, then over the shards in shard order.

/// Σ q qᵀ over the rows of one shard: `rank` × `rank`, row-major, both triangles.
#[must_use]
pub fn shard_gramian(factors: &[f32], rank: usize) -> Vec<f64> {
    let mut sum = vec![0.0_f64; rank * rank];
    let mut wide = vec![0.0_f64; rank];
    for row in factors.chunks_exact(rank) {
        for (wide, value) in wide.iter_mut().zip(row) {
            *wide = f64::from(*value);
        }
        for (i, &left) in wide.iter().enumerate() {
            for (target, right) in sum[i * rank..=i * rank + i].iter_mut().zip(&wide) {
                *target += left * right;
            }
        }
    }
    for i in 0..rank {
        for j in 0..i {
            sum[j * rank + i] = sum[i * rank + j];
        }
    }
    sum
}

/// Adds partial Gramians in the order given: shard order, whoever made them.
#[must_use]
pub fn add_in_order<'a>(partials: impl IntoIterator<Item = &'a [f64]>, rank: usize) -> Vec<f64> {
    let mut total = vec![0.0_f64; rank * rank];
    for partial in partials {
        for (target, value) in total.iter_mut().zip(partial) {
            *target += value;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_definition() {
        let factors = [1.0_f32, 2.0, -3.0, 0.5, 0.0, 4.0];
        let gramian = shard_gramian(&factors, 2);
        assert_eq!(gramian, [1.0 + 9.0, 2.0 - 1.5, 2.0 - 1.5, 4.0 + 0.25 + 16.0]);
        let halves = [shard_gramian(&factors[..2], 2), shard_gramian(&factors[2..], 2)];
        assert_eq!(add_in_order(halves.iter().map(Vec::as_slice), 2), gramian);
    }
}
