//! Folders that earlier builds wrote (`cluster/tests/golden`), served by this build: the registry is as it was, and
//! every model answers as it did then.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Cluster, Http, Shape, folder};

/// An address for documentation (RFC 5737).
const NOWHERE: &str = "192.0.2.1:1";
/// Another instruction set rounds a score otherwise.
const ROUNDING: f64 = 1e-4;
/// The flags that `make.py` has trained with.
const TRAINED: [&str; 10] = [
    "--rank",
    "8",
    "--iterations",
    "4",
    "--min-common-users",
    "2",
    "--neighbours",
    "12",
    "--user-ratings-max",
    "50",
];

pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

pub(crate) fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&from).unwrap(), to).unwrap();
        } else if kind.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// A cluster of this build on a copy of an earlier build's folder.
async fn started(release: &str, place: &Path) -> Cluster {
    let dir = place.join("cluster");
    copy(&golden().join(release), &dir);
    let path = dir.join("cluster.json");
    let mut cluster_file = read(&path);
    cluster_file["store"] = dir.join("store").to_str().unwrap().into();
    // Addresses are chosen anew where the remembered ones are not this machine's: tests start side by side.
    for node in ["coordinators", "workers"] {
        cluster_file[node][0]["address"] = NOWHERE.into();
    }
    for address in ["grpc", "http"] {
        cluster_file["routers"][0][address] = NOWHERE.into();
    }
    std::fs::write(&path, cluster_file.to_string()).unwrap();
    let cluster = Cluster::start_in(place, Shape::default()).await;
    served(&cluster).await;
    cluster
}

async fn served(cluster: &Cluster) {
    let all = |status: &Value| {
        let shards = &status["shards"];
        shards["total"] != 0 && shards["served"] == shards["total"]
    };
    cluster.wait_for("every shard is served", all).await;
}

/// Whether a value is the recorded one. `more` allows fields that were not there then.
fn compare(now: &Value, then: &Value, more: bool, place: &str) -> Result<(), String> {
    let differs = || Err(format!("{place} is {now}, was {then}"));
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            if let Some(name) = now.keys().find(|name| !more && !then.contains_key(*name)) {
                return Err(format!("{place}.{name} was not there"));
            }
            then.iter().try_for_each(|(name, then)| {
                let now = now.get(name).ok_or_else(|| format!("{place}.{name} is missing"))?;
                compare(now, then, more, &format!("{place}.{name}"))
            })
        }
        (Value::Array(now), Value::Array(then)) if now.len() == then.len() => now
            .iter()
            .zip(then)
            .enumerate()
            .try_for_each(|(at, (now, then))| compare(now, then, more, &format!("{place}[{at}]"))),
        (Value::Number(now), Value::Number(then)) if now.is_f64() || then.is_f64() => {
            let (now, then) = (now.as_f64().unwrap(), then.as_f64().unwrap());
            if (now - then).abs() <= ROUNDING * then.abs().max(1.0) { Ok(()) } else { differs() }
        }
        _ if now == then => Ok(()),
        _ => differs(),
    }
}

#[track_caller]
fn same(now: &Value, then: &Value, more: bool, place: &str) {
    if let Err(difference) = compare(now, then, more, place) {
        panic!("{difference}");
    }
}

/// Asks every recorded question and compares the answers.
pub(crate) async fn answers_as_recorded(http: &Http, asked: &[Value]) {
    assert!(!asked.is_empty());
    for question in asked {
        let path = question["path"].as_str().unwrap();
        let body = &question["body"];
        let answer = if body.is_null() { http.get(path).await } else { http.post(path, body).await };
        assert_eq!(question["status"], answer.status, "{path}: {answer:?}");
        let mut answer = answer.json();
        for of_the_moment in ["timestamp", "next_cursor"] {
            answer.as_object_mut().unwrap().remove(of_the_moment);
        }
        same(&answer, &question["answer"], false, path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_the_first_format_is_served_as_it_was() {
    let place = folder();
    let cluster = started("v1", place.path()).await;
    let recorded = golden().join("v1");
    let registry = read(&recorded.join("registry.json"));
    for (list, command) in [("datasets", "dataset"), ("models", "models"), ("jobs", "jobs")] {
        let now = cluster.shoal(&[command, "list", "--json"]).json();
        same(&now, &registry[list], true, list);
    }
    for version in registry["models"].as_array().unwrap() {
        cluster.shoal(&["models", "verify", version["name"].as_str().unwrap()]).exits_with(0);
    }
    let answers = read(&recorded.join("answers.json"));
    let http = cluster.http();
    answers_as_recorded(&http, answers["films"].as_array().unwrap()).await;

    // The versions of the other data set were live before, and this build makes them so again.
    let versions = registry["models"].as_array().unwrap().iter();
    for version in versions.filter(|version| version["dataset"] == "clicks") {
        cluster.shoal(&["models", "promote", version["name"].as_str().unwrap()]).exits_with(0);
    }
    served(&cluster).await;
    answers_as_recorded(&http, answers["clicks"].as_array().unwrap()).await;
}

/// What a version was trained with is understood too: a training with the same flags finds it.
#[tokio::test(flavor = "multi_thread")]
async fn versions_of_the_first_format_are_found_by_what_they_were_trained_with() {
    let place = folder();
    let cluster = started("v1", place.path()).await;
    let registry = read(&golden().join("v1/registry.json"));
    for data_set in ["clicks", "films"] {
        let versions = registry["models"].as_array().unwrap().iter();
        for version in versions.filter(|version| version["dataset"] == data_set) {
            // Content goes by another name as a folder.
            let model = version["model"].as_str().unwrap().trim_end_matches("_based");
            let flags = ["train", "--dataset", data_set, "--models", model, "--json"];
            let trained = cluster.shoal(&[&flags[..], &TRAINED].concat()).json();
            assert_eq!(trained["model_version"], version["name"], "{model} of {data_set}: {trained:#}");
        }
    }
    // Data sets are read as well: the owners of this build solve rows from blocks that the other wrote.
    let trained = cluster.train(&["--dataset", "films", "--promote"]);
    let answer = cluster.http().get("/recommendations/recommend/ada?model=als&use_cache=false").await.ok();
    assert_eq!(answer["model_version"], trained.as_str());
}
