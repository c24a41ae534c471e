//! Serving at size: latency and the most requests per second, through real processes and beside two peers.
//!
//! ```text
//! cargo build --release && cargo run --release -p shoal-benches --bin serve-bench
//! benches/peers/setup.sh DIR && cargo run --release -p shoal-benches --bin serve-bench -- --peers DIR
//! cargo run --release -p shoal-benches --bin serve-bench -- --peers DIR --sizes 27k,1m,5m    # growing catalogues instead
//! ```
//!
//! Three workers and a router, no cache, factors of rank 64 trained on data of MovieLens 20M's shape; the peers
//! answer the same requests from the same factors. Clients are `shoal simulate`, which shares the machine's cores with
//! what it measures. Users are drawn uniformly and nobody is unknown; seen items are listed too, because the peers
//! know nothing of them.

mod load;
mod measures;
mod sizes;
mod stages;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser as _;
use shoal_benches::{data, flags::Flags, peers::Peers, results::Results};

use load::Load;
use measures::{Bench, Served};
use sizes::{Size, Sizes};

/// Measures serving at the size of MovieLens 20M.
#[derive(Debug, clap::Parser)]
#[command(name = "serve-bench")]
struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Python environment made by benches/peers/setup.sh; without it peers are left out
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// Seconds of each load
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Measure recommend and similar over catalogues of these sizes instead, beside faiss; their clusters are kept below
    /// --work and take up to 10 GB each
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SIZE")]
    sizes: Vec<Size>,
    /// Make the catalogues and the indexes of --sizes, measure nothing
    #[arg(long, requires = "sizes")]
    prepare: bool,
    /// Build HNSW of five million items too, which takes half an hour
    #[arg(long, requires = "sizes")]
    large_hnsw: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let flags = &args.flags;
    let shoal = flags.shoal()?;
    let peers = args.peers.as_deref().map(Peers::open).transpose()?;
    if !args.sizes.is_empty() {
        let peers = peers.as_ref().context("--sizes needs --peers")?;
        let Args { seconds, large_hnsw, prepare: only_prepare, .. } = args;
        return Sizes { flags, peers, seconds, large_hnsw, only_prepare }.run(&args.sizes);
    }
    let work = flags.work()?;
    println!("preparing {} ratings in '{}'", flags.ratings, work.display());
    let files = data::prepare(&work, &flags.data())?;
    println!("importing, training and exporting");
    let served = Served::start(&shoal, &work, &files)?;
    let load = Load::new(&shoal, &work, flags.users, args.seconds)?;
    let mut bench = Bench { served, load, peers, results: Results::default() };
    bench.run()?;
    println!("\n{}", bench.results.table());
    bench.results.write(&flags.out, "serve")?;
    println!("written to '{}'", flags.out.display());
    Ok(())
}
