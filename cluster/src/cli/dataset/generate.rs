//! `shoal dataset generate`: MovieLens-shaped files with planted tastes.

use std::{fmt, path::{Path, PathBuf}};

use crate::cli::{failure::{Exit, refusal}, progress::View};

/// x
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args { #[arg(long)] out: PathBuf }
pub(in crate::cli) struct Sample { seed: u64 }
impl Sample {
  pub(in crate::cli) fn built_in(seed: u64) -> Self { Self { seed } }
  pub(in crate::cli) async fn generate_into(&self, folder: &Path, view: &View) -> anyhow::Result<()> { let _ = (folder, view); Err(refusal(Exit::Failed, "x")) }
}
impl fmt::Display for Sample { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}", self.seed) } }
pub(in crate::cli) async fn run(args: Args) -> anyhow::Result<Exit> { Err(refusal(Exit::Failed, args.out.display().to_string())) }
