//! The command line on a cluster that only answers: JSON for scripts, tables for people, exit codes, help.

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Running, Shared, folder, shared, shoal, shoal_in};

/// Every command with its subcommands.
const COMMANDS: [&[&str]; 26] = [
    &["quickstart"],
    &["up"],
    &["dataset", "generate"],
    &["dataset", "import"],
    &["dataset", "list"],
    &["dataset", "show"],
    &["train"],
    &["jobs", "list"],
    &["jobs", "show"],
    &["jobs", "cancel"],
    &["models", "list"],
    &["models", "show"],
    &["models", "promote"],
    &["models", "rollback"],
    &["models", "verify"],
    &["models", "export"],
    &["models", "import"],
    &["recommend"],
    &["similar"],
    &["predict"],
    &["items"],
    &["simulate"],
    &["status"],
    &["coordinator"],
    &["worker"],
    &["router"],
];

/// A name, a path and a reason may be anybody's: what they would make a terminal do is shown.
#[test]
fn what_others_write_is_shown_and_not_obeyed() {
    let folder = folder();
    let name = "\u{1b}]0;owned\u{7}\u{1b}[31m\u{202e}x\ny.csv";
    let path = folder.path().join(name);
    for arguments in
        [["worker", "--config", path.to_str().unwrap()], ["router", "--config", path.to_str().unwrap()]]
    {
        let refused = shoal(&arguments);
        assert_ne!(refused.code, Some(0), "{refused:#?}");
        let acts = |letter: char| letter.is_control() || ('\u{202a}'..='\u{202e}').contains(&letter);
        assert!(!refused.stderr.trim_end_matches('\n').contains(acts), "{refused:#?}");
        assert!(refused.stderr.contains("\\u{1b}]0;owned"), "{refused:#?}");
    }
}

#[test]
fn every_command_has_help_with_examples_of_itself() {
    for command in COMMANDS {
        let help = shoal(&[command, &["--help"]].concat()).exits_with(0).stdout;
        let example = format!("shoal {}", command.join(" "));
        let (_, examples) =
            help.split_once("Examples:").unwrap_or_else(|| panic!("{example} has no examples: {help}"));
        assert!(examples.contains(&example), "{examples}");
    }
    let help = shoal(&["--help"]).exits_with(0).stdout;
    for command in COMMANDS {
        assert!(help.contains(command[0]), "{help}");
    }
    assert!(help.contains("Exit codes:"), "{help}");
    assert!(shoal(&["--version"]).exits_with(0).stdout.starts_with("shoal "));
}

#[test]
fn short_help_is_a_page() {
    for command in COMMANDS {
        let help = shoal(&[command, &["-h"]].concat()).exits_with(0).stdout;
        let lines = help.lines().count();
        assert!(lines <= 72, "{lines} lines: {help}");
    }
}

