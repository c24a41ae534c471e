//! Half-steps of both objectives against a naive solve in f64, over random shapes.

use proptest::prelude::*;
use shoal_core::hash::{mix64, unit_interval};

use super::{
    cost::{self, SystemForm},
    explicit,
    fit::{Fit, RatingRows},
    gramian::shard_gramian,
    half_step::HalfStep,
    implicit,
    kernel::Kernel,
    problem::Solver,
};
use crate::preference::Preference;

mod peers;
mod short;
mod solvers;

/// A side to be solved: its ratings, and the fixed rows they name.
struct Case {
    fixed: Vec<f32>,
    indptr: Vec<u64>,
    slots: Vec<u32>,
    ratings: Vec<f32>,
}

impl Case {
    /// `counts` ratings in each row, of `others` fixed rows with `width` elements about `spread` apart.
    fn new(counts: &[usize], others: usize, width: usize, spread: f64, seed: u64) -> Self {
        let number = |stream: u64, i: usize| unit_interval(mix64(seed ^ mix64(stream << 40 ^ i as u64)));
        let mut indptr = vec![0];
        let (mut slots, mut ratings) = (Vec::new(), Vec::new());
        for &count in counts {
            for _ in 0..count {
                let at = slots.len();
                slots.push((number(1, at) * others as f64) as u32);
                ratings.push((number(2, at) * 10.0).ceil() as f32 / 2.0);
            }
            indptr.push(slots.len() as u64);
        }
        let fixed = (0..others * width).map(|i| ((number(3, i) - 0.5) * spread) as f32).collect();
        Self { fixed, indptr, slots, ratings }
    }

    fn rows(&self) -> RatingRows<'_> {
        RatingRows { indptr: &self.indptr, slots: &self.slots, ratings: &self.ratings }
    }

    fn solve(&self, kernel: Kernel, fit: Fit<'_>, threads: usize) -> Vec<f32> {
        self.solve_by(kernel, fit, Solver::Cholesky, threads)
    }

    fn solve_by(&self, kernel: Kernel, fit: Fit<'_>, solver: Solver, threads: usize) -> Vec<f32> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let rows = self.rows();
        let mut solution = vec![f32::NAN; rows.len() * fit.width()];
        let solve = || HalfStep::new(kernel, fit, solver, rows).solve(0..rows.len(), &mut solution);
        pool.install(solve).unwrap();
        solution
    }
}

/// The weights, pulls, ridge and A₀ of a row, as its convention says: told again here, apart from the code under test.
struct Terms<'a> {
    rank: usize,
    biases: bool,
    pairs: Vec<(f64, f64)>,
    ridge: f64,
    start: Option<(f64, &'a [f64])>,
}

fn terms<'a>(fit: &Fit<'a>, slots: &[u32], ratings: &[f32]) -> Terms<'a> {
    let count = ratings.len() as f64;
    match *fit {
        Fit::Explicit { settings, fixed } => {
            let width = settings.rank + usize::from(settings.biases);
            let bias =
                |slot: u32| if settings.biases { fixed[slot as usize * width + settings.rank] } else { 0.0 };
            let pull = |(&slot, &rating): (&u32, &f32)| {
                f64::from(rating) - settings.rating_mean - f64::from(bias(slot))
            };
            let ridge = match settings.scaling {
                explicit::Scaling::Ratings => settings.regularization * count,
                explicit::Scaling::None => settings.regularization,
            };
            let pairs = slots.iter().zip(ratings).map(|pair| (1.0, pull(pair))).collect();
            Terms { rank: settings.rank, biases: settings.biases, pairs, ridge, start: None }
        }
        Fit::Implicit { settings, gramian, .. } => {
            let alpha = settings.alpha;
            let preference = |r: f64| match settings.preference {
                Preference::Observed => 1.0,
                Preference::Positive => f64::from(u8::from(r > 0.0)),
                // The scale of the cases here.
                Preference::Height(_) => 0.1 + 0.9 * (r - 0.5) / 4.5,
            };
            let pair = |&rating: &f32| {
                let r = f64::from(rating);
                match settings.confidence {
                    implicit::Confidence::Ials => {
                        (1.0 + alpha * r.abs(), preference(r) * (1.0 + alpha * r.abs()))
                    }
                    implicit::Confidence::Spark => (alpha * r.abs(), preference(r) * (1.0 + alpha * r.abs())),
                    implicit::Confidence::Implicit => {
                        ((alpha * r).abs() - 1.0, preference(r) * (alpha * r).abs())
                    }
                }
            };
            let ridge = settings.regularization
                * match settings.scaling {
                    implicit::Scaling::Ials => (count
                        + settings.unobserved_weight * settings.other_rows as f64)
                        .powf(settings.regularization_exponent),
                    implicit::Scaling::Ratings => ratings.iter().filter(|&&r| r > 0.0).count() as f64,
                    implicit::Scaling::None => 1.0,
                };
            let start = Some((settings.unobserved_weight, gramian));
            Terms {
                rank: settings.rank,
                biases: false,
                pairs: ratings.iter().map(pair).collect(),
                ridge,
                start,
            }
        }
    }
}

