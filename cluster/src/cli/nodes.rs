//! `shoal nodes`: list, forget.

use serde_json::Value;
use shoal_proto::v1::KnownNode;

use super::{connection::ClusterArgs, failure::Exit, listing::ListArgs};
use crate::output::{self, Align, Cell, Table};

/// Commands on nodes.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Every worker and router that is known, up or down
    #[command(after_help = "Examples:\n  shoal nodes list\n  shoal nodes list --json")]
    List(ListArgs),
    /// Forget a node that is down for good; one that has been down for a day is forgotten by itself
    #[command(after_help = "Examples:\n  shoal nodes forget worker-3\n  shoal nodes forget worker-3 --json")]
    Forget(ForgetArgs),
}

/// Flags of `shoal nodes forget`.
#[derive(Debug, clap::Args)]
pub(super) struct ForgetArgs {
    /// Name of the node
    node: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::List(args) => list(args).await,
        Command::Forget(args) => forget(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<Exit> {
    let nodes = args.connect()?.nodes().await?;
    args.print(&nodes, output::known_node, "No node has registered yet.", table)
}

fn table(nodes: Vec<(&KnownNode, &Value)>) -> Table {
    let mut table = Table::new(&[
        ("NODE", Align::Left),
        ("ROLE", Align::Left),
        ("ADDRESS", Align::Left),
        ("HEALTH", Align::Left),
        ("DOWN SINCE", Align::Left),
        ("SHARDS", Align::Right),
    ]);
    for (node, json) in nodes {
        let text = |key: &str| Cell::from(json[key].as_str().unwrap_or_default().to_owned());
        table.row([
            text("name"),
            text("role"),
            text("address"),
            if json["loss"] == "left" { "left".into() } else { text("health") },
            output::to_the_second(json["down_since"].as_str().unwrap_or_default()).into(),
            node.placed_shards.to_string().into(),
        ]);
    }
    table
}

async fn forget(args: ForgetArgs) -> anyhow::Result<Exit> {
    args.cluster.connect()?.forget_node(&args.node).await?;
    if args.json {
        output::print_json(&serde_json::json!({ "forgotten": args.node }))?;
    } else {
        output::print(&format!("Node {} is forgotten.", args.node))?;
    }
    Ok(Exit::Done)
}
