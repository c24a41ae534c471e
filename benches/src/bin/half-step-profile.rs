//! Where an implicit half-step's time goes: each part on one thread, beside the operations it counts.
//!
//! ```text
//! cargo run --release -p shoal-benches --bin half-step-profile -- target/bench-data/…-observed.csv
//! ```
//!
//! Seconds are those that the thread spent on a core, so that other work on the machine counts little.

use std::path::PathBuf;

use clap::Parser as _;
use shoal_benches::{
    ratings::{Compressed, Matrix, matrix},
    roofline::gemm_rate,
};
use shoal_core::hash::{mix64, unit_interval};
use shoal_engine::{
    als::{
        cost::SystemForm,
        eigen::decompose,
        fit::Fit,
        gramian::shard_gramian,
        half_step::{HalfStep, Kept},
        implicit::{Confidence, Scaling, Settings},
        kernel::Kernel,
        problem::Solver,
    },
    preference::Preference,
};

/// Rows solved in one call, as in a training.
const CHUNK_ROWS: usize = 2_048;

/// Profiles implicit half-steps on a file of observed ratings.
#[derive(Debug, clap::Parser)]
#[command(name = "half-step-profile")]
struct Args {
    /// CSV file: user, item, rating
    ratings: PathBuf,
    /// Ranks to look at
    #[arg(long, value_delimiter = ',', default_value = "64,128,256")]
    ranks: Vec<usize>,
    /// Kernels to look at, by name; the fastest if none is given
    #[arg(long, value_delimiter = ',')]
    kernels: Vec<String>,
    /// Lay the fixed side's rows in the order of how often they are read
    #[arg(long)]
    hot_first: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut matrix = matrix(&args.ratings)?;
    if args.hot_first {
        matrix = matrix.hot_first();
    }
    let gemm = gemm_rate();
    println!("gemm 1024³ {:.1} GF/s on one core", gemm / 1e9);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let is_wanted = |kernel: &Kernel| match args.kernels.is_empty() {
        true => *kernel == Kernel::detect(),
        false => args.kernels.iter().any(|name| name == kernel.name()),
    };
    for &rank in &args.ranks {
        for kernel in Kernel::available().into_iter().filter(is_wanted) {
            alone.install(|| profile(&matrix, rank, kernel, gemm))?;
        }
    }
    Ok(())
}

/// One line of the profile.
struct Part {
    name: &'static str,
    rows: usize,
    ratings: usize,
    operations: f64,
    seconds: f64,
}

fn profile(matrix: &Matrix, rank: usize, kernel: Kernel, gemm: f64) -> anyhow::Result<()> {
    println!("\nrank {rank}, {}", kernel.name());
    let (mut total, mut least, mut steps) = (0.0, 0.0, 0.0);
    for (side, rows, others) in
        [("users", &matrix.users, &matrix.items), ("items", &matrix.items, &matrix.users)]
    {
        let others = others.rows().len();
        let parts = side_parts(rows, others, rank, kernel)?;
        println!("  {side} from {others} fixed rows");
        for part in &parts {
            println!(
                "    {:<28} {:>7} rows {:>9} ratings {:8.1} GF {:7.3} s {:6.1} GF/s {:4.0} % of gemm",
                part.name,
                part.rows,
                part.ratings,
                part.operations / 1e9,
                part.seconds,
                part.operations / part.seconds / 1e9,
                100.0 * part.operations / part.seconds / gemm,
            );
            total += part.seconds;
            least += part.operations;
        }
        // `implicit`: a residual and three steps, each a pass over the Gramian and two over the ratings.
        steps += 4.0 * (4 * rows.slots.len() * rank + 2 * rows.rows().len() * rank * rank) as f64;
    }
    println!("  both sides {total:.2} core seconds, {:.2} at gemm's rate", least / gemm);
    println!("  operations over those of three steps of conjugate gradients: {:.2}", least / steps);
    Ok(())
}

