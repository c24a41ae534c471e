//! What published systems computed for a small matrix, from the same factors.
//!
//! The numbers were printed by the systems themselves: `implicit` 0.7.3 (exact solver, f64, started from the factors
//! below) and Spark MLlib 4.3.0 (one sweep more, so that a sweep from known factors can be compared).
//! iALS has no such program at hand; its published reference code is retold here in f64.

use super::*;

/// Ratings of six users (rows) for five items; zero is none.
const RATINGS: [[f32; 5]; 6] = [
    [5.0, 3.0, 0.0, 1.0, 0.0],
    [4.0, 0.0, 0.0, 1.0, 2.0],
    [1.0, 1.0, 0.0, 5.0, 0.0],
    [0.0, 0.0, 3.0, 4.0, 0.0],
    [0.0, 1.0, 5.0, 4.0, 0.5],
    [2.0, 0.0, 4.0, 0.0, 0.0],
];
const RANK: usize = 3;

type Users = [[f64; RANK]; 6];
type Items = [[f64; RANK]; 5];

const SPARK_IMPLICIT: implicit::Settings = implicit::Settings {
    rank: RANK,
    regularization: 0.1,
    scaling: implicit::Scaling::Ratings,
    confidence: implicit::Confidence::Spark,
    preference: Preference::Positive,
    unobserved_weight: 1.0,
    alpha: 2.0,
    regularization_exponent: 1.0,
    other_rows: 0,
};

/// A side's ratings with the fixed side's factors.
fn case(rows: usize, columns: usize, rating: impl Fn(usize, usize) -> f32, fixed: &[[f64; RANK]]) -> Case {
    let fixed = fixed.as_flattened().iter().map(|&value| value as f32).collect();
    let mut case = Case { fixed, indptr: vec![0], slots: Vec::new(), ratings: Vec::new() };
    for row in 0..rows {
        for column in (0..columns).filter(|&column| rating(row, column) != 0.0) {
            case.slots.push(column as u32);
            case.ratings.push(rating(row, column));
        }
        case.indptr.push(case.slots.len() as u64);
    }
    case
}

fn of_users(items: &[[f64; RANK]]) -> Case {
    case(6, 5, |user, item| RATINGS[user][item], items)
}

fn of_items(users: &[[f64; RANK]]) -> Case {
    case(5, 6, |item, user| RATINGS[user][item], users)
}

fn rows(solution: &[f32]) -> Vec<[f64; RANK]> {
    solution.as_chunks().0.iter().map(|row: &[f32; RANK]| row.map(f64::from)).collect()
}

fn solve_implicit(
    kernel: Kernel,
    solver: Solver,
    settings: implicit::Settings,
    case: &Case,
) -> Vec<[f64; RANK]> {
    let settings = implicit::Settings { other_rows: (case.fixed.len() / RANK) as u64, ..settings };
    let gramian = shard_gramian(kernel, &case.fixed, RANK);
    let fit = Fit::Implicit { settings: &settings, fixed: &case.fixed, gramian: &gramian };
    rows(&case.solve_by(kernel, fit, solver, 1))
}

fn solve_explicit(
    kernel: Kernel,
    solver: Solver,
    settings: explicit::Settings,
    case: &Case,
) -> Vec<[f64; RANK]> {
    let fit = Fit::Explicit { settings: &settings, fixed: &case.fixed };
    rows(&case.solve_by(kernel, fit, solver, 1))
}

#[track_caller]
fn assert_close(ours: &[[f64; RANK]], theirs: &[[f64; RANK]], kernel: Kernel) {
    for (ours, theirs) in ours.as_flattened().iter().zip(theirs.as_flattened()) {
        assert!((ours - theirs).abs() < 1e-4, "{kernel:?}: {ours} for {theirs}");
    }
}

#[test]
fn implicit_gives_the_same_factors() {
    let start =
        |row: usize, at: usize, offset: usize| ((7 * (row * RANK + at) + offset) % 11) as f64 / 10.0 - 0.5;
    let users: Users = [
        [-0.657_916_26, 1.425_563_95, -2.057_884_84],
        [-0.792_071_84, 1.068_544_74, -2.282_640_99],
        [-0.504_006_03, 1.530_874_81, -2.163_973_27],
        [0.863_135_03, 0.704_897_93, -1.384_227_31],
        [0.589_677_96, 0.407_537_36, -1.961_124_67],
        [0.882_569_71, 3.342_019_44, -0.280_185_57],
    ];
    let items: Items = [
        [-0.454_017_05, 0.409_697_86, -0.071_452_49],
        [-0.068_356_94, 0.000_342_59, -0.402_555_46],
        [0.819_658_85, 0.059_616_97, -0.229_726_39],
        [0.188_827_92, -0.027_680_44, -0.521_441_42],
        [-0.039_478_27, -0.095_014_50, -0.353_165_52],
    ];
    let settings = implicit::Settings {
        regularization: 0.05,
        scaling: implicit::Scaling::None,
        confidence: implicit::Confidence::Implicit,
        preference: Preference::Positive,
        unobserved_weight: 1.0,
        ..implicit(RANK, 2.0)
    };
    for kernel in Kernel::available() {
        let mut ours: (Vec<[f64; RANK]>, Vec<[f64; RANK]>) =
            (Vec::new(), (0..5).map(|item| std::array::from_fn(|at| start(item, at, 1))).collect());
        for _ in 0..3 {
            ours.0 = solve_implicit(kernel, Solver::Cholesky, settings, &of_users(&ours.1));
            ours.1 = solve_implicit(kernel, Solver::Cholesky, settings, &of_items(&ours.0));
        }
        assert_close(&ours.0, &users, kernel);
        assert_close(&ours.1, &items, kernel);
    }
}

