//! Data sets smaller than the cluster is made for, and trainings of which one fails.

use std::{fmt::Write as _, path::Path};

use serde_json::Value;

use crate::support::{Cluster, Shape, folder};

const USERS: u64 = 40;
const ITEMS: u64 = 30;

/// Two camps: even users like even items.
fn write(folder: &Path, with_catalogue: bool) {
    std::fs::create_dir_all(folder).unwrap();
    let mut ratings = "userId,movieId,rating,timestamp\n".to_owned();
    let mut tags = "userId,movieId,tag,timestamp\n".to_owned();
    let mut items = "movieId,title,genres\n".to_owned();
    for item in 1..=ITEMS {
        let genres = if item % 2 == 0 { "Action|Drama" } else { "Comedy" };
        writeln!(items, "{item},Film {item} ({}),{genres}", 1960 + item).unwrap();
        for user in (1..=USERS).filter(|user| (user * 7 + item * 5) % 9 < 4) {
            let stars = if (user + item) % 2 == 0 { 4.5 } else { 1.5 };
            writeln!(ratings, "{user},{item},{stars},{}", 1_000_000 + user * 100 + item).unwrap();
            writeln!(tags, "{user},{item},camp {},{}", item % 2, 1_000_000 + user * 100 + item).unwrap();
        }
    }
    std::fs::write(folder.join("ratings.csv"), ratings).unwrap();
    if with_catalogue {
        std::fs::write(folder.join("movies.csv"), items).unwrap();
        std::fs::write(folder.join("tags.csv"), tags).unwrap();
    }
}

async fn start() -> Cluster {
    Cluster::start(Shape { coordinators: 1, workers: 3, settings: Vec::new() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_models_are_trained_on_a_catalogue_with_empty_shards_and_the_blend_always_has_a_list() {
    let folder = folder();
    for with_catalogue in [true, false] {
        let data = folder.path().join(format!("small-{with_catalogue}"));
        write(&data, with_catalogue);
        let cluster = start().await;
        cluster.import(&data, "small");
        let report =
            cluster.shoal(&["train", "--json", "--rank", "4", "--iterations", "3", "--promote"]).json();
        assert_eq!(report["models"].as_array().unwrap().len(), 5, "{report:#}");
        let hybrid = &report["models"][4];
        let shown =
            cluster.shoal(&["models", "show", hybrid["model_version"].as_str().unwrap(), "--json"]).json();
        let blended = shown["sources"]["blended"].as_array().unwrap();
        let content = blended.iter().find(|source| source["model"] == "content_based").unwrap();
        let is_said = hybrid["remarks"].to_string().contains("known by content_based");
        assert_eq!(is_said, !with_catalogue, "{hybrid:#}");
        assert!(with_catalogue || content["weight"] == 0.0, "{shown:#}");
        for outcome in report["models"].as_array().unwrap() {
            cluster.shoal(&["models", "verify", outcome["model_version"].as_str().unwrap()]).exits_with(0);
        }
        let out = folder.path().join(format!("exported-{with_catalogue}"));
        let als = report["models"][0]["model_version"].as_str().unwrap();
        cluster.shoal(&["models", "export", als, "--out", out.to_str().unwrap()]).exits_with(0);
        for item in 1..=ITEMS {
            cluster.http().get(&format!("/recommendations/similar/{item}?n=5&model=hybrid")).await.ok();
        }
        for user in 1..=USERS {
            for model in ["als", "item_cf", "hybrid"] {
                let path = format!("/recommendations/recommend/{user}?n=5&model={model}&complete=true");
                let answer = cluster.http().get(&path).await.ok();
                let list = answer["recommendations"].as_array().unwrap();
                assert!(!list.is_empty(), "{model} has nothing for {user}: {answer:#}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_does_not_keep_the_others_from_being_trained() {
    let folder = folder();
    let data = folder.path().join("small");
    write(&data, true);
    let cluster = start().await;
    let imported = cluster.import(&data, "small");
    // Only content reads the tags.
    let path = cluster.dir().join("store").join(imported["dataset"]["path"].as_str().unwrap());
    let tags = walk(&path).into_iter().filter(|file| file.contains("tags")).collect::<Vec<_>>();
    assert!(!tags.is_empty());
    tags.iter().for_each(|file| std::fs::remove_file(file).unwrap());

    let small = ["train", "--rank", "4", "--iterations", "2"];
    let finished = cluster.shoal(&[&small[..], &["--json"]].concat()).exits_with(1);
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    let models = report["models"].as_array().unwrap();
    let outcomes: Vec<(&str, bool)> =
        models.iter().map(|model| (model["model"].as_str().unwrap(), model["error"].is_string())).collect();
    assert_eq!(
        outcomes,
        [("als", false), ("item_cf", false), ("ease", false), ("hybrid", false), ("content", true)],
        "{report:#}"
    );
    // The hybrid is made of the others, and says so.
    let blended = models[3]["blended"].as_array().unwrap();
    let versions: Vec<&Value> = blended.iter().map(|choice| &choice["version"]).collect();
    let of = |model: usize| &models[model]["model_version"];
    assert_eq!(versions, [of(0), of(1), &Value::Null, of(2)]);
    assert!(blended[2]["because"].as_str().unwrap().contains("content has failed"), "{report:#}");
    let hybrid = models[3]["model_version"].as_str().unwrap();
    let shown = cluster.shoal(&["models", "show", hybrid, "--json"]).json();
    let sources = shown["sources"]["blended"].as_array().unwrap().iter();
    let sources: Vec<&str> = sources.map(|source| source["model"].as_str().unwrap()).collect();
    assert_eq!(sources, ["als", "item_cf", "ease", "popularity"]);
    cluster.shoal(&["models", "promote", hybrid]).exits_with(0);
    for user in 1..=USERS {
        let path = format!("/recommendations/recommend/{user}?n=5&model=hybrid&complete=true&explain=true");
        let answer = cluster.http().get(&path).await.ok();
        let first = &answer["recommendations"][0];
        assert_eq!(first["explanation"]["sources"].as_array().unwrap().len(), 4, "{answer:#}");
        assert!(first["predicted_rating"].is_number(), "{answer:#}");
    }

    // Once more for people: what is there is kept, and the summary says which failed and why.
    let finished = cluster.shoal(&small).exits_with(1);
    for part in ["Failed: content: job ", "The hybrid blends no content: content has failed"] {
        assert!(finished.stdout.contains(part), "{finished:#?}");
    }
    let alone = cluster.shoal(&["train", "--models", "content"]).exits_with(1);
    alone.says(&["failed"]);
}

/// Every file below a folder.
fn walk(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files =
        entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] });
    files.collect()
}
