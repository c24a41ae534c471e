//! The dot product behind every score, with one order of additions on every machine.
//!
//! Sixteen lanes: lane *l* sums the products of elements *l*, *l* + 16, …, the tail going to its
//! lanes; then the lanes are added pairwise, 8, 4, 2 and 1 apart. Each product is rounded before it
//! is added (no fused multiply-add), so SSE2, AVX2 and everything else give the same bits, and two
//! replicas of a shard never disagree about a score.

/// Lanes that sum side by side.
const LANES: usize = 16;

/// The dot product of `a` and `b` in the documented order. Of slices that differ in length, the
/// longer one's rest is passed over; callers check lengths once, where the slices come from.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    dot_in_lanes(a, b)
}

/// The body of [`dot`], inlined into each instruction set's block loop.
#[inline(always)]
fn dot_in_lanes(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_chunks, a_tail) = a.as_chunks::<LANES>();
    let (b_chunks, b_tail) = b.as_chunks::<LANES>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    for (lane, (x, y)) in lanes.iter_mut().zip(a_tail.iter().zip(b_tail)) {
        *lane += x * y;
    }
    for apart in [8, 4, 2, 1] {
        for lane in 0..apart {
            lanes[lane] += lanes[lane + apart];
        }
    }
    lanes[0]
}

/// The dot products of consecutive rows with `query`: `products[r] = dot(row r, query)`, rows being
/// `query.len()` elements each. Rows without a place in `products` are passed over.
pub(crate) fn dot_rows(rows: &[f32], query: &[f32], products: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as just detected.
        unsafe { dot_rows_avx2(rows, query, products) };
        return;
    }
    dot_rows_portable(rows, query, products);
}

/// The same loop compiled for 8-wide registers; AVX2 alone has no fused multiply-add to slip in.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_rows_avx2(rows: &[f32], query: &[f32], products: &mut [f32]) {
    dot_rows_portable(rows, query, products);
}

#[inline(always)]
fn dot_rows_portable(rows: &[f32], query: &[f32], products: &mut [f32]) {
    // A rank of zero has no rows to walk.
    for (product, row) in products.iter_mut().zip(rows.chunks_exact(query.len().max(1))) {
        *product = dot_in_lanes(row, query);
    }
}

/// The Euclidean norm, summed in f64 in element order: finite for every finite vector.
#[must_use]
pub fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The documented order, spelt out one addition at a time.
    fn reference(a: &[f32], b: &[f32]) -> f32 {
        let lane = |l: usize| (l..a.len()).step_by(16).fold(0.0_f32, |sum, i| sum + a[i] * b[i]);
        let l: Vec<f32> = (0..16).map(lane).collect();
        let eight: Vec<f32> = (0..8).map(|i| l[i] + l[i + 8]).collect();
        let four: Vec<f32> = (0..4).map(|i| eight[i] + eight[i + 4]).collect();
        (four[0] + four[2]) + (four[1] + four[3])
    }

    proptest! {
        #[test]
        fn every_code_path_adds_in_the_documented_order(
            pairs in prop::collection::vec((-1e3_f32..1e3, -1e3_f32..1e3), 0..150),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let expected = reference(&a, &b).to_bits();
            prop_assert_eq!(dot(&a, &b).to_bits(), expected);
            if !a.is_empty() {
                let rows = [a.clone(), a.clone(), a].concat();
                let mut products = [0.0; 3];
                dot_rows(&rows, &b, &mut products);
                prop_assert_eq!(products.map(f32::to_bits), [expected; 3]);
                dot_rows_portable(&rows, &b, &mut products);
                prop_assert_eq!(products.map(f32::to_bits), [expected; 3]);
            }
        }
    }

    #[test]
    fn norms_of_huge_vectors_are_finite() {
        assert!(norm(&[f32::MAX; 256]).is_finite());
        assert_eq!(norm(&[3.0, 4.0]), 5.0);
    }
}
