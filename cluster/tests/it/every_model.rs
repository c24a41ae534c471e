//! All models through the real binary: trained, kept, trained anew, compared, and what they are worth.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};
use shoal_common::ids::EntityId;
use shoal_core::hash::{is_held_out, is_held_out_user, pair_hash};

use crate::support::{
    Cluster, SMALL, Shape, exported_neighbours, folder, generate, read_rows, real_data, stored_biases,
    stored_neighbours,
};

const MODELS: [&str; 5] = ["als", "item_cf", "content_based", "ease", "hybrid"];

async fn start(workers: usize) -> Cluster {
    Cluster::start(Shape { coordinators: 1, workers, settings: Vec::new() }).await
}

/// Trains with these flags; what came of each model.
fn trained(cluster: &Cluster, flags: &[&str]) -> Vec<Value> {
    let report = cluster.shoal(&[&["train", "--json"], flags].concat()).json();
    report["models"].as_array().unwrap_or_else(|| panic!("{report:#}")).clone()
}

#[track_caller]
fn prints(cluster: &Cluster, arguments: &[&str], parts: &[&str]) {
    let stdout = cluster.shoal(arguments).exits_with(0).stdout;
    assert!(parts.iter().all(|part| stdout.contains(part)), "{parts:?} in {stdout}");
}

fn text<'a>(outcome: &'a Value, key: &str) -> &'a str {
    outcome[key].as_str().unwrap()
}

fn ndcg(outcome: &Value, of: &str) -> f64 {
    outcome["evaluation"][of]["ndcg_at_20"].as_f64().unwrap()
}

