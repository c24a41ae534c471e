//! One cluster with a live version for every test that only asks.

use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;

use super::{Cluster, Oracle, SMALL, Shape, generate};

/// The cluster, its data and what its answers must be.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) oracle: Oracle,
    pub(crate) data: PathBuf,
    pub(crate) version: String,
}

/// The cluster that tests share; the first of them starts it. Nobody may change it. It ends with the tests' process,
/// which it watches.
pub(crate) async fn shared() -> &'static Shared {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    SHARED.get_or_init(start).await
}

async fn start() -> Shared {
    let folder = own_folder();
    let data = generate(&folder, SMALL);
    let settings = vec!["node.metrics_listen=127.0.0.1:0".to_owned()];
    let shape = Shape { coordinators: 1, workers: 3, settings };
    let cluster = Cluster::start_in(&folder, shape).await;
    cluster.import(&data, "items");
    let version = cluster.train(&["--promote", "--test-ratio", "0"]);
    let oracle = Oracle::of(&cluster, &version, &data);
    Shared { cluster, oracle, data, version }
}

/// A folder for this process. What is shared is never dropped, so those of earlier runs go now.
fn own_folder() -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shared");
    std::fs::create_dir_all(&parent).unwrap();
    for old in std::fs::read_dir(&parent).unwrap().flatten() {
        if !Path::new("/proc").join(old.file_name()).exists() {
            // Another run may be removing it too.
            let _ = std::fs::remove_dir_all(old.path());
        }
    }
    let own = parent.join(std::process::id().to_string());
    std::fs::create_dir_all(&own).unwrap();
    own
}
