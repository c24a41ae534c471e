//! Settings of the roles, from files, variables and flags.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize as _;

use super::*;

fn flags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn every_problem_is_in_the_one_message() {
    let sources = Sources {
        flags: flags(&[
            ("coordinator.raft_id", "7"),
            ("coordinator.tick_ms", "0"),
            ("coordinator.peers", "{ 1 = 'http://a:1', 2 = 'b:1' }"),
            ("node.name", "\"worker\\u001B[31m\""),
        ]),
        ..Sources::default()
    };
    let error = sources.read::<RawCoordinator>().unwrap().resolve().unwrap_err().to_string();
    for part in [
        "node.cluster_id",
        "node.listen",
        "lacks this member's own number 7",
        "tick_ms",
        "1, 3 or 5",
        r"'node.name': 'worker\u{1b}[31m'",
        "'coordinator.peers': 'http://a:1'",
    ] {
        assert!(error.contains(part), "'{part}' is missing in: {error}");
    }
}

#[test]
fn a_router_caches_by_default_and_lets_no_origin_in() {
    let needed = [
        ("node.cluster_id", "c"),
        ("node.name", "r"),
        ("node.listen", "\"127.0.0.1:1\""),
        ("node.coordinators", "[\"a:1\"]"),
        ("router.http_listen", "\"127.0.0.1:2\""),
    ];
    let resolve = |more: &[(&str, &str)]| {
        let sources = Sources { flags: flags(&[&needed[..], more].concat()), ..Sources::default() };
        sources.read::<RawRouter>().unwrap().resolve()
    };
    let config = resolve(&[]).unwrap();
    assert_eq!((config.cache_entries, config.cache_ttl), (1_000, Duration::from_secs(3_600)));
    assert!(config.cors_origins.is_empty());
    assert_eq!(config.hosts, ["localhost", "127.0.0.1", "[::1]"]);
    assert_eq!(resolve(&[("router.hosts", "[\"shoal.example.org\"]")]).unwrap().hosts, ["shoal.example.org"]);
    assert!(resolve(&[("router.hosts", "[\"*\"]")]).unwrap().hosts.is_empty());
    let exposed = [("node.insecure", "true"), ("router.http_listen", "\"0.0.0.0:2\"")];
    assert!(resolve(&exposed).unwrap().hosts.is_empty());
    let origins = "[\"*\", \"https://example.org:8443\"]";
    assert_eq!(resolve(&[("router.cors_origins", origins)]).unwrap().cors_origins.len(), 2);
    let wrong = [("router.cors_origins", "[\"example.org\", \"https://a/b\"]"), ("router.cache_ttl_s", "0")];
    let error = resolve(&wrong).unwrap_err().to_string();
    for part in ["'example.org'", "'https://a/b'", "cache_ttl_s"] {
        assert!(error.contains(part), "'{part}' is missing in: {error}");
    }
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    std::fs::write(
        &file,
        "[node]\ncluster_id = 'c'\nname = 'file'\nlisten = '127.0.0.1:1'\nstore = '/s'\ndata_dir = '/d'\ncoordinators = ['a:1']\n[worker]\nserving_queue = 3\n",
    )
    .unwrap();
    let sources = Sources {
        file: Some(file),
        environment: flags(&[
            ("SHOAL__NODE__NAME", "environment"),
            ("SHOAL__WORKER__SERVING_QUEUE", "4"),
            ("PATH", "/bin"),
        ]),
        flags: flags(&[("node.name", "flag")]),
    };
    let config = sources.read::<RawWorker>().unwrap().resolve(2).unwrap();
    assert_eq!((config.node.name.as_str(), config.serving_queue, config.training_threads), ("flag", 4, 2));
    // Nobody reads files through a worker until its configuration says which.
    assert!(config.import_roots.check("/d").is_err() && config.export_roots.check("/d").is_err());
}

#[test]
fn roots_are_whole_paths_and_addresses() {
    let resolve = |roots: &str| {
        let sources = Sources {
            flags: flags(&[
                ("node.cluster_id", "c"),
                ("node.name", "w"),
                ("node.listen", "127.0.0.1:1"),
                ("node.store", "/s"),
                ("node.data_dir", "/d"),
                ("node.coordinators", "[\"a:1\"]"),
                ("worker.import_roots", roots),
            ]),
            ..Sources::default()
        };
        sources.read::<RawWorker>().unwrap().resolve(2)
    };
    let config = resolve("[\"/data\", \"s3://bucket/x\"]").unwrap();
    for uri in ["/data/ratings.csv", "s3://bucket/x/ratings.csv"] {
        config.import_roots.check(uri).unwrap();
    }
    let error = resolve("[\"data\"]").unwrap_err().to_string();
    assert!(error.contains("worker.import_roots") && error.contains("'data'"), "{error}");
}

#[test]
fn nobody_listens_beyond_the_machine_without_certificates_unless_told() {
    let needed = [("node.cluster_id", "c"), ("node.name", "r"), ("node.coordinators", "[\"a:1\"]")];
    let problems = |listen: &str, http: &str, more: &[(&str, &str)]| {
        let addresses = [("node.listen", listen), ("router.http_listen", http)];
        let given = flags(&[&needed[..], &addresses[..], more].concat());
        let sources = Sources { flags: given, ..Sources::default() };
        sources.read::<RawRouter>().unwrap().resolve().err().map_or(0, |error| error.problems.len())
    };
    let (here, reached) = ("127.0.0.1:1", "0.0.0.0:2");
    assert_eq!(problems(here, "[::1]:2", &[]), 0);
    assert_eq!(problems(here, reached, &[]), 1);
    assert_eq!(problems(reached, "192.0.2.7:80", &[]), 2);
    assert_eq!(problems(reached, reached, &[("node.insecure", "true")]), 0);
    assert_eq!(problems(reached, reached, &[("node.certs", "/certs")]), 0);
    assert_eq!(
        problems(here, here, &[("node.tls.ca", "/ca.pem")]),
        1,
        "a key and a certificate are needed too"
    );
}

