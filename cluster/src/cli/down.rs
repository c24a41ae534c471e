//! `shoal down`: stops the local cluster of a folder, wherever it was started.

use std::{path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    connection::DirArgs,
    failure::{Exit, refusal},
};
use crate::{
    local::{FolderLock, LocalError},
    output,
};

/// How long a cluster may take to stop: its groups of nodes drain one after the other.
const STOP_MAX: Duration = Duration::from_secs(90);

const EXAMPLES: &str = "\
Examples:
  shoal down
  shoal down --dir ./my-cluster

Stops what `shoal up` or `shoal quickstart` runs in the folder, as Ctrl-C there does: routers first, then workers, then \
coordinators. A folder where nothing runs is no error.";

/// Flags of `shoal down`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    dir: DirArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let dir = &args.dir.dir;
    let stopped = stop(dir).await?;
    if args.json {
        output::print_json(&serde_json::json!({ "dir": dir, "stopped": stopped }))?;
    } else if stopped {
        output::print(&format!("The cluster in '{}' has stopped.", dir.display()))?;
    } else {
        output::print(&format!("No cluster runs in '{}'.", dir.display()))?;
    }
    Ok(Exit::Done)
}

/// Asks whoever holds the folder to stop, and waits until the folder is free. False where nobody holds it.
async fn stop(dir: &Path) -> anyhow::Result<bool> {
    // Looking must not make a folder.
    if !dir.join("lock").is_file() {
        return Ok(false);
    }
    let pid = match FolderLock::take(dir) {
        Ok(_free) => return Ok(false),
        Err(LocalError::Locked { pid, .. }) => pid,
        Err(error) => return Err(error.into()),
    };
    let holder = pid.parse().ok().and_then(Pid::from_raw);
    let Some(holder) = holder else {
        let message = format!("'{}' is in use, and its lock does not say by which process", dir.display());
        return Err(refusal(Exit::Failed, message));
    };
    kill_process(holder, Signal::TERM).map_err(|error| {
        let message = format!(
            "process {pid}, which runs the cluster in '{}', cannot be stopped: {error}",
            dir.display()
        );
        refusal(Exit::Failed, message)
    })?;
    match FolderLock::wait(dir, STOP_MAX, || {}).await {
        Ok(_free) => Ok(true),
        Err(LocalError::Locked { .. }) => {
            let seconds = STOP_MAX.as_secs();
            let message =
                format!("process {pid} was asked to stop the cluster and still runs after {seconds} s");
            Err(refusal(Exit::Failed, message))
        }
        Err(error) => Err(error.into()),
    }
}
