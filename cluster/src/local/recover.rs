//! `cluster.json` made anew from the settings files of the nodes, which say the same, for a folder that has lost it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use toml::Table;

use super::{
    LocalError,
    cluster_file::{ClusterFile, FORMAT_VERSION, Member, Role, RouterMember},
};

/// As [`ClusterFile::read`], but a file that is missing or damaged is made anew from the settings files of the nodes.
///
/// # Errors
/// When a file cannot be read, or nothing says of which cluster the folder's data is.
pub(super) fn read_or_recover(dir: &Path) -> Result<Option<ClusterFile>, LocalError> {
    match ClusterFile::read(dir) {
        Ok(None) | Err(LocalError::Unreadable { .. }) => from_settings_files(dir),
        read => read,
    }
}

/// What one node's settings file says of the cluster.
struct Node {
    role: Role,
    raft_id: i64,
    cluster_id: String,
    store: String,
    member: Member,
    http: Option<SocketAddr>,
}

/// The cluster that the folder's settings files describe; `None` for a folder that holds no cluster.
///
/// # Errors
/// When nodes have left data there and no settings file says of which cluster they are.
fn from_settings_files(dir: &Path) -> Result<Option<ClusterFile>, LocalError> {
    let mut nodes: Vec<Node> =
        paths_in(&dir.join("config"))?.iter().filter_map(|path| read_node(path)).collect();
    // Coordinators stand in the order of their raft numbers, the others in that of their names.
    nodes.sort_by(|a, b| {
        (a.raft_id, a.member.name.len(), &a.member.name).cmp(&(
            b.raft_id,
            b.member.name.len(),
            &b.member.name,
        ))
    });
    let members = |role: Role| {
        nodes.iter().filter(|node| node.role == role).map(|node| node.member.clone()).collect::<Vec<_>>()
    };
    let coordinators = members(Role::Coordinator);
    let Some(first) = nodes.iter().find(|node| node.role == Role::Coordinator) else {
        let has_data = paths_in(dir)?.iter().any(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.is_dir() && (name.starts_with("coordinator-") || name == "store")
        });
        return if has_data { Err(LocalError::Forgotten { dir: dir.to_owned() }) } else { Ok(None) };
    };
    let router = |node: &Node| {
        let (name, grpc) = (node.member.name.clone(), node.member.address);
        Some(RouterMember { name, grpc, http: node.http? })
    };
    Ok(Some(ClusterFile {
        format_version: FORMAT_VERSION,
        cluster_id: first.cluster_id.clone(),
        store: first.store.clone(),
        coordinators,
        workers: members(Role::Worker),
        routers: nodes.iter().filter(|node| node.role == Role::Router).filter_map(router).collect(),
    }))
}

fn paths_in(folder: &Path) -> Result<Vec<PathBuf>, LocalError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(LocalError::File { action: "read", path: folder.to_owned(), source }),
    }
}

/// `None` for a file that describes no node.
fn read_node(path: &Path) -> Option<Node> {
    let table: Table = std::fs::read_to_string(path).ok()?.parse().ok()?;
    let node = table.get("node")?;
    let text = |key: &str| Some(node.get(key)?.as_str()?.to_owned());
    let roles = [Role::Coordinator, Role::Worker, Role::Router];
    let role = roles.into_iter().find(|role| table.contains_key(&role.to_string()))?;
    let own = table.get(&role.to_string())?;
    Some(Node {
        role,
        raft_id: own.get("raft_id").and_then(toml::Value::as_integer).unwrap_or_default(),
        cluster_id: text("cluster_id")?,
        store: text("store").unwrap_or_default(),
        member: Member { name: text("name")?, address: text("listen")?.parse().ok()? },
        http: own.get("http_listen").and_then(|http| http.as_str()?.parse().ok()),
    })
}
