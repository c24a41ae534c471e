//! The Gramian Σ q qᵀ of a side, which the implicit objective needs because every unobserved pair
//! counts. Summed per shard, then over the shards in shard order.
//!
//! Within a shard a few rows are summed in f32, those sums in f64, in row order.

use rayon::prelude::*;

use super::kernel::{
    Kernel, blocks,
    normal::Products,
    pack::{Panels, Rows},
};

/// Rows whose sum one thread makes.
const PART_ROWS: usize = 4_096;

/// Rows summed in f32.
const DEPTH: usize = 64;

/// Σ q qᵀ over the rows of one shard: `rank` × `rank`, row-major, both triangles. Uses the threads of the current pool.
#[must_use]
pub fn shard_gramian(kernel: Kernel, factors: &[f32], rank: usize) -> Vec<f64> {
    let parts: Vec<Vec<f64>> =
        factors.par_chunks(PART_ROWS * rank).map(|part| part_sum(kernel, part, rank)).collect();
    let mut sum = vec![0.0_f64; rank * rank];
    for part in parts {
        for row in 0..rank {
            for column in 0..=row {
                sum[row * rank + column] += part[blocks::index(row, column)];
            }
        }
    }
    for row in 0..rank {
        for column in 0..row {
            sum[column * rank + row] = sum[row * rank + column];
        }
    }
    sum
}

/// The lower triangle, in blocks.
fn part_sum(kernel: Kernel, factors: &[f32], rank: usize) -> Vec<f64> {
    let rows = Rows::new(factors, rank, rank);
    let mut sum = vec![0.0_f64; blocks::len(rank)];
    let mut few = vec![0.0_f32; sum.len()];
    let mut panels = Panels::default();
    // A shard's rows are counted in a u32.
    let every: Vec<u32> = (0..rows.count() as u32).collect();
    for slots in every.chunks(DEPTH) {
        kernel.pack_rows(rows, slots, None, &mut panels);
        few.fill(0.0);
        let products = Products { order: rank, panels: &panels, left: None, factors: &[], ahead: None };
        kernel.add_products::<0>(products, &mut few, &mut []);
        for (sum, few) in sum.iter_mut().zip(&few) {
            *sum += f64::from(*few);
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
    use proptest::prelude::*;
    use shoal_core::hash::{mix64, unit_interval};

    use super::*;

    #[test]
    fn matches_the_definition() {
        let factors = [1.0_f32, 2.0, -3.0, 0.5, 0.0, 4.0];
        for kernel in Kernel::available() {
            let gramian = shard_gramian(kernel, &factors, 2);
            assert_eq!(gramian, [1.0 + 9.0, 2.0 - 1.5, 2.0 - 1.5, 4.0 + 0.25 + 16.0]);
            let halves = [shard_gramian(kernel, &factors[..2], 2), shard_gramian(kernel, &factors[2..], 2)];
            assert_eq!(add_in_order(halves.iter().map(Vec::as_slice), 2), gramian);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn matches_f64_whatever_the_threads(rank in 1_usize..40, rows in 0_usize..9_000, seed: u64) {
            let factors: Vec<f32> =
                (0..rows * rank).map(|i| (unit_interval(mix64(seed ^ i as u64)) - 0.5) as f32).collect();
            let mut exact = vec![0.0; rank * rank];
            for row in factors.chunks_exact(rank) {
                for i in 0..rank {
                    for j in 0..rank {
                        exact[i * rank + j] += f64::from(row[i]) * f64::from(row[j]);
                    }
                }
            }
            for kernel in Kernel::available() {
                let on = |threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    pool.install(|| shard_gramian(kernel, &factors, rank))
                };
                let gramian = on(1);
                prop_assert_eq!(&on(3), &gramian);
                for (value, exact) in gramian.iter().zip(&exact) {
                    prop_assert!((value - exact).abs() < 1e-6 * (1.0 + rows as f64), "{kernel:?}");
                }
            }
        }
    }
}