/// One row by Gaussian elimination with pivoting, in f64.
fn oracle(fit: &Fit<'_>, fixed: &[f32], slots: &[u32], ratings: &[f32]) -> Vec<f64> {
    let Terms { rank, biases, pairs, ridge, start } = terms(fit, slots, ratings);
    let order = rank + usize::from(biases);
    if slots.is_empty() {
        return vec![0.0; order];
    }
    let mut system = vec![vec![0.0; order + 1]; order];
    for i in 0..order {
        system[i][i] = ridge;
        if let Some((weight, gramian)) = start {
            for j in 0..rank {
                system[i][j] += weight * gramian[i * rank + j];
            }
        }
    }
    for (&slot, &(weight, pull)) in slots.iter().zip(&pairs) {
        let stored = &fixed[slot as usize * order..][..order];
        let mut q: Vec<f64> = stored.iter().map(|&value| f64::from(value)).collect();
        if biases {
            q[rank] = 1.0;
        }
        for i in 0..order {
            for j in 0..order {
                system[i][j] += weight * q[i] * q[j];
            }
            system[i][order] += pull * q[i];
        }
    }
    for column in 0..order {
        let best =
            (column..order).max_by(|&a, &b| system[a][column].abs().total_cmp(&system[b][column].abs()));
        system.swap(column, best.unwrap());
        let pivot = system[column].clone();
        for row in &mut system[column + 1..] {
            let factor = row[column] / pivot[column];
            for (value, above) in row[column..].iter_mut().zip(&pivot[column..]) {
                *value -= factor * above;
            }
        }
    }
    let mut x = vec![0.0; order];
    for row in (0..order).rev() {
        let known: f64 = (row + 1..order).map(|at| system[row][at] * x[at]).sum();
        x[row] = (system[row][order] - known) / system[row][row];
    }
    x
}

/// Every kernel, with one thread and with three, gives the oracle's rows; the two agree bit for bit.
fn check(case: &Case, fit: Fit<'_>, tolerance: f64) {
    let rows = case.rows();
    for kernel in Kernel::available() {
        let solution = case.solve(kernel, fit, 1);
        let again = case.solve(kernel, fit, 3);
        assert!(
            solution.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()),
            "{kernel:?}: threads matter"
        );
        for (at, solution) in solution.chunks_exact(fit.width()).enumerate() {
            let row = rows.row(at);
            let exact = oracle(&fit, &case.fixed, row.slots, row.ratings);
            let size = exact.iter().fold(1e-3_f64, |most, value| most.max(value.abs()));
            for (value, exact) in solution.iter().zip(&exact) {
                let error = (f64::from(*value) - exact).abs() / size;
                assert!(
                    error < tolerance,
                    "{kernel:?}, row {at} of {} ratings: off by {error}",
                    row.slots.len()
                );
            }
        }
    }
}

fn explicit(rank: usize, biases: bool, scaling: explicit::Scaling) -> explicit::Settings {
    let rating_mean = if biases { 3.5 } else { 0.0 };
    explicit::Settings { rank, regularization: 0.05, scaling, biases, rating_mean }
}