#[test]
fn certificates_are_looked_for_by_the_name_of_the_node() {
    let given = [
        ("node.cluster_id", "c"),
        ("node.name", "router-7"),
        ("node.listen", "127.0.0.1:1"),
        ("node.coordinators", "[\"a:1\"]"),
        ("router.http_listen", "127.0.0.1:2"),
        ("node.certs", "/certs"),
    ];
    let sources = Sources { flags: flags(&given), ..Sources::default() };
    let config = sources.read::<RawRouter>().unwrap().resolve().unwrap();
    let files = config.node.tls.unwrap();
    assert_eq!(files.ca, PathBuf::from("/certs/ca.pem"));
    assert_eq!(files.certificate, PathBuf::from("/certs/router-7.pem"));
    assert_eq!(files.key, PathBuf::from("/certs/router-7.key"));
}

#[test]
fn an_unknown_key_is_refused() {
    let sources = Sources { flags: flags(&[("node.nmae", "x")]), ..Sources::default() };
    assert!(sources.read::<RawRouter>().unwrap_err().to_string().contains("nmae"));
}

/// A file with a mistake of every kind: the message names each with its line and the right form.
#[test]
fn every_mistake_of_a_file_is_named_with_its_line_and_an_example() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker-1.toml");
    let text = "[node]\nname = \"w\"\nlisten = \"nonsense\"\ndata_dri = \"/d\"\nstore = \"/s\"\n\n[worker]\n\
                serving_queue = \"many\"\ntraining_threads = 0\n\n[wroker]\nx = 1\n";
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file.clone()),
        environment: flags(&[("SHOAL__NODE__CONNECTIONS", "few")]),
        flags: flags(&[("node.audit_files", "0")]),
    };
    let error = sources.resolve(|raw: RawWorker| raw.resolve(2)).unwrap_err();
    let told = error.to_string();
    let at = |line: usize| format!("{}, line {line}: ", file.display());
    for part in [
        format!("{}'node.listen' is \"nonsense\": ", at(3)),
        "write for example listen = \"10.0.0.11:7001\" in [node]".to_owned(),
        format!("{}there is no key 'node.data_dri'; did you mean 'node.data_dir'?", at(4)),
        format!("{}'worker.serving_queue' is \"many\": ", at(8)),
        format!("{}'worker.training_threads' is 0", at(9)),
        format!("{}there is no key 'wroker'", at(11)),
        "the variable SHOAL__NODE__CONNECTIONS: 'node.connections' is \"few\": ".to_owned(),
        "a flag: 'node.audit_files' is 0".to_owned(),
        "'node.cluster_id' is needed; write for example cluster_id = \"shop\" in [node]".to_owned(),
        "'node.coordinators' is needed".to_owned(),
    ] {
        assert!(told.contains(&part), "'{part}' is missing in: {told}");
    }
    assert!(!told.contains("'node.listen' is needed"), "it was given: {told}");
    assert_eq!(error.problems.len(), 10, "{told}");
}

#[test]
fn every_mistake_of_the_form_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker-1.toml");
    std::fs::write(&file, "[node]\nname = worker\nlisten = \"127.0.0.1:1\"\nstore = \n").unwrap();
    let sources = Sources { file: Some(file), ..Sources::default() };
    let error = sources.read::<RawWorker>().unwrap_err();
    let told = error.to_string();
    assert!(told.contains("worker-1.toml, line 2: ") && told.contains("worker-1.toml, line 4: "), "{told}");
}

/// An example that does not work would be worse than none.
#[test]
fn every_example_is_read_and_every_key_has_one() {
    let whole: String = {
        let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (key, value) in examples::all() {
            let (section, name) = key.rsplit_once('.').unwrap();
            sections.entry(section).or_default().push(format!("{name} = {value}"));
        }
        sections.iter().map(|(section, lines)| format!("[{section}]\n{}\n", lines.join("\n"))).collect()
    };
    let part = |role: &str| -> toml::Table {
        let mut table: toml::Table = whole.parse().unwrap();
        table.retain(|section, _| section == "node" || section == role);
        table
    };
    RawCoordinator::deserialize(part("coordinator")).unwrap();
    RawWorker::deserialize(part("worker")).unwrap();
    RawRouter::deserialize(part("router")).unwrap();
    // What a section has is said where one of its keys is not known.
    for section in ["node", "node.tls", "coordinator", "worker", "router"] {
        let sources =
            Sources { flags: flags(&[(&format!("{section}.qqqqqqqq"), "1")]), ..Sources::default() };
        let told = match section {
            "worker" => sources.read::<RawWorker>().unwrap_err(),
            "coordinator" => sources.read::<RawCoordinator>().unwrap_err(),
            _ => sources.read::<RawRouter>().unwrap_err(),
        };
        let told = told.to_string();
        let known: Vec<&str> =
            told.split("there are ").nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(known.len() >= 4, "{told}");
        for name in known.iter().filter(|name| **name != "tls") {
            let key = format!("{section}.{name}");
            assert!(examples::example(&key).is_some(), "{key} has no example");
        }
    }
}