/// Exports a version of neighbours: its lists and biases come back with the ids of the data set and the numbers of the store.
fn is_exported_as_it_is_stored(cluster: &Cluster, model: &str, version: &str, out: &Path) {
    let stored = cluster.dir().join("store/models").join(model).join(version);
    let mut lists = stored_neighbours(&stored);
    lists.retain(|_, list| !list.is_empty());
    assert!(lists.len() > 50, "{} lists of {model}", lists.len());
    assert_eq!(exported_neighbours(cluster, version, out), lists, "{model}");
    for side in ["user", "item"] {
        assert_eq!(read_rows(&out.join(format!("{side}Biases"))), stored_biases(&stored, side), "{model}");
    }
    let read = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let (about, metadata) = (read(&out.join("export.json")), read(&stored.join("metadata.json")));
    for key in ["rating_mean", "parameters"] {
        assert_eq!(about[key], metadata[key], "{model}: {key}");
    }
    assert_eq!((text(&about, "version"), text(&about, "model")), (version, model));
    let again = ["models", "export", version, "--out", out.to_str().unwrap()];
    cluster.shoal(&again).exits_with(1).says(&["choose another folder"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_trained_once_and_again_only_when_asked() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let cluster = start(2).await;
    cluster.import(&data, "items");
    let small = ["--rank", "8", "--iterations", "3", "--min-common-users", "2"];
    let first = trained(&cluster, &small);
    assert_eq!(first.iter().map(|outcome| text(outcome, "model")).collect::<Vec<_>>(), MODELS);
    for outcome in &first {
        assert_eq!(outcome["skipped"], false);
        let (model, version) = (text(outcome, "model"), text(outcome, "model_version"));
        assert!(version.starts_with(&format!("{model}_model_v1_")), "{version}");
        let of_model = cluster.dir().join("store/models").join(model);
        let latest = std::fs::read_link(of_model.join("model_latest")).unwrap();
        assert_eq!(latest.to_str().unwrap(), version);
        let read = |file: &str| -> Value {
            serde_json::from_slice(&std::fs::read(of_model.join(version).join(file)).unwrap()).unwrap()
        };
        let (metadata, info) = (read("metadata.json"), read("model_info.json"));
        assert_eq!(metadata["evaluation"], outcome["evaluation"]);
        assert_eq!(info["metrics"]["ndcg_at_20"], outcome["evaluation"]["lists"]["ndcg_at_20"]);
        assert_eq!((&metadata["name"], &info["name"]), (&version.into(), &version.into()));
        let evaluation = &outcome["evaluation"];
        for measure in ["precision", "recall", "ndcg", "map", "mrr"] {
            for of in ["lists", "popularity", "random"] {
                for k in [10, 20] {
                    let value = evaluation[of][format!("{measure}_at_{k}")].as_f64().unwrap();
                    assert!((0.0..=1.0).contains(&value), "{measure}@{k} of {of}: {value}");
                }
            }
        }
        assert!(evaluation["rating"]["rmse"].as_f64().unwrap() > 0.1, "{evaluation:#}");
        assert!(evaluation["coverage"].as_f64().unwrap() > 0.0, "{evaluation:#}");
        cluster.shoal(&["models", "verify", version]).exits_with(0);
        prints(&cluster, &["models", "show", version], &[version, "lists@20", "spread"]);
    }
    for outcome in &first[1..4] {
        let (model, version) = (text(outcome, "model"), text(outcome, "model_version"));
        is_exported_as_it_is_stored(
            &cluster,
            model,
            version,
            &folder.path().join(format!("exported-{model}")),
        );
    }
    let out = folder.path().join("out");
    let export = |outcome: &Value, to: &str| {
        let version = text(outcome, "model_version");
        cluster.shoal(&["models", "export", version, "--to", to, "--out", out.to_str().unwrap()])
    };
    export(&first[1], "spark").exits_with(2).says(&["'item_cf' has no factors", "--to parquet"]);
    export(&first[4], "parquet").exits_with(2).says(&["'hybrid' has no files", "it blends"]);
    assert!(!out.exists());
    // The same pairs are held out from all.
    let pairs = |outcome: &Value| outcome["evaluation"]["rating"]["pairs"].clone();
    assert!(first.iter().all(|outcome| pairs(outcome) == pairs(&first[0])));

    let names = |outcomes: &[Value]| -> Vec<String> {
        outcomes.iter().map(|outcome| text(outcome, "model_version").to_owned()).collect()
    };
    let again = trained(&cluster, &small);
    assert_eq!(names(&again), names(&first));
    assert!(again.iter().all(|outcome| outcome["skipped"] == true));

    // What is forced is trained again, and nothing else; the same data and parameters are worth the same.
    let flags = [&small[..], &["--models", "item_cf,content", "--force"]].concat();
    let forced = trained(&cluster, &flags);
    assert_eq!(forced.len(), 2);
    for (forced, first) in forced.iter().zip(&first[1..]) {
        assert_eq!((&forced["skipped"], &forced["evaluation"]), (&false.into(), &first["evaluation"]));
        assert_ne!(forced["model_version"], first["model_version"]);
    }

    let given = [&small[..], &["--models", "als,hybrid", "--weights", "als=3,item_cf=1"]].concat();
    let blended = trained(&cluster, &given);
    let show = ["models", "show", text(&blended[1], "model_version")];
    prints(&cluster, &show, &["als 0.750", "item_cf 0.250", "(given)"]);

    // Each user's newest ratings are another split: nothing that is there will do.
    let by_time = trained(&cluster, &[&small[..], &["--split", "temporal"]].concat());
    assert!(by_time.iter().all(|outcome| outcome["skipped"] == false));
    assert!(by_time.iter().all(|outcome| pairs(outcome) == pairs(&by_time[0])));
    for outcome in &by_time {
        let (model, version) = (text(outcome, "model"), text(outcome, "model_version"));
        let metadata = cluster.dir().join("store/models").join(model).join(version).join("metadata.json");
        let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
        assert_eq!(metadata["parameters"]["split"], "temporal");
        let random = first.iter().find(|random| random["model"] == model).unwrap();
        let compare = ["models", "compare", version, text(random, "model_version")];
        prints(&cluster, &compare, &["different held-out ratings"]);
    }
    let kept = trained(&cluster, &[&small[..], &["--split", "temporal"]].concat());
    assert_eq!(names(&kept), names(&by_time));

    prints(&cluster, &["models", "list"], &["different splits", "random", "temporal"]);

    let drawing = folder.path().join("out.svg");
    let mut compare = vec!["models", "compare", "--plot", drawing.to_str().unwrap()];
    let versions = names(&first);
    compare.extend(versions.iter().map(String::as_str));
    prints(&cluster, &compare, &["ndcg@20", "coverage", &versions[0], &versions[4], "popularity", "*0."]);
    for arguments in [&compare[..], &["models", "list"], &["jobs", "list"]] {
        let table = cluster.shoal(arguments).exits_with(0).stdout;
        assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
    }
    let svg = std::fs::read_to_string(&drawing).unwrap();
    assert!(versions.iter().all(|version| svg.contains(version.as_str())) && svg.ends_with("</svg>\n"));
}

/// Sessions with what is folded in of the users whom a quarter's split holds out.
fn folded_sessions(data: &Path) -> BTreeMap<i64, Value> {
    let (seed, hash) = (42, |id: i64| EntityId::Integer(id).hash64());
    let mut sessions = BTreeMap::new();
    for line in std::fs::read_to_string(data.join("ratings.csv")).unwrap().lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let (user, item): (i64, i64) = (fields[0].parse().unwrap(), fields[1].parse().unwrap());
        let is_folded = !is_held_out(pair_hash(hash(user), hash(item), seed), 0.2);
        if is_held_out_user(hash(user), 0.25, seed) && is_folded {
            let session = sessions.entry(user).or_insert_with(|| json!({"items": []}));
            let rating: f64 = fields[2].parse().unwrap();
            session["items"].as_array_mut().unwrap().push(json!({"item_id": item, "rating": rating}));
        }
    }
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_held_out_from_every_model_and_answered_all_the_same() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let cluster = start(3).await;
    cluster.import(&data, "items");
    let small = ["--rank", "8", "--iterations", "3", "--min-common-users", "2", "--promote"];
    let strong = [&small[..], &["--split", "strong", "--held-out-users", "60"]].concat();
    let outcomes = trained(&cluster, &strong);
    assert_eq!(outcomes.iter().map(|outcome| text(outcome, "model")).collect::<Vec<_>>(), MODELS);
    let lists = |outcome: &Value, name: &str| outcome["evaluation"]["lists"][name].as_f64().unwrap();
    for outcome in &outcomes {
        let (model, version) = (text(outcome, "model"), text(outcome, "model_version"));
        let folder = cluster.dir().join("store/models").join(model).join(version);
        let read = |file: &str| -> Value {
            serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
        };
        let (metadata, info) = (read("metadata.json"), read("model_info.json"));
        let parameters = &metadata["parameters"];
        assert_eq!(
            (&parameters["split"], &parameters["held_out_user_share"]),
            (&"strong".into(), &0.25.into())
        );
        let protocol = text(&metadata, "protocol");
        assert!(protocol.contains("25 % of the users are held out"), "{protocol}");
        for name in ["recall_at_20", "recall_at_50", "ndcg_at_100"] {
            assert!(lists(outcome, name) > 0.0, "{outcome:#}");
            assert_eq!(info["metrics"][name], outcome["evaluation"]["lists"][name]);
        }
        // The same users, a quarter of all or so.
        assert_eq!(lists(outcome, "users"), lists(&outcomes[0], "users"));
        assert!((35.0..=90.0).contains(&lists(outcome, "users")), "{outcome:#}");
        prints(&cluster, &["models", "show", version], &[protocol, "lists@100", "recall"]);
        assert_eq!(cluster.shoal(&["models", "show", version, "--json"]).json()["protocol"], protocol);
        // Whoever was held out is known, and answered by the model.
        for user in 1..=20 {
            let ask = ["recommend", &user.to_string(), "-n", "5", "--model", model, "--json"];
            assert_eq!(cluster.shoal(&ask).json()["source"], "model", "{model} of {user}");
        }
    }
    // The row of one who was held out is that of a session with what was folded in.
    let http = cluster.http();
    let sessions = folded_sessions(&data);
    assert!((35..=90).contains(&sessions.len()), "{} sessions", sessions.len());
    for (user, session) in sessions.into_iter().take(8) {
        let path = "/v1/recommendations?model=als&n=100&exclude_seen=false";
        let of_session = http.post(path, session).await.ok();
        let path = format!("/v1/users/{user}/recommendations?model=als&n=100&exclude_seen=false");
        assert_eq!(http.get(&path).await.ok()["items"], of_session["items"], "user {user}");
    }
    // As many users, said otherwise, are the same training; another number of them is another.
    let share = [&small[..], &["--split", "strong", "--held-out-users", "0.25"]].concat();
    assert!(trained(&cluster, &share).iter().all(|outcome| outcome["skipped"] == true));
    let others = ["--split", "strong", "--held-out-users", "30", "--models", "als,item_cf"];
    let others = trained(&cluster, &[&small[..], &others].concat());
    let random = trained(&cluster, &[&small[..], &["--models", "als,item_cf"]].concat());
    for other in others.iter().chain(&random) {
        assert_eq!(other["skipped"], false);
        let compare =
            ["models", "compare", text(other, "model_version"), text(&outcomes[0], "model_version")];
        prints(&cluster, &compare, &["different held-out ratings", "ndcg@100"]);
        let json = cluster.shoal(&[&compare[..], &["--json"]].concat()).json();
        assert!(json["cautions"][0].as_str().unwrap().contains("held-out"), "{json:#}");
    }
    // A blend of versions with other splits is none.
    let blend = ["train", "--models", "hybrid", "--split", "strong", "--held-out-users", "50"];
    cluster.shoal(&blend).exits_with(3);
    cluster.shoal(&["train", "--held-out-users", "30"]).exits_with(2).says(&["--split strong"]);
    cluster
        .shoal(&["train", "--split", "strong", "--held-out-users", "240"])
        .exits_with(2)
        .says(&["leaves nobody"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promoted_is_live_and_the_default_stays_unless_it_is_asked_for() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let cluster = start(2).await;
    cluster.import(&data, "items");
    let small = ["--rank", "8", "--iterations", "2", "--promote"];
    let both = ["train", "--json", "--models", "als,content"];
    let report = cluster.shoal(&[&both[..], &small].concat()).json();
    assert_eq!(report["default_model"], "als", "{report:#}");
    let live = || {
        let status = cluster.status();
        let models = status["models"].as_array().unwrap().iter();
        let mut live: Vec<(String, String)> = models
            .map(|served| (text(served, "model").to_owned(), text(served, "live_version").to_owned()))
            .collect();
        live.sort();
        (live, text(&status, "default_model").to_owned())
    };
    let versions = report["models"].as_array().unwrap().iter();
    let trained: Vec<(String, String)> = versions
        .map(|outcome| (text(outcome, "model").to_owned(), text(outcome, "model_version").to_owned()))
        .collect();
    assert_eq!(live(), (trained.clone(), "als".to_owned()));

    // The same once more is kept and stays live; what would change the default is said.
    let content = |flags: &[&str]| {
        cluster.shoal(&[&["train", "--models", "content", "--promote"], flags].concat()).exits_with(0).stdout
    };
    let said = content(&[]);
    assert!(said.contains("go to als") && said.contains("--promote --default"), "{said}");
    assert_eq!(live(), (trained.clone(), "als".to_owned()));
    let said = content(&["--default"]);
    assert!(said.contains("go to content_based."), "{said}");
    assert_eq!(live(), (trained, "content_based".to_owned()));

    let hint = cluster.shoal(&["train", "--models", "item_cf"]).exits_with(0).stdout;
    assert!(hint.contains("Make it live with `shoal models promote item_cf_model_v1_"), "{hint}");
    let refused = cluster.shoal(&["train", "--models", "als,content", "--promote", "--default"]);
    refused.exits_with(2).says(&["one model", "--models"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_real_ratings_the_blend_is_worth_at_least_what_its_best_part_is() {
    // Without the variable there is nothing real to train on.
    let Some(data) = real_data() else { return };
    let cluster = start(3).await;
    cluster.import(&data, "real");
    let outcomes = trained(&cluster, &["--data-set", "real"]);
    let [als, item_cf, content, ease, hybrid] = &outcomes[..] else { panic!("{outcomes:#?}") };
    for part in [als, item_cf, content, ease] {
        assert!(ndcg(hybrid, "lists") >= ndcg(part, "lists"), "{part:#} against {hybrid:#}");
        assert_eq!(ndcg(part, "popularity"), ndcg(hybrid, "popularity"));
    }
    for better in [als, item_cf, ease, hybrid] {
        assert!(ndcg(better, "lists") > 1.5 * ndcg(better, "popularity"), "{better:#}");
    }
    assert!(ndcg(content, "lists") > 10.0 * ndcg(content, "random"), "{content:#}");
    // Every model predicts ratings better than the biases alone.
    for outcome in &outcomes {
        let rmse = |of: &str| outcome["evaluation"][of]["rmse"].as_f64().unwrap();
        assert!(rmse("rating") < rmse("rating_baseline"), "{outcome:#}");
    }
    // A thin data set of the users' other format: all of them train, whatever they are worth.
    cluster.import(&data.with_file_name("ml-20m-kaggle-sample"), "thin");
    let thin = trained(&cluster, &["--data-set", "thin", "--rank", "8", "--iterations", "3"]);
    assert_eq!(thin.iter().map(|outcome| text(outcome, "model")).collect::<Vec<_>>(), MODELS);
}
