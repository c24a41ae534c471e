//! The flags of every benchmark that measures through real processes.

use std::path::PathBuf;

use anyhow::Context as _;
use shoal_dataset::generate::GenerateSpec;

/// Where things are, and the shape of the data; by default that of MovieLens 20M.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// Folder for generated data and clusters
    #[arg(long, default_value = "target/bench-data")]
    work: PathBuf,
    /// The `shoal` binary; by default the one beside this program
    #[arg(long)]
    shoal: Option<PathBuf>,
    /// Users of the data
    #[arg(long, default_value_t = 138_493)]
    pub users: u64,
    /// Items of the data
    #[arg(long, default_value_t = 26_744)]
    pub items: u64,
    /// Ratings of the data
    #[arg(long, default_value_t = 20_000_263)]
    pub ratings: u64,
    /// Where results go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    pub out: PathBuf,
}

impl Flags {
    /// The binary to measure.
    ///
    /// # Errors
    /// When it is not there.
    pub fn shoal(&self) -> anyhow::Result<PathBuf> {
        let path = match &self.shoal {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("shoal"),
        };
        let shown = path.display();
        anyhow::ensure!(path.exists(), "there is no '{shown}'; build it with `cargo build --release`");
        Ok(path)
    }

    /// The working folder, made if it was not there; absolute.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn work(&self) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(&self.work)
            .with_context(|| format!("cannot make '{}'", self.work.display()))?;
        Ok(self.work.canonicalize()?)
    }

    /// The data to generate.
    #[must_use]
    pub fn data(&self) -> GenerateSpec {
        GenerateSpec {
            users: self.users,
            items: self.items,
            ratings: self.ratings,
            rank: 16,
            seed: 42,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        }
    }
}
