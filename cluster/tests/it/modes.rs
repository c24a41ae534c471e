//! Who may read what a cluster keeps on its machine.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::support::{Running, SMALL, folder, generate, shoal};

/// Every file and folder below one, with the rights of those who do not own it.
fn rights(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What is deleted meanwhile has no rights.
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if !metadata.is_symlink() {
            found.push((path.clone(), metadata.permissions().mode() & 0o077));
        }
        if metadata.is_dir() {
            found.extend(rights(&path));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_keep_is_for_their_owner_and_the_store_for_all_who_share_it() {
    let folder = folder();
    let dir = folder.path().join("cluster");
    // A folder that an earlier build made for everybody to look into.
    std::fs::create_dir_all(dir.join("worker-1")).unwrap();
    std::fs::set_permissions(dir.join("worker-1"), Permissions::from_mode(0o755)).unwrap();
    let at = ["--dir", dir.to_str().unwrap()];
    let up = ["up", "--supervised", "--tls", "--http=127.0.0.1:0", "--coordinators=1", "--workers=1"];
    // Whatever umask whoever runs the tests has, here everybody may read what is made without a thought.
    let mut up = Running::start_after(folder.path(), "umask 022", &[&up[..], &at].concat());
    up.prints("the cluster is up", |text| text.contains("Ctrl-C").then_some(())).await;
    let data = generate(folder.path(), SMALL);
    let import = ["dataset", "import", data.to_str().unwrap(), "--name", "movies"];
    shoal(&[&import[..], &at].concat()).exits_with(0);
    shoal(&[&["train", "--models", "item_cf", "--promote"][..], &at].concat()).exits_with(0);

    let everything = rights(&dir);
    // Names and addresses, certificates, and the store are no secrets of this machine's user.
    let is_shared = |path: &Path| {
        let below = path.strip_prefix(&dir).unwrap();
        ["store", "certs", "cluster.json"].iter().any(|shared| below.starts_with(shared))
    };
    for (path, rights) in everything.iter().filter(|(path, _)| !is_shared(path)) {
        assert_eq!(*rights, 0, "others have rights at {}", path.display());
    }
    for name in ["coordinator-1/raft", "worker-1/cache", "logs/worker-1.log", "config/worker-1.toml"] {
        assert!(everything.iter().any(|(path, _)| path.starts_with(dir.join(name))), "{name} is missing");
    }
    let keys = everything.iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "key"));
    assert_eq!(keys.map(|(_, rights)| *rights).collect::<Vec<_>>(), [0; 5]);
    let (_, of_store) = everything.iter().find(|(path, _)| *path == dir.join("store/models")).unwrap();
    assert_eq!(*of_store, 0o055, "the store is as the umask says");
    let log = std::fs::read_to_string(dir.join("logs/worker-1.log")).unwrap();
    assert!(log.contains("now only its owner can"), "{log}");
}
