//! The contract of `/recommendations/…` to the byte: what clients are answered who were written against it. The golden
//! file was made by the last build that had no other face.

use reqwest::Method;
use shoal_common::ids::IdKind;
use shoal_proto::v1::{Metadata, ServedModel};

use crate::fixture::{Answer, Cluster, Setup, V1, V2};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/recommendations.txt");

const SESSION: &str =
    r#"{"items":[{"movie_id":40,"rating":4.5},{"movie_id":"7"},{"movie_id":99999,"rating":1}]}"#;

/// Method, path and query below `/recommendations`, and body.
const REQUESTS: &[(Method, &str, &str)] = &[
    (Method::GET, "/recommend/1", ""),
    (Method::GET, "/recommend/1?n=3&rank_by=rating&use_cache=false", ""),
    (Method::GET, "/recommend/1?n=2&explain=true", ""),
    (Method::GET, "/recommend/1?n=2&explain=true&rank_by=rating", ""),
    (Method::GET, "/recommend/1?n=4&diversity=0.5&genres=comedy,Western&exclude_genres=nothing", ""),
    (Method::GET, "/recommend/1?n=2&model=item_cf&explain=true", ""),
    (Method::GET, "/recommend?user_id=1&n=1", ""),
    (Method::GET, "/recommend/7?n=2", ""),
    (Method::GET, "/recommend/99999?n=2&year_min=1990", ""),
    (Method::POST, "/recommend?n=2", SESSION),
    (Method::POST, "/recommend?n=2&model=item_cf&explain=true", SESSION),
    (Method::POST, "/batch?n=2", r#"{"user_ids":[1,"2",99999]}"#),
    (Method::POST, "/batch?n=1&model=item_cf&genres=none", r#"{"user_ids":[3]}"#),
    (Method::GET, "/popular?n=2", ""),
    (Method::GET, "/popular?n=2&order=trending&genre=Comedy", ""),
    (Method::GET, "/popular?n=2&order=latest&genre=Western", ""),
    (Method::GET, "/popular?n=2&window=7d", ""),
    (Method::GET, "/similar/5?n=2", ""),
    (Method::GET, "/similar/5?n=2&model=item_cf", ""),
    (Method::GET, "/similar?movie_id=5&n=1", ""),
    (Method::POST, "/predict", r#"{"user_id":2,"movie_id":33}"#),
    (Method::POST, "/predict?model=item_cf", r#"{"user_id":"2","movie_id":"33"}"#),
    (Method::GET, "/health", ""),
    (Method::GET, "/recommend/1?n=0", ""),
    (Method::GET, "/recommend/1?n=many", ""),
    (Method::GET, "/recommend/1?movies=3", ""),
    (Method::GET, "/recommend/1?model=spark", ""),
    (Method::GET, "/recommend/1?model=", ""),
    (Method::GET, "/recommend/1?model=hybrid", ""),
    (Method::GET, "/recommend/1?rank_by=age", ""),
    (Method::GET, "/recommend/1?complete=perhaps", ""),
    (Method::GET, "/recommend/1?diversity=2", ""),
    (Method::GET, "/recommend/1?year_min=2000&year_max=1990", ""),
    (Method::GET, "/recommend/1?genres=%22Comedy", ""),
    (Method::GET, "/recommend/1?exclude_ids=one", ""),
    (Method::GET, "/recommend/1?cursor=x", ""),
    (Method::GET, "/recommend/1?cursor=10-0000000000000000-als_model_v1", ""),
    (Method::GET, "/recommend/1?cursor=10-0000000000000000-als_model_v0", ""),
    (Method::GET, "/recommend/1?timeout_ms=0", ""),
    (Method::GET, "/recommend/one", ""),
    (Method::GET, "/recommend?n=3", ""),
    (Method::GET, "/recommend/1/2", ""),
    (Method::DELETE, "/recommend/1", ""),
    (Method::POST, "/recommend", "{"),
    (Method::POST, "/recommend", "[]"),
    (Method::POST, "/recommend", r#"{"items":[]}"#),
    (Method::POST, "/recommend", r#"{"items":[5]}"#),
    (Method::POST, "/recommend", r#"{"items":[{"rating":5}]}"#),
    (Method::POST, "/recommend", r#"{"items":[{"movie_id":1,"rating":"5"}]}"#),
    (Method::POST, "/recommend", r#"{"items":[{"movie_id":1,"rating":5.5}]}"#),
    (Method::POST, "/recommend", r#"{"items":[{"movie_id":1},{"movie_id":"1"}]}"#),
    (Method::POST, "/recommend", r#"{"items":[{"movie_id":"x"}]}"#),
    (Method::POST, "/recommend?model=item_cf&rank_by=rating", r#"{"items":[{"movie_id":1}]}"#),
    (Method::POST, "/batch?explain=true", r#"{"user_ids":[1]}"#),
    (Method::POST, "/batch", r#"{"user_ids":[]}"#),
    (Method::POST, "/batch", r#"{"user_ids":["x"]}"#),
    (Method::GET, "/popular?order=worst", ""),
    (Method::GET, "/popular?window=0d", ""),
    (Method::GET, "/popular?window=week", ""),
    (Method::GET, "/popular?order=latest&window=7d", ""),
    (Method::GET, "/similar/99999", ""),
    (Method::GET, "/similar/tt0114709", ""),
    (Method::GET, "/similar/5?n=51", ""),
    (Method::GET, "/similar", ""),
    (Method::POST, "/predict", r#"{"user_id":1}"#),
    (Method::POST, "/predict", r#"{"user_id":1,"movie_id":1,"n":3}"#),
    (Method::POST, "/predict", r#"{"user_id":1,"movie_id":99999}"#),
    (Method::POST, "/predict", r#"{"user_id":99999,"movie_id":1}"#),
    (Method::POST, "/predict", r#"{"user_id":1,"movie_id":1.5}"#),
    (Method::POST, "/predict", "[]"),
    (Method::GET, "/predict", ""),
    (Method::GET, "/health?verbose=1", ""),
];

/// V1 of ALS is the default, V2 is item CF.
fn two_models(metadata: &mut Metadata) {
    metadata.versions[1].model = "item_cf".into();
    let served = |model: &str, live: &str| ServedModel {
        model: model.into(),
        live_version: live.into(),
        ..ServedModel::default()
    };
    metadata.served = vec![served("als", V1), served("item_cf", V2)];
    metadata.default_model = "als".into();
    V1.clone_into(&mut metadata.live_version);
}

/// The answer as the golden file has it: what the clock says is left out.
fn written(method: &Method, path: &str, body: &str, answer: &Answer) -> String {
    let mut text = answer.text.clone();
    if let Some((before, rest)) = answer.text.split_once(r#""timestamp":""#) {
        let after = rest.split_once('"').unwrap().1;
        text = format!(r#"{before}"timestamp":"…"{after}"#);
    }
    format!("{method} {path} {body}\n{}\n{text}\n\n", answer.status)
}

#[tokio::test]
async fn answers_and_refusals_are_what_they_were_to_the_byte() {
    let cluster = Cluster::start(Setup::default()).await;
    cluster.publish(two_models);
    cluster.router.healthy("two models", |health| health["status"] == "healthy").await;
    let has_both = async {
        while cluster.router.get("/recommendations/similar/1?model=item_cf").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::fixture::PATIENCE, has_both).await.expect("both models answer");
    let mut found = String::new();
    for (method, path, body) in REQUESTS {
        let whole = format!("/recommendations{path}");
        let body_sent = Some(*body).filter(|body| !body.is_empty());
        let answer = cluster.router.send(method.clone(), &whole, body_sent).await;
        found.push_str(&written(method, &whole, body, &answer));
    }
    // Ids that are texts.
    let texts = Cluster::start(Setup { kind: IdKind::Text, ..Setup::default() }).await;
    for path in ["recommend/user%20%234%2F%C3%A9?n=1", "similar/item%20%239%2F%C3%A9?n=1", "similar/nothing"]
    {
        let whole = format!("/recommendations/{path}");
        found.push_str(&written(&Method::GET, &whole, "", &texts.router.get(&whole).await));
    }
    let expected = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    let differs = found.split("\n\n").zip(expected.split("\n\n").chain(std::iter::repeat("")));
    for (found, expected) in differs {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}
