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

use clap::Parser as _;
use shoal_benches::{data, flags::Flags, peers::Peers, results::Results};

use load::Load;
use measures::{Bench, Served};

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
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let flags = &args.flags;
    let shoal = flags.shoal()?;
    let peers = args.peers.as_deref().map(Peers::open).transpose()?;
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