/// Spark solves items, then users.
#[test]
fn spark_gives_the_same_explicit_factors() {
    let users: Users = [
        [-1.295_520_9, -0.481_601_6, 0.567_324_6],
        [-1.047_484_8, -0.370_711_4, 0.535_361_3],
        [0.244_028_3, -0.780_302_5, 1.503_305_3],
        [1.457_720_2, 0.179_555_3, 1.074_292_4],
        [1.180_338_0, 2.125_058_2, 1.522_175_2],
        [-0.168_344_7, -0.696_901_3, -2.688_883_3],
    ];
    let next_items: Items = [
        [-2.756_701_7, -1.867_468_6, 0.020_828_7],
        [-1.581_590_3, 0.426_289_0, 1.197_282_9],
        [3.021_155_8, 1.860_493_9, -1.937_237_4],
        [0.662_994_8, -0.440_567_6, 2.657_640_5],
        [-1.105_360_2, 0.038_104_8, 1.099_370_6],
    ];
    let next_users: Users = [
        [-1.455_421_3, -0.469_753_4, 0.653_631_9],
        [-1.124_932_4, -0.436_988_9, 0.580_939_2],
        [0.274_586_3, -0.884_897_6, 1.584_561_0],
        [1.490_335_8, 0.341_089_8, 1.138_721_7],
        [1.230_753_9, 1.974_618_1, 1.435_310_6],
        [-0.297_761_6, -0.477_535_3, -2.834_783_6],
    ];
    let settings =
        explicit::Settings { regularization: 0.1, ..explicit(RANK, false, explicit::Scaling::Ratings) };
    for kernel in Kernel::available() {
        let items = solve_explicit(kernel, Solver::Cholesky, settings, &of_items(&users));
        assert_close(&items, &next_items, kernel);
        assert_close(
            &solve_explicit(kernel, Solver::Cholesky, settings, &of_users(&items)),
            &next_users,
            kernel,
        );
    }
}

#[test]
fn spark_gives_the_same_implicit_factors() {
    let users: Users = [
        [0.291_811_9, -0.537_818_9, 0.834_327_4],
        [0.013_072_9, -0.502_297_7, 0.835_230_4],
        [0.305_687_7, -0.524_592_3, 0.790_083_6],
        [1.048_037_2, -0.061_252_2, 0.563_672_1],
        [1.041_650_1, -0.104_451_8, 0.754_305_4],
        [0.652_863_6, -1.203_748_7, -0.429_390_9],
    ];
    let next_items: Items = [
        [-0.250_941_5, -1.130_076_6, 0.517_994_5],
        [0.177_444_9, -0.278_481_4, 0.833_785_3],
        [1.076_076_7, -0.151_261_3, -0.228_606_8],
        [0.343_645_8, -0.249_527_2, 0.928_970_8],
        [-0.002_813_0, -0.190_478_1, 0.780_552_7],
    ];
    let next_users: Users = [
        [0.193_563_1, -0.542_413_1, 0.830_985_8],
        [0.006_896_6, -0.465_529_5, 0.894_682_9],
        [0.215_099_5, -0.535_421_8, 0.810_863_0],
        [1.057_438_1, 0.023_875_2, 0.564_702_4],
        [1.044_297_0, -0.042_845_5, 0.752_792_7],
        [0.652_779_3, -1.178_493_9, -0.408_214_1],
    ];
    for kernel in Kernel::available() {
        let items = solve_implicit(kernel, Solver::Cholesky, SPARK_IMPLICIT, &of_items(&users));
        assert_close(&items, &next_items, kernel);
        assert_close(
            &solve_implicit(kernel, Solver::Cholesky, SPARK_IMPLICIT, &of_users(&items)),
            &next_users,
            kernel,
        );
    }
}

