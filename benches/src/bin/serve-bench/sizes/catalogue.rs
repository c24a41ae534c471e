//! A catalogue of some size in a cluster of its own, made once per folder and found by later runs.
//!
//! The smallest is trained on generated ratings. The larger ones have rows that lie between trained ones and are as long as
//! trained ones (`benches/peers/enlarge.py`), imported as a model of Spark: training five million items would take hours, and
//! what an exact search costs depends on lengths and directions, not on how they came about.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_benches::{cluster::Cluster, data, flags::Flags, peers::Peers};

const WORKERS: usize = 3;
/// Elements of a factor row.
const RANK: &str = "64";
/// Lengths and directions change little after a few.
const SWEEPS: &str = "4";
/// The largest version takes minutes to be read and checked.
const SERVED_PATIENCE: Duration = Duration::from_secs(600);
/// Written last: without it what a folder holds is not whole.
const MADE_FILE: &str = "made.json";

/// A size of catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Size {
    /// MovieLens 20M's shape: 26,744 items
    #[value(name = "27k")]
    Thousands,
    /// A million items
    #[value(name = "1m")]
    Million,
    /// Five million items
    #[value(name = "5m")]
    Millions,
}

impl Size {
    /// As people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Thousands => "27 k",
            Self::Million => "1 M",
            Self::Millions => "5 M",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Thousands => "catalogue-27k",
            Self::Million => "catalogue-1m",
            Self::Millions => "catalogue-5m",
        }
    }

    /// How many users and how many items there are.
    pub(crate) fn sides(self, flags: &Flags) -> (u64, u64) {
        match self {
            Self::Thousands => (flags.users, flags.items),
            Self::Million => (2_000_000, 1_000_000),
            Self::Millions => (2_000_000, 5_000_000),
        }
    }
}

/// Where catalogues are made, and with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workshop<'a> {
    pub(crate) shoal: &'a Path,
    pub(crate) work: &'a Path,
    pub(crate) flags: &'a Flags,
    pub(crate) peers: &'a Peers,
}

/// A running cluster that serves a catalogue.
pub(crate) struct Catalogue {
    pub(crate) cluster: Cluster,
    pub(crate) url: String,
    pub(crate) metrics: Vec<SocketAddr>,
    /// The version's folder in the store.
    pub(crate) version: PathBuf,
    /// Where the peers keep their indexes.
    pub(crate) indexes: PathBuf,
    /// How it was made.
    pub(crate) about: Value,
}

impl Workshop<'_> {
    /// Starts the cluster of an earlier run, or makes one.
    pub(crate) fn open(&self, size: Size) -> anyhow::Result<Catalogue> {
        let dir = self.work.join("clusters").join(size.folder());
        let made = dir.join(MADE_FILE);
        if !made.exists() {
            if dir.exists() {
                std::fs::remove_dir_all(&dir)?;
            }
            let about = match size {
                Size::Thousands => self.train(&dir)?,
                Size::Million | Size::Millions => self.enlarge(size, &dir)?,
            };
            std::fs::write(&made, format!("{about:#}\n"))?;
        }
        let about: Value = serde_json::from_slice(&std::fs::read(&made)?)?;
        let cluster = self.start(&dir)?;
        cluster.wait_until_served(SERVED_PATIENCE)?;
        let (router, metrics) = cluster.addresses()?;
        let name = about["version"].as_str().context("the catalogue's file names no version")?;
        let version = dir.join("store/models/als").join(name);
        let url = format!("http://{router}");
        Ok(Catalogue { cluster, url, metrics, version, indexes: dir.join("indexes"), about })
    }

    fn start(&self, dir: &Path) -> anyhow::Result<Cluster> {
        let settings = ["router.cache_entries=0", "node.metrics_listen=\"127.0.0.1:0\""];
        Cluster::start_with(self.shoal, dir, WORKERS, &settings)
    }

    /// Trains a version that ranks on generated ratings with titles.
    fn train(&self, dir: &Path) -> anyhow::Result<Value> {
        println!("    importing and training");
        let files = data::prepare(self.work, &self.flags.data())?;
        let cluster = self.start(dir)?;
        cluster.import_with_neighbours(&files.ratings, "ratings")?;
        let flags = [
            "--objective",
            "implicit",
            "--rank",
            RANK,
            "--iterations",
            SWEEPS,
            "--test-ratio",
            "0",
            "--promote",
        ];
        let job = cluster.train("ratings", &flags)?;
        Ok(json!({
            "version": job["model_version"], "users": self.flags.users, "items": self.flags.items,
            "trained_on": { "ratings": self.flags.ratings, "sweeps": SWEEPS }, "rank": RANK,
        }))
    }

    /// Imports rows that lie between those of the smallest catalogue.
    fn enlarge(&self, size: Size, dir: &Path) -> anyhow::Result<Value> {
        let trained = self.open(Size::Thousands)?.version;
        println!("    enlarging and importing");
        let cluster = self.start(dir)?;
        let (users, items) = size.sides(self.flags);
        let rows = dir.join("rows");
        let text = |path: &Path| path.display().to_string();
        let counts = [users, items].map(|count| count.to_string());
        let arguments = [&text(&trained), &text(&rows), "--users", &counts[0], "--items", &counts[1]];
        let made = self.peers.run("enlarge.py", &arguments)?;
        let import = ["models", "import", &text(&rows), "--from", "spark", "--objective", "implicit"];
        let imported = cluster.json(&import)?;
        // They take as much room as the version.
        std::fs::remove_dir_all(&rows)?;
        let version = imported["version"].as_str().context("the import names no version")?;
        cluster.json(&["models", "promote", version])?;
        Ok(json!({
            "version": version, "users": users, "items": items, "rank": RANK,
            "enlarged_from_items": made["from_items"],
        }))
    }
}
