//! The training engine's loops beside those of good libraries, on one core.
//!
//! ```text
//! cargo bench -p shoal-benches --bench kernels                  # the tables of ratios
//! cargo bench -p shoal-benches --bench kernels -- --detail      # and criterion's statistics
//! ```

#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop there")]

use criterion::{BenchmarkId, Criterion, Throughput};
use faer::Mat;
use shoal_benches::{
    engine::{Buffers, Scattered},
    roofline::{Gemm, Roofline},
    systems::System,
    timing::{contest, fastest},
};
use shoal_engine::als::{
    cost,
    eigen::decompose,
    gramian::shard_gramian,
    kernel::{
        Kernel, LANES,
        pack::{Panels, Rows},
    },
};

const RANKS: [usize; 5] = [20, 32, 64, 128, 256];

/// Items and users of MovieLens 20M: the fixed rows that ratings are scattered over.
const OTHERS: [usize; 2] = [26_744, 138_493];

/// Ratings of a typical row.
const RATINGS: usize = 150;

fn main() {
    let detail = std::env::args().any(|argument| argument == "--detail");
    let roofline = Roofline::measure();
    println!("one core, {}:", Kernel::detect().name());
    println!("  multiply-add in registers {:7.1} GF/s", roofline.fma_peak / 1e9);
    println!(
        "  gemm 1024³, f32           {:7.1} GF/s, {:.0} % of it",
        roofline.gemm / 1e9,
        100.0 * roofline.gemm / roofline.fma_peak
    );
    println!("  reading from memory       {:7.1} GB/s", roofline.read_bytes / 1e9);
    println!("  arithmetic is the limit from {:.1} operations per byte", roofline.ridge());
    normal_equations(&roofline);
    cholesky();
    duals();
    whole_sides(&roofline);
    eigenvectors();
    if detail {
        let mut criterion = Criterion::default().sample_size(20).without_plots();
        criterion_groups(&mut criterion);
        criterion.final_summary();
    }
}

/// Useful operations of a row's normal equations: the lower triangle, multiplications and additions.
fn useful(rank: usize, count: usize) -> f64 {
    (count * rank * (rank + 1)) as f64
}

fn normal_equations(roofline: &Roofline) {
    const ROWS: usize = 200;
    println!(
        "\nnormal equations of {RATINGS} ratings, gathered; useful operations beside gemm 1024³ in turns"
    );
    println!("  rank  operations/byte  of 26,744 rows                 of 138,493 rows");
    for rank in RANKS {
        print!("  {rank:4}  {:15.1}", useful(rank, 1) / (4 * rank) as f64);
        for others in OTHERS {
            let rows = Scattered::new(rank, ROWS, RATINGS, others);
            let (mut buffers, mut gemm) = (Buffers::default(), Gemm::new(1_024));
            let times = contest(&mut [
                ("ours", &mut || rows.sum_normal_equations(Kernel::detect(), &mut buffers)),
                ("gemm", &mut || gemm.run()),
            ]);
            let rate = ROWS as f64 * useful(rank, RATINGS) / times[0];
            let beside = 2.0 * 1_024_f64.powi(3) / times[1];
            print!(
                "  {:6.2} µs {:6.1} GF/s {:5.1} %",
                times[0] / ROWS as f64 * 1e6,
                rate / 1e9,
                100.0 * rate / beside
            );
        }
        println!();
    }
    println!("  by kernel, of 26,744 rows, share of gemm's {:.1} GF/s:", roofline.gemm / 1e9);
    for kernel in Kernel::available() {
        print!("  {:>9}", kernel.name());
        for rank in RANKS {
            let (rows, mut buffers) = (Scattered::new(rank, ROWS, RATINGS, OTHERS[0]), Buffers::default());
            let seconds = fastest(|| rows.sum_normal_equations(kernel, &mut buffers));
            let share = ROWS as f64 * useful(rank, RATINGS) / seconds / roofline.gemm;
            print!("  {rank}: {:5.1} %", 100.0 * share);
        }
        println!();
    }
}

/// Factorise and solve, the copy that is destroyed included, for both.
fn cholesky() {
    println!("\nCholesky and solve of one system, in place");
    for order in [16, 20, 32, 64, 128, 256, 512] {
        let system = System::new(order);
        let (mut ours, mut faer) = (system.ours(), system.faer());
        let times = contest(&mut [
            ("ours", &mut || {
                std::hint::black_box(ours());
            }),
            ("faer", &mut || {
                std::hint::black_box(faer());
            }),
        ]);
        print!(
            "  {order:4}  ours {:8.2} µs  faer {:8.2} µs  {:4.2} × faer's speed",
            times[0] * 1e6,
            times[1] * 1e6,
            times[1] / times[0]
        );
        match system.side_by_side() {
            Some(mut solve) => {
                let one = fastest(|| {
                    std::hint::black_box(solve());
                }) / LANES as f64;
                println!("; of {LANES} side by side {:5.2} µs, {:4.1} ×", one * 1e6, times[1] / one);
            }
            None => println!(),
        }
    }
}