fn side_parts(rows: &Compressed, others: usize, rank: usize, kernel: Kernel) -> anyhow::Result<Vec<Part>> {
    let settings = Settings {
        rank,
        regularization: 0.002,
        scaling: Scaling::Ials,
        confidence: Confidence::Ials,
        preference: Preference::Observed,
        unobserved_weight: 0.1,
        alpha: 0.0,
        regularization_exponent: 1.0,
        other_rows: others as u64,
    };
    let fixed: Vec<f32> =
        (0..others * rank).map(|at| (unit_interval(mix64(at as u64)) - 0.5) as f32).collect();
    let mut gramian = Vec::new();
    let gramian_seconds = core_seconds(|| gramian = shard_gramian(kernel, &fixed, rank))?;
    let fit = Fit::Implicit { settings: &settings, fixed: &fixed, gramian: &gramian };
    let eigen_seconds = core_seconds(|| drop(std::hint::black_box(decompose(&gramian, rank))))?;
    let form = |count: usize| SystemForm::cheapest(count, rank, true, kernel.rounds());
    let mut parts = vec![
        Part {
            name: "Gramian",
            rows: others,
            ratings: 0,
            operations: (others * rank * (rank + 1)) as f64,
            seconds: gramian_seconds,
        },
        Part {
            name: "eigenvectors",
            rows: rank,
            ratings: 0,
            operations: 9.0 * (rank as f64).powi(3),
            seconds: eigen_seconds,
        },
    ];
    let rotated = rows.filtered(|count| form(count).is_rotated());
    // Into memory that a half-step before has used, as in a training.
    let room = HalfStep::new(kernel, fit, Solver::Cholesky, rotated.rows()).into_room();
    let kept = Kept { room, ..Kept::default() };
    let rotation_seconds =
        core_seconds(|| drop(HalfStep::with_kept(kernel, fit, Solver::Cholesky, rotated.rows(), kept)))?;
    parts.push(Part {
        name: "rotation",
        rows: others,
        ratings: 0,
        operations: (2 * others * rank * rank) as f64,
        seconds: (rotation_seconds - eigen_seconds).max(1e-9),
    });
    for (wanted, name) in [
        (SystemForm::Dual, "dual rows"),
        (SystemForm::RefinedDual, "refined dual rows"),
        (SystemForm::Primal, "primal rows"),
        (SystemForm::RefinedPrimal, "refined primal rows"),
    ] {
        let part = rows.filtered(|count| form(count) == wanted);
        let (count, ratings) = (part.rows().len(), part.slots.len());
        if ratings == 0 {
            continue;
        }
        let step = HalfStep::new(kernel, fit, Solver::Cholesky, part.rows());
        let mut solved = vec![0.0; CHUNK_ROWS * rank];
        let mut failed = false;
        let seconds = core_seconds(|| {
            for begin in (0..count).step_by(CHUNK_ROWS) {
                let end = count.min(begin + CHUNK_ROWS);
                failed |= step.solve(begin..end, &mut solved[..(end - begin) * rank]).is_err();
            }
        })?;
        anyhow::ensure!(!failed, "a row cannot be solved");
        let operations = (0..count).map(|row| useful(part.rows().count(row), rank, wanted)).sum();
        parts.push(Part { name, rows: count, ratings, operations, seconds });
    }
    Ok(parts)
}

/// Operations that a row needs at least in its form; corrections are not counted.
fn useful(count: usize, rank: usize, form: SystemForm) -> f64 {
    let (n, r) = (count as f64, rank as f64);
    let solve = |order: f64| order * order * order / 3.0 + 2.0 * order * order;
    match form {
        SystemForm::Dual | SystemForm::RefinedDual => {
            n * (n + 1.0) * r + solve(n) + 2.0 * n * r + 2.0 * r * r
        }
        SystemForm::Primal | SystemForm::RefinedPrimal => n * r * (r + 1.0) + solve(r),
    }
}

/// Seconds that this thread is on a core for a call.
fn core_seconds(call: impl FnOnce()) -> anyhow::Result<f64> {
    let now = || -> anyhow::Result<f64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
        let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
        Ok(nanoseconds * 1e-9)
    };
    let before = now()?;
    call();
    Ok(now()? - before)
}
