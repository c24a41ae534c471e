//! Imports over real processes: what is refused leaves nothing, what is disturbed comes out the same.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Cluster, Shape, Size, eventually, folder, generate, real_data};

const SIZE: Size = Size { users: 4_000, items: 1_000, ratings: 300_000 };

fn shape(workers: usize) -> Shape {
    Shape { workers, ..Shape::default() }
}

fn shown(cluster: &Cluster, job: &str) -> Value {
    cluster.shoal(&["jobs", "show", job, "--json"]).json()
}

/// Starts an import and leaves it.
fn start(cluster: &Cluster, data: &Path, name: &str) -> String {
    let data = data.to_str().unwrap();
    let job = cluster.shoal(&["dataset", "import", data, "--name", name, "--detach", "--json"]).json();
    job["job_id"].as_str().unwrap().to_owned()
}

async fn ends(cluster: &Cluster, job: &str) -> Value {
    eventually("the import ends", || {
        let job = shown(cluster, job);
        ["succeeded", "failed", "cancelled"].iter().any(|state| job["state"] == *state).then_some(job)
    })
    .await
}

/// The objects of a data set by path, with their checksums.
fn objects(cluster: &Cluster, dataset: &Value) -> BTreeMap<String, String> {
    cluster.checksums(dataset["path"].as_str().unwrap())
}

