//! EASE through the real binary: a worker that dies in the midst, and items that are left to other models.

use serde_json::Value;

use crate::support::{Cluster, SMALL, Shape, Size, eventually, folder, generate};

async fn start(workers: usize) -> Cluster {
    let settings =
        vec!["coordinator.lease_ms=1500".to_owned(), "coordinator.replace_after_ms=2000".to_owned()];
    Cluster::start(Shape { coordinators: 1, workers, settings }).await
}

/// The weights of a version, by path of the part.
fn weights(cluster: &Cluster, version: &str) -> Vec<(String, String)> {
    let parts = cluster.checksums(&format!("models/ease/{version}")).into_iter();
    parts.filter(|(path, _)| path.contains("item_neighbours")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_while_items_are_weighed_costs_an_attempt_and_no_bit() {
    let folder = folder();
    // So many items that the inverse takes a while.
    let data = generate(folder.path(), Size { users: 600, items: 2_500, ratings: 60_000 });
    let cluster = start(3).await;
    cluster.import(&data, "items");
    let train = ["train", "--models", "ease", "--force", "--json"];
    let undisturbed = cluster.shoal(&train).json();
    let detached = cluster.shoal(&[&train[..], &["--detach"]].concat()).json();
    let id = detached["job_id"].as_str().unwrap().to_owned();
    let job = || cluster.shoal(&["jobs", "show", &id, "--json"]).json();
    let weighing = eventually("items are weighed", || {
        let job = job();
        (job["phase"] == "weighing items" || job["state"] != "running").then_some(job)
    });
    let weighing = weighing.await;
    assert_eq!(
        weighing["state"], "running",
        "the job is long enough to be caught in the middle: {weighing:#}"
    );
    cluster.kill("worker-2").await;
    let over = eventually("the job is over", || {
        let job = job();
        (job["state"] == "succeeded" || job["state"] == "failed").then_some(job)
    });
    let over = over.await;
    assert_eq!(over["state"], "succeeded", "{over:#}");
    assert!(over["attempt"].as_u64() > Some(1), "{over:#}");
    let version = over["model_version"].as_str().unwrap();
    let before = weights(&cluster, undisturbed["model_version"].as_str().unwrap());
    assert!(!before.is_empty());
    assert_eq!(weights(&cluster, version), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_are_left_to_other_models_are_said() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let cluster = start(2).await;
    cluster.import(&data, "items");
    let train = ["train", "--models", "ease", "--items-max", "40", "--ease-reg", "30", "--promote", "--json"];
    let outcome = cluster.shoal(&train).json();
    let version = outcome["model_version"].as_str().unwrap();
    let is_said = |text: &str| text.contains("The 40 most rated of") && text.contains("--items-max");
    assert!(is_said(&outcome["remarks"].to_string()), "{outcome:#}");
    let shown = cluster.shoal(&["models", "show", version]).exits_with(0).stdout;
    assert!(is_said(&shown), "{shown}");
    let read = |path: std::path::PathBuf| -> Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let metadata = read(cluster.dir().join("store/models/ease").join(version).join("metadata.json"));
    assert_eq!(metadata["items_in_model"], 40);
    assert_eq!(
        (&metadata["parameters"]["regularization"], &metadata["parameters"]["items_max"]),
        (&30.0.into(), &40.into())
    );

    // Lists are of these items, and say so where they are kept.
    let out = folder.path().join("lists");
    let lists = [
        "recommend",
        "--all",
        "--model",
        "ease",
        "-n",
        "40",
        "--format",
        "jsonl",
        "--out",
        out.to_str().unwrap(),
    ];
    cluster.shoal(&lists).exits_with(0);
    let about = read(out.join("_lists.json"));
    assert!(is_said(&about.to_string()), "{about:#}");
    let mut listed = std::collections::BTreeSet::new();
    for part in std::fs::read_dir(&out).unwrap().map(|part| part.unwrap().path()) {
        if part.extension().is_some_and(|extension| extension == "jsonl") {
            for row in std::fs::read_to_string(&part).unwrap().lines() {
                let row: Value = serde_json::from_str(row).unwrap();
                listed.insert(row["item_id"].as_i64().unwrap());
            }
        }
    }
    assert!(!listed.is_empty() && listed.len() <= 40, "{} items", listed.len());

    for flags in [["--ease-reg", "0"], ["--ease-reg", "nan"], ["--items-max", "0"]] {
        let refused = cluster.shoal(&[&["train", "--models", "ease"][..], &flags].concat()).exits_with(2);
        assert!(refused.stderr.contains(flags[0]), "{refused:#?}");
    }
}
