//! The measures, each through the processes that users run.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_benches::{
    cluster::Cluster,
    data::Files,
    engine::{Buffers, Scattered},
    kernels::core_seconds,
    machine::median,
    peers::Peers,
    ratings::row_lengths,
    results::{Results, Target},
    roofline::{Gemm, Roofline},
    systems::System,
    timing::contest,
};
use shoal_dataset::generate::GenerateSpec;
use shoal_engine::als::kernel::Kernel;

/// Threads of the one worker that is compared with peers.
pub(crate) const THREADS: usize = 2;
const MIB: f64 = 1024.0 * 1024.0;
/// A typical row, for the kernels.
const RATINGS_OF_A_ROW: usize = 150;
/// Matrices that the kernels are compared with the product of.
const GEMM_SIDE: usize = 1_024;

pub(crate) struct Bench {
    pub(crate) shoal: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) spec: GenerateSpec,
    pub(crate) files: Files,
    pub(crate) peers: Option<Peers>,
    pub(crate) runs: usize,
    pub(crate) results: Results,
}

/// A measure and the word by which `--only` finds it.
type NamedMeasure = (&'static str, fn(&mut Bench) -> anyhow::Result<()>);

const MEASURES: [NamedMeasure; 9] = [
    ("kernels", Bench::kernels),
    ("ingest", Bench::ingest),
    ("iteration", Bench::explicit_iteration),
    ("explicit", Bench::explicit_fit),
    ("implicit", Bench::implicit_iterations),
    ("gradients", Bench::conjugate_gradients),
    ("workers", Bench::two_workers),
    ("exchange", Bench::three_workers),
    ("ease", Bench::ease),
];

impl Bench {
    pub(crate) fn run(&mut self, only: Option<&str>) -> anyhow::Result<()> {
        for (name, measure) in MEASURES {
            if only.is_none_or(|only| name.contains(only)) {
                println!("\n== {name}");
                measure(self).with_context(|| format!("measuring '{name}'"))?;
            }
        }
        Ok(())
    }

    pub(crate) fn cluster(&self, name: &str, workers: usize, threads: usize) -> anyhow::Result<Cluster> {
        let dir = self.work.join("clusters").join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        Cluster::start(&self.shoal, &dir, workers, threads)
    }

    /// Single loops beside good libraries, on one core.
    fn kernels(&mut self) -> anyhow::Result<()> {
        const ROWS: usize = 200;
        let roofline = Roofline::measure();
        for (rank, target) in [(64, 0.65), (128, 0.80)] {
            let rows = Scattered::new(rank, ROWS, RATINGS_OF_A_ROW, self.spec.items as usize);
            let (mut buffers, mut gemm) = (Buffers::default(), Gemm::new(GEMM_SIDE));
            let times = contest(&mut [
                ("ours", &mut || rows.sum_normal_equations(Kernel::detect(), &mut buffers)),
                ("gemm", &mut || gemm.run()),
            ]);
            let ours = (ROWS * RATINGS_OF_A_ROW * rank * (rank + 1)) as f64 / times[0];
            let theirs = 2.0 * (GEMM_SIDE as f64).powi(3) / times[1];
            let detail = json!({
                "useful_flops_per_second": ours, "gemm_flops_per_second": theirs,
                "fma_peak_flops_per_second": roofline.fma_peak, "memory_bytes_per_second": roofline.read_bytes,
                "ratings_of_a_row": RATINGS_OF_A_ROW, "fixed_rows": self.spec.items,
            });
            let name = format!("normal equations, rank {rank}, useful flop/s over gemm's on {GEMM_SIDE}³");
            self.results.add(&name, ours / theirs, Target::AtLeast(target), detail);
        }
        for order in [64, 128] {
            let system = System::new(order);
            let (mut ours, mut theirs) = (system.ours(), system.faer());
            let times = contest(&mut [
                ("ours", &mut || {
                    std::hint::black_box(ours());
                }),
                ("faer", &mut || {
                    std::hint::black_box(theirs());
                }),
            ]);
            let detail = json!({ "microseconds": times[0] * 1e6, "faer_microseconds": times[1] * 1e6 });
            let name = format!("Cholesky and solve, rank {order}, times faer's speed");
            self.results.add(&name, times[1] / times[0], Target::AtLeast(1.0), detail);
        }
        Ok(())
    }

    /// MB/s per core, and peers that only parse the same file.
    fn ingest(&mut self) -> anyhow::Result<()> {
        let bytes = std::fs::metadata(&self.files.ratings)?.len() as f64;
        let (mut seconds, mut memory) = (Vec::new(), Vec::new());
        for run in 0..self.runs {
            let cluster = self.cluster("ingest", 1, THREADS)?;
            // The file is in the page cache from its making or the run before.
            let (spent, _) = cluster.import(&self.files.ratings, &format!("run-{run}"))?;
            seconds.push(spent);
            memory.extend(cluster.peak_memory_of_workers()?);
        }
        let per_core = bytes / 1e6 / median(seconds.clone()) / THREADS as f64;
        let peers = match &self.peers {
            Some(peers) => {
                let file = self.files.ratings.display().to_string();
                peers.run("read_csv.py", &[&file, "--threads", &THREADS.to_string()])?
            }
            None => Value::Null,
        };
        let detail = json!({
            "bytes": bytes, "seconds": seconds, "threads": THREADS,
            "worker_peak_mib": memory.iter().map(|&bytes| bytes as f64 / MIB).collect::<Vec<_>>(),
            "peers_reading_alone": peers,
        });
        self.results.add("ingest, MB/s per core", per_core, Target::AtLeast(60.0), detail);
        Ok(())
    }

    /// One explicit iteration against what the kernels alone take for the same rows.
    fn explicit_iteration(&mut self) -> anyhow::Result<()> {
        let cluster = self.cluster("iteration", 1, THREADS)?;
        cluster.import(&self.files.train, "train")?;
        let flags = explicit_flags(64, 2 + self.runs as u32);
        let job = cluster.train("train", &as_strs(&flags))?;
        // The first sweep finds cold caches and starting factors.
        let seconds: Vec<f64> = solve_seconds(&job).into_iter().skip(1).collect();
        let alone = core_seconds(&row_lengths(&self.files.train)?, 64);
        let ratio = median(seconds.clone()) * THREADS as f64 / alone;
        let detail = json!({
            "seconds_per_iteration": seconds, "threads": THREADS, "kernel_core_seconds": alone,
            "worker_peak_mib": mib(&cluster.peak_memory_of_workers()?),
        });
        self.results.add(
            "explicit iteration, rank 64, core time over the kernels' alone",
            ratio,
            Target::AtMost(1.6),
            detail,
        );
        Ok(())
    }

    /// The whole fit against Spark's, on the same files.
    fn explicit_fit(&mut self) -> anyhow::Result<()> {
        let Some(peers) = self.peers.clone() else { return Ok(()) };
        let cluster = self.cluster("explicit", 1, THREADS)?;
        cluster.import(&self.files.train, "train")?;
        let (train, test) = (self.files.train.display().to_string(), self.files.test.display().to_string());
        let (mut ours, mut theirs, mut rmse) = (Vec::new(), Vec::new(), [f64::NAN; 2]);
        for _ in 0..self.runs {
            let job = cluster.train(
                "train",
                &[
                    "--objective",
                    "explicit",
                    "--no-biases",
                    "--rank",
                    "20",
                    "--iterations",
                    "10",
                    "--reg",
                    "0.1",
                    "--test",
                    &test,
                    "--checkpoint-every",
                    "10",
                ],
            )?;
            ours.push(fit_seconds(&job));
            rmse[0] = last_rmse(&job);
            let spark = peers.run(
                "spark_als.py",
                &[&train, &test, "--rank", "20", "--iterations", "10", "--reg", "0.1", "--threads", "2"],
            )?;
            theirs.push(spark["seconds"].as_f64().unwrap_or(f64::NAN));
            rmse[1] = spark["rmse"].as_f64().unwrap_or(f64::NAN);
        }
        let ratio = median(theirs.clone()) / median(ours.clone());
        let detail = json!({
            "shoal_seconds": ours, "spark_seconds": theirs, "shoal_rmse": rmse[0], "spark_rmse": rmse[1],
        });
        self.results.add(
            "explicit fit, rank 20, 10 iterations, times Spark's speed",
            ratio,
            Target::AtLeast(40.0),
            detail,
        );
        self.results.add(
            "explicit fit, test rmse over Spark's",
            rmse[0] / rmse[1],
            Target::AtMost(1.0),
            json!({}),
        );
        Ok(())
    }

    /// Exact implicit iterations against `implicit`'s conjugate gradients.
    fn implicit_iterations(&mut self) -> anyhow::Result<()> {
        let Some(peers) = self.peers.clone() else { return Ok(()) };
        let cluster = self.cluster("implicit", 1, THREADS)?;
        cluster.import(&self.files.observed, "observed")?;
        let file = self.files.observed.display().to_string();
        for (rank, target) in [(64_u32, 3.0), (128, 2.0), (256, 1.0)] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let rank_text = rank.to_string();
            for _ in 0..self.runs {
                let job = cluster.train(
                    "observed",
                    &[
                        "--objective",
                        "implicit",
                        "--rank",
                        &rank_text,
                        "--iterations",
                        "3",
                        "--test-ratio",
                        "0",
                    ],
                )?;
                ours.extend(solve_seconds(&job).into_iter().skip(1));
                let peer =
                    peers.run("implicit_als.py", &[&file, "--factors", &rank_text, "--iterations", "3"])?;
                let seconds = peer["seconds_per_iteration"].as_array().cloned().unwrap_or_default();
                theirs.extend(seconds.iter().filter_map(Value::as_f64));
            }
            let ratio = median(theirs.clone()) / median(ours.clone());
            let detail = json!({ "shoal_seconds": ours, "implicit_cg3_seconds": theirs });
            let name = format!("implicit iteration, exact, rank {rank}, times implicit's CG speed");
            self.results.add(&name, ratio, Target::AtLeast(target), detail);
        }
        Ok(())
    }

    /// Two workers with a thread each against one with one.
    fn two_workers(&mut self) -> anyhow::Result<()> {
        let mut seconds = [Vec::new(), Vec::new()];
        for _ in 0..self.runs {
            for workers in [1, 2] {
                let cluster = self.cluster(&format!("workers-{workers}"), workers, 1)?;
                cluster.import(&self.files.train, "train")?;
                let job = cluster.train("train", &as_strs(&explicit_flags(64, 3)))?;
                seconds[workers - 1].extend(sweep_seconds(&job).into_iter().skip(1));
            }
        }
        let [one, two] = seconds;
        let ratio = median(one.clone()) / median(two.clone());
        let detail = json!({ "one_worker_seconds": one, "two_workers_seconds": two });
        self.results.add(
            "2 workers × 1 thread, times the speed of 1 × 1",
            ratio,
            Target::AtLeast(1.85),
            detail,
        );
        Ok(())
    }

    /// Bytes on the wire and memory, with three workers.
    fn three_workers(&mut self) -> anyhow::Result<()> {
        const WORKERS: usize = 3;
        const RANK: u32 = 64;
        let cluster = self.cluster("exchange", WORKERS, 1)?;
        let (_, imported) = cluster.import(&self.files.train, "train")?;
        let after_import = cluster.peak_memory_of_workers()?;
        // Workers that have not imported: the most memory that they have had is training's.
        drop(cluster);
        let cluster = self.restarted("exchange", WORKERS, 1)?;
        let job = cluster.train("train", &as_strs(&explicit_flags(RANK, 2)))?;
        let peak = cluster.peak_memory_of_workers()?;
        let work = |key: &str| -> f64 {
            let sweeps = job["sweeps"].as_array().cloned().unwrap_or_default();
            sweeps.iter().filter_map(|sweep| sweep["work"][key].as_f64()).sum()
        };
        let (sent, needed) = (work("bytes_sent"), work("bytes_needed"));
        let detail = json!({
            "bytes_sent": sent, "lower_bound": needed,
        });
        self.results.add(
            "bytes sent per sweep over the least possible",
            sent / needed,
            Target::AtMost(1.02),
            detail,
        );
        let number = |key: &str| imported["dataset"][key].as_f64().unwrap_or(f64::NAN);
        let row_bytes = f64::from(RANK) * 4.0;
        // Every sweep sends each row that a worker holds of another once, and before the first one side goes out.
        let sweeps = job["sweeps"].as_array().map_or(1, Vec::len) as f64;
        let factors = (number("users") + number("items")) * row_bytes + needed / sweeps;
        // Of each rating both sides have a slot and the rating.
        let blocks = number("ratings") * 2.0 * 8.0;
        let bound = (blocks + 1.3 * factors) / WORKERS as f64 + 64.0 * MIB;
        let most = peak.iter().copied().max().unwrap_or_default() as f64;
        let detail = json!({
            "worker_peak_mib": mib(&peak), "bound_mib": bound / MIB,
            "blocks_mib": blocks / WORKERS as f64 / MIB, "factors_held_mib": factors / WORKERS as f64 / MIB,
            "worker_peak_mib_import": mib(&after_import),
        });
        self.results.add(
            "peak memory of a training worker of three, rank 64, over its bound",
            most / bound,
            Target::AtMost(1.0),
            detail,
        );
        Ok(())
    }

    /// A cluster that was started before and has its data still.
    fn restarted(&self, name: &str, workers: usize, threads: usize) -> anyhow::Result<Cluster> {
        Cluster::start(&self.shoal, &self.work.join("clusters").join(name), workers, threads)
    }
}

