//! A node's certificates while it runs: read again when their files change or on SIGHUP.

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use anyhow::Context as _;
use shoal_common::{
    clock::{Clock as _, SystemClock},
    config::NodeConfig,
    node_report::set_certificate_expiry,
    shutdown::Shutdown,
    tls::{Identity, PeerRole, Reload, Tls, host_of},
};
use tokio::signal::unix::{SignalKind, signal};

/// How often the files are compared with what is in use.
const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// A certificate that is valid for less than this is warned of.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// How often an expiry that comes near is repeated in the log.
const EXPIRY_EVERY: Duration = Duration::from_secs(86_400);

/// Loads the certificates that the configuration names, for a node of this role and name, and keeps them up to date.
pub(super) fn start(
    config: &NodeConfig,
    role: PeerRole,
    name: &str,
    advertise: &str,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Tls>> {
    let Some(files) = config.tls.clone() else { return Ok(None) };
    let identity = Identity::new(&config.cluster_id, role, name)
        .context("node.cluster_id and node.name have to stand in a certificate")?;
    let tls = Tls::load_as(files.clone(), identity, host_of(advertise))?;
    warn_of_readable_key(&files.key);
    tracing::info!(identity = %tls.identity(), "connections are under TLS, and callers have to be certified");
    let hangups = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    shutdown.spawn("certificates", follow(tls.clone(), hangups, shutdown.clone()));
    Ok(Some(tls))
}

/// A key that others of this machine can read is as good as theirs.
fn warn_of_readable_key(key: &Path) {
    let mode = std::fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let (key, mode) = (key.display(), format!("{mode:o}"));
        tracing::warn!(%key, mode, "others of this machine can read the node's key; `chmod 600` keeps it to its owner");
    }
}

async fn follow(tls: Tls, mut hangups: tokio::signal::unix::Signal, stop: Shutdown) {
    let mut warned: Option<tokio::time::Instant> = None;
    let mut late_said: Option<tokio::time::Instant> = None;
    let mut said = String::new();
    loop {
        metrics::gauge!("shoal_certificate_expires_timestamp_seconds").set(tls.not_after() as f64);
        set_certificate_expiry(tls.not_after());
        let left = tls.not_after() - SystemClock.now_unix_ms() / 1_000;
        let is_due = warned.is_none_or(|at| at.elapsed() >= EXPIRY_EVERY);
        if left < EXPIRES_SOON.as_secs().cast_signed() && is_due {
            let days = left / 86_400;
            tracing::warn!(
                days,
                "the node's certificate expires soon; replace its files, no restart is needed"
            );
            warned = Some(tokio::time::Instant::now());
        }
        let lists_late = tls.lists_due().is_some_and(|due| due < SystemClock.now_unix_ms() / 1_000);
        if lists_late && late_said.is_none_or(|at| at.elapsed() >= EXPIRY_EVERY) {
            tracing::warn!(
                "the list of revoked certificates should have been replaced by now; what it names stays refused"
            );
            late_said = Some(tokio::time::Instant::now());
        }
        let asked = tokio::select! {
            biased;
            () = stop.requested() => return,
            hangup = hangups.recv() => hangup.is_some(),
            () = tokio::time::sleep(RELOAD_EVERY) => false,
        };
        let reading = tls.clone();
        let reloaded =
            tokio::task::spawn_blocking(move || reading.reload().map_err(|error| error.to_string()));
        match reloaded.await {
            Ok(Ok(Reload::Replaced { ended })) => {
                said.clear();
                warned = None;
                tracing::info!("the certificates were replaced; new connections use them");
                if ended > 0 {
                    tracing::warn!(
                        ended,
                        "connections were ended: the certificates at their other ends have been revoked"
                    );
                }
            }
            Ok(Ok(Reload::Unchanged)) if asked => tracing::info!("the certificates have not changed"),
            Ok(Ok(Reload::Unchanged)) => {
                if !said.is_empty() {
                    tracing::info!("the files hold the certificates that are in use again");
                }
                said.clear();
            }
            // The same trouble every few seconds is said once.
            Ok(Err(reason)) if asked || reason != said => {
                tracing::error!(reason, "the new certificates cannot be used, going on with those of before");
                said = reason;
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}
