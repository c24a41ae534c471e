//! `shoal man`: the manual pages of all commands, for packages.

use std::path::PathBuf;

use anyhow::Context as _;

use super::failure::Exit;
use crate::output;

const EXAMPLE: &str = "\
Examples:
  shoal man --out ./man && man -l ./man/shoal-train.1
  shoal man --out /usr/local/share/man/man1";

/// Flags of `shoal man`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Folder to write them to; made when missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes a page for each command of `command`, which is all of `shoal`.
pub(super) fn run(args: &Args, command: clap::Command) -> anyhow::Result<Exit> {
    let failed = || format!("cannot write manual pages to '{}'", args.out.display());
    std::fs::create_dir_all(&args.out).with_context(failed)?;
    // Flags of every command would stand on every page.
    clap_mangen::generate_to(command.disable_help_subcommand(true), &args.out).with_context(failed)?;
    output::print(&format!("The manual pages are in '{}'.", args.out.display()))?;
    Ok(Exit::Done)
}
