//! `shoal recommend --all`: its rows are the answers that each user gets, whoever writes them and whatever is lost.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
};
use serde_json::Value;

use crate::support::{Cluster, SMALL, Shape, Size, eventually, folder, generate};

const COLUMNS: &str = "user_id,item_id,rank,score,predicted_rating,source,title";

/// Users with a single rating: a version that holds ratings out does not know all of them.
const NEWCOMERS: std::ops::Range<i64> = 900_001..900_081;

/// One row of lists as it is compared: item, rank, score, predicted rating, source, title.
type Row = (i64, u64, f32, Option<f32>, String, String);
/// By user, in the order of rows.
type Lists = BTreeMap<i64, Vec<Row>>;

fn generate_with_newcomers(folder: &Path) -> PathBuf {
    let data = generate(folder, SMALL);
    let path = data.join("ratings.csv");
    let mut text = fs::read_to_string(&path).unwrap();
    for user in NEWCOMERS {
        writeln!(text, "{user},{},4.0,1000000000", 1 + user % 7).unwrap();
    }
    fs::write(&path, text).unwrap();
    data
}

/// Trains all models and makes them live.
fn promoted(cluster: &Cluster) {
    let flags = ["--rank", "8", "--iterations", "3", "--min-common-users", "2", "--promote", "--json"];
    cluster.shoal(&[&["train"], &flags[..]].concat()).exits_with(0);
}

/// Runs the job; what the command prints.
fn recommend_all(cluster: &Cluster, flags: &[&str]) -> Value {
    cluster.shoal(&[&["recommend", "--all", "--json"], flags].concat()).json()
}

/// The parts of a folder, in the order of shards.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_part = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("part-");
    let mut parts: Vec<PathBuf> = names.filter(is_part).collect();
    parts.sort();
    parts
}

fn read_csv(folder: &Path) -> Lists {
    let mut lists = Lists::new();
    for part in parts(folder) {
        let text = fs::read_to_string(part).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        assert_eq!(header, COLUMNS);
        for row in rows.lines() {
            // A title may have commas, and is the last.
            let fields: Vec<&str> = row.splitn(7, ',').collect();
            let predicted = (!fields[4].is_empty()).then(|| fields[4].parse().unwrap());
            let title = fields[6].trim_matches('"').replace("\"\"", "\"");
            lists.entry(fields[0].parse().unwrap()).or_default().push((
                fields[1].parse().unwrap(),
                fields[2].parse().unwrap(),
                fields[3].parse().unwrap(),
                predicted,
                fields[5].to_owned(),
                title,
            ));
        }
    }
    lists
}

fn json_row(row: &Value) -> Row {
    (
        row["item_id"].as_i64().unwrap(),
        row["rank"].as_u64().unwrap(),
        row["score"].as_f64().unwrap() as f32,
        row["predicted_rating"].as_f64().map(|rating| rating as f32),
        row["source"].as_str().unwrap().to_owned(),
        row["title"].as_str().unwrap().to_owned(),
    )
}

fn read_jsonl(folder: &Path) -> Lists {
    let mut lists = Lists::new();
    for part in parts(folder) {
        for line in fs::read_to_string(part).unwrap().lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            lists.entry(row["user_id"].as_i64().unwrap()).or_default().push(json_row(&row));
        }
    }
    lists
}

fn read_parquet(folder: &Path) -> Lists {
    let mut lists = Lists::new();
    for part in parts(folder) {
        let reader = SerializedFileReader::new(fs::File::open(part).unwrap()).unwrap();
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let names: Vec<&str> = row.get_column_iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names.join(","), COLUMNS);
            let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
            let [
                Field::Long(user),
                Field::Long(item),
                Field::Int(rank),
                Field::Float(score),
                predicted,
                Field::Str(source),
                Field::Str(title),
            ] = fields[..]
            else {
                panic!("{row}")
            };
            let predicted = match predicted {
                Field::Float(rating) => Some(*rating),
                other => {
                    assert_eq!(other, &Field::Null);
                    None
                }
            };
            let row = (*item, *rank as u64, *score, predicted, source.clone(), title.clone());
            lists.entry(*user).or_default().push(row);
        }
    }
    lists
}

