//! Which crate may depend on which, read from the `Cargo.toml` of each.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::{
    files, none, read,
    rust::{Piece, pieces, without_tests},
};

/// Crates that know roles of the cluster.
const ROLES: [&str; 3] = ["shoal-coordinator", "shoal-worker", "shoal-router"];
/// Crates of pure functions.
const PURE: [&str; 2] = ["shoal-core", "shoal-engine"];

/// What pure crates must never reach, however indirectly: tasks, calls, files behind an interface, logs.
const IMPURE: [&str; 14] = [
    "async-trait",
    "axum",
    "futures",
    "hyper",
    "metrics",
    "mio",
    "object_store",
    "prost",
    "reqwest",
    "tokio",
    "tokio-util",
    "tonic",
    "tower",
    "tracing",
];

/// Crates of this workspace that a crate must not name among its dependencies.
const FORBIDDEN: [(&str, &[&str]); 6] = [
    ("shoal-proto", &["shoal-core", "shoal-common", "shoal-engine", "shoal-format", "shoal-dataset"]),
    ("shoal-core", &["shoal-proto", "shoal-common", "shoal-engine", "shoal-format", "shoal-dataset"]),
    ("shoal-engine", &["shoal-proto", "shoal-common", "shoal-format", "shoal-dataset"]),
    ("shoal-format", &["shoal-proto", "shoal-dataset"]),
    ("shoal-dataset", &[]),
    ("shoal-common", &["shoal-engine", "shoal-format", "shoal-dataset"]),
];

/// The crates of the workspace: what each names as dependencies, of the product and of its tests.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let manifests = files(&["Cargo.toml"]).into_iter().map(|path| (read(&path), path));
    let mut crates = BTreeMap::new();
    for (text, path) in manifests {
        let manifest: Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let Some(name) = manifest.get("package").and_then(|package| package.get("name")?.as_str()) else {
            continue;
        };
        let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
        let named = sections.iter().filter_map(|section| manifest.get(*section)?.as_table());
        let named = named.flat_map(Table::keys).cloned().collect();
        crates.insert(name.to_owned(), named);
    }
    crates
}

/// Everything that a crate's build reaches, by the lock file.
fn reached(name: &str) -> BTreeSet<String> {
    let lock: Table = read("Cargo.lock").parse().unwrap();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let dependencies = package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
        // "name", or "name version" where several versions are locked.
        let names = dependencies.map(|text| text.as_str().unwrap().split(' ').next().unwrap());
        edges.entry(package["name"].as_str().unwrap()).or_default().extend(names);
    }
    let (mut found, mut next) = (BTreeSet::new(), vec![name]);
    while let Some(one) = next.pop() {
        if found.insert(one.to_owned()) {
            next.extend(edges.get(one).into_iter().flatten());
        }
    }
    found.remove(name);
    found
}

#[test]
fn no_role_knows_another() {
    let crates = crates();
    let below =
        ["shoal-proto", "shoal-core", "shoal-common", "shoal-engine", "shoal-format", "shoal-dataset"];
    let mut found = Vec::new();
    for (name, dependencies) in &crates {
        let knows = |role: &&str| dependencies.contains(*role) && *role != name;
        if ROLES.contains(&name.as_str()) || below.contains(&name.as_str()) {
            let roles = ROLES.iter().filter(|role| knows(role));
            found.extend(roles.map(|role| format!("{name} depends on {role}")));
        }
    }
    none(&found, "crates that know a role");
    assert!(ROLES.iter().all(|role| crates.contains_key(*role)), "the roles were found");
}

#[test]
fn crates_depend_in_one_direction() {
    let crates = crates();
    let mut found = Vec::new();
    for (name, forbidden) in FORBIDDEN {
        let Some(dependencies) = crates.get(name) else { panic!("there is no crate {name}") };
        let wrong = forbidden.iter().filter(|other| dependencies.contains(**other));
        found.extend(wrong.map(|other| format!("{name} depends on {other}")));
    }
    none(&found, "dependencies against the direction on the map");
}

#[test]
fn the_maths_reaches_no_task_no_call_and_no_file() {
    let mut found = Vec::new();
    for name in PURE {
        let reached = reached(name);
        assert!(!reached.is_empty(), "{name} is in Cargo.lock");
        let impure = IMPURE.iter().filter(|other| reached.contains(**other));
        found.extend(impure.map(|other| format!("{name} reaches {other}")));
    }
    // The standard library has files and sockets too.
    for path in files(&[".rs"]).iter().filter(|path| {
        (path.starts_with("worker/engine/src") || path.starts_with("common/core/src"))
            && !super::is_test(path)
    }) {
        for piece in pieces(without_tests(&read(path))) {
            let Piece::Code(line, code) = piece else { continue };
            for (offset, text) in code.lines().enumerate() {
                let doors = ["std::fs", "std::net", "std::env", "std::process", "println!", "eprintln!"];
                if doors.iter().any(|door| text.contains(door)) || text.contains("fs::File") {
                    found.push(format!("{}:{}: {}", path.display(), line + offset, text.trim()));
                }
            }
        }
    }
    none(&found, "I/O in crates of pure functions");
}
