//! The frame of the `list` commands: JSON, a table, or a sentence where there is nothing to list.

use serde_json::Value;

use super::{connection::ClusterArgs, failure::Exit};
use crate::{
    client::ClusterClient,
    output::{self, Table},
};

/// Flags of a `list` command.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

impl ListArgs {
    pub(super) fn connect(&self) -> anyhow::Result<ClusterClient> {
        self.cluster.connect()
    }

    /// Prints `entries` as `json` has them, or the table that `table` makes of each entry and its JSON, or `nothing`
    /// where the table has no row.
    pub(super) fn print<T>(
        &self,
        entries: &[T],
        json: impl Fn(&T) -> Value,
        nothing: &str,
        table: impl FnOnce(Vec<(&T, &Value)>) -> Table,
    ) -> anyhow::Result<Exit> {
        let rows: Vec<Value> = entries.iter().map(json).collect();
        if self.json {
            output::print_json(&rows.into())?;
            return Ok(Exit::Done);
        }
        let table = table(entries.iter().zip(&rows).collect());
        output::print(&if table.is_empty() { nothing.to_owned() } else { table.to_string() })?;
        Ok(Exit::Done)
    }
}
