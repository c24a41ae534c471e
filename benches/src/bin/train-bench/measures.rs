//! The measures, each through the processes that users run.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_benches::{
    cluster::Cluster,
    data::Files,
    kernels::core_seconds,
    machine::median,
    peers::Peers,
    ratings::row_lengths,
    results::{Results, Target},
};

/// Threads of the one worker that is compared with peers.
const THREADS: usize = 2;
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) struct Bench {
    pub(crate) shoal: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) files: Files,
    pub(crate) peers: Option<Peers>,
    pub(crate) runs: usize,
    pub(crate) results: Results,
}

/// A measure and the word by which `--only` finds it.
type NamedMeasure = (&'static str, fn(&mut Bench) -> anyhow::Result<()>);

const MEASURES: [NamedMeasure; 6] = [
    ("ingest", Bench::ingest),
    ("iteration", Bench::explicit_iteration),
    ("explicit", Bench::explicit_fit),
    ("implicit", Bench::implicit_iterations),
    ("workers", Bench::two_workers),
    ("exchange", Bench::three_workers),
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

    fn cluster(&self, name: &str, workers: usize, threads: usize) -> anyhow::Result<Cluster> {
        let dir = self.work.join("clusters").join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        Cluster::start(&self.shoal, &dir, workers, threads)
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
        let cluster = self.cluster("exchange", 3, 1)?;
        cluster.import(&self.files.train, "train")?;
        let after_import = cluster.peak_memory_of_workers()?;
        let job = cluster.train("train", &as_strs(&explicit_flags(64, 2)))?;
        let work = |key: &str| -> f64 {
            let sweeps = job["sweeps"].as_array().cloned().unwrap_or_default();
            sweeps.iter().filter_map(|sweep| sweep["work"][key].as_f64()).sum()
        };
        let (sent, needed) = (work("bytes_sent"), work("bytes_needed"));
        let detail = json!({
            "bytes_sent": sent, "lower_bound": needed,
            "worker_peak_mib_import": mib(&after_import),
            "worker_peak_mib": mib(&cluster.peak_memory_of_workers()?),
        });
        self.results.add(
            "bytes sent per sweep over the least possible",
            sent / needed,
            Target::AtMost(1.02),
            detail,
        );
        Ok(())
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

fn of_sweeps(job: &Value, of: impl Fn(&Value) -> Option<f64>) -> Vec<f64> {
    job["sweeps"].as_array().map(|sweeps| sweeps.iter().filter_map(of).collect()).unwrap_or_default()
}

/// Both half-steps of each sweep, from the first row to the last one received.
fn solve_seconds(job: &Value) -> Vec<f64> {
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
