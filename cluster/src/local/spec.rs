//! What is asked of a local cluster.

use std::{net::SocketAddr, path::PathBuf};

use toml::{Table, Value};

use super::LocalError;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The cluster's folder.
    pub dir: PathBuf,
    /// 1, 3 or 5.
    pub coordinators: usize,
    /// At least one.
    pub workers: usize,
    /// Where HTTP clients call; port 0 picks one.
    pub http: SocketAddr,
    /// Seeds what the nodes draw.
    pub seed: Option<u64>,
    /// Further settings of the nodes, `section.key=value`; those of another role's section are passed over.
    pub settings: Vec<String>,
}

impl Spec {
    pub(super) fn check_shape(&self) -> Result<(), LocalError> {
        if !matches!(self.coordinators, 1 | 3 | 5) {
            let shape = format!("a cluster has 1, 3 or 5 coordinators, not {}", self.coordinators);
            return Err(LocalError::Shape(shape));
        }
        if self.workers == 0 {
            return Err(LocalError::Shape("a cluster needs at least one worker".to_owned()));
        }
        Ok(())
    }

    /// Section, key and value of each setting.
    pub(super) fn parsed_settings(&self) -> Result<Vec<(String, String, Value)>, LocalError> {
        self.settings.iter().map(|text| parse_setting(text)).collect()
    }
}

fn parse_setting(text: &str) -> Result<(String, String, Value), LocalError> {
    let refused = || LocalError::Setting(text.to_owned());
    let (path, value) = text.split_once('=').ok_or_else(refused)?;
    let (section, key) = path.split_once('.').ok_or_else(refused)?;
    if !matches!(section, "node" | "coordinator" | "worker" | "router") || key.is_empty() {
        return Err(refused());
    }
    let parsed = format!("value = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut line| line.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    Ok((section.to_owned(), key.to_owned(), parsed))
}
