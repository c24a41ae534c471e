//! What the models answer once they are promoted, against a brute force over their files, with all workers and
//! with one of them killed.

use serde_json::{Value, json};

use crate::support::{Cluster, Http, Models, SMALL, Shape, Verdict, folder, generate, real_data};

const MODELS: [&str; 5] = ["als", "item_cf", "content", "hybrid", "ease"];
/// About so many users and items are asked for.
const USERS: usize = 6;
const ITEMS: usize = 6;

/// A question to every model, and how its answer is checked.
struct Asked<'a> {
    http: &'a Http,
    models: &'a Models,
}

#[track_caller]
fn right(verdict: Verdict, answer: &Value) {
    if let Err(reason) = verdict {
        panic!("{reason}: {answer:#}");
    }
}

/// An answer without its time.
fn timeless(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().remove("timestamp");
    answer
}

fn some(all: &[i64], count: usize) -> impl Iterator<Item = i64> + '_ {
    all.iter().copied().step_by((all.len() / count).max(1))
}

impl Asked<'_> {
    /// Asks everything and returns the answers, checked unless it is enough to compare them.
    async fn everything(&self, checked: bool) -> Vec<Value> {
        let right = |verdict: &dyn Fn() -> Verdict, answer: &Value| {
            if checked {
                right(verdict(), answer);
            }
        };
        let mut answers = Vec::new();
        let (users, items) = (self.models.users(), self.models.items());
        for model in MODELS {
            for user in some(&users, USERS) {
                let path = format!(
                    "/recommendations/recommend/{user}?n=30&model={model}&use_cache=false&complete=true"
                );
                let answer = self.http.get(&path).await.ok();
                right(&|| self.models.check_recommended(model, &answer, user, 30), &answer);
                answers.push(timeless(answer));
                let query =
                    format!("n=20&model={model}&rank_by=rating&explain=true&use_cache=false&complete=true");
                let answer = self.http.get(&format!("/recommendations/recommend/{user}?{query}")).await.ok();
                right(&|| self.models.check_rated(model, &answer, user, 20), &answer);
                answers.push(timeless(answer));
                for item in some(&items, ITEMS) {
                    let body = json!({"user_id": user, "movie_id": item});
                    let path = format!("/recommendations/predict?model={model}");
                    let answer = self.http.post(&path, body).await.ok();
                    right(&|| self.models.check_predicted(model, &answer, user, item), &answer);
                    answers.push(timeless(answer));
                }
            }
        }
        for model in ["als", "item_cf", "content", "ease"] {
            for user in some(&users, USERS) {
                let query = format!("n=10&model={model}&diversity=0.4&use_cache=false&complete=true");
                let answer = self.http.get(&format!("/recommendations/recommend/{user}?{query}")).await.ok();
                right(&|| self.models.check_diverse(model, &answer, user, 10, 0.4), &answer);
                answers.push(timeless(answer));
            }
        }
        for item in some(&items, ITEMS) {
            let path = format!("/recommendations/similar/{item}?n=40&model=hybrid&complete=true");
            let answer = self.http.get(&path).await.ok();
            right(&|| self.models.check_alike(&answer, item, 40), &answer);
            answers.push(timeless(answer));
            let path = format!("/recommendations/similar/{item}?n=40&model=ease&complete=true");
            let answer = self.http.get(&path).await.ok();
            right(&|| self.models.check_weighty(&answer, item, 40), &answer);
            answers.push(timeless(answer));
        }
        answers
    }
}

/// Every model's version, trained and promoted.
fn promoted(cluster: &Cluster) -> [String; 5] {
    let weights = "als=.4,item_cf=.2,content=.1,ease=.2,popularity=.1";
    let flags = ["--rank", "8", "--iterations", "3", "--min-common-users", "2", "--weights", weights];
    let report = cluster.shoal(&[&["train", "--json"], &flags[..]].concat()).json();
    let name = |model: usize| report["models"][model]["model_version"].as_str().unwrap().to_owned();
    // In the order of training, but EASE, which comes before the hybrid.
    let versions = [0, 1, 2, 4, 3].map(name);
    for version in &versions {
        cluster.shoal(&["models", "promote", version]).exits_with(0);
    }
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn every_model_answers_as_its_files_say_whichever_worker_is_lost() {
    let folder = folder();
    let data = real_data().unwrap_or_else(|| generate(folder.path(), SMALL));
    let settings = vec!["coordinator.replace_after_ms=600000".to_owned()];
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 3, settings }).await;
    cluster.import(&data, "items");
    let versions = promoted(&cluster);
    let models = Models::of(&cluster, &versions, &data);
    let http = cluster.http();
    let asked = Asked { http: &http, models: &models };
    let answers = asked.everything(true).await;

    // A blend is made of the versions that it names, whatever is served of their models meanwhile.
    let blended = |answers: &[Value]| -> Vec<Value> {
        answers.iter().filter(|answer| answer["model_version"] == versions[3].as_str()).cloned().collect()
    };
    for seed in ["2", "3"] {
        cluster.train(&["--seed", seed, "--promote"]);
    }
    let user = models.users()[0];
    let answer =
        http.get(&format!("/recommendations/recommend/{user}?n=30&model=hybrid&use_cache=false")).await.ok();
    assert_eq!(timeless(answer), blended(&answers)[0]);
    cluster.shoal(&["models", "promote", &versions[0]]).exits_with(0);

    let replicated = |status: &Value| status["shards"]["fully_replicated"] == status["shards"]["total"];
    cluster.wait_for("every shard has its replicas", replicated).await;
    cluster.hold_restarts();
    cluster.kill("worker-2").await;
    assert_eq!(asked.everything(false).await, answers);
    cluster.let_restart();
}
