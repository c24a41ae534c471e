//! `shoal dataset`: generate, import, list, show.

mod describe;
mod generate;
mod import;
pub(super) mod reading;

use serde_json::Value;
use shoal_proto::v1::DatasetInfo;

use super::{
    connection::{ClusterArgs, find_dataset},
    failure::Exit,
    listing::ListArgs,
};
use crate::output::{self, Align, Table};

pub(super) use describe::describe;
pub(super) use generate::Sample;
pub(super) use import::{dataset_name, readable_source, source_uri};

/// Commands on data sets.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make MovieLens-shaped files with known tastes
    Generate(generate::Args),
    /// Read rating files into the cluster
    Import(Box<import::Args>),
    /// Every data set
    #[command(after_help = "Examples:\n  shoal dataset list\n  shoal dataset list --json")]
    List(ListArgs),
    /// One data set, with the report of its import
    #[command(
        after_help = "Examples:\n  shoal dataset show ml-latest-small\n  shoal dataset show ml-latest-small@v1"
    )]
    Show(ShowArgs),
}

/// Flags of `shoal dataset show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Its name, or name@version; the newest version by default
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Generate(args) => generate::run(args).await,
        Command::Import(args) => import::run(*args).await,
        Command::List(args) => list(args).await,
        Command::Show(args) => show(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<Exit> {
    let datasets = args.connect()?.datasets().await?;
    let nothing = "There is no data set yet; `shoal dataset import PATH` reads one.";
    args.print(&datasets, output::dataset, nothing, table)
}

fn table(datasets: Vec<(&DatasetInfo, &Value)>) -> Table {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("VERSION", Align::Left),
        ("USERS", Align::Right),
        ("ITEMS", Align::Right),
        ("RATINGS", Align::Right),
        ("CREATED", Align::Left),
    ]);
    for (info, json) in datasets {
        table.row([
            info.name.clone(),
            info.version.clone(),
            output::count(info.users),
            output::count(info.items),
            output::count(info.ratings),
            json["created"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    table
}

async fn show(args: ShowArgs) -> anyhow::Result<Exit> {
    let datasets = args.cluster.connect()?.datasets().await?;
    let info = find_dataset(&datasets, &args.name)?;
    if args.json {
        output::print_json(&output::dataset(info))?;
    } else {
        output::print(&describe(info))?;
    }
    Ok(Exit::Done)
}
