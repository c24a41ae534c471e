//! `shoal status`: the cluster at a glance.

use std::{io::IsTerminal as _, time::Duration};

use serde_json::Value;
use shoal_proto::v1::ClusterStatus;

use super::{connection::ClusterArgs, failure::Exit, signals::Signals};
use crate::output::{self, Align, Table};

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Flags of `shoal status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  shoal status\n  shoal status --watch\n  shoal status --json --cluster 10.0.0.1:7000,10.0.0.2:7000"
)]
pub(super) struct Args {
    /// Look again every second until Ctrl-C
    #[arg(long, short)]
    watch: bool,
    /// Print JSON; with --watch one line a look
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let client = args.cluster.connect()?;
    if !args.watch {
        let status = client.status().await?;
        if args.json {
            output::print_json(&output::status(&status))?;
        } else {
            output::print(&describe(&status))?;
        }
        return Ok(Exit::Done);
    }
    let mut signals = Signals::install()?;
    let is_terminal = std::io::stdout().is_terminal();
    loop {
        // A cluster that does not answer now may do so at the next look.
        let status = client.status().await;
        if args.json {
            let answer = status.map_or_else(
                |error| serde_json::json!({"error": error.to_string()}),
                |status| output::status(&status),
            );
            output::print_json_line(&answer)?;
        } else {
            if is_terminal {
                output::clear_terminal()?;
            }
            output::print(&status.map_or_else(|error| error.to_string(), |status| describe(&status)))?;
        }
        tokio::select! {
            biased;
            // Leaving comes before another look.
            () = signals.received() => return Ok(Exit::Done),
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    }
}

fn describe(status: &ClusterStatus) -> String {
    let json = output::status(status);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut coordinators = Table::new(&[
        ("COORDINATOR", Align::Right),
        ("ADDRESS", Align::Left),
        ("ROLE", Align::Left),
        ("LOG", Align::Right),
        ("HEALTH", Align::Left),
        ("PROTECTION", Align::Left),
    ]);
    for (member, shown) in
        status.coordinators.iter().zip(json["coordinators"].as_array().into_iter().flatten())
    {
        coordinators.row([
            member.raft_id.to_string(),
            member.address.clone(),
            if member.leader { "leader" } else { "follower" }.to_owned(),
            member.matched.to_string(),
            if member.leader || member.recently_active { "up" } else { "down" }.to_owned(),
            text(&shown["protection"]),
        ]);
    }
    let mut nodes = Table::new(&[
        ("NODE", Align::Left),
        ("ROLE", Align::Left),
        ("ADDRESS", Align::Left),
        ("HEALTH", Align::Left),
        ("THREADS", Align::Right),
        ("PROTECTION", Align::Left),
    ]);
    for node in json["nodes"].as_array().into_iter().flatten() {
        let threads = node["threads"].as_u64().filter(|threads| *threads > 0);
        nodes.row([
            text(&node["name"]),
            text(&node["role"]),
            text(&node["address"]),
            text(&node["health"]),
            threads.map(|threads| threads.to_string()).unwrap_or_default(),
            text(&node["protection"]),
        ]);
    }
    let or_none = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let mut lines = vec![
        format!(
            "cluster {}, term {}, log committed to {}",
            status.cluster_id, status.term, status.commit_index
        ),
        format!("live version  {}", or_none(&json["live_version"])),
        format!("before it     {}", or_none(&json["previous_version"])),
    ];
    if let Some(promoting) = json["promoting_version"].as_str() {
        lines.push(format!("being loaded  {promoting}"));
    }
    let default = &json["default_model"];
    for served in json["models"].as_array().into_iter().flatten().filter(|served| served["model"] != *default)
    {
        if let Some(live) = served["live_version"].as_str() {
            lines.push(format!("live too      {live}"));
        }
        if let Some(promoting) = served["promoting_version"].as_str().filter(|_| !default.is_null()) {
            lines.push(format!("being loaded  {promoting}"));
        }
    }
    lines.push(format!(
        "shards        {} of {} served, {} fully replicated",
        status.shards_served, status.shards_total, status.shards_fully_replicated
    ));
    let unprotected = output::unprotected(status);
    if !unprotected.is_empty() {
        lines.push(format!(
            "INSECURE      other machines reach {}, and nobody is asked there who it is",
            unprotected.join(", ")
        ));
    }
    for worker in &status.unreachable {
        let (node, reason) = (&worker.node, &worker.reason);
        lines.push(
            output::shown_line(&format!("jobs go on without {node}, which sends heartbeats: {reason}"))
                .into_owned(),
        );
    }
    format!("{}\n\n{coordinators}\n{nodes}", lines.join("\n"))
}
