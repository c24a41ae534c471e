//! The training engine at size: one table, measured through real processes in one run.
//!
//! ```text
//! cargo build --release && cargo run --release -p shoal-benches --bin train-bench
//! benches/peers/setup.sh DIR && cargo run --release -p shoal-benches --bin train-bench -- --peers DIR
//! cargo run --release -p shoal-benches --bin train-bench -- --quality
//! ```
//!
//! Data is generated once below `--work`. Peers run in turn with Shoal, and medians are compared, because
//! machines drift. Results go to `benches/results/` with the machine and the commit.

mod measures;
mod quality;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser as _;
use shoal_benches::{data, peers::Peers, results::Results};
use shoal_worker::dataset::generate::GenerateSpec;

use measures::Bench;

/// Measures the training engine at the size of MovieLens 20M.
#[derive(Debug, clap::Parser)]
#[command(name = "train-bench")]
struct Args {
    /// Folder for generated data and clusters
    #[arg(long, default_value = "target/bench-data")]
    work: PathBuf,
    /// The `shoal` binary; by default the one beside this program
    #[arg(long)]
    shoal: Option<PathBuf>,
    /// Python environment made by benches/peers/setup.sh; without it peers are left out
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// Runs of which the median is taken
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Users of the data
    #[arg(long, default_value_t = 138_493)]
    users: u64,
    /// Movies of the data
    #[arg(long, default_value_t = 26_744)]
    items: u64,
    /// Ratings of the data
    #[arg(long, default_value_t = 20_000_263)]
    ratings: u64,
    /// Where results go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
    /// Only the measures whose name has this in it
    #[arg(long)]
    only: Option<String>,
    /// Instead of the table: what each solver reaches per second of training at rank 256
    #[arg(long, conflicts_with_all = ["peers", "only", "runs"])]
    quality: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let shoal = match &args.shoal {
        Some(path) => path.clone(),
        None => beside_this_program("shoal")?,
    };
    let peers = args.peers.as_deref().map(Peers::open).transpose()?;
    let work = absolute(&args.work)?;
    let spec = GenerateSpec {
        users: args.users,
        items: args.items,
        ratings: args.ratings,
        rank: 16,
        seed: 42,
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
    };
    println!("preparing {} ratings in '{}'", args.ratings, work.display());
    let files = data::prepare(&work, &spec)?;
    let (runs, results) = (args.runs.max(1), Results::default());
    let mut bench = Bench { shoal, work, spec, files, peers, runs, results };
    if args.quality {
        quality::curves(&bench)?.write(&args.out, "quality")?;
        println!("written to '{}'", args.out.display());
        return Ok(());
    }
    bench.run(args.only.as_deref())?;
    println!("\n{}", bench.results.table());
    // A part of the table would overwrite the whole one.
    if args.only.is_none() {
        bench.results.write(&args.out, "train")?;
        println!("written to '{}'", args.out.display());
    }
    Ok(())
}

fn beside_this_program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(path.exists(), "there is no '{}'; build it with `cargo build --release`", path.display());
    Ok(path)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make '{}'", path.display()))?;
    Ok(path.canonicalize()?)
}
