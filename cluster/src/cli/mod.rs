//! The command line: one file per subcommand.
//!
//! A command returns its outcome or an error; [`main`] alone prints errors and chooses the exit code.
//! Results go to standard output, progress and notices to standard error.

mod blend_choice;
mod by_title;
mod certs;
mod completions;
mod connection;
mod coordinator;
mod dataset;
mod down;
mod environment;
mod failure;
mod filter_args;
mod health;
mod job_summary;
mod jobs;
mod listen;
mod listing;
mod lists;
mod local_args;
mod logs;
mod man;
mod model_failures;
mod model_kind;
mod models;
mod nodes;
mod parent;
mod progress;
mod query;
mod quickstart;
mod role;
mod router;
mod serve;
mod signals;
mod simulate;
mod status;
mod store_options;
mod tokens;
mod train;
mod training_defaults;
mod up;
mod worker;

use std::{process::ExitCode, time::Duration};

use clap::{CommandFactory as _, Parser as _};

use crate::output::Colour;
use failure::Exit;

/// Threads for reading and writing files in a role. More of them do not make a disk faster.
const ROLE_BLOCKING_THREADS: usize = 12;

/// For how long one of them waits for more to do.
const ROLE_BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(2);

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  a flag or setting cannot be used
  3  not found: a job, version, data set, user or item
  4  unavailable: no coordinator or router answered, or no model is live
  5  the job was cancelled
  6  a token or a certificate is needed, or the one that was shown is good for other things
  130  interrupted";

const EXAMPLES: &str = "\
Examples:
  shoal quickstart                             # sample data, trained and served here
  shoal quickstart --data ./ml-latest-small    # the same with MovieLens files
  shoal up                                     # an empty local cluster
  shoal dataset import ./ml-latest-small
  shoal train --dataset ml-latest-small --promote
  shoal recommend 1 -n 5
  shoal similar \"Toy Story\"
  shoal status --watch
  shoal simulate --rate 100 --report out.html";

/// A recommender that runs as a cluster.
#[derive(Debug, clap::Parser)]
#[command(name = "shoal", version, max_term_width = 100, after_help = EXIT_CODES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to print in colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", hide_short_help = true)]
    color: Colour,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// From rating files to answers on this machine, in one command
    Quickstart(quickstart::Args),
    /// Run a local cluster of child processes until Ctrl-C
    Up(up::Args),
    /// Stop the local cluster of a folder
    Down(down::Args),
    /// What the nodes of the local cluster say
    Logs(logs::Args),
    /// Make, import and look at data sets
    #[command(subcommand)]
    Dataset(dataset::Command),
    /// Train a model version and follow the job
    Train(train::Args),
    /// Look at jobs, follow or cancel one
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Look at model versions, choose the live one, check and export files
    #[command(subcommand)]
    Models(models::Command),
    /// Look at workers and routers, forget one that is gone
    #[command(subcommand)]
    Nodes(nodes::Command),
    /// The best items for a user, or for every user as files
    Recommend(query::RecommendArgs),
    /// The items most like another
    Similar(query::SimilarArgs),
    /// The rating a user would give an item
    Predict(query::PredictArgs),
    /// Items by the words of their titles
    Items(query::ItemsArgs),
    /// Traffic as users would make it, measured and checked
    Simulate(simulate::Args),
    /// Nodes, shards, the live version and the coordinators' group
    Status(status::Args),
    /// Whether one node has started, is ready or is alive: for containers and probes
    Health(health::Args),
    /// Answer queries from a folder of models, which may be read-only, in one process
    Serve(serve::Args),
    /// Make, show and revoke the certificates of nodes and administrators
    #[command(subcommand)]
    Certs(certs::Command),
    /// Make, list and revoke the tokens of people and programs
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Run one coordinator in the foreground
    Coordinator(coordinator::Args),
    /// Run one worker in the foreground
    Worker(worker::Args),
    /// Run one router in the foreground
    Router(router::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Write the manual pages of all commands
    Man(man::Args),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.color.choose();
    let runtime = match runtime(&cli.command) {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::output::say(&format!("shoal: cannot start the async runtime: {error}"));
            return Exit::Failed.into();
        }
    };
    let outcome = runtime.block_on(run(cli.command));
    // A reader of standard input may sit in a blocking thread for ever: do not wait for it.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            failure::lines(&error).iter().for_each(|line| crate::output::say(line));
            failure::exit_of(&error).into()
        }
    }
}

/// The async runtime of a command. A role stays for weeks, and each thread of its own keeps memory of its own: it has
/// few threads for files, and those that have nothing to do end soon.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all();
    if matches!(
        command,
        Command::Coordinator(_) | Command::Worker(_) | Command::Router(_) | Command::Serve(_)
    ) {
        builder.max_blocking_threads(ROLE_BLOCKING_THREADS).thread_keep_alive(ROLE_BLOCKING_KEEP_ALIVE);
    }
    builder.build()
}

async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Quickstart(args) => quickstart::run(args).await,
        Command::Up(args) => up::run(args).await,
        Command::Dataset(command) => dataset::run(command).await,
        Command::Train(args) => train::run(args).await,
        Command::Jobs(command) => jobs::run(command).await,
        Command::Models(command) => models::run(command).await,
        Command::Nodes(command) => nodes::run(command).await,
        Command::Recommend(args) => query::recommend(args).await,
        Command::Similar(args) => query::similar(args).await,
        Command::Predict(args) => query::predict(args).await,
        Command::Items(args) => query::items(args).await,
        Command::Simulate(args) => simulate::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Down(args) => down::run(args).await,
        Command::Logs(args) => logs::run(args).await,
        Command::Health(args) => health::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Certs(command) => certs::run(command),
        Command::Tokens(command) => tokens::run(command).await,
        Command::Coordinator(args) => coordinator::run(args).await,
        Command::Worker(args) => worker::run(args).await,
        Command::Router(args) => router::run(args).await,
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_flags_of_every_command_are_consistent() {
        super::Cli::command().debug_assert();
    }

    /// Paragraphs are wrapped for the terminal that shows them, which line breaks of our own would spoil.
    #[test]
    fn help_leaves_wrapping_to_the_terminal() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
            let lines: Vec<&str> = help.lines().collect();
            for pair in lines.windows(2) {
                assert!(!(is_prose(pair[0]) && is_prose(pair[1])), "{}: {pair:?}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&super::Cli::command());
    }

    /// An example may be copied whole: what a shell is not to read stands behind a `#`.
    #[test]
    fn remarks_in_examples_are_comments() {
        fn check(command: &clap::Command) {
            let helps = [command.get_after_help(), command.get_after_long_help()];
            let help: String = helps.into_iter().flatten().map(|help| format!("{help}\n")).collect();
            for line in help.lines().filter(|line| line.starts_with("  shoal ") || line.starts_with("      "))
            {
                let remark = line.trim_start().split_once("   ").map(|(_, remark)| remark.trim_start());
                assert!(
                    remark.is_none_or(|remark| remark.starts_with("# ")),
                    "{}: {line}",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&super::Cli::command());
    }
}
