//! Versions as an operator handles them: promoted, rolled back, verified, and damaged.

use std::{os::unix::fs::FileExt as _, path::Path};

use crate::support::{Cluster, SMALL, Shape, folder, generate};

/// Changes one bit in the middle of a file; a second time changes it back.
fn flip(path: &Path) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_switched_verified_and_refused_when_damaged() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 2, settings: Vec::new() }).await;
    cluster.import(&data, "items");
    let first = cluster.train(&["--promote"]);
    let live = |expected: &str| {
        assert_eq!(cluster.status()["live_version"], expected);
    };
    live(&first);
    let state = |version: &str| cluster.shoal(&["models", "show", version, "--json"]).json()["state"].clone();
    let second = cluster.train(&["--seed", "2"]);
    assert_eq!((state(&first), state(&second)), ("live".into(), "ready".into()));
    let latest = std::fs::read_link(cluster.dir().join("store/models/als/model_latest")).unwrap();
    assert_eq!(latest, Path::new(&second));

    let promoted = cluster.shoal(&["models", "promote", &second, "--json"]).json();
    assert_eq!(
        (&promoted["live_version"], &promoted["previous_version"]),
        (&second.as_str().into(), &first.as_str().into())
    );
    live(&second);
    let again = cluster.shoal(&["models", "promote", &second]).exits_with(0).stdout;
    assert!(again.contains(&second) && again.contains("is live"), "{again}");
    let back = cluster.shoal(&["models", "rollback", "--json"]).json();
    assert_eq!(
        (&back["live_version"], &back["previous_version"]),
        (&first.as_str().into(), &second.as_str().into())
    );
    live(&first);

    // A third is live: the first is what a rollback goes back to, the second is neither.
    let third = cluster.train(&["--seed", "3", "--promote"]);
    assert_eq!(
        (state(&first), state(&second), state(&third)),
        ("ready".into(), "retired".into(), "live".into())
    );

    let folder_of = |version: &str| cluster.dir().join("store/models/als").join(version);
    let verified = cluster.shoal(&["models", "verify", &second, "--json"]).json();
    assert_eq!((&verified["whole"], &verified["objects"]), (&true.into(), &34.into()));
    for file in [
        "item_factors/part-00003.safetensors",
        "user_factors/part-00015.safetensors",
        "metadata.json",
        "manifest.json",
    ] {
        let path = folder_of(&second).join(file);
        flip(&path);
        cluster.shoal(&["models", "verify", &second]).exits_with(1).says(&[&second, file, "checksum"]);
        flip(&path);
    }
    cluster.shoal(&["models", "verify", &second]).exits_with(0);
    let path = folder_of(&second).join("item_factors/part-00000.safetensors");
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    cluster
        .shoal(&["models", "verify", &second])
        .exits_with(1)
        .says(&["item_factors/part-00000.safetensors"]);
    let out = folder.path().join("out");
    let export = ["models", "export", &second, "--out", out.to_str().unwrap()];
    cluster.shoal(&export).exits_with(1).says(&["item_factors/part-00000.safetensors"]);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["items"], "an export that failed leaves nothing");
    std::fs::rename(&aside, &path).unwrap();

    // Damage is found before a version is live, and the one that is stays.
    flip(&path);
    let refused = cluster.shoal(&["models", "promote", &second]).exits_with(1);
    refused.says(&[
        &second,
        "cannot be served",
        "item_factors/part-00000.safetensors",
        "the live version stays",
    ]);
    live(&third);
    cluster.http().get("/recommendations/recommend/1?complete=true").await.ok();
    flip(&path);
    cluster.shoal(&["models", "promote", &second]).exits_with(0);
    live(&second);
}
