//! The inner loops, written once and compiled for each instruction set; which one runs is chosen
//! at run time.
//!
//! Matrices are packed tiles: row-major, the width rounded up to [`LANES`] and padded with zeros, so
//! that every loop runs over whole vector registers.

/// Elements of a register block's side, and the multiple that widths are padded to.
pub const LANES: usize = 16;

/// The width of a packed tile for `rank` columns.
#[must_use]
pub const fn padded(rank: usize) -> usize {
    rank.div_ceil(LANES) * LANES
}

/// The loops of one instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// 256-bit vectors with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2Fma,
    /// Whatever the build's baseline has; multiply and add round separately.
    Portable,
}

impl Kernel {
    /// The fastest kernel that this machine runs.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Self::Avx2Fma;
        }
        Self::Portable
    }

    /// Every kernel that this machine runs, for tests.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = vec![Self::Portable];
        if Self::detect() != Self::Portable {
            kernels.push(Self::detect());
        }
        kernels
    }

    /// Its name in `metadata.json` and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Fma => "avx2+fma",
            Self::Portable => "portable",
        }
    }

    /// Adds Σᵣ wᵣ xᵣ xᵣᵀ over the rows of a packed tile to the lower triangle of `normal`
    /// (`width` × `width`, row-major; elements above the diagonal blocks are left alone). Without
    /// `weighted`, every weight is one; with it, `weighted` holds wᵣ xᵣ, packed as `tile` is.
    pub fn add_outer_products(
        self,
        tile: &[f32],
        weighted: Option<&[f32]>,
        width: usize,
        normal: &mut [f32],
    ) {
        debug_assert!(width.is_multiple_of(LANES) && tile.len().is_multiple_of(width));
        debug_assert!(weighted.is_none_or(|weighted| weighted.len() == tile.len()));
        debug_assert_eq!(normal.len(), width * width);
        let left = weighted.unwrap_or(tile);
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel is only made by `detect` after the CPU was asked for both features.
            Self::Avx2Fma => unsafe { outer_products_avx2(left, tile, width, normal) },
            Self::Portable => outer_products::<false>(left, tile, width, normal),
        }
    }

    /// `target += scale · source`, element by element.
    pub fn add_scaled(self, scale: f32, source: &[f32], target: &mut [f32]) {
        debug_assert_eq!(source.len(), target.len());
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel is only made by `detect` after the CPU was asked for both features.
            Self::Avx2Fma => unsafe { add_scaled_avx2(scale, source, target) },
            Self::Portable => add_scaled::<false>(scale, source, target),
        }
    }

    /// Σ aᵢ bᵢ, in [`LANES`] partial sums that are then added pairwise.
    #[must_use]
    pub fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        debug_assert_eq!(a.len(), b.len());
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kernel is only made by `detect` after the CPU was asked for both features.
            Self::Avx2Fma => unsafe { dot_avx2(a, b) },
            Self::Portable => dot::<false>(a, b),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn outer_products_avx2(left: &[f32], right: &[f32], width: usize, normal: &mut [f32]) {
    outer_products::<true>(left, right, width, normal);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_scaled_avx2(scale: f32, source: &[f32], target: &mut [f32]) {
    add_scaled::<true>(scale, source, target);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    dot::<true>(a, b)
}

/// `a · b + c`, fused where the instruction set fuses.
#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn outer_products<const FUSED: bool>(left: &[f32], right: &[f32], width: usize, normal: &mut [f32]) {
    for row_block in (0..width).step_by(LANES) {
        for column_block in (0..=row_block).step_by(LANES) {
            outer_block::<FUSED>(left, right, width, row_block, column_block, normal);
        }
    }
}

/// One LANES × LANES block, accumulated in registers over all rows of the tile.
#[inline(always)]
fn outer_block<const FUSED: bool>(
    left: &[f32],
    right: &[f32],
    width: usize,
    row_block: usize,
    column_block: usize,
    normal: &mut [f32],
) {
    let mut sums = [[0.0_f32; LANES]; LANES];
    for (left_row, right_row) in left.chunks_exact(width).zip(right.chunks_exact(width)) {
        let a = &left_row[row_block..row_block + LANES];
        let b = &right_row[column_block..column_block + LANES];
        for i in 0..LANES {
            for j in 0..LANES {
                sums[i][j] = multiply_add::<FUSED>(a[i], b[j], sums[i][j]);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let at = (row_block + i) * width + column_block;
        for (target, sum) in normal[at..at + LANES].iter_mut().zip(sums) {
            *target += sum;
        }
    }
}

#[inline(always)]
fn add_scaled<const FUSED: bool>(scale: f32, source: &[f32], target: &mut [f32]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target = multiply_add::<FUSED>(scale, *source, *target);
    }
}

#[inline(always)]
fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (lane, (x, y)) in a_blocks.remainder().iter().zip(b_blocks.remainder()).enumerate() {
        sums[lane] = x * y;
    }
    for (x, y) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FUSED>(x[lane], y[lane], sums[lane]);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(count: usize, seed: u64) -> Vec<f32> {
        (0..count)
            .map(|i| {
                (shoal_common::hash::unit_interval(shoal_common::hash::mix64(seed ^ i as u64)) - 0.5) as f32
            })
            .collect()
    }

    proptest! {
        #[test]
        fn outer_products_match_f64(rows in 0_usize..40, rank in 1_usize..70, seed: u64) {
            let width = padded(rank);
            let (tile, weighted) = (values(rows * width, seed), values(rows * width, !seed));
            for kernel in Kernel::available() {
                let mut normal = vec![0.0; width * width];
                kernel.add_outer_products(&tile, Some(&weighted), width, &mut normal);
                for i in 0..width {
                    for j in 0..=i {
                        let exact: f64 = (0..rows)
                            .map(|r| f64::from(weighted[r * width + i]) * f64::from(tile[r * width + j]))
                            .sum();
                        prop_assert!((f64::from(normal[i * width + j]) - exact).abs() < 1e-4);
                    }
                }
            }
        }

        #[test]
        fn dot_and_add_scaled_match_f64(length in 0_usize..100, seed: u64, scale in -2.0_f32..2.0) {
            let (a, b) = (values(length, seed), values(length, !seed));
            let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            for kernel in Kernel::available() {
                prop_assert!((f64::from(kernel.dot(&a, &b)) - exact).abs() < 1e-4);
                let mut target = b.clone();
                kernel.add_scaled(scale, &a, &mut target);
                for i in 0..length {
                    prop_assert!((target[i] - (b[i] + scale * a[i])).abs() < 1e-5);
                }
            }
        }
    }
}