/// Files in the store, whatever they are.
fn stored(cluster: &Cluster) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![cluster.dir().join("store")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    std::fs::write(folder.join(name), text).unwrap();
    folder.join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bad_rows_are_refused_and_leave_nothing() {
    let folder = folder();
    let cluster = Cluster::start(shape(2)).await;
    let mut rows = String::from("userId,movieId,rating,timestamp\n");
    for user in 1..=300 {
        let rating = if user % 100 == 0 { "lots" } else { "3.5" };
        rows.push_str(&format!("{user},7,{rating},{user}\n"));
    }
    let file = write(folder.path(), "ratings.csv", &rows);
    let file = file.to_str().unwrap();
    cluster.shoal(&["dataset", "import", file]).exits_with(1).says(&[
        "3 of 300 rows of 'ratings.csv' are bad (1.000 %)",
        "more than the 0.100 % allowed",
        "3 × the rating is not a number (first at ",
        "ratings.csv line 101)",
        "--max-bad-rows",
    ]);
    assert_eq!(stored(&cluster), Vec::<PathBuf>::new());
    assert_eq!(cluster.shoal(&["dataset", "list", "--json"]).json(), Value::Array(Vec::new()));

    let job = cluster.shoal(&["dataset", "import", file, "--max-bad-rows", "1%", "--json"]).json();
    let report = &job["dataset"]["report"];
    assert_eq!((&report["rows_read"], &report["rows_accepted"]), (&300.into(), &297.into()));
    let examples = report["rejections"][0]["examples"].as_array().unwrap();
    let lines: Vec<&Value> = examples.iter().map(|example| &example["line"]).collect();
    assert_eq!(lines, [101, 201, 301]);
    let shown = cluster.shoal(&["dataset", "show", "ratings"]).exits_with(0).stdout;
    assert!(
        shown.contains("300 read, 297 taken")
            && shown.contains("ratings.csv:101: the rating is not a number")
    );

    let nothing = write(folder.path(), "empty.csv", "userId,movieId,rating\n");
    cluster.shoal(&["dataset", "import", ""]).exits_with(2).says(&["empty name"]);
    cluster
        .shoal(&["dataset", "import", nothing.to_str().unwrap()])
        .exits_with(1)
        .says(&["no row of", "empty.csv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_an_import_would_make_and_makes_nothing() {
    let folder = folder();
    let cluster = Cluster::start(shape(2)).await;
    write(folder.path(), "movies.csv", "movieId,title\n1,A\n");
    let clicks = "user,user_id,item,at\nAnn,1,007,2021-01-02\nBob,2,7,2021-01-03\nAnn,1,007,2021-01-04\n";
    let file = write(folder.path(), "clicks.csv", clicks);
    let file = file.to_str().unwrap();
    let import = ["dataset", "import", file, "--time-col", "at"];
    let dry = |more: &[&str]| cluster.shoal(&[&import[..], &["--dry-run"], more].concat());
    let said = dry(&[]).exits_with(0).stdout;
    for part in [
        "Nothing is imported; of the first 3 rows",
        "user = 'user_id' (column 2), not 'user'",
        "time = 'at' (column 4)",
        "times are dates, in UTC",
        "each row counts 1",
        "items are texts: '007' on line 2 would change as a number",
        "not read: movies.csv (--with-neighbours reads them)",
        "3 read, 3 taken",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let previewed = dry(&["--json"]).exits_with(0).json();
    assert_eq!(stored(&cluster), Vec::<PathBuf>::new());
    assert_eq!(cluster.shoal(&["jobs", "list", "--json"]).json(), Value::Array(Vec::new()));

    // An import says the same, and the data set keeps it.
    let job = cluster.shoal(&[&import[..], &["--json"]].concat()).exits_with(0).json();
    let shown = cluster.shoal(&["dataset", "show", "clicks", "--json"]).json();
    for key in ["understood", "item_ids", "not_read", "rows_read", "rejections", "duplicate_rule"] {
        assert_eq!(job["dataset"]["report"][key], previewed[key], "{key}");
        assert_eq!(shown["report"][key], previewed[key], "{key}");
    }
    assert_eq!((&shown["ratings"], &shown["report"]["duplicates"]), (&2.into(), &1.into()));

    // What an import would refuse a dry run fails for.
    let bad = write(folder.path(), "bad.csv", "user,item,rating\n1,1,lots\n2,2,3\n");
    let refused = cluster.shoal(&["dataset", "import", bad.to_str().unwrap(), "--dry-run"]);
    refused.exits_with(1).says(&["1 of 2 rows", "--max-bad-rows"]);
    let strange = write(folder.path(), "strange.csv", "who,what,much\nann,x,3\n");
    let refused = cluster.shoal(&["dataset", "import", strange.to_str().unwrap(), "--dry-run"]);
    refused.exits_with(1).says(&["--user-col COLUMN --item-col COLUMN", "who, what, much"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_ratings_file_may_go_on_over_lines() {
    let folder = folder();
    let cluster = Cluster::start(shape(2)).await;
    // Large enough for several ranges; a line of a review looks like a rating of its own.
    let mut rows = String::from("who,what,stars,review\n");
    for user in 1..=20_000 {
        let review = if user % 5_000 == 0 {
            "\"So long:\n1,2,3,4\n\"\"5,6,1,8\"\"\nand good\""
        } else {
            "\"Nothing, really, but a text that takes its space in the file, as reviews do.\""
        };
        rows.push_str(&format!("{user},{},4,{review}\n", user % 50));
    }
    let file = write(folder.path(), "reviews.csv", &rows);
    let columns = ["--user-col", "who", "--item-col", "what", "--rating-col", "stars"];
    let arguments = [&["dataset", "import", file.to_str().unwrap(), "--json"][..], &columns].concat();
    let job = cluster.shoal(&arguments).json();
    let (dataset, report) = (&job["dataset"], &job["dataset"]["report"]);
    assert_eq!((&dataset["ratings"], &dataset["users"]), (&20_000.into(), &20_000.into()));
    assert_eq!((&report["rows_read"], &report["rejections"]), (&20_000.into(), &Value::Array(Vec::new())));
    assert_eq!((&dataset["rating_min"], &dataset["rating_max"]), (&4.0.into(), &4.0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_killed_in_the_middle_change_nothing() {
    let folder = folder();
    let data = generate(folder.path(), SIZE);
    let cluster = Cluster::start(shape(3)).await;
    let undisturbed = cluster.import(&data, "undisturbed")["dataset"].clone();
    let expected = objects(&cluster, &undisturbed);
    assert!(expected.len() > 32);

    // One that hangs when the job begins, and is then gone.
    cluster.signal("worker-2", Signal::STOP).await;
    let job = start(&cluster, &data, "hung");
    eventually("the first attempt begins", || (shown(&cluster, &job)["attempt"] == 1).then_some(())).await;
    cluster.kill("worker-2").await;
    let job = ends(&cluster, &job).await;
    assert!(job["attempt"].as_u64() > Some(1), "{job:#}");
    assert_eq!(objects(&cluster, &job["dataset"]), expected);
    assert_eq!(job["dataset"]["report"], undisturbed["report"]);

    // One that is lost in each phase, as far as the phase can be caught.
    for phase in ["parsing", "sorting", "writing blocks"] {
        let job = start(&cluster, &data, "lost");
        eventually("the phase comes", || {
            let job = shown(&cluster, &job);
            (job["phase"] == phase || job["state"] == "succeeded").then_some(())
        })
        .await;
        cluster.kill("worker-3").await;
        let job = ends(&cluster, &job).await;
        assert_eq!(job["state"], "succeeded", "{job:#}");
        assert_eq!(objects(&cluster, &job["dataset"]), expected, "killed while {phase}");
        assert_eq!(job["dataset"]["report"], undisturbed["report"]);
    }
    let left = stored(&cluster);
    assert!(left.iter().all(|path| path.components().any(|part| part.as_os_str() == "datasets")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_import_again_is_a_version_of_its_own() {
    let folder = folder();
    let data = generate(folder.path(), Size { users: 100, items: 60, ratings: 2_500 });
    let cluster = Cluster::start(shape(2)).await;
    // Within a second, of which versions are named.
    let jobs = [start(&cluster, &data, "twice"), start(&cluster, &data, "twice")];
    let first = ends(&cluster, &jobs[0]).await["dataset"].clone();
    let second = ends(&cluster, &jobs[1]).await["dataset"].clone();
    assert_ne!(first["version"], second["version"]);
    assert_eq!(objects(&cluster, &first), objects(&cluster, &second));
    let listed = cluster.shoal(&["dataset", "list", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let newest = cluster.shoal(&["dataset", "show", "twice", "--json"]).json();
    assert_eq!(newest["version"], second["version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn real_folders_have_the_counts_that_they_are_known_for() {
    let Some(small) = real_data() else { return };
    let folder = small.parent().unwrap();
    let cluster = Cluster::start(shape(3)).await;
    for (name, counts) in [
        ("ml-latest-small", [100_836, 610, 9_742, 9_742]),
        ("ml-20m-kaggle-sample", [10_000, 8_990, 27_278, 27_278]),
    ] {
        let dataset = cluster.import(&folder.join(name), name)["dataset"].clone();
        let found =
            ["ratings", "users", "items", "catalogue_items"].map(|count| dataset[count].as_u64().unwrap());
        assert_eq!(found, counts, "{name}");
        assert_eq!(dataset["report"]["rejections"], Value::Array(Vec::new()));
    }
}
