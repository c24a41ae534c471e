//! `shoal serve`: one process that answers from a store which it only reads.

use std::{
    collections::BTreeMap,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use crate::{
    golden::{answers_as_recorded, copy, golden, read},
    support::{Cluster, Http, Load, Oracle, Running, SMALL, Shape, eventually, folder, generate, shoal},
};

/// A process that serves a store.
struct Served {
    process: Running,
    http: Http,
    grpc: String,
}

impl Served {
    /// Starts one and waits until it answers. Its output goes to files in `place`.
    async fn start(place: &Path, store: &Path, flags: &[&str]) -> Self {
        // A busy machine is no fault.
        let fixed =
            ["serve", store.to_str().unwrap(), "--http", "127.0.0.1:0", "--set", "router.timeout_ms=10000"];
        let mut process = Running::start(place, &[&fixed, flags].concat());
        let (http, grpc) = process
            .prints("it serves", |text| {
                text.contains("Ready after").then_some(())?;
                let url = text.split_whitespace().find(|word| word.starts_with("http"))?;
                let grpc = text.lines().find_map(|line| line.split_once("gRPC at "))?.1;
                Some((url.to_owned(), grpc.to_owned()))
            })
            .await;
        Self { process, http: Http::new(&http), grpc }
    }

    /// The version that answers queries of a model.
    async fn version_of(&self, model: &str) -> String {
        let path = format!("/v1/users/1/recommendations?n=1&use_cache=false&model={model}");
        self.http.get(&path).await.ok()["model_version"].as_str().unwrap().to_owned()
    }

    async fn answers_by(&self, model: &str, version: &str) {
        loop {
            if self.version_of(model).await == version {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Everything below a folder: what each entry is, when it was changed, and its bytes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let bytes = if metadata.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if metadata.is_symlink() {
                std::fs::read_link(&path).unwrap().to_str().unwrap().as_bytes().to_vec()
            } else {
                std::fs::read(&path).unwrap()
            };
            found.insert(path, (metadata.mode(), metadata.mtime(), metadata.mtime_nsec(), bytes));
        }
        let metadata = folder.metadata().unwrap();
        found.insert(folder, (metadata.mode(), metadata.mtime(), metadata.mtime_nsec(), Vec::new()));
    }
    found
}

fn set_writable(folder: &Path, writable: bool) {
    for (path, _) in tree(folder) {
        if !path.is_symlink() {
            let mut permissions = path.metadata().unwrap().permissions();
            let mode = permissions.mode();
            permissions.set_mode(if writable { mode | 0o200 } else { mode & !0o222 });
            std::fs::set_permissions(&path, permissions).unwrap();
        }
    }
}

/// Points `model_latest` elsewhere as a training does: by renaming a new link over it.
fn point(store: &Path, version: &str) {
    let models = store.join("models/als");
    symlink(version, models.join("next")).unwrap();
    std::fs::rename(models.join("next"), models.join("model_latest")).unwrap();
}

/// A cluster with versions of one data set, which stays up only as long as they are trained.
struct Trained {
    store: PathBuf,
    versions: Vec<String>,
    oracles: Vec<Oracle>,
}

async fn trained(place: &Path, flags: &[&[&str]]) -> Trained {
    let data = generate(place, SMALL);
    let cluster = Cluster::start_in(place, Shape { workers: 2, ..Shape::default() }).await;
    cluster.import(&data, "items");
    let versions: Vec<String> = flags.iter().map(|flags| cluster.train(flags)).collect();
    let oracles = versions.iter().map(|version| Oracle::of(&cluster, version, &data)).collect();
    Trained { store: cluster.dir().join("store"), versions, oracles }
}

/// What an earlier build wrote is served from its very files, as it answered then, and none of them is touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_served_as_the_cluster_did_that_wrote_it_and_stays_as_it_was() {
    let place = folder();
    let store = place.path().join("store");
    copy(&golden().join("v1/store"), &store);
    set_writable(&store, false);
    let before = tree(&store);
    let answers = read(&golden().join("v1/answers.json"));
    let mut served = Served::start(place.path(), &store, &[]).await;
    let said = served.process.stdout();
    for (model, version) in
        [("als", "als_model_v1_20261130_041426_004"), ("hybrid", "hybrid_model_v1_20261130_041427_002")]
    {
        assert!(said.contains(&format!("{model}: {version} (")), "{said}");
    }
    answers_as_recorded(&served.http, answers["films"].as_array().unwrap()).await;
    served.process.send(Signal::TERM);
    assert!(served.process.ends().await.success(), "{}", served.process.stderr());

    // The versions of another data set, which no link names.
    let clicks =
        ["--version", "als_model_v1_20261130_041426", "--version", "item_cf_model_v1_20261130_041426_002"];
    let served = Served::start(place.path(), &store, &clicks).await;
    answers_as_recorded(&served.http, answers["clicks"].as_array().unwrap()).await;
    drop(served);
    assert!(tree(&store) == before, "the store has changed");
    set_writable(&store, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_moved_is_followed_without_a_failed_or_a_mixed_answer() {
    let place = folder();
    let Trained { store, versions, oracles } =
        trained(place.path(), &[&["--promote"], &["--seed", "2"], &["--no-biases"]]).await;
    // Live is what was promoted, and a promotion is followed.
    let served = Served::start(place.path(), &store, &[]).await;
    assert!(served.process.stdout().contains("promoted (live.json)"), "{}", served.process.stdout());
    assert_eq!(served.version_of("als").await, versions[0], "the one that was promoted");
    let record = store.join("live.json");
    let said = std::fs::read_to_string(&record).unwrap();
    std::fs::write(store.join("next"), said.replace(&versions[0], &versions[1])).unwrap();
    std::fs::rename(store.join("next"), &record).unwrap();
    served.answers_by("als", &versions[1]).await;
    drop(served);

    let served = Served::start(place.path(), &store, &["--latest", "--log", "info"]).await;
    assert_eq!(served.version_of("als").await, versions[2], "the link names the version trained last");
    let load = Load::start(&served.http, oracles, 4);
    for version in versions.iter().chain(&versions) {
        load.asks(60).await;
        point(&store, version);
        served.process.send(Signal::HUP);
        served.answers_by("als", version).await;
    }
    // Nobody has to say that the link was moved.
    point(&store, &versions[0]);
    served.answers_by("als", &versions[0]).await;
    load.asks(60).await;

    // A version that is not whole is not served, and the one before is.
    let damaged = store.join("models/als").join(&versions[1]).join("manifest.json");
    let whole = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, b"{}").unwrap();
    point(&store, &versions[1]);
    let said = |words: &'static str| {
        let log = served.process.stderr();
        log.contains(words).then_some(())
    };
    eventually("the log says why", || said("a new version is not served, going on")).await;
    load.asks(60).await;
    assert_eq!(served.version_of("als").await, versions[0]);
    std::fs::write(&damaged, whole).unwrap();
    served.answers_by("als", &versions[1]).await;
    let outcome = load.stop().await;
    outcome.check_every_one_right();
    assert!(outcome.right.iter().all(|count| *count > 0), "each version has answered: {:?}", outcome.right);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_a_store_is_refused_with_the_reason() {
    let place = folder();
    let (store, data) = (golden().join("v1/store"), golden().join("data/clicks.csv"));
    let served = Served::start(place.path(), &store, &["--default-model", "item_cf"]).await;
    let health = served.http.get("/v1/health").await.ok();
    assert_eq!(health["model_version"], "item_cf_model_v1_20261130_041426_005");
    // What is served can be looked at over HTTP, and not changed.
    let status = served.http.get("/admin/v1/status").await.ok();
    assert_eq!(status["live_version"], health["model_version"]);
    let refused = served.http.post("/admin/v1/models/rollback", "{}").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("need a cluster"), "{refused:?}");
    for command in [
        &["train", "--dataset", "films"][..],
        &["models", "promote", "als_model_v1_20261130_041426"],
        &["dataset", "import", data.to_str().unwrap()],
        &["status"],
    ] {
        let refused = shoal(&[command, &["--cluster", &served.grpc]].concat()).exits_with(1);
        refused.says(&["`shoal serve`", "only reads", "`shoal up`"]);
    }
    shoal(&["health", "--node", &served.grpc]).exits_with(0);
    // A router of a cluster says where to go instead.
    let cluster = Cluster::start(Shape::default()).await;
    let file = std::fs::read(cluster.dir().join("cluster.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let router = file["routers"][0]["grpc"].as_str().unwrap();
    shoal(&["status", "--cluster", router]).exits_with(1).says(&["this is a router", "--cluster"]);
}

#[test]
fn what_cannot_be_served_is_said_before_anything_answers() {
    let place = folder();
    let serve = |store: &Path, flags: &[&str]| {
        let fixed = ["serve", store.to_str().unwrap(), "--http", "127.0.0.1:0", "--log", "off"];
        shoal(&[&fixed, flags].concat())
    };
    serve(&place.path().join("missing"), &[]).exits_with(2).says(&["missing"]);
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    serve(&file, &[]).exits_with(2).says(&["file", "it is no folder"]);
    serve(place.path(), &[]).exits_with(1).says(&["model_latest", "--version"]);
    let golden = golden().join("v1/store");
    serve(&golden, &["--version", "als_model_v9"])
        .exits_with(3)
        .says(&["als_model_v9", "als_model_v1_20261130_041426_004"]);
    serve(&golden, &["--default-model", "ease"]).exits_with(2).says(&["ease"]);
    serve(&golden, &["--listen", "0.0.0.0:0"]).exits_with(2).says(&["certificates"]);

    let store = place.path().join("store");
    copy(&golden, &store);
    let part = store.join("models/als/als_model_v1_20261130_041426_004/user_factors/part-00001.safetensors");
    let mut bytes = std::fs::read(&part).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&part, bytes).unwrap();
    serve(&store, &[]).exits_with(1).says(&[
        "als_model_v1_20261130_041426_004",
        "user_factors/part-00001",
        "checksum",
    ]);
    std::fs::remove_dir_all(store.join("datasets/films")).unwrap();
    serve(&store, &[]).exits_with(1).says(&["als_model_v1_20261130_041426_004", "datasets/films"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_callers_need_the_token_of_the_file() {
    let place = folder();
    let path = |name: &str| place.path().join(name).display().to_string();
    let (certs, token) = (path("certs"), path("token"));
    let create = ["certs", "create", "--cluster-id", "movies", "--hosts", "127.0.0.1", "--out", &certs];
    shoal(&create).exits_with(0);
    shoal(&["tokens", "draw", &token]).exits_with(0);
    let store = golden().join("v1/store");
    let tls = ["--certs", &certs, "--name", "router-1", "--cluster-id", "movies"];
    let without = [&["serve", store.to_str().unwrap()], &tls[..]].concat();
    shoal(&without).exits_with(2).says(&["coordinator.first_token_file", "shoal tokens draw"]);

    let file = format!("coordinator.first_token_file={token}");
    let served = Served::start(place.path(), &store, &[&tls[..], &["--set", &file]].concat()).await;
    let ask = ["recommend", "ada", "-n", "1", "--url", served.http.base(), "--certs", &certs];
    shoal(&[&ask[..], &["--token-file", &token]].concat()).exits_with(0);
    shoal(&ask).exits_with(6);
    for node in [served.http.base(), &served.grpc] {
        shoal(&["health", "--node", node, "--certs", &certs]).exits_with(0);
    }
}
