//! Versions and data sets that somebody registers.

use std::time::Duration;

use shoal_common::store::{Manifest, PartKind, Store, dataset_path, model_path, part};
use shoal_coordinator::{record_checks::dataset_problems, state::ClusterState};
use shoal_proto::v1::*;
use tonic::{Code, Status};

use crate::support::{cluster::Cluster, group::CLUSTER};

const LEASE: Duration = Duration::from_secs(10);
const SHARDS: u32 = 3;

/// A version of ALS with its data set, as somebody imports it who means well.
#[derive(Clone)]
struct Imported {
    version: ModelVersion,
    dataset: DatasetInfo,
}

/// Writes an object for each of these parts, and the manifest; its checksum.
async fn written(store: &Store, folder: &str, kinds: [PartKind; 2], shards: u32) -> String {
    let mut objects = Vec::new();
    for (kind, side) in kinds.into_iter().zip([Side::Users, Side::Items]) {
        for shard in 0..shards {
            let path = part(kind, side, shard);
            let entry = store.put(&format!("{folder}/{path}"), "rows".into()).await.unwrap();
            objects.push(ObjectEntry { path, ..entry });
        }
    }
    Manifest::new("model", objects).write(store, folder).await.unwrap()
}

async fn imported(store: &Store, name: &str) -> Imported {
    let (path, of) = (dataset_path(name, "1"), model_path("als", name));
    let stats = |rows| (0..SHARDS).map(|shard| ShardStats { shard, rows, ratings: 20 }).collect();
    let dataset = DatasetInfo {
        name: name.to_owned(),
        version: "1".to_owned(),
        shard_count: SHARDS,
        user_id_kind: IdKind::Integer.into(),
        item_id_kind: IdKind::Integer.into(),
        user_shards: stats(10),
        item_shards: stats(5),
        users: 30,
        items: 15,
        ratings: 60,
        rating_max: 5.0,
        manifest_checksum: written(store, &path, [PartKind::Ratings; 2], SHARDS).await,
        path,
        ..DatasetInfo::default()
    };
    let version = ModelVersion {
        name: name.to_owned(),
        model: "als".to_owned(),
        dataset_name: name.to_owned(),
        dataset_version: "1".to_owned(),
        manifest_checksum: written(store, &of, [PartKind::Factors; 2], SHARDS).await,
        path: of,
        ..ModelVersion::default()
    };
    Imported { version, dataset }
}

async fn register(cluster: &Cluster, imported: &Imported) -> Result<(), Status> {
    let Imported { version, dataset } = imported.clone();
    let request =
        RegisterModelRequest { version: Some(version), dataset: Some(dataset), request_id: String::new() };
    let registered = cluster.ask(|mut leader| {
        let request = request.clone();
        async move { leader.register_model(request).await }
    });
    registered.await.map(drop)
}

