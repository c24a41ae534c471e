//! The memory of workers: at its peak in each kind of job, and after many jobs when nothing is to be done.
//!
//! ```text
//! cargo build --release -p shoal-cluster -p shoal-benches
//! target/release/memory-bench --data ./ml-latest-small
//! target/release/memory-bench --data ./ml-latest-small --rounds 20 --peak-max 256 --idle-growth-max 64
//! ```
//!
//! Three workers on this machine, each of the four models trained alone, the workers started anew, which then hold what
//! serving takes, then `--rounds` trainings of all four. Memory
//! is told apart: what is the process's own, and what is mapped from files, which the system takes back at need.
//! Processor time is worker-1's. With `--peak-max` and `--idle-growth-max` a worker that takes more is an error.
//! The allocator's own settings can be tried by its variables, such as `MIMALLOC_PURGE_DELAY=0`.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use serde_json::{Value, json};
use shoal_benches::{
    cluster::Cluster,
    machine,
    process::{Process, Resident},
};
use shoal_core::ModelKind;

const WORKERS: usize = 3;
const MIB: f64 = 1024.0 * 1024.0;
/// An idle worker has given back what it took by then.
const IDLE_PATIENCE: Duration = Duration::from_secs(15);

/// Measures the memory of workers.
#[derive(Debug, clap::Parser)]
#[command(name = "memory-bench")]
struct Args {
    /// Folder of a data set
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Trainings of all four models after each was trained alone
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Folder for the cluster
    #[arg(long, default_value = "target/bench-data")]
    work: PathBuf,
    /// The `shoal` binary; by default the one beside this program
    #[arg(long)]
    shoal: Option<PathBuf>,
    /// MiB of its own that no worker may have while a job runs; pages of files leave when others need the room
    #[arg(long, value_name = "MIB")]
    peak_max: Option<f64>,
    /// MiB of its own that an idle worker may hold after all trainings beyond what serving takes
    #[arg(long, value_name = "MIB")]
    idle_growth_max: Option<f64>,
    /// Where to write the figures as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The workers while a job ran.
struct During {
    job: String,
    /// Resident memory of each worker at its peak.
    peaks: Vec<Resident>,
    seconds: f64,
    /// Processor time of worker-1.
    cpu_seconds: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let shoal = match &args.shoal {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("shoal"),
    };
    let folder = args.work.join(format!("memory-{}", std::process::id()));
    let measured = measure(&args, &shoal, &folder);
    // The cluster has ended; what it wrote is of no use to anybody.
    let removed = std::fs::remove_dir_all(&folder);
    let outcome = measured?;
    removed.with_context(|| format!("cannot remove '{}'", folder.display()))?;
    if let Some(path) = &args.out {
        std::fs::write(path, format!("{outcome:#}\n"))
            .with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    Ok(())
}

fn measure(args: &Args, shoal: &std::path::Path, folder: &std::path::Path) -> anyhow::Result<Value> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make '{}'", folder.display()))?;
    let cluster = Cluster::start_with(shoal, &folder.canonicalize()?, WORKERS, &[])?;
    let workers = cluster.workers()?;
    println!("job            own MiB  mapped MiB  seconds  cpu s");
    let mut jobs = Vec::new();
    let mut watch = |workers: &[Process], job: &str, command: &[&str]| -> anyhow::Result<()> {
        let during = during(&cluster, workers, job, command)?;
        println!(
            "{:<14} {:>7.0}  {:>10.0}  {:>7.2}  {:>5.2}",
            during.job,
            most(&during.peaks, |peak| peak.anonymous),
            most(&during.peaks, |peak| peak.mapped),
            during.seconds,
            during.cpu_seconds
        );
        jobs.push(during);
        Ok(())
    };
    let data = args.data.display().to_string();
    watch(&workers, "import", &["dataset", "import", &data, "--name", "data"])?;
    let train = ["train", "--force", "--promote", "--models"];
    for model in ModelKind::ALL.map(ModelKind::name) {
        watch(&workers, model, &[&train[..], &[model]].concat())?;
    }
    let peaks_before = peaks(&workers)?;
    cluster.restart_workers()?;
    let workers = cluster.workers()?;
    let serving = idle(&workers, "when they only serve")?;
    let all = ModelKind::ALL.map(ModelKind::name).join(",");
    // What is served stays the same.
    let again = ["train", "--force", "--models", &all];
    for round in 1..=args.rounds {
        watch(&workers, &format!("all, {round}"), &again)?;
    }
    let last = idle(&workers, &format!("after {} of all four", args.rounds))?;
    let threads: Vec<u64> = workers.iter().map(Process::threads).collect::<anyhow::Result<_>>()?;
    let peak = peaks_before.max(peaks(&workers)?);
    let growth =
        serving.iter().zip(&last).map(|(serving, last)| mib(last.anonymous) - mib(serving.anonymous));
    let growth = growth.fold(f64::MIN, f64::max);
    let own = jobs.iter().map(|during| most(&during.peaks, |peak| peak.anonymous)).fold(0.0, f64::max);
    println!(
        "at most {own:.0} MiB of its own, {peak:.0} MiB resident; idle {growth:.0} MiB above what serving takes; threads {threads:?}"
    );
    if let Some(most) = args.peak_max {
        ensure!(own <= most, "a worker had {own:.0} MiB of its own, more than {most} MiB");
    }
    if let Some(most) = args.idle_growth_max {
        ensure!(
            growth <= most,
            "an idle worker holds {growth:.0} MiB more than serving takes, not {most} MiB"
        );
    }
    Ok(json!({
        "machine": machine::describe(),
        "jobs": jobs.iter().map(During::json).collect::<Vec<_>>(),
        "own_peak_mib": own,
        "peak_mib": peak,
        "idle_serving": serving.iter().map(resident_json).collect::<Vec<_>>(),
        "idle_after_all": last.iter().map(resident_json).collect::<Vec<_>>(),
        "threads_idle": threads,
    }))
}

fn during(cluster: &Cluster, workers: &[Process], job: &str, command: &[&str]) -> anyhow::Result<During> {
    let before = workers[0].cpu_seconds()?;
    let watches: Vec<_> = workers.iter().map(Process::watch).collect();
    let started = Instant::now();
    let ended = cluster.json(command);
    let seconds = started.elapsed().as_secs_f64();
    let peaks = watches.into_iter().map(|watch| watch.stop()).collect::<anyhow::Result<Vec<_>>>();
    // Why a job failed says more than that a worker of it is gone.
    ended?;
    let cpu_seconds = workers[0].cpu_seconds()? - before;
    Ok(During { job: job.to_owned(), peaks: peaks?, seconds, cpu_seconds })
}

/// The most that any worker has had resident so far, in MiB.
fn peaks(workers: &[Process]) -> anyhow::Result<f64> {
    let peaks = workers.iter().map(Process::peak_bytes).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(mib(peaks.into_iter().max().unwrap_or_default()))
}

/// What the workers hold when they have had nothing to do for a while.
fn idle(workers: &[Process], when: &str) -> anyhow::Result<Vec<Resident>> {
    pause(IDLE_PATIENCE);
    let held = workers.iter().map(Process::resident).collect::<anyhow::Result<Vec<_>>>()?;
    let own: Vec<String> = held.iter().map(|held| format!("{:.0}", mib(held.anonymous))).collect();
    let mapped: Vec<String> = held.iter().map(|held| format!("{:.0}", mib(held.mapped))).collect();
    println!("idle {when}: own {} MiB, mapped {} MiB", own.join(" "), mapped.join(" "));
    Ok(held)
}

impl During {
    fn json(&self) -> Value {
        json!({
            "job": self.job,
            "peaks": self.peaks.iter().map(resident_json).collect::<Vec<_>>(),
            "seconds": self.seconds,
            "cpu_seconds_of_worker_1": self.cpu_seconds,
        })
    }
}

fn resident_json(resident: &Resident) -> Value {
    json!({ "own_mib": mib(resident.anonymous), "mapped_mib": mib(resident.mapped) })
}

/// Of the worker that has most of it, in MiB.
fn most(peaks: &[Resident], of: impl Fn(&Resident) -> u64) -> f64 {
    mib(peaks.iter().map(of).max().unwrap_or_default())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

#[allow(clippy::disallowed_methods, reason = "no async runtime here")]
fn pause(for_how_long: Duration) {
    std::thread::sleep(for_how_long);
}
