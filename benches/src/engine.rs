//! Pieces of the training engine as they are called in a half-step, ready to be measured.

use shoal_engine::{
    als::{
        dual, explicit,
        fit::{Fit, RatingRows, Weights},
        kernel::Kernel,
        primal,
        problem::{Problem, Solver},
        small_rank,
    },
    large_pages::LargePages,
};

/// Rows of ratings of equal length, whose fixed rows are scattered at random over a matrix.
#[derive(Debug)]
pub struct Scattered {
    settings: explicit::Settings,
    fixed: LargePages,
    indptr: Vec<u64>,
    slots: Vec<u32>,
    ratings: Vec<f32>,
}

impl Scattered {
    /// `rows` rows of `count` ratings each, for `others` fixed rows of this rank.
    #[must_use]
    pub fn new(rank: usize, rows: usize, count: usize, others: usize) -> Self {
        let settings = explicit::Settings {
            rank,
            regularization: 0.1,
            scaling: explicit::Scaling::Ratings,
            biases: false,
            rating_mean: 0.0,
        };
        let mut state = 42_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let mut fixed = LargePages::zeroed(others * rank);
        fixed.fill_with(|| (random() % 1_000) as f32 * 0.001 - 0.5);
        let slots = (0..rows * count).map(|_| (random() % others as u64) as u32).collect();
        let ratings = (0..rows * count).map(|_| (1 + random() % 10) as f32 * 0.5).collect();
        let indptr = (0..=rows).map(|row| (row * count) as u64).collect();
        Self { settings, fixed, indptr, slots, ratings }
    }

    fn rows(&self) -> RatingRows<'_> {
        RatingRows { indptr: &self.indptr, slots: &self.slots, ratings: &self.ratings }
    }

    fn problem(&self, kernel: Kernel) -> Problem<'_> {
        let fit = Fit::Explicit { settings: &self.settings, fixed: &self.fixed };
        Problem::new(kernel, fit, Solver::Cholesky)
    }

    /// Gathers and sums the normal equations of every row, and solves none.
    pub fn sum_normal_equations(&self, kernel: Kernel, scratch: &mut Buffers) {
        let problem = self.problem(kernel);
        for row in 0..self.rows().len() {
            let row = self.rows().row(row);
            if problem.sums_in_place() {
                small_rank::sum_part(&problem, row, 0, &mut scratch.small_rank_sums, &mut scratch.small_rank);
            } else {
                primal::sum_part(&problem, row, Weights::One, 0, &mut scratch.sums, &mut scratch.primal);
            }
        }
    }

    /// Solves every row through its normal equations.
    ///
    /// # Panics
    /// When a row cannot be solved, which does not happen.
    pub fn solve_primal(&self, kernel: Kernel, scratch: &mut Buffers) {
        let problem = self.problem(kernel);
        let mut solution = vec![0.0; self.settings.rank];
        for row in 0..self.rows().len() {
            let row = self.rows().row(row);
            assert!(primal::solve(&problem, row, &mut solution, &mut scratch.primal).is_ok());
        }
    }

    /// Solves every row through its dual.
    ///
    /// # Panics
    /// When a row cannot be solved, which does not happen.
    pub fn solve_dual(&self, kernel: Kernel, scratch: &mut Buffers) {
        let problem = self.problem(kernel);
        let mut solution = vec![0.0; self.settings.rank];
        for row in 0..self.rows().len() {
            let row = self.rows().row(row);
            assert!(dual::solve_explicit(&problem, row, &mut solution, &mut scratch.dual).is_ok());
        }
    }
}

/// What the engine keeps per thread.
#[derive(Debug, Default)]
pub struct Buffers {
    primal: primal::Scratch,
    dual: dual::Scratch,
    sums: primal::Sums,
    small_rank: small_rank::Scratch,
    small_rank_sums: small_rank::Sums,
}
