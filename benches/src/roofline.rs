//! What one core of this machine can do at most, measured: multiplications and additions in registers, a large
//! matrix product, reading from memory.

use shoal_engine::als::kernel::Kernel;

use crate::timing::fastest;

/// Side of the matrices multiplied.
const SIDE: usize = 1_024;

/// Numbers read to measure memory: far more than caches hold.
const STREAM: usize = 32 << 20;

/// The two limits of a core, and what a good library reaches of the first.
#[derive(Debug, Clone, Copy)]
pub struct Roofline {
    /// Operations per second of multiply-adds in registers, each counted as two.
    pub fma_peak: f64,
    /// Operations per second of `gemm` for f32 matrices of 1024 × 1024.
    pub gemm: f64,
    /// Bytes per second read from memory in order.
    pub read_bytes: f64,
}

impl Roofline {
    /// Measures what this machine computes and reads per second.
    #[must_use]
    pub fn measure() -> Self {
        Self { fma_peak: fma_peak(), gemm: gemm_rate(), read_bytes: read_rate() }
    }

    /// Operations per byte from which on arithmetic is the limit, not memory.
    #[must_use]
    pub fn ridge(&self) -> f64 {
        self.fma_peak / self.read_bytes
    }
}

/// Operations per second of the `gemm` crate on one core.
#[must_use]
pub fn gemm_rate() -> f64 {
    let mut product = Gemm::new(SIDE);
    2.0 * (SIDE as f64).powi(3) / fastest(|| product.run())
}

/// A product of two matrices by the `gemm` crate.
#[derive(Debug)]
pub struct Gemm {
    rows: usize,
    depth: usize,
    columns: usize,
    left: Vec<f32>,
    right: Vec<f32>,
    product: Vec<f32>,
}

impl Gemm {
    /// Matrices of `side` × `side`.
    #[must_use]
    pub fn new(side: usize) -> Self {
        Self::of(side, side, side)
    }

    /// Matrices of `rows` × `depth` and `depth` × `columns`.
    #[must_use]
    pub fn of(rows: usize, depth: usize, columns: usize) -> Self {
        let values =
            |count: usize, step: usize| (0..count).map(|at| (at * step % 17) as f32 * 0.1 - 0.8).collect();
        let (left, right) = (values(rows * depth, 3), values(depth * columns, 5));
        Self { rows, depth, columns, left, right, product: vec![0.0; rows * columns] }
    }

    /// Multiplies the two matrices once.
    pub fn run(&mut self) {
        let (rows, depth) = (self.rows as isize, self.depth as isize);
        // SAFETY: each matrix is as large as its sides say, its columns one after the other.
        unsafe {
            gemm::gemm(
                self.rows,
                self.columns,
                self.depth,
                self.product.as_mut_ptr(),
                rows,
                1,
                false,
                self.left.as_ptr(),
                rows,
                1,
                self.right.as_ptr(),
                depth,
                1,
                0.0_f32,
                1.0_f32,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// Bytes per second of one core that reads two arrays from memory.
#[must_use]
pub fn read_rate() -> f64 {
    let (a, b) = (vec![1.0_f32; STREAM / 2], vec![1.0_f32; STREAM / 2]);
    let kernel = Kernel::detect();
    let seconds = fastest(|| {
        std::hint::black_box(kernel.dot(&a, &b));
    });
    (STREAM * size_of::<f32>()) as f64 / seconds
}

/// Operations per second of independent multiply-adds in registers.
#[must_use]
pub fn fma_peak() -> f64 {
    const STEPS: usize = 20_000;
    let rate = |chain: &dyn Fn() -> f32, lanes: usize| {
        (2 * STEPS * CHAINS * lanes) as f64
            / fastest(|| {
                std::hint::black_box(chain());
            })
    };
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has just been asked for the feature.
            return rate(&|| unsafe { chains_avx512(STEPS) }, 16);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: likewise.
            return rate(&|| unsafe { chains_avx2(STEPS) }, 8);
        }
    }
    rate(&|| chains(STEPS), 4)
}

/// Chains of dependent operations side by side: more than a processor needs to be busy.
const CHAINS: usize = 12;

/// For processors without the instructions below: whatever the compiler makes of it.
fn chains(steps: usize) -> f32 {
    let (factor, addend) = (std::hint::black_box(0.999_f32), std::hint::black_box(0.001_f32));
    let mut sums = [[0.5_f32; 4]; CHAINS];
    for _ in 0..steps {
        for value in sums.as_flattened_mut() {
            *value = *value * factor + addend;
        }
    }
    sums.as_flattened().iter().sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn chains_avx512(steps: usize) -> f32 {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};

    let factor = _mm512_set1_ps(std::hint::black_box(0.999));
    let addend = _mm512_set1_ps(std::hint::black_box(0.001));
    let mut sums = [_mm512_set1_ps(0.5); CHAINS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, addend);
        }
    }
    let mut total = 0.0;
    for sum in sums {
        total += _mm512_reduce_add_ps(sum);
    }
    total
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn chains_avx2(steps: usize) -> f32 {
    use std::arch::x86_64::{_mm256_add_ps, _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps};

    let factor = _mm256_set1_ps(std::hint::black_box(0.999));
    let addend = _mm256_set1_ps(std::hint::black_box(0.001));
    let mut sums = [_mm256_set1_ps(0.5); CHAINS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, addend);
        }
    }
    let mut total = sums[0];
    for sum in &sums[1..] {
        total = _mm256_add_ps(total, *sum);
    }
    _mm256_cvtss_f32(total)
}