/// What the API answers for these users, as rows.
async fn answers(cluster: &Cluster, users: impl Iterator<Item = i64>, query: &str) -> Lists {
    let http = cluster.http();
    let mut lists = Lists::new();
    for user in users {
        let path = format!("/recommendations/recommend/{user}?{query}&use_cache=false&complete=true");
        let answer = http.get(&path).await.ok();
        let rows = answer["recommendations"].as_array().unwrap().iter().map(|item| {
            let mut item = item.clone();
            (item["item_id"], item["source"]) = (item["movie_id"].clone(), answer["source"].clone());
            json_row(&item)
        });
        let rows: Vec<Row> = rows.collect();
        if !rows.is_empty() {
            lists.insert(user, rows);
        }
    }
    lists
}

fn users(data: &Path) -> Vec<i64> {
    let text = fs::read_to_string(data.join("ratings.csv")).unwrap();
    let mut users: Vec<i64> =
        text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    users.sort_unstable();
    users.dedup();
    users
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_are_the_answers_of_every_model_in_every_format() {
    let folder = folder();
    let data = generate_with_newcomers(folder.path());
    let cluster = Cluster::start(Shape { coordinators: 1, workers: 3, settings: Vec::new() }).await;
    cluster.import(&data, "items");
    promoted(&cluster);
    let users = users(&data);
    let out = |name: &str| folder.path().join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let cases: [(&str, &str, &[&str], &str); 8] = [
        ("als", "parquet", &[], "model=als"),
        ("item_cf", "csv", &[], "model=item_cf"),
        ("content", "jsonl", &[], "model=content"),
        ("hybrid", "parquet", &[], "model=hybrid"),
        (
            "als",
            "csv",
            &["--rank-by", "rating", "--include-seen"],
            "model=als&rank_by=rating&exclude_seen=false",
        ),
        (
            "als",
            "jsonl",
            &["--exclude-genre", "Drama", "--exclude-id", "7"],
            "model=als&exclude_genres=Drama&exclude_ids=7",
        ),
        ("content", "parquet", &["--rank-by", "rating"], "model=content&rank_by=rating"),
        (
            "hybrid",
            "jsonl",
            &["--genre", "Drama", "--year-min", "1980", "--exclude-id", "5"],
            "model=hybrid&genres=Drama&year_min=1980&exclude_ids=5",
        ),
    ];
    for (at, (model, format, flags, query)) in cases.into_iter().enumerate() {
        let out = out(&format!("lists-{at}"));
        let given = ["-n", "30", "--model", model, "--format", format, "--out", &text(&out)];
        let job = recommend_all(&cluster, &[&given[..], &["--columns", COLUMNS], flags].concat());
        let lists = match format {
            "csv" => read_csv(&out),
            "jsonl" => read_jsonl(&out),
            _ => read_parquet(&out),
        };
        let expected = answers(&cluster, users.iter().copied(), &format!("n=30&{query}")).await;
        assert_eq!(lists.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{model} {format}");
        for (user, rows) in &lists {
            assert_eq!(rows, &expected[user], "user {user} of {model} {flags:?}");
        }
        let listed = &job["listed"];
        let rows: usize = lists.values().map(Vec::len).sum();
        assert_eq!(listed["users"], users.len(), "{job:#}");
        assert_eq!(listed["rows"], rows, "{job:#}");
        let newcomers = lists.values().filter(|rows| rows[0].4 == "fallback_popular").count();
        assert!(newcomers > 0, "nobody is unknown to the version of {model} {flags:?}");
        assert_eq!(listed["fallback_users"].as_u64().unwrap() as usize, newcomers, "{job:#}");
    }

    // Only some of the users, by name, and only those whom the version knows.
    let named = folder.path().join("users.txt");
    fs::write(&named, format!("user_id\n{}\n{}\n123456789\n", users[3], users[1])).unwrap();
    let some = out("some");
    let flags = ["-n", "5", "--model", "als", "--format", "csv", "--columns", COLUMNS];
    let files = ["--users", &text(&named), "--out", &text(&some)];
    let job = recommend_all(&cluster, &[&flags[..], &files].concat());
    assert_eq!(job["listed"]["unknown_ids"], 1, "{job:#}");
    assert_eq!(read_csv(&some), answers(&cluster, [users[1], users[3]].into_iter(), "n=5&model=als").await);
    let known = out("known");
    let only_known = ["--known-users-only", "--out", &text(&known)];
    let job = recommend_all(&cluster, &[&flags[..], &only_known].concat());
    let lists = read_csv(&known);
    assert!(lists.values().flatten().all(|row| row.4 == "model"));
    assert_eq!(lists.len() as u64 + job["listed"]["left_out_users"].as_u64().unwrap(), users.len() as u64);

    refusals(&cluster, &known, &named);
}

/// What cannot be listed, or not there, is said and changes nothing.
fn refusals(cluster: &Cluster, taken: &Path, named: &Path) {
    let before = fs::read_dir(taken).unwrap().count();
    let all = |flags: &[&str]| cluster.shoal(&[&["recommend", "--all"], flags].concat());
    all(&["--out", taken.to_str().unwrap()])
        .exits_with(1)
        .says(&["holds '_job.json' already", "another folder"]);
    assert_eq!(fs::read_dir(taken).unwrap().count(), before, "what was there stays");
    all(&["--genre", "Dramaa"]).exits_with(1).says(&["no item has the genre 'Dramaa'", "Drama"]);
    all(&["-n", "1001"]).exits_with(2).says(&["1001", "1 to 1000"]);
    all(&["-n", "4294967296"]).exits_with(2);
    all(&["--exclude-id", "seven"]).exits_with(2).says(&["'seven' is not a whole number"]);
    all(&["--version", "als_model_v1_none"]).exits_with(3).says(&["als_model_v1_none"]);
    all(&["--users", "/no/such/users.txt"]).exits_with(1).says(&["/no/such/users.txt"]);
    fs::write(named, "1\ntwo\n").unwrap();
    all(&["--users", named.to_str().unwrap()]).exits_with(1).says(&["line 2 is not a whole number"]);
    cluster.shoal(&["recommend", "1", "--all"]).exits_with(2);
    cluster.shoal(&["recommend", "1", "--out", "lists"]).exits_with(2);
    // What failed has left nothing in the store.
    let left = cluster.dir().join("store/lists");
    assert!(!left.exists() || fs::read_dir(&left).unwrap().all(|job| parts(&job.unwrap().path()).is_empty()));
}

/// Checksums of the parts by name, as the manifest has them and the files are.
fn checksums(folder: &Path) -> BTreeMap<String, String> {
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("_manifest.json")).unwrap()).unwrap();
    let objects = manifest["objects"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all: BTreeMap<String, String> =
        objects.map(|object| (text(&object["path"]), text(&object["checksum_xxh3_128"]))).collect();
    for (name, checksum) in &all {
        let bytes = fs::read(folder.join(name)).unwrap();
        assert_eq!(&shoal_core::hash::checksum_hex(&bytes), checksum, "{name}");
    }
    assert!(parts(folder).iter().all(|part| all.contains_key(part.file_name().unwrap().to_str().unwrap())));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_workers_writes_the_same_bytes() {
    let folder = folder();
    let data = generate(folder.path(), SMALL);
    let mut written = Vec::new();
    for (workers, threads) in [(1, 2), (2, 1), (3, 2)] {
        let settings = vec![format!("worker.training_threads={threads}")];
        let cluster = Cluster::start(Shape { coordinators: 1, workers, settings }).await;
        cluster.import(&data, "items");
        // A version that is not live is listed as well.
        let version = cluster.train(&[]);
        let job = recommend_all(&cluster, &["--version", &version, "-n", "20"]);
        let uri = job["listed"]["uri"].as_str().unwrap();
        assert!(uri.ends_with(&format!("store/lists/{}", job["job_id"].as_str().unwrap())), "{uri}");
        let mut files = checksums(Path::new(uri));
        // It names version and data set, whose names are times.
        files.remove("_lists.json");
        assert_eq!(files.len(), 16, "{files:#?}");
        written.push(files);
    }
    assert!(written.iter().all(|files| *files == written[0]), "{written:#?}");
}

/// Enough that processes can be killed in the middle.
const LONG: Size = Size { users: 2_500, items: 900, ratings: 100_000 };

/// Starts lists and waits until some parts are written and some are not; the job.
async fn begin(cluster: &Cluster, version: &str, out: &Path) -> String {
    let flags = ["--version", version, "-n", "900", "--rank-by", "rating", "--include-seen"];
    let files = ["--format", "csv", "--columns", COLUMNS, "--out", out.to_str().unwrap()];
    let job = recommend_all(cluster, &[&flags[..], &files, &["--detach"]].concat());
    eventually("a part is written", || {
        let written = fs::read_dir(out).into_iter().flatten().flatten().count();
        (written > 1).then_some(())
    })
    .await;
    job["job_id"].as_str().unwrap().to_owned()
}

/// Follows the job to its end; its attempts.
fn end(cluster: &Cluster, job: &str) -> u64 {
    cluster.shoal(&["jobs", "show", job, "--follow"]).exits_with(0);
    let job = cluster.shoal(&["jobs", "show", job, "--json"]).json();
    assert_eq!(job["state"], "succeeded", "{job:#}");
    job["attempt"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_worker_and_the_leader_in_the_middle_changes_nothing() {
    let folder = folder();
    let data = generate(folder.path(), LONG);
    let settings = vec!["coordinator.lease_ms=1000".to_owned(), "worker.training_threads=1".to_owned()];
    let cluster = Cluster::start(Shape { coordinators: 3, workers: 3, settings }).await;
    cluster.import(&data, "items");
    let train = ["train", "--models", "item_cf", "--min-common-users", "2", "--json"];
    let version = cluster.shoal(&train).json()["model_version"].as_str().unwrap().to_owned();
    let out = |name: &str| folder.path().join(name);

    let job = begin(&cluster, &version, &out("whole")).await;
    assert_eq!(end(&cluster, &job), 1);
    let expected = checksums(&out("whole"));
    assert!(expected.len() > 16);
    let parts_of = |files: BTreeMap<String, String>| -> BTreeMap<String, String> {
        files.into_iter().filter(|(name, _)| name.starts_with("part-")).collect()
    };
    let expected = parts_of(expected);

    let job = begin(&cluster, &version, &out("worker")).await;
    cluster.kill("worker-2").await;
    assert!(end(&cluster, &job) > 1, "the killed worker has disturbed the job");
    assert_eq!(parts_of(checksums(&out("worker"))), expected, "a worker that is lost");

    let job = begin(&cluster, &version, &out("leader")).await;
    cluster.kill(&cluster.leader()).await;
    assert!(end(&cluster, &job) > 1, "the killed leader has disturbed the job");
    assert_eq!(parts_of(checksums(&out("leader"))), expected, "a leader that is lost");

    // One that is cancelled takes away what it has written, and nothing else.
    let taken = out("cancelled");
    let job = begin(&cluster, &version, &taken).await;
    cluster.shoal(&["jobs", "cancel", &job]).exits_with(0);
    cluster.shoal(&["jobs", "show", &job, "--follow"]).exits_with(5);
    assert_eq!(fs::read_dir(&taken).unwrap().count(), 0);
    let staging = cluster.dir().join("store/staging");
    assert_eq!(fs::read_dir(staging).into_iter().flatten().count(), 0);
}
