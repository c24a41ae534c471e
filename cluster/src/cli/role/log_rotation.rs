//! The log of a node of a local cluster is put aside when it has grown. The node does so itself: it alone can have its standard
//! error go on in a new file without a line being lost.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use shoal_common::{private_files, shutdown::Shutdown};

use crate::local::{LOG_BYTES_MAX, put_aside};

/// How often the log's size is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks after the log until a stop is asked for.
pub(super) fn spawn(log: PathBuf, shutdown: &Shutdown) {
    let stop = shutdown.clone();
    shutdown.spawn("log rotation", async move {
        loop {
            tokio::select! {
                biased;
                // What is said while leaving fits.
                () = stop.requested() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if std::fs::metadata(&log).is_ok_and(|found| found.len() >= LOG_BYTES_MAX)
                && let Err(error) = begin_anew(&log)
            {
                tracing::error!(log = %log.display(), %error, "the log cannot be put aside and grows on");
                return;
            }
        }
    });
}

/// Standard output and error go to a new file of the log's name.
fn begin_anew(log: &Path) -> io::Result<()> {
    put_aside(log)?;
    let file = private_files::append(log)?;
    rustix::stdio::dup2_stdout(&file)?;
    rustix::stdio::dup2_stderr(&file)?;
    Ok(())
}
