//! `shoal status`: the cluster at a glance.

use std::{io::IsTerminal as _, time::Duration};

use shoal_common::clock::{Clock as _, SystemClock};
use shoal_proto::v1::ClusterStatus;

use super::{connection::ClusterArgs, failure::Exit, signals::Signals};
use crate::{
    client::{ClientError, ClusterClient},
    output,
    rules::{self, Seen},
};

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Flags of `shoal status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  shoal status\n  shoal status --why\n  shoal status --watch\n  shoal status --json --cluster 10.0.0.1:7000,10.0.0.2:7000"
)]
pub(super) struct Args {
    /// Look again every second until Ctrl-C
    #[arg(long, short)]
    watch: bool,
    /// Say what is wrong and what helps, by the rules of the alerts; the exit code is 1 if anything is
    #[arg(long, conflicts_with = "watch")]
    why: bool,
    /// Print JSON; with --watch one line a look
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let client = args.cluster.connect()?;
    if args.why {
        return explain(&client, args.json).await;
    }
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
        let is_read = if args.json {
            let answer = status.map_or_else(
                |error| serde_json::json!({"error": error.to_string()}),
                |status| output::status(&status),
            );
            output::print_json_line(&answer)?
        } else {
            if is_terminal {
                output::clear_terminal()?;
            }
            let text = status.map_or_else(|error| error.to_string(), |status| describe(&status));
            output::print_to_reader(&text)?
        };
        if !is_read {
            return Ok(Exit::Done);
        }
        tokio::select! {
            biased;
            // Leaving comes before another look.
            () = signals.received() => return Ok(Exit::Done),
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    }
}

/// Says what is wrong and what helps. The exit code is 0 when nothing is.
async fn explain(client: &ClusterClient, as_json: bool) -> anyhow::Result<Exit> {
    let found = match client.status().await {
        Ok(status) => {
            // Jobs of a moment ago count; without a list of them the rest is still worth knowing.
            let jobs = client.jobs().await?;
            rules::findings(&Seen { status: &status, jobs: &jobs, now_unix_ms: SystemClock.now_unix_ms() })
        }
        Err(error @ ClientError::Unreachable { .. }) => vec![rules::no_leader(&error.to_string())],
        Err(error) => return Err(error.into()),
    };
    let unseen = rules::only_by_metrics();
    if as_json {
        output::print_json(&output::troubles(&found))?;
    } else {
        let mut parts: Vec<String> = found
            .iter()
            .map(|finding| finding.text().lines().map(output::shown_line).collect::<Vec<_>>().join("\n"))
            .collect();
        if parts.is_empty() {
            parts.push("Nothing is wrong, as far as the coordinators can tell.".to_owned());
        }
        parts.push(format!("Only Prometheus can tell of {}.", unseen.join(", ")));
        output::print(&parts.join("\n\n"))?;
    }
    Ok(if found.is_empty() { Exit::Done } else { Exit::Failed })
}

fn describe(status: &ClusterStatus) -> String {
    output::status_text(status, SystemClock.now_unix_ms())
}
