//! Models on the way to Spark and back: what is exported is imported, promoted and answers the same.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::support::{By, Cluster, Http, Oracle, SMALL, Shape, Size, folder, generate};

/// What a refused import must not add to.
fn known(cluster: &Cluster) -> (usize, usize, Vec<PathBuf>) {
    let length = |value: Value| value.as_array().unwrap().len();
    let mut stored = Vec::new();
    for folder in ["models/als", "datasets"] {
        let folder = cluster.dir().join("store").join(folder);
        stored.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    stored.sort();
    let models = length(cluster.shoal(&["models", "list", "--json"]).json());
    (models, length(cluster.shoal(&["dataset", "list", "--json"]).json()), stored)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

async fn predict(http: &Http, user: i64, item: i64) -> Value {
    let body = json!({"user_id": user, "movie_id": item});
    http.post("/recommendations/predict", body).await.ok()
}

struct Setting {
    cluster: Cluster,
    folder: tempfile::TempDir,
    data: PathBuf,
    trained: String,
    /// The trained version, exported for Spark.
    saved: PathBuf,
}

async fn setting() -> Setting {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 2, settings: Vec::new() }).await;
    cluster.import(&data, "items");
    let trained = cluster.train(&["--test-ratio", "0"]);
    let saved = folder.path().join("als");
    let export = ["models", "export", &trained, "--to", "spark", saved.to_str().unwrap(), "--json"];
    let exported = cluster.shoal(&export).json();
    assert_eq!((&exported["files"], &exported["users"]), (&32.into(), &240.into()));
    Setting { cluster, folder, data, trained, saved }
}

