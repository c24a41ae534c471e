//! The most similar items, exactly: every item of one shard against every item of another.
//!
//! A cosine is the sum over the common sparse features, ascending, through lists of the items that have each
//! feature, plus the product of the genomes, a matrix product of fixed blocks. So it depends on the two
//! vectors and the shards they are in, not on who compares them.

use ndarray::{ArrayView2, ArrayViewMut2, linalg::general_mat_mul};
use rayon::prelude::*;
use shoal_core::topk::TopK;

use super::ItemVectors;

/// Items compared with a shard at a time: one matrix product of so many rows.
const BLOCK_ITEMS: usize = 64;

/// A shard's items, found by feature.
#[derive(Debug)]
pub struct Candidates<'a> {
    vectors: &'a ItemVectors,
    indptr: Vec<usize>,
    /// Rows within the shard, ascending per feature.
    rows: Vec<u32>,
    values: Vec<f32>,
}

impl<'a> Candidates<'a> {
    /// Lists the items of each feature.
    #[must_use]
    pub fn new(vectors: &'a ItemVectors) -> Self {
        let parts = vectors.parts();
        let mut indptr = vec![0; vectors.feature_count() + 1];
        for &feature in &parts.features {
            indptr[feature as usize + 1] += 1;
        }
        for feature in 0..vectors.feature_count() {
            indptr[feature + 1] += indptr[feature];
        }
        let mut next = indptr.clone();
        let (mut rows, mut values) = (vec![0; parts.features.len()], vec![0.0; parts.features.len()]);
        for item in 0..vectors.len() {
            let (features, of_item) = vectors.sparse(item);
            for (&feature, &value) in features.iter().zip(of_item) {
                let at = next[feature as usize];
                next[feature as usize] += 1;
                // A side's rows are counted in a u32.
                (rows[at], values[at]) = (item as u32, value);
            }
        }
        Self { vectors, indptr, rows, values }
    }

    fn add_sparse(&self, (features, values): (&[u32], &[f32]), scores: &mut [f32]) {
        for (&feature, &value) in features.iter().zip(values) {
            let range = self.indptr[feature as usize]..self.indptr[feature as usize + 1];
            for (&row, &other) in self.rows[range.clone()].iter().zip(&self.values[range]) {
                scores[row as usize] += value * other;
            }
        }
    }
}

/// Offers every item of a shard (`candidates`, from global row `first_candidate`) to the selections of every
/// item of another or the same (`items`, from global row `first_item`). Only similarities above 0 are
/// offered, and no item to itself. Blocks of items run on the threads of the current rayon pool.
///
/// # Panics
/// When there is not one selection per item, or the shards are of different vocabularies.
pub fn offer_similar(
    items: &ItemVectors,
    first_item: u32,
    candidates: &Candidates<'_>,
    first_candidate: u32,
    tops: &mut [TopK<u32>],
) {
    assert_eq!(tops.len(), items.len(), "one selection per item");
    tops.par_chunks_mut(BLOCK_ITEMS).enumerate().for_each_init(Vec::new, |scores, (block, tops)| {
        let first = block * BLOCK_ITEMS;
        let genomes = genome_products(items, first..first + tops.len(), candidates.vectors);
        let with_genome = &candidates.vectors.parts().genome_rows;
        let mut products = genomes.chunks_exact(with_genome.len().max(1));
        for (offset, top) in tops.iter_mut().enumerate() {
            let item = first + offset;
            scores.clear();
            scores.resize(candidates.vectors.len(), 0.0);
            candidates.add_sparse(items.sparse(item), scores);
            // One row of products per item of the block that has a genome, in row order.
            if !items.genome(item).is_empty()
                && let Some(products) = products.next()
            {
                for (&row, product) in with_genome.iter().zip(products) {
                    scores[row as usize] += product;
                }
            }
            let own = first_item + item as u32;
            for (row, &score) in (first_candidate..).zip(scores.iter()) {
                if score > 0.0 && score >= top.threshold() && row != own {
                    top.push(score, row);
                }
            }
        }
    });
}