async fn promote(cluster: &Cluster, version: &str) -> Result<PromoteReply, Status> {
    let request = || PromoteRequest { version: version.to_owned(), ..Default::default() };
    cluster.ask(|mut leader| async move { leader.promote(request()).await }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_must_be_as_what_is_published() {
    let cluster = Cluster::start(1, LEASE);
    let good = imported(&cluster.store(), "spark").await;
    type Change = fn(&mut Imported);
    let wrong: [(&str, Change); 27] = [
        ("4294967295 shards", |it| it.dataset.shard_count = u32::MAX),
        ("has 0 shards", |it| it.dataset.shard_count = 0),
        ("statistics of 3 shards of users", |it| it.dataset.shard_count = 2),
        ("statistics of 0 shards of users", |it| it.dataset.user_shards.clear()),
        ("statistics of 3 shards of items", |it| it.dataset.item_shards[2].shard = 1),
        ("has 31 users, its shards have 30", |it| it.dataset.users = 31),
        ("has 14 items, its shards have 15", |it| it.dataset.items = 14),
        ("has 61 ratings", |it| it.dataset.ratings = 61),
        ("its shards have", |it| {
            it.dataset.users = u64::MAX;
            it.dataset.user_shards.iter_mut().for_each(|shard| shard.rows = u64::MAX);
        }),
        ("scale of ratings", |it| it.dataset.rating_max = f64::NAN),
        ("scale of ratings", |it| it.dataset.rating_min = f64::NEG_INFINITY),
        ("scale of ratings", |it| it.dataset.rating_min = 6.0),
        ("scale of ratings", |it| it.dataset.rating_mean = f64::MAX),
        ("what the ids of its users are", |it| it.dataset.user_id_kind = 0),
        ("the data set's name, '../../x'", |it| it.dataset.name = "../../x".to_owned()),
        ("datasets/<name>/<version>", |it| it.dataset.path = "datasets/../x".to_owned()),
        ("the data set's manifest_checksum", |it| it.dataset.manifest_checksum.clear()),
        ("the data set's record has", |it| it.dataset.source_uri = "x".repeat(2 << 20)),
        ("the model '../../x'", |it| it.version.model = "../../x".to_owned()),
        (r"'x\n\u{1b}[31m'", |it| it.version.name = "x\n\u{1b}[31m".to_owned()),
        ("the version's name", |it| it.version.name = "x".repeat(100_000)),
        ("models/<model>/<name>", |it| it.version.path = "/etc".to_owned()),
        ("the version's manifest_checksum", |it| it.version.manifest_checksum = "../x".to_owned()),
        ("mean or slope", |it| it.version.rating_mean = f64::INFINITY),
        ("only a hybrid", |it| it.version.hybrid = Some(HybridModel::default())),
        ("does not say what it blends", |it| {
            it.version.model = "hybrid".to_owned();
            it.version.path = model_path("hybrid", &it.version.name);
        }),
        ("it blends 'none'", |it| {
            it.version.model = "hybrid".to_owned();
            it.version.path = model_path("hybrid", &it.version.name);
            let source = HybridSource { model: "als".into(), version: "none".into(), ..Default::default() };
            it.version.hybrid = Some(HybridModel { sources: vec![source], ..Default::default() });
        }),
    ];
    for (expected, change) in wrong {
        let mut changed = good.clone();
        change(&mut changed);
        let refused = register(&cluster, &changed).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{expected}: {refused}");
        assert!(refused.message().contains(expected), "{expected}: {refused}");
        assert!(!refused.message().contains('\u{1b}') && refused.message().len() < 1_000, "{refused}");
    }
    register(&cluster, &good).await.unwrap();
    cluster.kill_all().await;
}

/// The files are of other shards than the records say.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_files_are_of_other_shards_is_not_registered() {
    let cluster = Cluster::start(1, LEASE);
    let store = cluster.store();
    for (shards, expected) in [
        (2, "'item_factors/part-00002.safetensors' is missing"),
        (4, "part-00003.safetensors' is of a shard"),
    ] {
        let mut imported = imported(&store, &format!("spark-{shards}")).await;
        let folder = imported.version.path.clone();
        imported.version.manifest_checksum = written(&store, &folder, [PartKind::Factors; 2], shards).await;
        let refused = register(&cluster, &imported).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains(expected), "{refused}");
    }
    cluster.kill_all().await;
}

/// What a release before has let into the registry does not go live, and whoever asks need not wait to hear why.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_refused_at_once() {
    let mut cluster = Cluster::found(1, LEASE);
    let store = cluster.store();
    let mut state = ClusterState::new(CLUSTER);
    let mut add = |imported: Imported| {
        let Imported { version, dataset } = imported;
        state.datasets.insert((dataset.name.clone(), dataset.version.clone()), dataset);
        state.versions.insert(version.name.clone(), version);
    };
    let mut many = imported(&store, "many").await;
    many.dataset.shard_count = u32::MAX;
    let mut bare = imported(&store, "bare").await;
    bare.dataset.item_shards.clear();
    let mut other = imported(&store, "other").await;
    other.version.manifest_checksum = written(&store, &other.version.path, [PartKind::Factors; 2], 2).await;
    let mut lost = imported(&store, "lost").await;
    lost.version.path = "models/als/nowhere".to_owned();
    let mut strange = imported(&store, "strange").await;
    strange.version.model = "../../x".to_owned();
    let wrong = [
        (many, "4294967295 shards"),
        (bare, "statistics of 0 shards of items"),
        (other, "'item_factors/part-00002.safetensors' is missing"),
        (lost, "has no object"),
        (strange, "a model that this release does not know"),
    ];
    wrong.iter().for_each(|(imported, _)| add(imported.clone()));
    cluster.found_with(&state);
    cluster.revive(1);
    for (imported, expected) in wrong {
        // No worker is there: a promotion that began would not end.
        let refused = promote(&cluster, &imported.version.name).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains(expected), "{expected}: {refused}");
    }
    assert_eq!(cluster.status().await.metadata.unwrap().served, Vec::new());
    cluster.kill_all().await;
}

/// The largest data set that can be published fits into its record, and so into a request.
#[test]
fn the_largest_data_set_has_room() {
    let stats = |shard| ShardStats { shard, rows: 1 << 20, ratings: 1 << 36 };
    let shards: Vec<ShardStats> = (0..4_096).map(stats).collect();
    let dataset = DatasetInfo {
        shard_count: 4_096,
        user_shards: shards.clone(),
        item_shards: shards,
        ..DatasetInfo::default()
    };
    let problems = dataset_problems(&dataset);
    assert!(!problems.iter().any(|problem| problem.contains("record has")), "{problems:?}");
}
