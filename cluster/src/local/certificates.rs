//! The certificates that a local cluster has of its own, in `certs/` of its folder.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{LocalError, cluster_file::ClusterFile};
use crate::certs::{self, Holder, Order};

/// How long the certificates of a local cluster are valid: as long as its authority.
const CERTIFICATE_DAYS: u32 = 3_650;

/// Where a local cluster has certificates of its own.
pub(super) fn own_certs(dir: &Path) -> PathBuf {
    dir.join("certs")
}

/// Makes what the cluster's own certificates lack: also for workers that an earlier start did not have. `had_before` says that an
/// earlier start had certificates there. What comes back is to be said to whoever starts the cluster.
///
/// # Errors
/// When certificates cannot be read or made.
pub(super) fn make_certificates(
    dir: &Path,
    file: &ClusterFile,
    further_hosts: &[String],
    had_before: bool,
) -> Result<Vec<String>, LocalError> {
    let folder = own_certs(dir);
    let mut remarks = Vec::new();
    if had_before && !folder.join("ca.pem").exists() {
        remarks.push(format!(
            "the cluster's authority was gone, and '{}' holds a new one: clients on other machines need its ca.pem, and              certificates of its making",
            folder.display()
        ));
    }
    let known = if folder.exists() { certs::list(&folder)? } else { Vec::new() };
    let named_before: BTreeSet<String> = known.into_iter().flat_map(|known| known.facts.hosts).collect();
    let mut hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let listened = file.routers.iter().map(|router| router.http.ip());
    hosts.extend(listened.filter(|ip| !ip.is_loopback() && !ip.is_unspecified()).map(|ip| ip.to_string()));
    hosts.extend(further_hosts.iter().cloned());
    let order = Order {
        cluster_id: file.cluster_id.clone(),
        hosts,
        holders: Holder::of_cluster(file.coordinators.len(), file.workers.len(), file.routers.len()),
        days: CERTIFICATE_DAYS,
        // New names are in new certificates alone.
        renew: !further_hosts.is_empty(),
    };
    let dropped: Vec<&str> =
        named_before.iter().filter(|host| !order.hosts.contains(host)).map(String::as_str).collect();
    if order.renew && !dropped.is_empty() {
        remarks.push(format!(
            "the certificates name {} and no longer {}: hosts that --tls-host gives again take the place of the earlier ones",
            order.hosts.join(", "),
            dropped.join(", ")
        ));
    }
    certs::create(&folder, &order)?;
    Ok(remarks)
}
