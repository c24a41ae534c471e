//! Batch lists at size: the lists of every user as Parquet files, by `shoal recommend --all` and by Spark's
//! `recommendForAllUsers`, from the same factors, in turn.
//!
//! ```text
//! cargo build --release -p shoal-cluster -p shoal-benches
//! benches/peers/setup.sh target/peers
//! target/release/lists-bench --peers target/peers
//! ```
//!
//! Spark lists what users have rated too, so the measure that is compared does; the others leave it out, as is the
//! default. Core time is that of the workers, and of Spark's Java process.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context as _;
use clap::Parser as _;
use serde_json::{Value, json};
use shoal_benches::{
    cluster::Cluster,
    data,
    flags::Flags,
    machine::median,
    peers::Peers,
    process::Process,
    results::{Results, Target},
};

const WORKERS: usize = 1;
const THREADS: usize = 2;

/// Measures the lists of every user beside Spark's.
#[derive(Debug, clap::Parser)]
#[command(name = "lists-bench")]
struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Python environment made by benches/peers/setup.sh; without it Spark is left out
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// Runs of which the median is taken
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Runs of Spark, which takes minutes each
    #[arg(long, default_value_t = 1)]
    spark_runs: usize,
    /// Items of a list
    #[arg(long, default_value_t = 100)]
    n: u32,
    /// Elements of a factor row
    #[arg(long, default_value_t = 64)]
    rank: u32,
}

/// What writing all lists took.
#[derive(Debug, Clone, Copy)]
struct Spent {
    seconds: f64,
    core_seconds: f64,
}

struct Bench {
    args: Args,
    cluster: Cluster,
    version: String,
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let peers = args.peers.as_deref().map(Peers::open).transpose()?;
    let (shoal, work) = (args.flags.shoal()?, args.flags.work()?);
    println!("preparing {} ratings in '{}'", args.flags.ratings, work.display());
    let files = data::prepare(&work, &args.flags.data())?;
    let dir = work.join("clusters/lists");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let cluster = Cluster::start(&shoal, &dir, WORKERS, THREADS)?;
    cluster.import(&files.train, "train")?;
    let rank = args.rank.to_string();
    let flags =
        ["--objective", "implicit", "--rank", &rank, "--iterations", "4", "--test-ratio", "0", "--promote"];
    let job = cluster.train("train", &flags)?;
    let version = job["model_version"].as_str().context("the training names no version")?.to_owned();
    let spark_model = dir.join("spark");
    let export =
        ["models", "export", &version, &text(&spark_model), "--to", "spark", "--objective", "implicit"];
    cluster.json(&export)?;

    let bench = Bench { args, cluster, version, out: dir.join("out") };
    let results = bench.run(peers.as_ref(), &spark_model)?;
    println!("\n{}", results.table());
    results.write(&bench.args.flags.out, "lists")?;
    println!("written to '{}'", bench.args.flags.out.display());
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Bench {
    fn run(&self, peers: Option<&Peers>, spark_model: &Path) -> anyhow::Result<Results> {
        let mut results = Results::default();
        let (mut with_seen, mut without, mut spark) = (Vec::new(), Vec::new(), Vec::new());
        let (mut listed, mut by_spark) = (Value::Null, Value::Null);
        for run in 0..self.args.runs.max(1) {
            let (spent, job) = self.ours(&["--include-seen"])?;
            with_seen.push(spent);
            listed = job["listed"].clone();
            // Results are kept, and where this machine has its folders says nothing of them.
            if let Some(listed) = listed.as_object_mut() {
                listed.remove("uri");
            }
            without.push(self.ours(&[])?.0);
            if let Some(peers) = peers.filter(|_| run < self.args.spark_runs) {
                let (spent, told) = self.spark(peers, spark_model)?;
                spark.push(spent);
                by_spark = told;
            }
        }
        let Args { n, rank, .. } = self.args;
        let (ours, seen_left_out) = (medians(&with_seen), medians(&without));
        let detail = json!({
            "seconds": ours.seconds, "core_seconds": ours.core_seconds, "listed": listed,
            "without_seen_seconds": seen_left_out.seconds, "without_seen_core_seconds": seen_left_out.core_seconds,
            "peak_bytes_of_workers": self.cluster.peak_memory_of_workers()?,
        });
        let name = format!("lists of every user, n = {n}, rank {rank}, as Parquet: seconds");
        results.add(&name, ours.seconds, Target::AtMost(60.0), detail);
        if !spark.is_empty() {
            let theirs = medians(&spark);
            anyhow::ensure!(by_spark["rows"] == listed["rows"], "{by_spark} and {listed} differ in rows");
            let detail = json!({
                "seconds": ours.seconds, "core_seconds": ours.core_seconds,
                "spark_seconds": theirs.seconds, "spark_core_seconds": theirs.core_seconds, "spark": by_spark,
            });
            let name = format!("lists of every user, n = {n}, rank {rank}: times the speed of Spark");
            results.add(&name, theirs.seconds / ours.seconds, Target::AtLeast(50.0), detail);
        }
        Ok(results)
    }

    /// Writes the lists, by the command that users type.
    fn ours(&self, flags: &[&str]) -> anyhow::Result<(Spent, Value)> {
        self.clear()?;
        let (n, out) = (self.args.n.to_string(), text(&self.out));
        let given = ["recommend", "--all", "--version", &self.version, "-n", &n, "--out", &out];
        // As Spark: it has no other columns.
        let columns = ["--columns", "user_id,item_id,rank,score"];
        let before = self.core_seconds()?;
        let started = Instant::now();
        let job = self.cluster.json(&[&given[..], &columns, flags].concat())?;
        let seconds = started.elapsed().as_secs_f64();
        let core_seconds = self.core_seconds()? - before;
        println!("shoal: {seconds:.2} s, {core_seconds:.2} s of cores");
        Ok((Spent { seconds, core_seconds }, job))
    }

    fn spark(&self, peers: &Peers, model: &Path) -> anyhow::Result<(Spent, Value)> {
        self.clear()?;
        let (n, threads) = (self.args.n.to_string(), THREADS.to_string());
        let arguments = [&text(model), &text(&self.out), "--n", &n, "--threads", &threads];
        let told = peers.run("spark_lists.py", &arguments)?;
        let number = |key: &str| told[key].as_f64().with_context(|| format!("Spark does not tell '{key}'"));
        let spent = Spent { seconds: number("seconds")?, core_seconds: number("core_seconds")? };
        println!("Spark: {:.2} s, {:.2} s of cores", spent.seconds, spent.core_seconds);
        Ok((spent, told))
    }

    /// Core time that the workers have used so far.
    fn core_seconds(&self) -> anyhow::Result<f64> {
        self.cluster.workers()?.iter().map(Process::cpu_seconds).sum()
    }

    fn clear(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(&self.out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn medians(spent: &[Spent]) -> Spent {
    Spent {
        seconds: median(spent.iter().map(|spent| spent.seconds).collect()),
        core_seconds: median(spent.iter().map(|spent| spent.core_seconds).collect()),
    }
}
