//! `shoal quickstart` from the first start to Ctrl-C, and what it says when it cannot start.

use std::{net::TcpListener, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Finished, Http, Running, eventually, folder, processes_of, shoal};

/// Small settings: the whole road, as quick as it can be.
const SMALL: [&str; 6] = ["--rank", "8", "--iterations", "3", "--http", "127.0.0.1:0"];

fn arguments<'a>(dir: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["quickstart", "--dir", dir.to_str().unwrap()], more].concat()
}

/// The one object on standard output, once it is there.
fn report(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn assert_nothing_runs(dir: &Path) {
    assert_eq!(processes_of(dir), []);
}

#[track_caller]
fn check_report(report: &Value) {
    let dataset = &report["dataset"];
    assert_eq!(
        [&dataset["users"], &dataset["items"], &dataset["ratings"]].map(Value::as_u64),
        [Some(2_000), Some(1_200), Some(120_000)]
    );
    assert!(report["version"].as_str().unwrap().starts_with("als_model_v1_"), "{report:#}");
    let rmse = report["metrics"]["rating"]["rmse"].as_f64().unwrap();
    assert!(rmse > 0.3 && rmse < 1.2, "{report:#}");
    assert!(report["metrics"]["ranking"]["ndcg_at_20"].as_f64().unwrap() > 0.0, "{report:#}");
    let models = report["models"].as_array().unwrap();
    let named: Vec<&str> = models.iter().map(|model| model["model"].as_str().unwrap()).collect();
    assert_eq!(named, ["als", "item_cf", "content_based", "ease", "hybrid"]);
    assert!(models.iter().all(|model| model["evaluation"]["lists"]["ndcg_at_20"].as_f64() > Some(0.0)));
    let answer = &report["sample_answer"];
    assert_eq!(answer["source"], "model");
    assert_eq!(answer["model_version"], report["version"]);
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.len(), 10);
    assert!(items.iter().all(|item| !item["title"].as_str().unwrap().is_empty()), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_serves_what_the_first_has_trained() {
    let folder = folder();
    let dir = folder.path().join("cluster");
    let first = shoal(&arguments(&dir, &[&SMALL[..], &["--exit", "--json"]].concat()));
    let first_report = first.json();
    assert_eq!(first.stderr, "", "JSON is all there is to read");
    assert_nothing_runs(&dir);
    check_report(&first_report);
    let stages = names(&first_report["seconds"]);
    let expected = "answer content ease generate hybrid import item_cf promote start total train";
    assert_eq!(stages.join(" "), expected);

    let mut second = Running::start(folder.path(), &arguments(&dir, &[&SMALL[..], &["--json"]].concat()));
    let second_report = second.prints("the second report", report).await;
    check_report(&second_report);
    for part in ["version", "dataset", "metrics", "models"] {
        assert_eq!(second_report[part], first_report[part]);
    }
    assert_eq!(second_report["sample_answer"]["items"], first_report["sample_answer"]["items"]);
    assert_eq!(names(&second_report["seconds"]), ["answer", "start", "total"], "nothing is done twice");
    // Three coordinators, three workers, a router, and the one that started them.
    assert_eq!(processes_of(&dir).len(), 8);
    let http = Http::new(second_report["http"].as_str().unwrap());
    let health = http.get("/recommendations/health").await.ok();
    assert_eq!(
        [&health["status"], &health["model_version"]],
        ["healthy", second_report["version"].as_str().unwrap()]
    );

    for model in ["als", "item_cf", "content", "ease", "hybrid"] {
        let path = format!("/recommendations/recommend/1?model={model}");
        let answer = http.get(&path).await.ok();
        assert_eq!(
            (&answer["source"], &answer["recommendations"][0]["model"]),
            (&"model".into(), &model.into())
        );
    }

    // Another start in the same folder is told who has it, and disturbs nobody.
    let third = shoal(&arguments(&dir, &SMALL)).exits_with(1);
    third.says(&["is in use by another shoal", &second.pid().as_raw_nonzero().to_string(), "--dir"]);
    http.get("/recommendations/recommend/1").await.ok();

    second.send(Signal::INT);
    assert_eq!(second.ends().await.code(), Some(0), "Ctrl-C is how it is meant to end");
    assert_eq!(second.stderr(), "", "every child has left by itself");
    assert_nothing_runs(&dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_in_the_middle_stops_everything_and_the_next_start_goes_on() {
    let folder = folder();
    let dir = folder.path().join("cluster");
    let sweeps = ["--rank", "32", "--iterations", "40", "--http", "127.0.0.1:0", "--json"];
    let mut begun = Running::start(folder.path(), &arguments(&dir, &sweeps));
    let job = eventually("a sweep is committed", || {
        let jobs = shoal(&["jobs", "list", "--json", "--dir", dir.to_str().unwrap()]);
        let jobs = if jobs.code == Some(0) { jobs.json() } else { Value::Null };
        let trains = |job: &&Value| job["kind"] == "training" && job["committed_sweeps"].as_u64() > Some(0);
        jobs.as_array().and_then(|jobs| jobs.iter().find(trains)).cloned()
    });
    let job = job.await;
    assert_eq!(job["state"], "running", "the job is long enough to be caught in the middle");
    begun.send(Signal::INT);
    assert_eq!(begun.ends().await.code(), Some(130));
    assert_eq!(begun.stdout(), "", "what was not finished is not reported");
    assert_nothing_runs(&dir);

    let resumed = shoal(&arguments(&dir, &[&sweeps[..], &["--exit"]].concat())).json();
    check_report(&resumed);
    assert!(!names(&resumed["seconds"]).contains(&"import"), "{resumed:#}");
    assert_nothing_runs(&dir);
}

/// A start that is refused: within the folder nothing is left, not even the cluster's own folder.
#[track_caller]
fn refused(arguments_of: &[&str], code: i32) -> Finished {
    let folder = folder();
    let dir = folder.path().join("cluster");
    let finished = shoal(&arguments(&dir, arguments_of)).exits_with(code);
    assert_eq!(finished.stdout, "");
    assert!(!dir.exists(), "{finished:#?}");
    assert_nothing_runs(&dir);
    finished
}

#[test]
fn a_taken_port_is_said_and_nothing_is_left() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&["--http", &address], 1).says(&[&address, "--http", "in use"]);
}

#[test]
fn data_that_cannot_be_used_is_said_before_anything_is_started() {
    refused(&["--data", "/no/such/folder"], 3).says(&["/no/such/folder", "give a folder or a ratings file"]);
    let empty = folder();
    let path = empty.path().to_str().unwrap();
    refused(&["--data", path], 3).says(&[path, "no ratings were found", "ratings.csv"]);
    std::fs::write(empty.path().join("ratings.csv"), "user,film,stars\n1,2,3\n").unwrap();
    refused(&["--data", path], 3).says(&["ratings.csv", "--item-col COLUMN", "user, film, stars"]);
}

#[test]
fn flags_that_make_no_sense_are_named() {
    for (flags, part) in [
        (["--iterashuns", "3"], "--iterashuns"),
        (["--rank", "0"], "--rank"),
        (["--test-ratio", "1"], "--test-ratio"),
        (["--coordinators", "2"], "1, 3 or 5 coordinators"),
        (["--workers", "0"], "at least one worker"),
        (["--set", "nonsense"], "section.key=value"),
        (["--set", "worker.nonsense=1"], "`nonsense`"),
        (["--set", "coordinator.replicas=0"], "from 1 to 16"),
        (["--http", "localhost"], "--http"),
    ] {
        let finished = refused(&flags, 2);
        assert!(finished.stderr.contains(part), "{finished:#?}");
    }
}