/// Explicit training as Spark does it, with nothing held out.
fn explicit_flags(rank: u32, iterations: u32) -> Vec<String> {
    let numbers = [rank.to_string(), iterations.to_string()];
    let [rank, iterations] = numbers;
    ["--objective", "explicit", "--no-biases", "--test-ratio", "0", "--rank"]
        .map(str::to_owned)
        .into_iter()
        .chain([rank, "--iterations".to_owned(), iterations])
        .collect()
}

fn as_strs(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

fn mib(bytes: &[u64]) -> Vec<f64> {
    bytes.iter().map(|&bytes| bytes as f64 / MIB).collect()
}

pub(crate) fn of_sweeps(job: &Value, of: impl Fn(&Value) -> Option<f64>) -> Vec<f64> {
    job["sweeps"].as_array().map(|sweeps| sweeps.iter().filter_map(of).collect()).unwrap_or_default()
}

/// Both half-steps of each sweep, from the first row to the last one received.
pub(crate) fn solve_seconds(job: &Value) -> Vec<f64> {
    of_sweeps(job, |sweep| {
        Some(sweep["work"]["solve_seconds"].as_f64()? + sweep["work"]["exchange_wait_seconds"].as_f64()?)
    })
}

/// Each sweep as the coordinator sees it.
fn sweep_seconds(job: &Value) -> Vec<f64> {
    of_sweeps(job, |sweep| sweep["seconds"].as_f64())
}

/// Everything from the accepted job to the registered version but the measuring of held-out ratings.
fn fit_seconds(job: &Value) -> f64 {
    let phases = job["phase_seconds"].as_object().cloned().unwrap_or_default();
    phases
        .iter()
        .filter(|(phase, _)| *phase != "evaluating")
        .filter_map(|(_, seconds)| seconds.as_f64())
        .sum()
}

fn last_rmse(job: &Value) -> f64 {
    let sweeps = job["sweeps"].as_array();
    sweeps.and_then(|sweeps| sweeps.last()?["rating"]["rmse"].as_f64()).unwrap_or(f64::NAN)
}
