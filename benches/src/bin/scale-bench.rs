//! How a sweep divides over workers: compute, exchange, waiting and bytes with 1, 2, 4 and 8 workers of a
//! thread each, and from those a prediction for more workers on a stated network.
//!
//! ```text
//! cargo build --release && cargo run --release -p shoal-benches --bin scale-bench
//! ```
//!
//! Workers share this machine's cores, so beyond as many workers as cores only bytes and core time
//! say something; the prediction uses these. It is printed as a prediction.

use anyhow::Context as _;
use clap::Parser as _;
use serde_json::{Value, json};
use shoal_benches::{
    cluster::Cluster,
    data,
    flags::Flags,
    machine,
    machine::median,
    ratings::{RowLengths, row_lengths},
};

/// Measures a sweep over 1, 2, 4 and 8 workers and predicts it for more.
#[derive(Debug, clap::Parser)]
#[command(name = "scale-bench")]
struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Elements of a factor row
    #[arg(long, default_value_t = 64)]
    rank: u32,
    /// Bandwidth of a worker's link in the predicted network, Gbit/s
    #[arg(long, default_value_t = 10.0)]
    link_gbits: f64,
    /// One round trip between coordinator and workers in the predicted network, milliseconds
    #[arg(long, default_value_t = 0.5)]
    round_trip_ms: f64,
}

/// One sweep with so many workers.
#[derive(Debug, Clone, Copy)]
struct Sweep {
    workers: usize,
    /// As the coordinator sees it.
    seconds: f64,
    /// Of the slowest worker, both half-steps.
    solve_seconds: f64,
    exchange_wait_seconds: f64,
    bytes_sent: f64,
    bytes_needed: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (shoal, work) = (args.flags.shoal()?, args.flags.work()?);
    let files = data::prepare(&work, &args.flags.data())?;
    let lengths = row_lengths(&files.train)?;
    println!("workers  sweep s  solve s  wait s   MB sent  MB least  MB expected");
    let mut measured = Vec::new();
    for workers in [1, 2, 4, 8] {
        let dir = work.join("clusters").join(format!("scale-{workers}"));
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        let cluster = Cluster::start(&shoal, &dir, workers, 1)?;
        cluster.import(&files.train, "train")?;
        let sweep = one_sweep(&cluster, workers, args.rank)?;
        let expected = expected_bytes(&lengths, workers, args.rank);
        println!(
            "{workers:7}  {:7.2}  {:7.2}  {:6.2}  {:8.1}  {:8.1}  {:11.1}",
            sweep.seconds,
            sweep.solve_seconds,
            sweep.exchange_wait_seconds,
            sweep.bytes_sent / 1e6,
            sweep.bytes_needed / 1e6,
            expected / 1e6
        );
        measured.push(sweep);
    }
    let predicted = predict(&args, &lengths, &measured)?;
    write(&args, &measured, &predicted)
}

fn one_sweep(cluster: &Cluster, workers: usize, rank: u32) -> anyhow::Result<Sweep> {
    let rank = rank.to_string();
    let flags =
        ["--objective", "explicit", "--no-biases", "--test-ratio", "0", "--rank", &rank, "--iterations", "4"];
    let job = cluster.train("train", &flags)?;
    let sweeps = job["sweeps"].as_array().cloned().unwrap_or_default();
    let of = |read: &dyn Fn(&Value) -> Option<f64>| median(sweeps.iter().skip(1).filter_map(read).collect());
    let work = |key: &'static str| of(&move |sweep: &Value| sweep["work"][key].as_f64());
    Ok(Sweep {
        workers,
        seconds: of(&|sweep| sweep["seconds"].as_f64()),
        solve_seconds: work("solve_seconds"),
        exchange_wait_seconds: work("exchange_wait_seconds"),
        bytes_sent: work("bytes_sent"),
        bytes_needed: work("bytes_needed"),
    })
}

/// Bytes of factor rows per sweep when rows are spread evenly: a row with n ratings is needed by each
/// of the other workers unless none of its ratings is there.
fn expected_bytes(lengths: &RowLengths, workers: usize, rank: u32) -> f64 {
    let elsewhere = 1.0 / workers as f64;
    let needed = |&count: &u32| (workers - 1) as f64 * (1.0 - (1.0 - elsewhere).powf(f64::from(count)));
    let rows: f64 = lengths.users.iter().chain(&lengths.items).map(needed).sum();
    rows * f64::from(rank) * 4.0
}

/// A sweep with more workers: the measured core time divided evenly, or the link of a worker that sends
/// and receives its share, whichever is longer since they overlap; and a round trip to begin and to end
/// each half-step.
fn predict(args: &Args, lengths: &RowLengths, measured: &[Sweep]) -> anyhow::Result<Vec<Value>> {
    let alone = measured.first().context("nothing was measured")?.solve_seconds;
    println!("\nprediction for {} Gbit/s links and {} ms round trips", args.link_gbits, args.round_trip_ms);
    println!("workers  compute s  network s  sweep s  speed-up");
    let mut rows = Vec::new();
    for workers in [2_usize, 8, 64, 1024] {
        let compute = alone / workers as f64;
        let bytes = expected_bytes(lengths, workers, args.rank) / workers as f64;
        let network = bytes * 8.0 / (args.link_gbits * 1e9);
        let seconds = compute.max(network) + 4.0 * args.round_trip_ms / 1e3;
        println!("{workers:7}  {compute:9.3}  {network:9.3}  {seconds:7.3}  {:8.1}", alone / seconds);
        rows.push(json!({
            "workers": workers, "compute_seconds": compute, "network_seconds": network,
            "sweep_seconds": seconds, "speed_up": alone / seconds,
        }));
    }
    Ok(rows)
}

fn write(args: &Args, measured: &[Sweep], predicted: &[Value]) -> anyhow::Result<()> {
    let measured: Vec<Value> = measured
        .iter()
        .map(|sweep| {
            json!({
                "workers": sweep.workers,
                "sweep_seconds": sweep.seconds,
                "solve_seconds": sweep.solve_seconds,
                "exchange_wait_seconds": sweep.exchange_wait_seconds,
                "bytes_sent": sweep.bytes_sent,
                "bytes_needed": sweep.bytes_needed,
            })
        })
        .collect();
    let whole = json!({
        "machine": machine::describe(),
        "rank": args.rank,
        "ratings": args.flags.ratings,
        "measured": measured,
        "prediction": { "link_gbits": args.link_gbits, "round_trip_ms": args.round_trip_ms, "sweeps": predicted },
    });
    std::fs::create_dir_all(&args.flags.out)?;
    std::fs::write(args.flags.out.join("scale.json"), format!("{whole:#}\n"))?;
    Ok(())
}