#[test]
fn spark_gives_the_same_factors_without_negative_elements() {
    let users: Users = [
        [0.367_934_0, 1.297_555_0, 0.308_818_0],
        [0.0, 0.960_222_2, 0.718_229_1],
        [0.371_754_1, 0.0, 1.731_831_4],
        [0.865_191_8, 0.009_374_2, 1.436_368_5],
        [1.572_888_5, 0.100_917_9, 1.012_773_8],
        [1.326_937_0, 0.218_497_5, 0.208_815_9],
    ];
    let next_items: Items = [
        [0.781_752_3, 3.126_909_0, 0.544_041_0],
        [0.240_556_5, 1.800_674_3, 0.497_716_0],
        [2.603_269_3, 0.338_680_8, 0.597_282_1],
        [1.023_820_0, 0.0, 2.195_209_3],
        [0.0, 1.408_409_2, 0.475_189_6],
    ];
    let next_users: Users = [
        [0.259_140_2, 1.457_980_8, 0.335_171_7],
        [0.123_973_2, 1.168_027_3, 0.393_862_5],
        [0.335_633_0, 0.0, 1.956_777_5],
        [0.825_980_7, 0.026_464_9, 1.381_521_8],
        [1.609_220_5, 0.052_296_1, 1.008_157_7],
        [1.390_747_7, 0.234_153_0, 0.325_502_1],
    ];
    let settings =
        explicit::Settings { regularization: 0.1, ..explicit(RANK, false, explicit::Scaling::Ratings) };
    for kernel in Kernel::available() {
        let items = solve_explicit(kernel, Solver::Nonnegative, settings, &of_items(&users));
        assert_close(&items, &next_items, kernel);
        let users = solve_explicit(kernel, Solver::Nonnegative, settings, &of_users(&items));
        assert_close(&users, &next_users, kernel);
    }
    let users: Users = [
        [0.104_164_6, 0.0, 1.238_251_9],
        [0.303_098_0, 0.0, 1.116_143_5],
        [0.085_305_6, 0.0, 1.213_346_6],
        [0.853_377_9, 0.0, 0.645_785_0],
        [0.827_539_9, 0.0, 0.911_377_1],
        [0.914_945_4, 0.0, 0.249_905_6],
    ];
    let next_items: Items = [
        [0.498_530_5, 0.0, 0.724_287_9],
        [0.0, 0.0, 0.764_846_9],
        [1.127_893_0, 0.0, 0.007_086_6],
        [0.408_542_5, 0.0, 0.784_460_8],
        [0.229_101_1, 0.0, 0.556_235_7],
    ];
    for kernel in Kernel::available() {
        let items = solve_implicit(kernel, Solver::Nonnegative, SPARK_IMPLICIT, &of_items(&users));
        assert_close(&items, &next_items, kernel);
    }
}

/// `project` of the published code: (Σ v vᵀ over the history + α₀ G + λ (n + α₀ N)^ν I)⁻¹ Σ v over the history.
fn ials_project(
    history: &[usize],
    fixed: &[[f64; RANK]],
    lambda: f64,
    weight: f64,
    exponent: f64,
) -> [f64; RANK] {
    let mut system = [[0.0; RANK + 1]; RANK];
    let scaled = lambda * (history.len() as f64 + weight * fixed.len() as f64).powf(exponent);
    for (i, row) in system.iter_mut().enumerate() {
        row[i] += scaled;
        for (at, v) in fixed.iter().enumerate() {
            let times = weight + history.iter().filter(|&&seen| seen == at).count() as f64;
            for j in 0..RANK {
                row[j] += times * v[i] * v[j];
            }
        }
        row[RANK] = history.iter().map(|&seen| fixed[seen][i]).sum();
    }
    for column in 0..RANK {
        let pivot = system[column];
        for row in system.iter_mut().enumerate().filter(|(row, _)| *row != column).map(|(_, row)| row) {
            let factor = row[column] / pivot[column];
            for (value, above) in row.iter_mut().zip(pivot) {
                *value -= factor * above;
            }
        }
    }
    std::array::from_fn(|at| system[at][RANK] / system[at][at])
}

#[test]
fn ials_gives_the_same_factors() {
    let start: Items =
        std::array::from_fn(|item| std::array::from_fn(|at| ((item * 5 + at * 3) % 7) as f64 / 7.0 - 0.4));
    let settings = implicit::Settings {
        regularization: 0.03,
        unobserved_weight: 0.2,
        regularization_exponent: 0.8,
        ..implicit(RANK, 0.0)
    };
    let project =
        |rows: usize, columns: usize, observed: &dyn Fn(usize, usize) -> bool, fixed: &[[f64; RANK]]| {
            let row = |row: usize| {
                let history: Vec<usize> = (0..columns).filter(|&column| observed(row, column)).collect();
                ials_project(&history, fixed, 0.03, 0.2, 0.8)
            };
            (0..rows).map(row).collect::<Vec<[f64; RANK]>>()
        };
    for kernel in Kernel::available() {
        let (mut ours, mut theirs) = (start.to_vec(), start.to_vec());
        for _ in 0..3 {
            let users = project(6, 5, &|user, item| RATINGS[user][item] != 0.0, &theirs);
            theirs = project(5, 6, &|item, user| RATINGS[user][item] != 0.0, &users);
            let solved = solve_implicit(kernel, Solver::Cholesky, settings, &of_users(&ours));
            assert_close(&solved, &users, kernel);
            ours = solve_implicit(kernel, Solver::Cholesky, settings, &of_items(&solved));
            assert_close(&ours, &theirs, kernel);
        }
    }
}