/// Genomes of those of `range` that have one times all genomes of the candidates, row-major.
fn genome_products(items: &ItemVectors, range: std::ops::Range<usize>, candidates: &ItemVectors) -> Vec<f32> {
    let parts = items.parts();
    let of_range = |row: usize| parts.genome_rows.partition_point(|&at| (at as usize) < row);
    let (begin, end, width) = (of_range(range.start), of_range(range.end), items.genome_width());
    product(&parts.genomes[begin * width..end * width], &candidates.parts().genomes, width)
}

/// a · bᵀ of row-major matrices with rows of `width`.
fn product(a: &[f32], b: &[f32], width: usize) -> Vec<f32> {
    if width == 0 {
        return Vec::new();
    }
    let (rows, columns) = (a.len() / width, b.len() / width);
    let mut values = vec![0.0; rows * columns];
    let views = (
        ArrayView2::from_shape((rows, width), a),
        ArrayView2::from_shape((columns, width), b),
        ArrayViewMut2::from_shape((rows, columns), &mut values),
    );
    if let (Ok(a), Ok(b), Ok(mut target)) = views {
        general_mat_mul(1.0, &a, &b.t(), 0.0, &mut target);
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::Vector;

    const FEATURES: usize = 9;
    const WIDTH: usize = 21;

    fn shard(items: usize, seed: u64) -> ItemVectors {
        let draw = |a: usize, b: usize| {
            shoal_core::hash::unit_interval(shoal_core::hash::mix64(seed ^ (a * 1_000 + b) as u64))
        };
        let mut vectors = ItemVectors::new(FEATURES, WIDTH);
        for item in 0..items {
            let some = (0..FEATURES).filter(|&feature| draw(item, feature) < 0.3);
            let features = some.map(|feature| (feature as u32, draw(item, feature) as f32)).collect();
            let genome = if draw(item, 99) < 0.4 {
                (0..WIDTH).map(|at| draw(item, 100 + at) as f32 - 0.5).collect()
            } else {
                Vec::new()
            };
            vectors.push(&Vector { features, genome });
        }
        vectors
    }

    fn naive(a: (&ItemVectors, usize), b: (&ItemVectors, usize)) -> f64 {
        let ((x, xs), (y, ys)) = (a.0.sparse(a.1), b.0.sparse(b.1));
        let sparse = x.iter().zip(xs).filter_map(|(feature, value)| {
            let at = y.iter().position(|other| other == feature)?;
            Some(f64::from(*value) * f64::from(ys[at]))
        });
        let genomes = a.0.genome(a.1).iter().zip(b.0.genome(b.1));
        sparse.sum::<f64>() + genomes.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
    }

    proptest! {
        #[test]
        fn finds_the_most_similar(left in 0_usize..150, right in 0_usize..90, seed: u64) {
            let shards = [shard(left, seed), shard(right, !seed)];
            let first = [0, left as u32];
            let mut tops = vec![TopK::new(7); left];
            for (candidates, first_candidate) in shards.iter().zip(first) {
                offer_similar(&shards[0], 0, &Candidates::new(candidates), first_candidate, &mut tops);
            }
            for (item, top) in tops.into_iter().enumerate() {
                let found = top.into_sorted();
                let similarity = |row: u32| {
                    let shard = usize::from(row >= first[1]);
                    naive((&shards[0], item), (&shards[shard], (row - first[shard]) as usize))
                };
                let mut exact: Vec<f64> =
                    (0..(left + right) as u32).filter(|&row| row != item as u32).map(similarity).collect();
                exact.sort_by(|a, b| b.total_cmp(a));
                exact.retain(|similarity| *similarity > 1e-5);
                exact.truncate(7);
                prop_assert!(found.len() >= exact.len());
                for (&(score, row), exact) in found.iter().zip(exact) {
                    prop_assert!(row != item as u32);
                    prop_assert!((f64::from(score) - similarity(row)).abs() < 1e-5);
                    prop_assert!((f64::from(score) - exact).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let (items, candidates) = (shard(200, 5), shard(130, 6));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut tops = vec![TopK::new(10); items.len()];
            pool.install(|| offer_similar(&items, 0, &Candidates::new(&candidates), 200, &mut tops));
            let lists: Vec<Vec<(u32, u32)>> = tops
                .into_iter()
                .map(|top| top.into_sorted().into_iter().map(|(score, row)| (score.to_bits(), row)).collect())
                .collect();
            lists
        };
        assert_eq!(run(1), run(3));
    }
}