/// From which length on the dual no longer pays, measured, beside what counted operations say.
fn duals() {
    const ROWS: usize = 40;
    println!("\nrows shorter than the rank: the dual's time as a share of the primal's");
    for rank in [32, 64, 128, 256] {
        let chosen = (0..rank).filter(|&count| cost::prefers_dual(count, rank, false)).count();
        print!("  {rank:4}  chosen below {chosen:3} ratings;");
        for count in [1, 2, 4, 6, 7, 8, 9, 10].map(|tenths| (rank * tenths / 10).max(1)) {
            let rows = Scattered::new(rank, ROWS, count, OTHERS[0]);
            let (mut one, mut other) = (Buffers::default(), Buffers::default());
            let times = contest(&mut [
                ("primal", &mut || rows.solve_primal(Kernel::detect(), &mut one)),
                ("dual", &mut || rows.solve_dual(Kernel::detect(), &mut other)),
            ]);
            print!("  {count}: {:3.0} %", 100.0 * times[1] / times[0]);
        }
        println!();
    }
}

/// The Gramian of a side and its rotation.
fn whole_sides(roofline: &Roofline) {
    const ROWS: usize = 8_192;
    println!("\na side of {ROWS} rows: operations per second as a share of gemm's");
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started");
    for rank in RANKS {
        let kernel = Kernel::detect();
        let factors: Vec<f32> = (0..ROWS * rank).map(|at| (at % 13) as f32 * 0.1 - 0.6).collect();
        let gramian = fastest(|| {
            std::hint::black_box(alone.install(|| shard_gramian(kernel, &factors, rank)));
        });
        let (rows, slots): (_, Vec<u32>) = (Rows::new(&factors, rank, rank), (0..ROWS as u32).collect());
        let (mut matrix, mut scratch) = (Panels::default(), Panels::default());
        kernel.pack_rows(rows, &slots[..rank], None, &mut matrix);
        let mut rotated = vec![0.0; ROWS * rank];
        let rotation = fastest(|| kernel.multiply(rows, &slots, &matrix, &mut rotated, &mut scratch));
        println!(
            "  {rank:4}  Gramian {:5.1} %  rotation {:5.1} %",
            100.0 * useful(rank, ROWS) / gramian / roofline.gemm,
            100.0 * (2 * ROWS * rank * rank) as f64 / rotation / roofline.gemm
        );
    }
}

fn eigenvectors() {
    println!("\neigenvectors of a Gramian, f64, one thread, once per implicit half-step");
    for order in [32, 64, 128, 256] {
        let value = |row: usize, column: usize| {
            1.0 / (1.0 + (row as f64 - column as f64).abs()) + ((row * column) % 7) as f64 * 0.01
        };
        let matrix: Vec<f64> = (0..order * order).map(|at| value(at / order, at % order)).collect();
        let dense = Mat::from_fn(order, order, value);
        let times = contest(&mut [
            ("ours", &mut || {
                std::hint::black_box(decompose(&matrix, order));
            }),
            ("faer", &mut || {
                std::hint::black_box(dense.self_adjoint_eigen(faer::Side::Lower).is_ok());
            }),
        ]);
        println!("  {order:4}  ours {:8.2} ms  faer {:8.2} ms", times[0] * 1e3, times[1] * 1e3);
    }
}

fn criterion_groups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("normal_equations");
    for rank in RANKS {
        let (rows, mut buffers) = (Scattered::new(rank, 100, RATINGS, OTHERS[0]), Buffers::default());
        group.throughput(Throughput::Elements(100 * useful(rank, RATINGS) as u64));
        group.bench_function(BenchmarkId::from_parameter(rank), |bencher| {
            bencher.iter(|| rows.sum_normal_equations(Kernel::detect(), &mut buffers));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("cholesky_and_solve");
    for order in RANKS {
        let system = System::new(order);
        group.bench_function(BenchmarkId::new("ours", order), |bencher| bencher.iter(system.ours()));
        group.bench_function(BenchmarkId::new("faer", order), |bencher| bencher.iter(system.faer()));
    }
    group.finish();
}
