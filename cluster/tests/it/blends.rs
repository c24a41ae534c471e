//! Hybrids of any models: with factors and without, which versions they blend, and what they answer.

use serde_json::{Value, json};

use crate::support::{Cluster, SMALL, Shape, folder, generate};

const USERS: [i64; 4] = [1, 2, 57, 101];
const ITEMS: [i64; 3] = [1, 2, 3];

/// A cluster with the same ratings under two names.
async fn start(data: &std::path::Path) -> Cluster {
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 2, settings: Vec::new() }).await;
    cluster.import(data, "one");
    cluster.import(data, "other");
    cluster
}

fn trained(cluster: &Cluster, flags: &[&str]) -> Vec<Value> {
    let small = ["train", "--json", "--iterations", "3", "--min-common-users", "2"];
    let report = cluster.shoal(&[&small[..], flags].concat()).json();
    report["models"].as_array().cloned().unwrap_or_else(|| vec![report])
}

fn promoted(cluster: &Cluster, outcome: &Value) -> String {
    let version = outcome["model_version"].as_str().unwrap();
    cluster.shoal(&["models", "promote", version]).exits_with(0);
    version.to_owned()
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value:#}"))
}

/// What a hybrid of these sources answers to everything that can be asked, whose parts fit together.
async fn answers_everything(cluster: &Cluster, sources: &[&str]) {
    let http = cluster.http();
    let (mut rated, mut differs) = (0, false);
    for user in USERS {
        let path =
            format!("/recommendations/recommend/{user}?model=hybrid&n=15&use_cache=false&complete=true");
        let answer = http.get(&format!("{path}&explain=true")).await.ok();
        let list = answer["recommendations"].as_array().unwrap();
        assert_eq!(list.len(), 15, "{answer:#}");
        for item in list {
            let parts = item["explanation"]["sources"].as_array().unwrap();
            let names: Vec<&str> = parts.iter().map(|part| part["model"].as_str().unwrap()).collect();
            assert_eq!(names, sources, "{item:#}");
            let sum: f64 = parts.iter().map(|part| number(part, "contribution")).sum();
            assert!((sum - number(item, "score")).abs() < 1e-4, "{item:#}");
            assert!(parts.iter().all(|part| (0.0..=1.0).contains(&number(part, "level"))), "{item:#}");
        }
        let scores: Vec<f64> = list.iter().map(|item| number(item, "score")).collect();
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let ids = |answer: &Value| -> Vec<i64> {
            let list = answer["recommendations"].as_array().unwrap();
            list.iter().map(|item| item["movie_id"].as_i64().unwrap()).collect()
        };
        let diverse = http.get(&format!("{path}&diversity=0.7")).await.ok();
        assert_eq!(ids(&diverse).len(), 15);
        differs |= ids(&diverse) != ids(&answer);
        for item in ITEMS {
            let body = json!({"user_id": user, "movie_id": item});
            let predicted = http.post("/recommendations/predict?model=hybrid", body).await.ok();
            assert!((0.5..=5.0).contains(&number(&predicted, "predicted_rating")), "{predicted:#}");
            rated += usize::from(predicted["source"] == "model");
        }
    }
    assert!(differs, "items are alike by something");
    let predicts = sources.iter().any(|source| ["als", "item_cf"].contains(source));
    assert_eq!(rated > 0, predicts);
    let items = ITEMS.map(|item| json!({"movie_id": item, "rating": 4.5}));
    let session = http
        .post("/recommendations/recommend?model=hybrid&n=10&explain=true", json!({ "items": items }))
        .await;
    let session = session.ok();
    assert_eq!(session["recommendations"].as_array().unwrap().len(), 10, "{session:#}");
    assert_eq!(session["source"], "model", "{session:#}");
    for item in ITEMS {
        let similar = http.get(&format!("/recommendations/similar/{item}?model=hybrid&n=5")).await.ok();
        assert!(!similar["similar_movies"].as_array().unwrap().is_empty(), "{similar:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hybrid_blends_whatever_there_is_and_says_what_and_why() {
    let folder = folder();
    let cluster = start(&generate(folder.path(), SMALL)).await;
    let nothing = cluster.shoal(&["train", "--models", "hybrid", "--dataset", "one"]).exits_with(3);
    nothing.says(&["no version to blend", "train one of als, item_cf, content, ease"]);

    // Without factors: nobody has a row of theirs, and neighbours say it all.
    let outcomes = trained(&cluster, &["--dataset", "one", "--models", "item_cf,content,hybrid"]);
    let blended = outcomes[2]["blended"].as_array().unwrap();
    assert_eq!(blended[0]["version"], Value::Null, "{blended:#?}");
    assert!(blended[0]["because"].as_str().unwrap().contains("no version of it"), "{blended:#?}");
    assert_eq!(
        (&blended[1]["version"], &blended[1]["because"]),
        (&outcomes[0]["model_version"], &"trained in this run".into())
    );
    let neighbours_alone = promoted(&cluster, &outcomes[2]);
    answers_everything(&cluster, &["item_cf", "content", "popularity"]).await;
    let path = "/recommendations/recommend/1?model=hybrid&n=10&rank_by=rating&complete=true";
    let by_rating = cluster.http().get(path).await.ok();
    for item in by_rating["recommendations"].as_array().unwrap() {
        assert!((number(item, "score").clamp(0.5, 5.0) - number(item, "predicted_rating")).abs() < 1e-4);
    }
    assert_eq!((&by_rating["ranked_by"], &by_rating["source"]), (&"rating".into(), &"model".into()));

    // With factors that predict no ratings, and neighbours that predict none either.
    let implicit =
        ["--dataset", "other", "--models", "als,content,hybrid", "--objective", "implicit", "--rank", "8"];
    let outcomes = trained(&cluster, &implicit);
    assert!(outcomes[2]["evaluation"]["rating"].is_null(), "{:#}", outcomes[2]);
    promoted(&cluster, &outcomes[2]);
    cluster
        .wait_for("the other is live", |status| {
            let served =
                status["models"].as_array().unwrap().iter().find(|served| served["model"] == "hybrid");
            served.is_some_and(|served| served["live_version"] != neighbours_alone.as_str())
        })
        .await;
    let http = cluster.http();
    let refused = http.get(path).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.json().to_string().contains("predicts no ratings"), "{refused:?}");
    let user = http.get("/recommendations/recommend/1?model=hybrid&n=10&explain=true").await.ok();
    let sources = user["recommendations"][0]["explanation"]["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 3, "{user:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_trained_otherwise_is_blended_and_said_to_be() {
    let folder = folder();
    let cluster = start(&generate(folder.path(), SMALL)).await;
    let one = ["--dataset", "one"];
    trained(&cluster, &[&one[..], &["--models", "als,content", "--rank", "8"]].concat());
    let odd = trained(&cluster, &[&one[..], &["--models", "als", "--rank", "4"]].concat());
    let odd = odd[0]["model_version"].as_str().unwrap();
    // The split of another seed is another split.
    trained(&cluster, &[&one[..], &["--models", "als", "--seed", "7", "--rank", "8"]].concat());
    let said = cluster.shoal(&["train", "--models", "hybrid", "--dataset", "one", "--weights", "3,0.5,0.5"]);
    let said = said.exits_with(0).stdout;
    let line = said.lines().find(|line| line.contains(odd)).unwrap_or_else(|| panic!("{said}"));
    for part in ["The hybrid blends", "it is the newest", "would train it otherwise", "rank 4 instead of 32"]
    {
        assert!(line.contains(part), "{part} in {said}");
    }
    assert!(said.contains("The hybrid blends no item_cf: there is no version"), "{said}");
    let trained = said.lines().find_map(|line| line.strip_prefix("Trained ")).unwrap();
    let version = trained.split(' ').next().unwrap();
    let shown = cluster.shoal(&["models", "show", version]).exits_with(0).stdout;
    for part in ["als 0.750", "content_based 0.125", "popularity 0.125", "(given)", odd] {
        assert!(shown.contains(part), "{part} in {shown}");
    }

    let train = ["train", "--models", "hybrid", "--dataset", "one", "--weights"];
    let refused = cluster.shoal(&[&train[..], &["1,2,3,4"]].concat()).exits_with(2);
    refused.says(&["4 numbers for 3 sources", "als, content, popularity in this order"]);
    let refused = cluster.shoal(&[&train[..], &["als=1,item_cf=1"]].concat()).exits_with(2);
    refused.says(&["names item_cf, which is not blended"]);
}
