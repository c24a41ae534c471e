//! The measures.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_benches::{
    cluster::Cluster,
    data::Files,
    peers::Peers,
    results::{Results, Target},
};

use crate::{
    load::{Load, Route, Shape, number},
    stages::{Times, stages},
};

const WORKERS: usize = 3;
/// Requests per second at which latency is measured.
const RATE: f64 = 300.0;
/// Requests under way at a time while the slowest peer is measured, and requests per second that it cannot give.
const SLOW_CONCURRENCY: u32 = 4;
const SLOW_RATE: f64 = 8.0;
/// What the peers know nothing of.
const PARAMETERS: [&str; 1] = ["exclude_seen=false"];

/// The cluster, and its factors as the peers read them.
pub(crate) struct Served {
    _cluster: Cluster,
    url: String,
    metrics: Vec<SocketAddr>,
    export: PathBuf,
    spark: PathBuf,
    titles: PathBuf,
}

impl Served {
    pub(crate) fn start(shoal: &Path, work: &Path, files: &Files) -> anyhow::Result<Self> {
        let dir = work.join("clusters/serving");
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        let settings =
            ["router.cache_entries=0", "node.metrics_listen=\"127.0.0.1:0\"", "worker.training_threads=1"];
        let cluster = Cluster::start_with(shoal, &dir, WORKERS, &settings)?;
        cluster.import_with_neighbours(&files.ratings, "ratings")?;
        let flags = ["--rank", "64", "--iterations", "4", "--test-ratio", "0", "--promote"];
        let job = cluster.train("ratings", &flags)?;
        let version = job["model_version"].as_str().context("the training names no version")?;
        let (export, spark) = (dir.join("export"), dir.join("spark"));
        let text = |path: &Path| path.display().to_string();
        cluster.json(&["models", "export", version, &text(&export), "--to", "parquet"])?;
        let ranking = ["--to", "spark", "--objective", "implicit"];
        cluster.json(&[&["models", "export", version, &text(&spark)][..], &ranking].concat())?;
        let (router, metrics) = cluster.addresses()?;
        let titles = files.ratings.with_file_name("movies.csv");
        Ok(Self { _cluster: cluster, url: format!("http://{router}"), metrics, export, spark, titles })
    }
}

pub(crate) struct Bench {
    pub(crate) served: Served,
    pub(crate) load: Load,
    pub(crate) peers: Option<Peers>,
    pub(crate) results: Results,
}

impl Bench {
    pub(crate) fn run(&mut self) -> anyhow::Result<()> {
        let url = self.served.url.clone();
        // Connections, caches and clocks.
        self.load.run(&url, Shape { seconds: 3, ..self.load.shape(101.0) }, &PARAMETERS)?;
        println!("\n== latency at {RATE} requests/s");
        self.latency(&url)?;
        println!("\n== the most requests/s with p99 < 50 ms");
        let (most, tried) = self.load.most(&url, Route::Recommend, 500.0, &PARAMETERS)?;
        self.results.add(
            "requests/s with p99 < 50 ms",
            most,
            Target::AtLeast(RATE),
            json!({ "tried": tried }),
        );
        if let Some(peers) = self.peers.clone() {
            println!("\n== FastAPI and numpy");
            self.numpy(&peers, most)?;
            println!("\n== FastAPI and PySpark");
            self.spark(&peers, most)?;
        }
        Ok(())
    }

    fn latency(&mut self, url: &str) -> anyhow::Result<()> {
        let before = Times::read(&self.served.metrics)?;
        let shape = Shape { seconds: 3 * self.load.shape(RATE).seconds, ..self.load.shape(RATE) };
        let found = self.load.run(url, shape, &PARAMETERS)?;
        let after = Times::read(&self.served.metrics)?;
        let detail = json!({
            "requests": found["requests"], "latency": found["latency"], "answers": found["answers"],
            "stages_us": stages(&before, &after, Route::Recommend, number(&found, "/latency/mean") * 1e6),
        });
        for (name, path, target) in [
            ("recommend n=10 at 300/s: p50, ms", "/latency/p50", 2.0),
            ("recommend n=10 at 300/s: p99, ms", "/latency/p99", 10.0),
        ] {
            let value = number(&found, path) * 1e3;
            self.results.add(name, value, Target::AtMost(target), detail.clone());
        }
        Ok(())
    }

    fn numpy(&mut self, peers: &Peers, most: f64) -> anyhow::Result<()> {
        let arguments = [self.served.export.display().to_string(), self.served.titles.display().to_string()];
        let server = peers.serve("fastapi_numpy.py", &arguments.each_ref().map(String::as_str))?;
        self.load.run(server.url(), Shape { seconds: 3, ..self.load.shape(51.0) }, &[])?;
        let (theirs, tried) = self.load.most(server.url(), Route::Recommend, 200.0, &[])?;
        let detail = json!({ "shoal": most, "numpy": theirs, "tried": tried });
        self.results.add(
            "requests/s with p99 < 50 ms over FastAPI and numpy's",
            most / theirs,
            Target::AtLeast(2.0),
            detail,
        );
        Ok(())
    }

    /// Spark keeps p99 below 50 ms at no rate, so it is counted what it answers at all.
    fn spark(&mut self, peers: &Peers, most: f64) -> anyhow::Result<()> {
        let arguments = [self.served.spark.display().to_string(), self.served.titles.display().to_string()];
        let server = peers.serve("fastapi_spark.py", &arguments.each_ref().map(String::as_str))?;
        let shape = |seconds| Shape { seconds, concurrency: SLOW_CONCURRENCY, ..self.load.shape(SLOW_RATE) };
        // Its compiler warms up.
        self.load.run(server.url(), Shape { rate: 2.0, ..shape(5) }, &[])?;
        let found = self.load.run(server.url(), shape(2 * self.load.shape(SLOW_RATE).seconds), &[])?;
        let theirs = number(&found, "/requests/successful") / number(&found, "/execution/actual_duration");
        let detail: Value = json!({ "shoal": most, "spark": theirs, "latency": found["latency"] });
        self.results.add(
            "requests/s with p99 < 50 ms over all that FastAPI and PySpark answer",
            most / theirs,
            Target::AtLeast(100.0),
            detail,
        );
        Ok(())
    }
}
