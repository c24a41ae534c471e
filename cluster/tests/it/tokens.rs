//! Tokens as people use them: the first one, the command line, HTTP, and what a token must never be found in.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{Cluster, SMALL, Shape, eventually, folder, generate, processes_of, shoal, shoal_with};

const LIST: &str = "/v1/users/1/recommendations?n=3";

/// Every file below a folder but those named.
fn files_below(folder: &Path, but: &[&Path]) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && !but.contains(&path.as_path()) {
                found.push(path);
            }
        }
    }
    found
}

fn holds(path: &Path, secret: &str) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Asks until the router has heard of the token's change.
async fn until(cluster: &Cluster, token: &str, status: u16) {
    let http = cluster.http();
    while http.get_with(token, LIST).await.status != status {
        tokio::task::yield_now().await;
    }
}

fn listed(cluster: &Cluster) -> Vec<Value> {
    cluster.shoal(&["tokens", "list", "--json"]).json().as_array().unwrap().clone()
}

fn labelled(cluster: &Cluster, label: &str) -> Value {
    listed(cluster).into_iter().find(|token| token["label"] == label).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_used_limited_to_its_scope_and_revoked() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let settings = vec!["node.tokens=true".to_owned()];
    let cluster = Cluster::start_in(folder.path(), Shape { settings, ..Shape::default() }).await;
    // The owner of the folder has the first token, and commands take it from there.
    cluster.import(&data, "items");
    let version = cluster.train(&["--promote"]);
    let (first, http) = (cluster.dir().join("admin.token"), cluster.http());
    assert_eq!(mode(&first), 0o600);
    assert_eq!(http.get(LIST).await.status, 401);
    assert_eq!(http.get("/v1/health").await.status, 200);

    let made = cluster.shoal(&["tokens", "create", "--label", "web shop", "--expires", "1d"]).exits_with(0);
    assert_eq!(made.stdout.lines().count(), 1, "{made:#?}");
    let token = made.stdout.trim();
    until(&cluster, token, 200).await;
    assert_eq!(http.get_with(token, LIST).await.ok()["model_version"], version.as_str());

    // As a command takes it: from a variable or a file, and never from a flag.
    let (status, url) = (cluster.status(), cluster.url());
    let address = status["coordinators"][0]["address"].as_str().unwrap();
    let by_token = ("SHOAL_TOKEN", token);
    shoal_with(by_token, &["recommend", "1", "--url", url]).exits_with(0);
    shoal_with(by_token, &["models", "list", "--cluster", address]).exits_with(0);
    let refused = shoal_with(by_token, &["models", "promote", &version, "--cluster", address]);
    refused.exits_with(6).says(&["the scope read", "needs admin"]);
    let train =
        ["train", "--dataset", "items", "--models", "als", "--iterations", "1", "--rank", "2", "--force"];
    let refused = shoal_with(by_token, &[&train[..], &["--cluster", address]].concat());
    assert_eq!(refused.code, Some(6), "{refused:#?}");
    shoal(&["models", "list", "--cluster", address]).exits_with(6).says(&["--token-file", "its environment"]);
    shoal(&["recommend", "1", "--url", url]).exits_with(6).says(&["shoal tokens create"]);
    let wrong = shoal_with(("SHOAL_TOKEN", "secret"), &["recommend", "1", "--url", url]);
    wrong.exits_with(2).says(&["SHOAL_TOKEN has no token"]);

    let trainer = folder.path().join("trainer.token");
    let create = ["tokens", "create", "--scope", "train", "--to", trainer.to_str().unwrap(), "--json"];
    let of_trainer = cluster.shoal(&create).json();
    assert!(of_trainer["token"].is_null(), "{of_trainer:#}");
    assert_eq!(mode(&trainer), 0o600);
    let by_file = ["--token-file", trainer.to_str().unwrap(), "--cluster", address];
    shoal(&[&train[..], &by_file].concat()).exits_with(0);
    let refused = shoal(&[&train[..], &["--promote"], &by_file].concat());
    assert_eq!(refused.code, Some(6), "{refused:#?}");
    // A file that is there is not written over, and no token is made for it.
    cluster.shoal(&create).exits_with(2).says(&["there is one already"]);
    assert_eq!(listed(&cluster).len(), 3);

    let of_shop = labelled(&cluster, "web shop");
    assert_eq!(of_shop["scopes"], serde_json::json!(["read"]));
    assert!(of_shop["created_by"].as_str().unwrap().starts_with("token "), "{of_shop:#}");
    eventually("its use is written down", || {
        labelled(&cluster, "web shop")["last_used"].as_str().map(str::to_owned)
    })
    .await;

    let revoke = ["tokens", "revoke", of_shop["id"].as_str().unwrap()];
    cluster.shoal(&revoke).exits_with(0);
    until(&cluster, token, 401).await;
    cluster.shoal(&revoke).exits_with(3);

    // Without certificates nobody could make another token after the first.
    let own = std::fs::read_to_string(&first).unwrap();
    cluster.shoal(&["tokens", "revoke", own.trim()]).exits_with(1).says(&["--token-file", "--scope admin"]);
    cluster.shoal(&["status"]).exits_with(0);

    // Nothing but the files of their owners has a secret: no log, no registry, no list of processes.
    let but = [first.as_path(), trainer.as_path()];
    let mut secrets: Vec<String> = but.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    secrets.push(token.to_owned());
    let files = files_below(folder.path(), &but);
    assert!(files.iter().any(|path| path.ends_with("router-1.log")), "{files:?}");
    for secret in secrets.iter().map(|token| token.trim().rsplit('_').next().unwrap()) {
        assert_eq!(secret.len(), 64);
        let found: Vec<_> = files.iter().filter(|path| holds(path, secret)).collect();
        assert!(found.is_empty(), "{found:?}");
        for (pid, name) in processes_of(cluster.dir()) {
            let command = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
            assert!(!holds(Path::new(&command), secret), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_tls_tokens_are_needed_and_a_lost_one_is_made_anew() {
    let folder = folder();
    let certs = folder.path().join("cluster/certs");
    let settings = vec![format!("node.certs={}", certs.display())];
    let shape = Shape { settings, ..Shape::default() };
    let mut cluster = Cluster::start_in(folder.path(), shape.clone()).await;
    let file = cluster.dir().join("admin.token");
    let token = std::fs::read_to_string(&file).unwrap();

    // Whoever has a token and the authority's certificate administers without a certificate of their own.
    let address = cluster.status()["coordinators"][0]["address"].as_str().unwrap().to_owned();
    let trust = folder.path().join("trust");
    std::fs::create_dir(&trust).unwrap();
    std::fs::copy(certs.join("ca.pem"), trust.join("ca.pem")).unwrap();
    let remote = ["--cluster", &address, "--certs", trust.to_str().unwrap()];
    let list = [&["tokens", "list", "--json"][..], &remote].concat();
    assert_eq!(shoal_with(("SHOAL_TOKEN", token.trim()), &list).json().as_array().unwrap().len(), 1);
    shoal(&list).exits_with(6);
    // A token that is named counts alone, although the folder has an administrator's certificate.
    let read = folder.path().join("read.token");
    cluster.shoal(&["tokens", "create", "--to", read.to_str().unwrap()]).exits_with(0);
    cluster.shoal(&["tokens", "create", "--token-file", read.to_str().unwrap()]).exits_with(6);

    // When the file is lost, the next start makes another token good, by the administrator's certificate.
    assert!(cluster.interrupt().await.success());
    drop(cluster);
    std::fs::remove_file(&file).unwrap();
    let cluster = Cluster::start_in(folder.path(), shape).await;
    let another = std::fs::read_to_string(&file).unwrap();
    assert_ne!(another, token);
    assert_eq!(listed(&cluster).len(), 3);
    let lost = token.trim().split('_').nth(1).unwrap();
    cluster.shoal(&["tokens", "revoke", lost]).exits_with(0);
    cluster.shoal(&["status"]).exits_with(0);

    // The owner who revokes the cluster's own token goes on with the administrator's certificate.
    let own = std::fs::read_to_string(&file).unwrap();
    cluster.shoal(&["tokens", "revoke", own.trim()]).exits_with(0).says(&["own token"]);
    assert!(!file.exists());
    cluster.shoal(&["status"]).exits_with(0);
}

#[test]
fn a_token_for_a_file_is_drawn_without_a_cluster() {
    let folder = folder();
    let file = folder.path().join("first.token");
    let drawn = shoal(&["tokens", "draw", file.to_str().unwrap()]).exits_with(0);
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(token.starts_with("shoal_") && drawn.stdout.is_empty(), "{drawn:#?}");
    assert!(!drawn.stderr.contains(token.trim().rsplit('_').next().unwrap()), "{drawn:#?}");
    shoal(&["tokens", "draw", file.to_str().unwrap()]).exits_with(2);
}