#[test]
fn completions_are_made_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let script = shoal(&["completions", shell]).exits_with(0).stdout;
        for word in ["quickstart", "rollback", "coordinators"] {
            assert!(script.contains(word), "{shell} does not complete '{word}'");
        }
    }
    assert!(shoal(&["completions", "abacus"]).exits_with(2).stderr.contains("abacus"));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_nodes_shards_and_the_live_version() {
    let Shared { cluster, version, .. } = shared().await;
    let status = cluster.status();
    assert_eq!(status["live_version"], version.as_str());
    assert_eq!(status["previous_version"], Value::Null);
    let shards = &status["shards"];
    assert_eq!(
        [&shards["total"], &shards["served"], &shards["fully_replicated"]].map(Value::as_u64),
        [Some(32); 3]
    );
    let nodes = status["nodes"].as_array().unwrap();
    let names: Vec<&str> = nodes.iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["router-1", "worker-1", "worker-2", "worker-3"]);
    assert!(nodes.iter().all(|node| node["health"] == "up"), "{status:#}");
    assert_eq!(status["coordinators"].as_array().unwrap().len(), 1);

    let text = cluster.shoal(&["status"]).exits_with(0).stdout;
    for part in [version.as_str(), "32 of 32 served, 32 fully replicated", "leader", "worker-3", "router-1"] {
        assert!(text.contains(part), "'{part}' is missing: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_status_goes_on_until_ctrl_c() {
    let Shared { cluster, version, .. } = shared().await;
    let folder = folder();
    let dir = cluster.dir().to_str().unwrap();
    let mut watch = Running::start(folder.path(), &["status", "--watch", "--json", "--dir", dir]);
    let looks = watch.prints("two looks", |text| {
        let looks: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (looks.len() >= 2).then_some(looks)
    });
    assert!(looks.await.iter().all(|look| look["live_version"] == version.as_str()));
    watch.send(Signal::INT);
    assert_eq!(watch.ends().await.code(), Some(0));
}

/// As `shoal … 2>&1 | head` leaves a command: what would go on without an end ends, and no sentence is a panic.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_no_more_ends_a_watch_and_breaks_no_command() {
    let Shared { cluster, .. } = shared().await;
    let folder = folder();
    let dir = cluster.dir().to_str().unwrap();
    let nowhere = folder.path().join("nowhere").display().to_string();
    for (code, arguments) in [
        (0, ["status", "--watch", "--dir", dir].as_slice()),
        (0, &["status", "--watch", "--json", "--dir", dir]),
        (0, &["logs", "--follow", "--dir", dir]),
        (0, &["models", "list", "--dir", dir]),
        (4, &["status", "--dir", &nowhere]),
        (3, &["models", "show", "nothing", "--dir", dir]),
    ] {
        let ended = Running::start_unread(folder.path(), arguments).ends().await;
        assert_eq!(ended.code(), Some(code), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_single_things_agree_in_json_and_show_in_tables() {
    let Shared { cluster, version, data, .. } = shared().await;
    let only = |arguments: &[&str]| {
        let list = cluster.shoal(&[arguments, &["--json"]].concat()).json();
        assert_eq!(list.as_array().unwrap().len(), 1, "{list:#}");
        list[0].clone()
    };
    let dataset = only(&["dataset", "list"]);
    let name = format!("items@{}", dataset["version"].as_str().unwrap());
    for wanted in ["items", &name] {
        assert_eq!(cluster.shoal(&["dataset", "show", wanted, "--json"]).json(), dataset);
    }
    assert_eq!(Path::new(dataset["source_uri"].as_str().unwrap()), data.canonicalize().unwrap());
    let report = &dataset["report"];
    assert_eq!((&report["duplicates"], report["rejections"].as_array().unwrap().len()), (&0.into(), 0));

    let model = only(&["models", "list"]);
    assert_eq!(cluster.shoal(&["models", "show", version, "--json"]).json(), model);
    assert_eq!((&model["name"], &model["state"]), (&version.as_str().into(), &"live".into()));
    assert_eq!((&model["dataset"], &model["dataset_version"]), (&"items".into(), &dataset["version"]));

    let jobs = cluster.shoal(&["jobs", "list", "--json"]).json();
    let kinds: Vec<&str> = jobs.as_array().unwrap().iter().map(|job| job["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["import", "training"]);
    for job in jobs.as_array().unwrap() {
        let id = job["job_id"].as_str().unwrap();
        assert_eq!(cluster.shoal(&["jobs", "show", id, "--json"]).json(), *job);
        assert_eq!((&job["state"], &job["progress"]), (&"succeeded".into(), &1.0.into()));
        let text = cluster.shoal(&["jobs", "show", id]).exits_with(0).stdout;
        assert!(text.contains("succeeded") && text.contains("of items"), "{text}");
    }
    assert_eq!(jobs[1]["model_version"], version.as_str());
    assert_eq!(jobs[1]["committed_sweeps"], 3);

    let ratings = dataset["ratings"].as_u64().unwrap();
    for (arguments, parts) in [
        (["dataset", "list"].as_slice(), ["NAME", "items"]),
        (&["dataset", "show", "items"], ["16 per side", "0 rejected"]),
        (&["models", "list"], ["MODEL", version]),
        (&["models", "show", version], ["(live)", "rank 8, 3 sweeps"]),
        (&["jobs", "list"], ["100 %", version]),
    ] {
        let text = cluster.shoal(arguments).exits_with(0).stdout;
        for part in parts {
            assert!(text.contains(part), "'{part}' is missing: {text}");
        }
    }
    assert!(ratings > 9_000, "the twins are there too");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_from_the_terminal_are_those_of_the_api() {
    let Shared { cluster, oracle, version, .. } = shared().await;
    let http = cluster.http();
    let (user, item) = (oracle.users()[5], oracle.items()[60]);
    let (user_text, item_text) = (user.to_string(), item.to_string());

    let answer = cluster.shoal(&["recommend", &user_text, "-n", "5", "--json"]).json();
    let expected = http.get(&format!("/v1/users/{user}/recommendations?n=5")).await.ok();
    assert_eq!(answer["items"], expected["items"]);
    let table =
        cluster.shoal(&["recommend", &user_text, "-n", "5", "--rank-by", "rating"]).exits_with(0).stdout;
    let expected = http.get(&format!("/v1/users/{user}/recommendations?n=5&rank_by=rating")).await.ok();
    let titles = expected["items"].as_array().unwrap().iter().map(|hit| hit["title"].as_str().unwrap());
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert_eq!(rows.len(), 5, "{table}");
    assert!(rows.iter().zip(titles).all(|(row, title)| row.contains(title)), "{table}");
    assert!(table.contains(version.as_str()), "{table}");
    let diverse = cluster.shoal(&["recommend", &user_text, "-n", "5", "--diversity", "1", "--json"]).json();
    let expected = http.get(&format!("/v1/users/{user}/recommendations?n=5&diversity=1")).await.ok();
    assert_eq!(diverse["items"], expected["items"]);
    assert_ne!(diverse["items"], answer["items"]);

    let answer = cluster.shoal(&["similar", &item_text, "--json"]).json();
    let expected = http.get(&format!("/v1/items/{item}/similar")).await.ok();
    assert_eq!(answer["items"], expected["items"]);
    assert_eq!(cluster.shoal(&["similar", &item_text]).exits_with(0).stdout.lines().count(), 12);

    let answer = cluster.shoal(&["predict", &user_text, &item_text, "--json"]).json();
    let expected = http.post("/v1/predictions", json!({"user_id": user, "item_id": item})).await.ok();
    assert_eq!(answer["predicted_rating"], expected["predicted_rating"]);
    let text = cluster.shoal(&["predict", &user_text, &item_text]).exits_with(0).stdout;
    assert!(text.contains(&format!("{:.2}", answer["predicted_rating"].as_f64().unwrap())), "{text}");

    let text = cluster.shoal(&["recommend", "987654321"]).exits_with(0).stdout;
    assert!(text.contains("has nothing to list for this user"), "{text}");
    // A twin's id, which looks like a flag.
    let answer = cluster.shoal(&["similar", "-999995", "--json"]).json();
    assert_eq!(answer["item_id"], -999_995);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_say_what_kind_of_refusal_it_was() {
    let Shared { cluster, .. } = shared().await;
    let out = folder();
    std::fs::write(out.path().join("kept"), "").unwrap();
    let out = out.path().to_str().unwrap();
    let version = cluster.status()["live_version"].as_str().unwrap().to_owned();
    for (arguments, code, parts) in [
        (["recommend", "1", "-n", "0"].as_slice(), 2, ["'n'", "from 1 to 100"]),
        (&["similar", "987654321"], 3, ["item 987654321 is unknown", "no title"]),
        (&["predict", "987654321", "5"], 3, ["user 987654321", "unknown"]),
        (&["dataset", "show", "none"], 3, ["'none'", "shoal dataset list"]),
        (&["dataset", "import", "/no/such/folder"], 3, ["/no/such/folder", "give a folder"]),
        (&["dataset", "import", out, "--name", "Not a name"], 2, ["'Not a name'", "lower-case"]),
        (&["train", "--data-set", "none"], 3, ["'none'", "shoal dataset list"]),
        (&["jobs", "show", "job-none"], 3, ["'job-none'", "shoal jobs list"]),
        (&["jobs", "cancel", "job-none"], 3, ["'job-none'", "shoal jobs list"]),
        (&["models", "show", "none"], 3, ["'none'", "shoal models list"]),
        (&["models", "promote", "none"], 3, ["'none'", "shoal models list"]),
        (&["models", "verify", "none"], 3, ["'none'", "shoal models list"]),
        (&["models", "rollback"], 1, ["no earlier version", "to go back to"]),
        (&["models", "export", &version, "--out", out], 1, [out, "choose another folder"]),
        (&["dataset", "generate", "--out", out], 1, [out, "--out"]),
    ] {
        let arguments: Vec<&str> = arguments.to_vec();
        let finished =
            if arguments.contains(&"generate") { shoal(&arguments) } else { cluster.shoal(&arguments) };
        finished.exits_with(code).says(&parts);
    }
    for arguments in [
        ["train", "--objective", "taste"].as_slice(),
        &["models", "export", "x", "--format", "csv", "--out", out],
    ] {
        let finished = cluster.shoal(arguments).exits_with(2);
        assert!(finished.stderr.contains("possible values"), "{finished:#?}");
    }
}

#[test]
fn without_a_cluster_commands_say_how_to_start_one() {
    let folder = folder();
    for command in [
        ["status"].as_slice(),
        &["jobs", "list"],
        &["models", "list"],
        &["dataset", "list"],
        &["recommend", "1"],
    ] {
        let finished = shoal_in(folder.path(), command).exits_with(4);
        finished.says(&["there is no local cluster in '.shoal/local'", "shoal up"]);
    }
    // Ports nobody listens on.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    drop(taken);
    shoal(&["status", "--cluster", &address]).exits_with(4).says(&[&address, "is the cluster running?"]);
    shoal(&["recommend", "1", "--url", &format!("http://{address}")])
        .exits_with(4)
        .says(&[&address, "is the cluster running?"]);
    shoal(&["recommend", "1", "--url", "localhost"]).exits_with(2).says(&["'localhost'", "http://"]);
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "looking makes nothing");
}

#[test]
fn generated_files_follow_from_the_numbers_and_the_seed() {
    let folder = folder();
    let generate = |name: &str, threads: &str, seed: &str| {
        let flags =
            ["--users", "60", "--items", "80", "--ratings", "1500", "--threads", threads, "--seed", seed];
        let report = shoal_in(
            folder.path(),
            &[&["dataset", "generate", "--json", "--out", name][..], &flags].concat(),
        );
        let report = report.json();
        assert_eq!((&report["users"], &report["ratings"]), (&60.into(), &1_500.into()));
        let read = |file: &str| std::fs::read(folder.path().join(name).join(file)).unwrap();
        ["ratings.csv", "movies.csv", "tags.csv", "genome-tags.csv", "genome-scores.csv"].map(read)
    };
    let first = generate("a", "1", "3");
    assert_eq!(first[0].iter().filter(|byte| **byte == b'\n').count(), 1_501);
    assert!(generate("b", "2", "3") == first, "threads make no difference");
    assert!(generate("c", "1", "4")[0] != first[0], "the seed does");
    let flags = ["dataset", "generate", "--out", "d", "--users", "5", "--ratings", "1"];
    shoal_in(folder.path(), &flags).exits_with(2).says(&["ratings"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "what was refused leaves nothing");
}
