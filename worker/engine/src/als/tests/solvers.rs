//! The other solvers against the exact ones: where they lead when they are repeated, and what they promise.

use super::*;

/// The row's loss as far as it depends on the row, in f64.
fn loss(fit: &Fit<'_>, fixed: &[f32], slots: &[u32], ratings: &[f32], x: &[f32]) -> f64 {
    let Terms { rank, biases, pairs, ridge, start } = terms(fit, slots, ratings);
    let order = rank + usize::from(biases);
    let value = |at: usize| f64::from(x[at]);
    let mut loss: f64 = (0..order).map(|at| ridge * value(at) * value(at)).sum();
    for (&slot, &(weight, pull)) in slots.iter().zip(&pairs) {
        let stored = &fixed[slot as usize * order..][..order];
        let mut predicted: f64 = (0..rank).map(|at| f64::from(stored[at]) * value(at)).sum();
        if biases {
            predicted += value(rank);
        }
        loss += weight * predicted * predicted - 2.0 * pull * predicted;
    }
    if let Some((weight, gramian)) = start {
        for i in 0..rank {
            for j in 0..rank {
                loss += weight * gramian[i * rank + j] * value(i) * value(j);
            }
        }
    }
    loss
}

/// Every row starts from zeros and is improved `rounds` times; no round makes it worse.
fn improved(case: &Case, kernel: Kernel, fit: Fit<'_>, solver: Solver, rounds: usize) -> Vec<f32> {
    let rows = case.rows();
    let mut solution = vec![0.0; rows.len() * fit.width()];
    let mut before = vec![0.0_f64; rows.len()];
    for round in 0..rounds {
        HalfStep::new(kernel, fit, solver, rows).solve(0..rows.len(), &mut solution).unwrap();
        for (at, x) in solution.chunks_exact(fit.width()).enumerate() {
            let row = rows.row(at);
            let after = loss(&fit, &case.fixed, row.slots, row.ratings, x);
            let slack = 1e-4 * (1.0 + before[at].abs());
            assert!(after <= before[at] + slack, "{solver:?} round {round}: {} to {after}", before[at]);
            before[at] = after;
        }
    }
    solution
}

fn assert_near(ours: &[f32], exact: &[f32], width: usize, tolerance: f32, what: &str) {
    for (ours, exact) in ours.chunks_exact(width).zip(exact.chunks_exact(width)) {
        let size = exact.iter().fold(1e-3_f32, |most, value| most.max(value.abs()));
        for (ours, exact) in ours.iter().zip(exact) {
            assert!((ours - exact).abs() < tolerance * size, "{what}: {ours} for {exact}");
        }
    }
}

fn check_iterative(case: &Case, fit: Fit<'_>) {
    for kernel in Kernel::available() {
        let exact = case.solve(kernel, fit, 1);
        for (solver, rounds) in [
            (Solver::ConjugateGradients { steps: 3 }, 60),
            (Solver::ConjugateGradients { steps: 80 }, 3),
            (Solver::Descent { block: 16 }, 400),
            (Solver::Descent { block: 7 }, 400),
            (Solver::Descent { block: 1_000 }, 40),
        ] {
            let ours = improved(case, kernel, fit, solver, rounds);
            assert_near(&ours, &exact, fit.width(), 5e-3, &format!("{kernel:?} {solver:?}"));
        }
    }
}

#[test]
fn iterative_solvers_lead_to_the_exact_explicit_rows() {
    for biases in [false, true] {
        let mut settings = explicit(37, biases, explicit::Scaling::Ratings);
        settings.regularization = 0.3;
        let case = Case::new(&[3, 0, 40, 90, 150], 200, settings.width(), 1.0, 4);
        check_iterative(&case, Fit::Explicit { settings: &settings, fixed: &case.fixed });
    }
}

#[test]
fn iterative_solvers_lead_to_the_exact_implicit_rows() {
    for (confidence, scaling) in [
        (implicit::Confidence::Ials, implicit::Scaling::Ials),
        (implicit::Confidence::Spark, implicit::Scaling::Ratings),
        (implicit::Confidence::Implicit, implicit::Scaling::None),
    ] {
        let mut settings = implicit(37, 0.7);
        settings.regularization = 0.3;
        (settings.confidence, settings.scaling) = (confidence, scaling);
        if confidence != implicit::Confidence::Ials {
            settings.unobserved_weight = 1.0;
        }
        let case = Case::new(&[3, 0, 40, 90, 150], 100, 37, 1.0, 6);
        let gramian = shard_gramian(Kernel::detect(), &case.fixed, 37);
        check_iterative(&case, Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian });
    }
}

#[test]
fn iterative_solvers_do_not_depend_on_threads() {
    let settings = explicit(24, true, explicit::Scaling::Ratings);
    let case = Case::new(&[30, 5_000, 20_000, 7, 300, 900], 2_000, settings.width(), 1.0, 8);
    let fit = Fit::Explicit { settings: &settings, fixed: &case.fixed };
    for solver in [Solver::ConjugateGradients { steps: 3 }, Solver::Descent { block: 8 }] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut rows = vec![0.01; 6 * settings.width()];
            let step = || HalfStep::new(Kernel::detect(), fit, solver, case.rows()).solve(0..6, &mut rows);
            pool.install(step).unwrap();
            rows
        };
        assert_eq!(on(1), on(3), "{solver:?}");
    }
}

/// What makes x ≥ 0 the best: no element pulls up from zero, none pulls at all above zero.
fn check_nonnegative(case: &Case, fit: Fit<'_>) {
    let rank = fit.rank();
    for kernel in Kernel::available() {
        let rows = case.rows();
        let mut solution = vec![f32::NAN; rows.len() * rank];
        HalfStep::new(kernel, fit, Solver::Nonnegative, rows).solve(0..rows.len(), &mut solution).unwrap();
        for (at, x) in solution.chunks_exact(rank).enumerate() {
            let row = rows.row(at);
            let slope = |k: usize| {
                let mut moved = (x.to_vec(), x.to_vec());
                moved.0[k] += 0.01;
                moved.1[k] -= 0.01;
                // Exact for a quadratic but for rounding.
                let of = |x: &[f32]| loss(&fit, &case.fixed, row.slots, row.ratings, x);
                (of(&moved.0) - of(&moved.1)) / (f64::from(moved.0[k]) - f64::from(moved.1[k]))
            };
            let scale = 1e-3 * (1.0 + row.slots.len() as f64);
            for (k, &value) in x.iter().enumerate() {
                assert!(value >= 0.0, "{kernel:?}");
                assert!(slope(k) > -scale, "{kernel:?} row {at}: element {k} should grow");
                assert!(value == 0.0 || slope(k) < scale, "{kernel:?} row {at}: element {k} should shrink");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nonnegative_rows_are_the_best_of_their_kind(
        rank in 1_usize..40, counts in prop::collection::vec(0_usize..120, 1..5), seed: u64,
    ) {
        let settings = explicit(rank, false, explicit::Scaling::Ratings);
        let case = Case::new(&counts, 100, rank, 1.0, seed);
        check_nonnegative(&case, Fit::Explicit { settings: &settings, fixed: &case.fixed });
        let settings = implicit(rank, 0.5);
        let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
        check_nonnegative(&case, Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian });
    }
}

#[test]
fn a_long_row_without_negative_elements_does_not_depend_on_threads() {
    let settings = explicit(12, false, explicit::Scaling::Ratings);
    let case = Case::new(&[40_000, 10], 500, 12, 1.0, 2);
    check_nonnegative(&case, Fit::Explicit { settings: &settings, fixed: &case.fixed });
}
