//! `shoal simulate` against a real cluster, and against services that answer wrongly or not at all.

use std::{collections::BTreeSet, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Finished, Running, Shared, folder, service, shared, shoal};

/// What a simulation left in its folder: the lines, the figures.
fn files(folder: &Path) -> (Vec<Value>, Value) {
    let mut names: Vec<_> =
        std::fs::read_dir(folder.join("logs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let [figures, lines] = &names[..] else { panic!("two files: {names:?}") };
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    assert_eq!(stem(figures), stem(lines));
    let stamp = stem(lines);
    let stamp = stamp.strip_prefix("traffic_simulation_").unwrap();
    assert!(stamp.len() == 15 && stamp.as_bytes()[8] == b'_', "{stamp}");
    assert_eq!(
        (lines.extension().unwrap(), figures.extension().unwrap()),
        ("jsonl".as_ref(), "json".as_ref())
    );
    let lines = std::fs::read_to_string(lines).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, serde_json::from_str(&std::fs::read_to_string(figures).unwrap()).unwrap())
}

fn simulate(folder: &Path, arguments: &[&str]) -> Finished {
    let logs = folder.join("logs");
    shoal(&[&["simulate", "--logs", logs.to_str().unwrap()], arguments].concat())
}

/// The shared cluster's answers are right, but how quickly a busy machine gives them says nothing.
fn finished(ended: Finished) -> Finished {
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:#?}");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_a_cluster_passes_and_both_files_say_so() {
    let Shared { cluster, version, oracle, .. } = shared().await;
    let (folder, dir) = (folder(), cluster.dir().to_str().unwrap());
    let report = folder.path().join("out.html");
    let flags = ["--rate", "100", "--duration", "3", "--timeout", "60", "--dir", dir, "--json", "--report"];
    let ended = finished(simulate(folder.path(), &[&flags[..], &[report.to_str().unwrap()]].concat()));
    let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
    let (lines, figures) = files(folder.path());

    assert_eq!(
        (&figures["requests"]["total"], &figures["requests"]["successful"]),
        (&300.into(), &300.into())
    );
    assert_eq!(
        (&figures["requests"]["success_rate"], &figures["errors"]),
        (&100.0.into(), &serde_json::json!({}))
    );
    assert_eq!(
        (&figures["configuration"]["rate"], &figures["configuration"]["duration"]),
        (&100.0.into(), &3.0.into())
    );
    for part in ["configuration", "execution", "requests", "latency", "errors"] {
        assert_eq!(printed[part], figures[part]);
    }
    assert_eq!(printed["answers"]["versions"], serde_json::json!({ version.as_str(): 300 }));
    let sources = &printed["answers"]["sources"];
    assert!(
        sources["model"].as_u64() > Some(20) && sources["fallback_popular"].as_u64() > Some(20),
        "{sources}"
    );
    let met = |name: &str| {
        let objectives = printed["objectives"].as_array().unwrap();
        objectives.iter().find(|objective| objective["name"] == name).unwrap()["met"].clone()
    };
    assert_eq!(met("success > 99 %"), true);
    let all = printed["objectives"].as_array().unwrap().iter().all(|objective| objective["met"] == true);
    assert_eq!(ended.code, Some(i32::from(!all)));

    assert_eq!(lines.len(), 300);
    assert!(
        lines.iter().all(|line| line["response"]["success"] == true && line["response"]["status"] == 200)
    );
    let users: BTreeSet<i64> = oracle.users().iter().copied().collect();
    let of = |endpoint: &str| {
        let path = format!("/recommendations/{endpoint}");
        lines.iter().filter(move |line| line["request"]["endpoint"].as_str().unwrap().starts_with(&path))
    };
    let known = of("recommend").filter(|line| users.contains(&line["request"]["user_id"].as_i64().unwrap()));
    let share = known.count() as f64 / of("recommend").count() as f64;
    assert!((0.7..0.9).contains(&share), "{share} of the users are known");
    assert!(of("similar").count() > 10 && of("predict").count() > 10);
    let page = std::fs::read_to_string(report).unwrap();
    assert!(page.contains("<svg") && page.contains(version.as_str()), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_seed_asks_the_same_twice_and_users_may_come_from_anywhere() {
    let Shared { cluster, oracle, data, .. } = shared().await;
    let url = cluster.url();
    let ids = folder();
    let listed = ids.path().join("ids.txt");
    std::fs::write(&listed, "3\n5\n\n8\n").unwrap();
    let common =
        ["--rate", "40", "--duration", "1", "--url", url, "--timeout", "60", "--json", "--unknown", "0"];
    let asked = |flags: &[&str]| -> Vec<String> {
        let folder = folder();
        finished(simulate(folder.path(), &[&common[..], flags].concat()));
        let (lines, figures) = files(folder.path());
        assert_eq!(figures["requests"]["successful"], 40, "{figures:#}");
        // Answers come in any order.
        let mut asked: Vec<String> = lines.iter().map(|line| line["request"].to_string()).collect();
        asked.sort_unstable();
        asked
    };
    let data = data.to_str().unwrap();
    let first = asked(&["--data", data]);
    assert_eq!(first, asked(&["--data", data]));
    assert_ne!(first, asked(&["--data", data, "--seed", "43"]));

    let users = |asked: Vec<String>| -> BTreeSet<i64> {
        let asked = asked.iter().map(|request| serde_json::from_str::<Value>(request).unwrap());
        asked.filter_map(|request| request["user_id"].as_i64()).collect()
    };
    let recommend = ["--mix", "recommend=1", "--popularity", "uniform", "--arrivals", "constant"];
    let of_file = users(asked(&[&recommend[..], &["--users", listed.to_str().unwrap()]].concat()));
    assert_eq!(of_file, BTreeSet::from([3, 5, 8]));
    let of_service = users(asked(&recommend));
    assert!(of_service.len() > 10 && of_service.iter().all(|user| oracle.users().contains(user)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_products_own_face_is_asked_and_checked_too() {
    let Shared { cluster, .. } = shared().await;
    let (folder, dir) = (folder(), cluster.dir().to_str().unwrap());
    let flags = ["--rate", "50", "--duration", "2", "--timeout", "60", "--dir", dir, "--json", "--api", "v1"];
    finished(simulate(folder.path(), &flags));
    let (lines, figures) = files(folder.path());
    assert_eq!(figures["requests"]["successful"], 100, "{figures:#}");
    let of = |end: &str| {
        let asked = |line: &&Value| {
            let endpoint = line["request"]["endpoint"].as_str().unwrap();
            endpoint.starts_with("/v1/") && endpoint.ends_with(end)
        };
        lines.iter().filter(asked).count()
    };
    let [lists, similar, predicted] = ["/recommendations", "/similar", "/predictions"].map(of);
    assert!(lists > 50 && similar > 2 && predicted > 2 && lists + similar + predicted == 100, "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_still_writes_the_files() {
    let Shared { cluster, .. } = shared().await;
    let (folder, dir) = (folder(), cluster.dir().to_str().unwrap());
    let logs = folder.path().join("logs");
    let flags =
        ["simulate", "--rate", "50", "--duration", "600", "--dir", dir, "--logs", logs.to_str().unwrap()];
    let mut running = Running::start(folder.path(), &flags);
    let some_lines = || {
        let path = std::fs::read_dir(&logs).ok()?.next()?.ok()?.path();
        (std::fs::metadata(path).ok()?.len() > 0).then_some(())
    };
    crate::support::eventually("lines are written", some_lines).await;
    running.send(Signal::INT);
    assert_eq!(running.ends().await.code(), Some(130));
    let (lines, figures) = files(folder.path());
    let total = figures["requests"]["total"].as_u64().unwrap();
    assert_eq!(lines.len() as u64, total);
    assert!((1..30_000).contains(&total), "{figures:#}");
    assert!(running.stdout().contains("OBJECTIVE"), "{}", running.stdout());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_answers_and_refusals_are_failures_of_their_kind() {
    let health = r#"{"status":"healthy","model_loaded":true,"model_version":"v1"}"#;
    let list = |ids: [i64; 2], scores: [f64; 2]| {
        serde_json::json!({
            "user_id": 7, "model_version": "v1", "source": "model",
            "recommendations": [
                {"movie_id": ids[0], "score": scores[0], "rank": 1},
                {"movie_id": ids[1], "score": scores[1], "rank": 2},
            ],
        })
    };
    for (body, status, error) in [
        (list([1, 2], [0.9, 0.8]), 200, None),
        (list([1, 2], [0.8, 0.9]), 200, Some("answer: scores out of order")),
        (list([1, 1], [0.9, 0.8]), 200, Some("answer: an item twice")),
        (list([1, 31], [0.9, 0.8]), 200, Some("answer: a seen item")),
        (serde_json::json!({}), 200, Some("answer: no 'model_version'")),
        (serde_json::json!({"detail": "too many"}), 429, Some("status 429")),
    ] {
        let data = folder();
        std::fs::write(data.path().join("ratings.csv"), "userId,movieId,rating,timestamp\n7,31,4.0,1\n")
            .unwrap();
        let url = service(move |path: &str| match path {
            "/recommendations/health" => (200, health.to_owned()),
            _ => (status, body.to_string()),
        })
        .await;
        let folder = folder();
        let flags = ["--rate", "20", "--duration", "1", "-n", "2", "--mix", "recommend=1", "--unknown", "0"];
        let more = ["--url", &url, "--data", data.path().to_str().unwrap(), "--timeout", "60"];
        let ended = finished(simulate(folder.path(), &[&flags[..], &more].concat()));
        let (lines, figures) = files(folder.path());
        let errors = figures["errors"].as_object().unwrap();
        assert_eq!(lines.len(), 20);
        match error {
            None => assert!(errors.is_empty(), "{figures:#}"),
            Some(error) => {
                assert_eq!(ended.code, Some(1), "{ended:#?}");
                assert_eq!(errors[error], 20, "{figures:#}");
                assert!(ended.stdout.contains(error) && ended.stdout.contains("MISSED"), "{ended:#?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_said_before_anything_is_written() {
    let folder = folder();
    let refused = |url: &str, more: &[&str]| {
        simulate(folder.path(), &[&["--url", url][..], more].concat()).exits_with(4)
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    drop(taken);
    refused(&format!("http://{address}"), &[]).says(&[&address, "is the cluster running?"]);
    let empty = service(|_: &str| (200, r#"{"status":"no_model","model_loaded":false}"#.to_owned())).await;
    refused(&empty, &[]).says(&["no model is live", "shoal train --promote"]);
    let strange = service(|path: &str| match path {
        "/recommendations/health" => (200, r#"{"status":"healthy"}"#.to_owned()),
        _ => (404, r#"{"detail":"no such route"}"#.to_owned()),
    })
    .await;
    let finished = simulate(folder.path(), &["--url", &strange]).exits_with(1);
    finished.says(&["cannot be asked whom it knows", "--users"]);
    assert!(simulate(folder.path(), &["--mix", "taste=1"]).exits_with(2).stderr.contains("'taste'"));
    assert!(!folder.path().join("logs").exists());
}