fn import(cluster: &Cluster, saved: &Path, flags: &[&str]) -> Value {
    let import = ["models", "import", "--from", "spark", saved.to_str().unwrap(), "--json"];
    cluster.shoal(&[&import, flags].concat()).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_comes_back_and_answers_the_same() {
    let Setting { cluster, folder: _folder, data, trained, saved } = setting().await;
    let mut oracle = Oracle::of(&cluster, &trained, &data);
    let imported = import(&cluster, &saved, &["--dataset", "items"]);
    // Mean and biases are two more elements.
    assert_eq!((&imported["rank"], &imported["users"]), (&10.into(), &240.into()));
    let version = imported["version"].as_str().unwrap().to_owned();
    cluster.shoal(&["models", "verify", &version]).exits_with(0);
    let shown = cluster.shoal(&["models", "show", &version, "--json"]).json();
    assert_eq!((&shown["state"], &shown["dataset"]), (&"ready".into(), &"items".into()));
    assert!(shown["imported_from"].as_str().unwrap().starts_with("Spark "), "{shown}");
    assert!(cluster.shoal(&["models", "show", &version]).exits_with(0).stdout.contains("Spark"));

    cluster.shoal(&["models", "promote", &version]).exits_with(0);
    oracle.version.clone_from(&version);
    let http = cluster.http();
    for user in oracle.users().into_iter().step_by(23) {
        let path = format!("/recommendations/recommend/{user}?n=20&rank_by=rating");
        let answer = http.get(&path).await.ok();
        oracle.check_recommended(&answer, user, 20, By::Rating).unwrap();
        assert!(answer["recommendations"][0]["title"].as_str().unwrap().len() > 1, "{answer}");
        for item in oracle.items().into_iter().step_by(17) {
            let answer = predict(&http, user, item).await;
            oracle.check_predicted(&answer, user, item).unwrap();
        }
    }
    let popular = http.get("/recommendations/recommend/987654321?n=10").await.ok();
    oracle.check_popular(&popular, 987_654_321, 10).unwrap();
    cluster.shoal(&["models", "promote", &trained]).exits_with(0);
    let back = cluster.shoal(&["models", "rollback", "--json"]).json();
    assert_eq!(back["live_version"], version.as_str());

    // Once more: the version's own factors are written as they are.
    let again = saved.with_file_name("again");
    let export = ["models", "export", &version, "--to", "spark", again.to_str().unwrap()];
    cluster.shoal(&export).exits_with(0);
    for side in ["userFactors", "itemFactors"] {
        for shard in 0..16 {
            let part = format!("{side}/part-{shard:05}.parquet");
            assert_eq!(fs::read(saved.join(&part)).unwrap(), fs::read(again.join(&part)).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_model_of_a_validation_is_served_without_a_data_set() {
    let Setting { cluster, folder, data, trained, saved } = setting().await;
    let oracle = Oracle::of(&cluster, &trained, &data);
    let validated = folder.path().join("validated");
    copy(&saved, &validated.join("bestModel"));
    fs::create_dir_all(validated.join("metadata")).unwrap();
    let class = r#"{"class":"org.apache.spark.ml.tuning.CrossValidatorModel","sparkVersion":"4.0.0"}"#;
    fs::write(validated.join("metadata/part-00000"), class).unwrap();
    let imported = import(&cluster, &validated, &[]);
    let version = imported["version"].as_str().unwrap();
    cluster.shoal(&["models", "promote", version]).exits_with(0);

    let http = cluster.http();
    let users = oracle.users();
    for user in users.iter().step_by(29) {
        for item in oracle.items().into_iter().step_by(13) {
            let answer = predict(&http, *user, item).await;
            // There is no scale without ratings: what is predicted is the sum itself.
            let expected = oracle.predicted(*user, item);
            let found = answer["predicted_rating"].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-4, "{found} is not {expected}: {answer}");
            assert_eq!(answer["model_version"], version);
        }
    }
    let answer = http.get(&format!("/recommendations/recommend/{}?n=100", users[0])).await.ok();
    let hits = answer["recommendations"].as_array().unwrap();
    assert_eq!((hits.len(), &answer["source"]), (100, &"model".into()));
    let score = |hit: &Value| hit["score"].as_f64().unwrap();
    assert!(hits.windows(2).all(|pair| score(&pair[0]) >= score(&pair[1])), "{answer}");

    // By the ranking factors, which are another model.
    let ranking = folder.path().join("ranking");
    let path = ranking.to_str().unwrap();
    let export = ["models", "export", &trained, "--to", "spark", path, "--objective", "implicit"];
    cluster.shoal(&export).exits_with(0);
    let imported = import(&cluster, &ranking, &["--objective", "implicit"]);
    assert_eq!(imported["rank"], 8);
    let version = imported["version"].as_str().unwrap();
    cluster.shoal(&["models", "promote", version]).exits_with(0);
    let answer = http.get(&format!("/recommendations/recommend/{}?n=100", users[0])).await.ok();
    let best = &answer["recommendations"][0];
    let expected = oracle.ranked(users[0], best["movie_id"].as_i64().unwrap());
    assert!((score(best) - expected).abs() < 1e-4, "{best} is not {expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_named_and_leaves_nothing() {
    let Setting { cluster, folder, saved, trained, .. } = setting().await;
    let few = folder.path().join("few");
    fs::create_dir_all(&few).unwrap();
    let few = generate(&few, Size { users: 20, items: 160, ratings: 900 });
    cluster.import(&few, "few");
    let before = known(&cluster);
    let refused = |saved: &Path, flags: &[&str], says: &[&str]| {
        let import = ["models", "import", "--from", "spark", saved.to_str().unwrap()];
        let refused = cluster.shoal(&[&import, flags].concat());
        assert_ne!(refused.code, Some(0), "{refused:?}");
        refused.says(says);
        assert_eq!(known(&cluster), before, "{says:?}");
    };
    refused(&folder.path().join("nowhere"), &[], &["nowhere"]);
    refused(&saved, &["--dataset", "few"], &["220 users", "'few'", "without one"]);
    refused(&saved, &["--dataset", "none"], &["'none'"]);

    let broken = |name: &str, damage: &dyn Fn(&Path), says: &[&str]| {
        let path = folder.path().join(name);
        copy(&saved, &path);
        damage(&path);
        refused(&path, &["--dataset", "items"], says);
    };
    let metadata = |path: &Path, from: &str, to: &str| {
        let path = path.join("metadata/part-00000");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    };
    broken("without-items", &|path| fs::remove_dir_all(path.join("itemFactors")).unwrap(), &["itemFactors"]);
    broken("of-another-class", &|path| metadata(path, "ALSModel", "ALS"), &["recommendation.ALS,"]);
    broken("of-another-rank", &|path| metadata(path, "\"rank\":10", "\"rank\":9"), &["10 features", "9"]);
    broken("without-json", &|path| metadata(path, "{", "("), &["metadata/part-00000"]);
    let torn = |path: &Path| {
        let part = path.join("userFactors/part-00003.parquet");
        let bytes = fs::read(&part).unwrap();
        fs::write(part, &bytes[..bytes.len() - 1]).unwrap();
    };
    broken("torn", &torn, &["userFactors/part-00003.parquet", "Parquet"]);
    let twice = |path: &Path| {
        let from = path.join("userFactors/part-00003.parquet");
        fs::copy(from, path.join("userFactors/part-00099.parquet")).unwrap();
    };
    broken("twice", &twice, &["userFactors", "two rows"]);

    // What Spark cannot hold is refused on the way out.
    let out = folder.path().join("explicit-only");
    let explicit = cluster.train(&["--objective", "explicit"]);
    let export = ["models", "export", &explicit, "--to", "spark", out.to_str().unwrap()];
    let refused = cluster.shoal(&[&export[..], &["--objective", "implicit"]].concat()).exits_with(1);
    refused.says(&[&explicit, "--objective"]);
    assert!(!out.exists());
    let export = ["models", "export", &trained, out.to_str().unwrap(), "--objective", "implicit"];
    cluster.shoal(&export).exits_with(2).says(&["--to spark"]);
}
