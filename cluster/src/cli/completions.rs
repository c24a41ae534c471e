//! `shoal completions`: a script that completes commands and flags.

use super::failure::Exit;
use crate::output;

const EXAMPLE: &str = "\
Examples:
  shoal completions bash > /etc/bash_completion.d/shoal
  shoal completions zsh > \"${fpath[1]}/_shoal\"
  shoal completions fish > ~/.config/fish/completions/shoal.fish";

/// Flags of `shoal completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Prints the script for `command`, which is all of `shoal`.
pub(super) fn run(args: &Args, mut command: clap::Command) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "shoal", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
