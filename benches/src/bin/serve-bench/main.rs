//! Serving at size: latency and the most requests per second, through real processes and beside two peers.
//!
//! ```text
//! cargo build --release && cargo run --release -p shoal-benches --bin serve-bench
//! benches/peers/setup.sh DIR && cargo run --release -p shoal-benches --bin serve-bench -- --peers DIR
//! ```
//!
//! Three workers and a router, no cache, factors of rank 64 trained on data of MovieLens 20M's shape; the peers
//! answer the same requests from the same factors. Clients are `shoal simulate`, which shares the machine's cores with
//! what it measures. Users are drawn uniformly and nobody is unknown; seen movies are listed too, because the peers
//! know nothing of them.

mod load;
mod measures;
mod stages;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser as _;
use shoal_benches::{data, peers::Peers, results::Results};
use shoal_worker::dataset::generate::GenerateSpec;

use load::Load;
use measures::{Bench, Served};

/// Measures serving at the size of MovieLens 20M.
#[derive(Debug, clap::Parser)]
#[command(name = "serve-bench")]
struct Args {
    /// Folder for generated data and the cluster
    #[arg(long, default_value = "target/bench-data")]
    work: PathBuf,
    /// The `shoal` binary; by default the one beside this program
    #[arg(long)]
    shoal: Option<PathBuf>,
    /// Python environment made by benches/peers/setup.sh; without it peers are left out
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// Seconds of each load
    #[arg(long, default_value_t = 5)]
    seconds: u32,
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
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let shoal = match &args.shoal {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("shoal"),
    };
    anyhow::ensure!(
        shoal.exists(),
        "there is no '{}'; build it with `cargo build --release`",
        shoal.display()
    );
    let peers = args.peers.as_deref().map(Peers::open).transpose()?;
    std::fs::create_dir_all(&args.work).with_context(|| format!("cannot make '{}'", args.work.display()))?;
    let work = args.work.canonicalize()?;
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
    println!("importing, training and exporting");
    let served = Served::start(&shoal, &work, &files)?;
    let load = Load::new(&shoal, &work, args.users, args.seconds)?;
    let mut bench = Bench { served, load, peers, results: Results::default() };
    bench.run()?;
    println!("\n{}", bench.results.table());
    bench.results.write(&args.out, "serve")?;
    println!("written to '{}'", args.out.display());
    Ok(())
}
