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

mod ease;
mod gradients;
mod measures;
mod quality;

use std::path::PathBuf;

use clap::Parser as _;
use shoal_benches::{data, flags::Flags, peers::Peers, results::Results};

use measures::Bench;

/// Measures the training engine at the size of MovieLens 20M.
#[derive(Debug, clap::Parser)]
#[command(name = "train-bench")]
struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Python environment made by benches/peers/setup.sh; without it peers are left out
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// Runs of which the median is taken
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Only the measures whose name has this in it; results go to a file of their own
    #[arg(long)]
    only: Option<String>,
    /// Instead of the table: what each solver reaches per second of training at rank 256
    #[arg(long, conflicts_with_all = ["peers", "only", "runs"])]
    quality: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let flags = &args.flags;
    let peers = args.peers.as_deref().map(Peers::open).transpose()?;
    let (shoal, work, spec) = (flags.shoal()?, flags.work()?, flags.data());
    println!("preparing {} ratings in '{}'", flags.ratings, work.display());
    let files = data::prepare(&work, &spec)?;
    let (runs, results) = (args.runs.max(1), Results::default());
    let mut bench = Bench { shoal, work, spec, files, peers, runs, results };
    if args.quality {
        quality::curves(&bench)?.write(&flags.out, "quality")?;
        println!("written to '{}'", flags.out.display());
        return Ok(());
    }
    bench.run(args.only.as_deref())?;
    println!("\n{}", bench.results.table());
    // A part of the table goes to a file of its own: it would overwrite the whole one.
    let name = args.only.map_or_else(|| "train".to_owned(), |only| format!("train-{only}"));
    bench.results.write(&flags.out, &name)?;
    println!("written to '{}'", flags.out.join(format!("{name}.json")).display());
    Ok(())
}
