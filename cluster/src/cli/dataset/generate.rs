//! `shoal dataset generate`: MovieLens-shaped files with planted tastes, and quickstart's sample.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use serde_json::json;
use shoal_dataset::generate::{GenerateError, GenerateReport, GenerateSpec, generate};

use crate::{
    cli::{
        failure::{Exit, refusal},
        progress::{Style, View},
    },
    output,
    parameters::SEED,
};

const EXAMPLE: &str = "\
Examples:
  shoal dataset generate --out ./sample
  shoal dataset generate --out ./big --users 138000 --items 27000 --ratings 20000000

Writes ratings.csv, movies.csv, tags.csv, genome-tags.csv and genome-scores.csv. The same numbers and seed \
make the same files, whatever the threads. Every user has at least 20 ratings.";

/// How often the bar looks at how far the work is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Flags of `shoal dataset generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    /// Folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Users, numbered from 1
    #[arg(long, default_value_t = BUILT_IN.users)]
    users: u64,
    /// Items, numbered from 1
    #[arg(long, default_value_t = BUILT_IN.items)]
    items: u64,
    /// Ratings, exactly
    #[arg(long, default_value_t = BUILT_IN.ratings)]
    ratings: u64,
    /// Length of the planted taste vectors
    #[arg(long, default_value_t = BUILT_IN.rank)]
    rank: usize,
    /// Seed of everything drawn
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// Threads; every core by default
    #[arg(long)]
    threads: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The built-in sample but for its seed: large enough for lists that make sense, small enough to be
/// imported and trained in seconds.
const BUILT_IN: GenerateSpec =
    GenerateSpec { users: 2_000, items: 1_200, ratings: 120_000, rank: 12, seed: SEED, threads: 1 };

/// The sample that is to be written.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Sample {
    spec: GenerateSpec,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [users, items, ratings] =
            [self.spec.users, self.spec.items, self.spec.ratings].map(output::count);
        write!(f, "{users} users, {items} items, {ratings} ratings")
    }
}

impl Sample {
    /// The sample that quickstart makes.
    pub(in crate::cli) fn built_in(seed: u64) -> Self {
        Self { spec: GenerateSpec { seed, threads: cores(), ..BUILT_IN } }
    }

    /// Makes the files below `folder`, which comes to be whole or not at all; the view shows how far it is.
    pub(in crate::cli) async fn generate_into(
        &self,
        folder: &Path,
        view: &View,
    ) -> anyhow::Result<GenerateReport> {
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(format!(".unfinished-{}", std::process::id()));
        let unfinished = folder.with_file_name(name);
        let outcome = self.run(&unfinished, view).await;
        let outcome = outcome.and_then(|report| {
            let renamed = std::fs::rename(&unfinished, folder);
            renamed.with_context(|| format!("cannot make the folder '{}'", folder.display()))?;
            Ok(report)
        });
        if outcome.is_err() {
            // What stays behind has a name that says what it is.
            let _ = std::fs::remove_dir_all(&unfinished);
        }
        outcome
    }

    async fn run(&self, folder: &Path, view: &View) -> anyhow::Result<GenerateReport> {
        let written = Arc::new(AtomicU64::new(0));
        let (spec, folder, counter) = (self.spec.clone(), folder.to_owned(), Arc::clone(&written));
        let mut work = tokio::task::spawn_blocking(move || {
            generate(&spec, &folder, &|done, _| counter.store(done, Ordering::Relaxed))
        });
        loop {
            tokio::select! {
                biased;
                // The end comes before another look.
                ended = &mut work => {
                    return ended.context("the generator failed unexpectedly")?.map_err(|error| match error {
                        GenerateError::Spec(_) => refusal(Exit::Usage, error.to_string()),
                        other => other.into(),
                    });
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let done = written.load(Ordering::Relaxed);
                    let share = done as f64 / self.spec.ratings.max(1) as f64;
                    view.set(share, &format!("{} ratings", output::count(done)));
                }
            }
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

pub(in crate::cli) async fn run(args: Args) -> anyhow::Result<Exit> {
    if args.out.exists() {
        let message = format!("'{}' exists; choose another --out", args.out.display());
        return Err(refusal(Exit::Failed, message));
    }
    let sample = Sample {
        spec: GenerateSpec {
            users: args.users,
            items: args.items,
            ratings: args.ratings,
            rank: args.rank,
            seed: args.seed,
            threads: args.threads.unwrap_or_else(cores).max(1),
        },
    };
    let view = View::new(Style::choose(args.json), "generate");
    let report = sample.generate_into(&args.out, &view).await;
    drop(view);
    let report = report?;
    let out = args.out.display().to_string();
    if args.json {
        output::print_json(&json!({
            "out": out,
            "users": args.users,
            "items": report.items,
            "ratings": report.ratings,
            "tags": report.tags,
            "genome_scores": report.genome_scores,
            "bytes": report.bytes,
            "seed": args.seed,
        }))?;
    } else {
        output::print(&format!(
            "Wrote {sample} to '{out}' ({} bytes).\nImport them with `shoal dataset import {out}`.",
            output::count(report.bytes)
        ))?;
    }
    Ok(Exit::Done)
}
