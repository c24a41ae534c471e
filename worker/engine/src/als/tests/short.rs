//! Short rows, whose duals are solved side by side: right, and the same in any company.

use proptest::prelude::*;

use super::{super::half_step::Kept, *};

/// Bits of every row of a case.
fn bits(rows: &[f32]) -> Vec<u32> {
    rows.iter().map(|value| value.to_bits()).collect()
}

/// One row of a case by itself.
fn alone(case: &Case, kernel: Kernel, fit: Fit<'_>, row: usize) -> Vec<f32> {
    let range = case.indptr[row] as usize..case.indptr[row + 1] as usize;
    let alone = Case {
        fixed: Vec::new(),
        indptr: vec![0, range.len() as u64],
        slots: case.slots[range.clone()].to_vec(),
        ratings: case.ratings[range].to_vec(),
    };
    alone.solve(kernel, fit, 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn short_rows_match_the_oracle_and_are_the_same_alone(
        rank in prop_oneof![Just(33_usize), Just(64), Just(100), Just(128)],
        counts in prop::collection::vec(0_usize..45, 1..60),
        alpha in prop_oneof![Just(0.0), 0.1..20.0_f64],
        seed: u64,
    ) {
        let settings = implicit(rank, alpha);
        let case = Case::new(&counts, 300, rank, 2.0, seed);
        let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
        let fit = Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian };
        check(&case, fit, 5e-4);
        for kernel in Kernel::available() {
            let together = case.solve(kernel, fit, 1);
            for (row, solution) in together.chunks_exact(rank).enumerate() {
                prop_assert_eq!(bits(solution), bits(&alone(&case, kernel, fit, row)), "{:?} row {}", kernel, row);
            }
        }
    }
}

/// Two rated rows that are nearly the same, with weights so large that f32 loses a pivot of their Gram: f64 solves the row,
/// and the rows beside it do not notice.
#[test]
fn a_row_that_f32_loses_leaves_the_rows_beside_it_alone() {
    let rank = 64;
    let mut settings = implicit(rank, 1.0);
    settings.other_rows = 300;
    let counts: Vec<usize> = (0..40).map(|at| 8 + at % 3).collect();
    let mut case = Case::new(&counts, 300, rank, 2.0, 9);
    let broken = 17;
    let begin = case.indptr[broken] as usize;
    let (one, other) = (case.slots[begin] as usize, case.slots[begin + 1] as usize);
    let nearly: Vec<f32> =
        case.fixed[one * rank..][..rank].iter().map(|value| value * (1.0 + 1e-6)).collect();
    case.fixed[other * rank..][..rank].copy_from_slice(&nearly);
    let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
    let fit = Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian };
    for kernel in Kernel::available() {
        let good = case.solve(kernel, fit, 1);
        let before = std::mem::replace(&mut case.ratings[begin], 1e9);
        let next = std::mem::replace(&mut case.ratings[begin + 1], 1e9);
        let solution = case.solve(kernel, fit, 1);
        let row = case.rows().row(broken);
        let exact = oracle(&fit, &case.fixed, row.slots, row.ratings);
        for (at, (values, good)) in solution.chunks_exact(rank).zip(good.chunks_exact(rank)).enumerate() {
            if at != broken {
                assert_eq!(bits(values), bits(good), "{kernel:?}: row {at}");
            }
        }
        let size = exact.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        for (value, exact) in solution[broken * rank..][..rank].iter().zip(&exact) {
            assert!((f64::from(*value) - exact).abs() < 1e-3 * size, "{kernel:?}: {value} for {exact}");
        }
        (case.ratings[begin], case.ratings[begin + 1]) = (before, next);
    }
}

/// Of rows that are put aside and one that is not, the first that cannot be solved is named.
#[test]
fn the_first_row_that_cannot_be_solved_is_named_whatever_its_length() {
    let rank = 64;
    for (counts, bad) in [([10, 200, 9], [0, 1]), ([200, 10, 9], [0, 1]), ([9, 10, 200], [1, 2])] {
        let settings = implicit(rank, 1.0);
        let mut case = Case::new(&counts, 40_000, rank, 1.0, 1);
        let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
        for row in bad {
            case.fixed[case.slots[case.indptr[row] as usize] as usize * rank] = f32::NAN;
        }
        let fit = Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian };
        for kernel in Kernel::available() {
            let mut solution = vec![0.0; 3 * rank];
            let solved = HalfStep::new(kernel, fit, Solver::Cholesky, case.rows()).solve(0..3, &mut solution);
            assert_eq!(solved.unwrap_err().row, bad[0], "{kernel:?} {counts:?}");
        }
    }
}

#[test]
fn room_that_was_used_before_changes_no_bit() {
    let rank = 64;
    let settings = implicit(rank, 0.0);
    let counts: Vec<usize> = (0..60).map(|at| at * 3 % 90).collect();
    // Rows that are used often are rotated whole, the others are looked up.
    for others in [100, 2_000] {
        let case = Case::new(&counts, others, rank, 1.0, 3);
        let gramian = shard_gramian(Kernel::detect(), &case.fixed, rank);
        let fit = Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian };
        let expected = case.solve(Kernel::detect(), fit, 1);
        for len in [0, 10, others * rank, 2 * others * rank] {
            let kept = Kept { room: vec![f32::NAN; len].into(), ..Kept::default() };
            let mut solution = vec![0.0; counts.len() * rank];
            let step = HalfStep::with_kept(Kernel::detect(), fit, Solver::Cholesky, case.rows(), kept);
            step.solve(0..counts.len(), &mut solution).unwrap();
            assert_eq!(bits(&solution), bits(&expected), "{others} {len}");
            assert!(step.into_room().len() >= len.max(1));
        }
    }
}