fn implicit(rank: usize, alpha: f64) -> implicit::Settings {
    implicit::Settings {
        rank,
        regularization: 0.01,
        scaling: implicit::Scaling::Ials,
        confidence: implicit::Confidence::Ials,
        preference: Preference::Observed,
        unobserved_weight: 0.3,
        alpha,
        regularization_exponent: 1.0,
        other_rows: 100,
    }
}

fn explicit_scalings() -> impl Strategy<Value = explicit::Scaling> {
    prop_oneof![Just(explicit::Scaling::Ratings), Just(explicit::Scaling::None)]
}

fn conventions() -> impl Strategy<Value = (implicit::Confidence, implicit::Scaling)> {
    prop_oneof![
        Just((implicit::Confidence::Ials, implicit::Scaling::Ials)),
        Just((implicit::Confidence::Spark, implicit::Scaling::Ratings)),
        Just((implicit::Confidence::Implicit, implicit::Scaling::None)),
    ]
}

fn preferences() -> impl Strategy<Value = Preference> {
    prop_oneof![Just(Preference::Observed), Just(Preference::Positive), Just(Preference::by_height(0.5, 5.0)),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn explicit_rows_match_the_oracle(
        rank in 1_usize..80,
        counts in prop::collection::vec(0_usize..150, 1..6),
        biases: bool,
        scaling in explicit_scalings(),
        seed: u64,
    ) {
        let settings = explicit(rank, biases, scaling);
        let case = Case::new(&counts, 200, settings.width(), 2.0, seed);
        check(&case, Fit::Explicit { settings: &settings, fixed: &case.fixed }, 2e-4);
    }

    #[test]
    fn implicit_rows_match_the_oracle(
        rank in 1_usize..80,
        counts in prop::collection::vec(0_usize..150, 1..6),
        alpha in prop_oneof![Just(0.0), 0.1..40.0_f64],
        (confidence, scaling) in conventions(),
        preference in preferences(),
        seed: u64,
    ) {
        // Weights below zero, of pairs that come more than once here, must not make the system indefinite.
        let is_signed = confidence == implicit::Confidence::Implicit && alpha > 0.0;
        let mut settings = implicit(rank, if is_signed { alpha.max(1.0) } else { alpha });
        if is_signed {
            settings.unobserved_weight = 10.0;
        }
        (settings.confidence, settings.scaling, settings.preference) = (confidence, scaling, preference);
        let case = Case::new(&counts, 100, rank, 2.0, seed);
        let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
        check(&case, Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian }, 5e-4);
    }
}

#[test]
fn large_ranks_match_the_oracle() {
    for (rank, counts) in [(256, [0, 3, 40, 150, 255, 600]), (512, [1, 17, 100, 300, 500, 520])] {
        let settings = explicit(rank, true, explicit::Scaling::Ratings);
        let case = Case::new(&counts, 700, settings.width(), 1.0, rank as u64);
        check(&case, Fit::Explicit { settings: &settings, fixed: &case.fixed }, 2e-4);
        let by_height =
            implicit::Settings { preference: Preference::by_height(0.5, 5.0), ..implicit(rank, 0.0) };
        let case = Case::new(&counts, 700, rank, 1.0, rank as u64);
        let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
        for settings in [implicit(rank, 1.0), by_height] {
            check(&case, Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian }, 5e-4);
        }
    }
}

#[test]
fn long_rows_match_the_oracle_and_do_not_depend_on_threads() {
    let counts = [5_000, 20_000, 3, 70_000, 4_096, 4_097];
    for biases in [false, true] {
        let settings = explicit(20, biases, explicit::Scaling::Ratings);
        let case = Case::new(&counts, 3_000, settings.width(), 1.0, 9);
        check(&case, Fit::Explicit { settings: &settings, fixed: &case.fixed }, 2e-4);
    }
    let settings = implicit(33, 0.5);
    let case = Case::new(&counts, 3_000, 33, 1.0, 10);
    let gramian = shard_gramian(Kernel::detect(), &case.fixed, 33);
    check(&case, Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian }, 5e-4);
}

/// Fixed rows that nearly lie in a plane, and hardly any regularization: f32 loses its pivots, f64 keeps them.
#[test]
fn ill_conditioned_rows_are_solved_in_f64() {
    for (rank, counts) in [(24, [100, 12]), (70, [200, 40])] {
        let mut settings = explicit(rank, false, explicit::Scaling::None);
        settings.regularization = 1e-5;
        let mut case = Case::new(&counts, 300, rank, 1.0, 3);
        for row in case.fixed.chunks_exact_mut(rank) {
            for at in 2..rank {
                row[at] = row[0] * (at as f32) - row[1] + row[at] * 1e-4;
            }
        }
        let fit = Fit::Explicit { settings: &settings, fixed: &case.fixed };
        for kernel in Kernel::available() {
            let solution = case.solve(kernel, fit, 1);
            for (at, x) in solution.chunks_exact(rank).enumerate() {
                let row = case.rows().row(at);
                // The predictions are well determined though the row is not.
                let exact = oracle(&fit, &case.fixed, row.slots, row.ratings);
                for &slot in row.slots {
                    let q = &case.fixed[slot as usize * rank..][..rank];
                    let of =
                        |x: &dyn Fn(usize) -> f64| (0..rank).map(|k| f64::from(q[k]) * x(k)).sum::<f64>();
                    let (ours, theirs) = (of(&|k| f64::from(x[k])), of(&|k| exact[k]));
                    assert!((ours - theirs).abs() < 0.02, "{kernel:?} rank {rank}: {ours} for {theirs}");
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() {
    let counts: Vec<usize> = (0..300).map(|at| at % 97).collect();
    for (rank, alpha) in [(48, 0.5), (20, 0.0)] {
        let settings = implicit(rank, alpha);
        let case = Case::new(&counts, 500, rank, 1.0, 5);
        let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
        let fit = Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian };
        let whole = case.solve(Kernel::detect(), fit, 2);
        for row in [0, 1, 20, 50, 96, 299] {
            let range = case.indptr[row] as usize..case.indptr[row + 1] as usize;
            let alone = Case {
                fixed: Vec::new(),
                indptr: vec![0, range.len() as u64],
                slots: case.slots[range.clone()].to_vec(),
                ratings: case.ratings[range].to_vec(),
            };
            let solution = alone.solve(Kernel::detect(), fit, 1);
            assert_eq!(solution, whole[row * rank..(row + 1) * rank], "rank {rank}, row {row}");
        }
    }
}

#[test]
fn what_cannot_be_solved_is_named() {
    let settings = explicit(4, false, explicit::Scaling::Ratings);
    let mut case = Case::new(&[5, 5, 5, 5], 40, 4, 1.0, 1);
    let bad = case.slots[12] as usize;
    case.fixed[bad * 4] = f32::NAN;
    let first = case.slots.iter().position(|&slot| slot as usize == bad).unwrap() / 5;
    let fit = Fit::Explicit { settings: &settings, fixed: &case.fixed };
    let mut solution = vec![0.0; 16];
    let failure = HalfStep::new(Kernel::detect(), fit, Solver::Cholesky, case.rows())
        .solve(0..4, &mut solution)
        .unwrap_err();
    assert_eq!(failure.row, first);
}

#[test]
fn what_is_no_number_is_found_in_every_form() {
    for (rank, count) in [(8, 20), (64, 10), (128, 200), (256, 120)] {
        let settings = implicit(rank, 1.0);
        let mut case = Case::new(&[count, count], 40_000, rank, 1.0, 1);
        let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
        case.fixed[case.slots[count + 1] as usize * rank] = f32::NAN;
        let fit = Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian };
        for kernel in Kernel::available() {
            let mut solution = vec![0.0; 2 * rank];
            let solved = HalfStep::new(kernel, fit, Solver::Cholesky, case.rows()).solve(0..2, &mut solution);
            assert_eq!(solved.unwrap_err().row, 1, "{kernel:?} {rank} {count}");
        }
    }
}

#[test]
fn the_dual_is_chosen_for_short_rows_only() {
    for rank in [8, 16, 20, 64, 128, 256, 512] {
        for rotated in [false, true] {
            let duals: Vec<bool> =
                (0..=rank + 10).map(|count| cost::prefers_dual(count, rank, rotated)).collect();
            let crossover = duals.iter().filter(|&&dual| dual).count();
            assert!(duals[..crossover].iter().all(|&dual| dual), "rank {rank}");
            assert!(crossover <= rank, "rank {rank}: {crossover}");
        }
    }
    assert!(cost::prefers_dual(30, 64, true) && cost::prefers_dual(40, 64, false));
}

#[test]
fn rows_are_rounded_where_it_pays() {
    let form = |count, rank, rounds| SystemForm::cheapest(count, rank, true, rounds);
    for rank in [8, 16, 64, 128, 256, 512] {
        assert!(
            (0..2 * rank)
                .all(|count| matches!(form(count, rank, false), SystemForm::Primal | SystemForm::Dual))
        );
        assert!((0..=rank).all(|count| SystemForm::cheapest(count, rank, false, true)
            == SystemForm::cheapest(count, rank, false, false)));
    }
    assert!((1..500).all(|count| form(count, 8, true) == SystemForm::Primal));
    assert!((32..500).all(|count| form(count, 32, true) == SystemForm::Primal));
    for rank in [64, 128, 256] {
        let mut forms: Vec<SystemForm> = (1..4 * rank).map(|count| form(count, rank, true)).collect();
        // A dual of as many blocks as the normal equations have is no smaller.
        assert_eq!(
            forms.iter().position(|&form| form == SystemForm::RefinedPrimal),
            Some(rank - 16),
            "rank {rank}"
        );
        forms.dedup();
        assert_eq!(
            forms,
            [SystemForm::Dual, SystemForm::RefinedDual, SystemForm::RefinedPrimal],
            "rank {rank}"
        );
    }
}

/// Corrected rows are as near to the oracle's as those of a factorisation in f32, whose error is some roundings times the
/// condition.
#[test]
fn corrections_lead_to_the_solution() {
    for (rank, counts) in
        [(64, [40, 50, 100, 5_000]), (100, [45, 70, 200, 9_000]), (256, [60, 120, 180, 700])]
    {
        for alpha in [0.0, 2.0] {
            let settings = implicit(rank, alpha);
            let case = Case::new(&counts, 900, rank, 1.0, 77);
            let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
            check(&case, Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian }, 2e-5);
        }
    }
}

/// Hardly any regularization and a fixed side that nearly lies in a plane: what stands out of it is a hundred times less
/// than what rounding takes from the rows, but not in the basis in which they are rounded.
#[test]
fn rounding_keeps_what_is_small_in_every_row() {
    let rank = 96;
    let mut settings = implicit(rank, 1.0);
    (settings.regularization, settings.unobserved_weight) = (1e-7, 1e-7);
    settings.scaling = implicit::Scaling::None;
    let mut case = Case::new(&[55, 100, 300], 400, rank, 1.0, 3);
    for row in case.fixed.chunks_exact_mut(rank) {
        for at in 2..rank {
            row[at] = row[0] * (at as f32) - row[1] + row[at] * 1e-3;
        }
    }
    let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
    let fit = Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian };
    for kernel in Kernel::available() {
        let solution = case.solve(kernel, fit, 1);
        for (at, x) in solution.chunks_exact(rank).enumerate() {
            let row = case.rows().row(at);
            let exact = oracle(&fit, &case.fixed, row.slots, row.ratings);
            for &slot in row.slots {
                // The predictions are well determined though the row is not.
                let q = &case.fixed[slot as usize * rank..][..rank];
                let of = |x: &dyn Fn(usize) -> f64| (0..rank).map(|k| f64::from(q[k]) * x(k)).sum::<f64>();
                let (ours, theirs) = (of(&|k| f64::from(x[k])), of(&|k| exact[k]));
                assert!((ours - theirs).abs() < 0.05, "{kernel:?} row {at}: {ours} for {theirs}");
            }
        }
    }
}
