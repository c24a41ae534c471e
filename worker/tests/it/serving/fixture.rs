//! A small data set and model in a temporary store, a coordinator that says what it is told to, and
//! a real worker between them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use parquet::{
    data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type},
    file::writer::SerializedFileWriter,
    schema::parser::parse_message_type,
};
use shoal_common::{
    clock::SystemClock,
    config::{NodeConfig, WorkerConfig},
    hash::mix64,
    ids::{EntityId, IdKind},
    rpc::Channels,
    shutdown::Shutdown,
    store::{Manifest, PartKind, Store, catalogue_part, dataset_path, model_path, part},
    telemetry::LogFormat,
};
use shoal_proto::v1::{self, coordinator_server::CoordinatorServer, *};
use shoal_worker::{
    content::{ItemVectors, Vector},
    id_column::IdColumn,
    item_cf::Neighbours,
    model_parts::{biases_bytes, neighbours_bytes, vectors_bytes},
    node,
    tensor_file::TensorWriter,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_stream::wrappers::WatchStream;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Server, server::TcpIncoming},
};

use super::neighbours::{PREDICTION_NEIGHBOURS, neighbours_of};

pub(crate) const CLUSTER: &str = "test-cluster";
pub(crate) const NODE: &str = "worker-1";
pub(crate) const SHARDS: u32 = 4;
pub(crate) const RANK: usize = 20;
pub(crate) const USERS: i64 = 40;
pub(crate) const ITEMS: i64 = 90;
pub(crate) const RATING_MEAN: f64 = 3.25;
pub(crate) const FEATURES: usize = 6;
pub(crate) const GENOME_WIDTH: usize = 3;
/// By how much a cosine of 1 raises a predicted rating.
pub(crate) const RATING_SLOPE: f64 = 0.75;
/// By which the sources of a blend are calibrated.
pub(crate) const KNOTS: [&[(f32, f32)]; 4] = [
    &[(-20.0, 0.0), (0.0, 0.3), (12.0, 0.8)],
    &[(0.05, 0.0), (0.6, 0.5), (1.4, 0.9)],
    &[(0.05, 0.0), (0.3, 0.25), (2.0, 0.85)],
    &[(1.0, 0.0), (5.0, 0.6)],
];
const WAIT_MAX: Duration = Duration::from_secs(20);

/// One row of either side, as written.
#[derive(Debug, Clone)]
pub(crate) struct TrueRow {
    pub(crate) id: i64,
    pub(crate) shard: u32,
    pub(crate) row: u32,
    pub(crate) ranking: Vec<f32>,
    pub(crate) rating: Vec<f32>,
    pub(crate) bias: f32,
    pub(crate) train_count: u32,
    /// Global rows of the other side with the rating, ascending.
    pub(crate) rated: Vec<(u32, f32)>,
}

/// What was written, and how the registry describes it.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) dataset: DatasetInfo,
    pub(crate) version: ModelVersion,
    pub(crate) users: Vec<TrueRow>,
    pub(crate) items: Vec<TrueRow>,
}

/// A pseudo-random number of a few distinct values around zero: ties are frequent.
fn value(seed: u64, row: u64, column: u64) -> f32 {
    (mix64(seed ^ mix64(row ^ mix64(column))) % 7) as f32 / 2.0 - 1.5
}

/// Rows of a side in global order, unrated.
fn rows(side: u64, seed: u64, count: i64) -> Vec<TrueRow> {
    let mut ids: Vec<(u32, i64)> = (1..=count).map(|id| (EntityId::Integer(id).shard(SHARDS), id)).collect();
    ids.sort_unstable();
    let row = |(row, (shard, id)): (usize, (u32, i64))| {
        let vector = |kind: u64| {
            (0..RANK as u64).map(|column| value(seed + kind, side << 32 | id as u64, column)).collect()
        };
        TrueRow {
            id,
            shard,
            row: row as u32,
            ranking: vector(1),
            rating: vector(2),
            bias: value(seed + 3, side << 32 | id as u64, 0),
            // Every seventh row has no training rating.
            train_count: if id % 7 == 0 { 0 } else { 3 },
            rated: Vec::new(),
        }
    };
    ids.into_iter().enumerate().map(row).collect()
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store").to_str().unwrap()).unwrap();
        let (mut users, mut items) = (rows(1, 1, USERS), rows(2, 1, ITEMS));
        for user in &mut users {
            for item in &mut items {
                // Items above 80 are only in the catalogue.
                let draw = mix64(user.id as u64 ^ mix64(item.id as u64));
                if item.id <= 80 && draw.is_multiple_of(5) {
                    let rating = (draw >> 8) % 10;
                    user.rated.push((item.row, rating as f32 / 2.0 + 0.5));
                    item.rated.push((user.row, rating as f32 / 2.0 + 0.5));
                }
            }
        }
        let dataset = write_dataset(&store, &users, &items).await;
        let version = write_model(&store, "als_model_v1", &dataset, &users, &items).await;
        Self { folder, store, dataset, version, users, items }
    }

    /// Another version of the same data set, with other factors.
    pub(crate) async fn second_version(&self) -> ModelVersion {
        let (users, items) = (rows(1, 99, USERS), rows(2, 99, ITEMS));
        write_model(&self.store, "als_model_v2", &self.dataset, &users, &items).await
    }

    /// A version of the same data set that has neighbours instead of factors.
    pub(crate) async fn version_of_neighbours(&self, model: &str) -> ModelVersion {
        let name = format!("{model}_model_v1");
        let path = model_path(model, &name);
        let mut objects = Vec::new();
        for shard in 0..SHARDS {
            for (side, rows) in [(Side::Users, &self.users), (Side::Items, &self.items)] {
                let rows = of_shard(rows, shard);
                let biases: Vec<f32> = rows.iter().map(|row| row.bias).collect();
                let counts: Vec<u32> = rows.iter().map(|row| row.train_count).collect();
                let bytes = biases_bytes("biases", &ids(&rows), &biases, &counts).unwrap();
                objects.push(put(&self.store, &path, part(PartKind::Biases, side, shard), bytes).await);
            }
            let rows = of_shard(&self.items, shard);
            let mut lists = Neighbours::default();
            rows.iter().for_each(|row| lists.push(&neighbours_of(&self.items, row)));
            let bytes = neighbours_bytes("neighbours", &ids(&rows), &lists).unwrap();
            let name = part(PartKind::Neighbours, Side::Items, shard);
            objects.push(put(&self.store, &path, name, bytes).await);
            if model == "content_based" {
                let mut vectors = ItemVectors::new(FEATURES, GENOME_WIDTH);
                rows.iter().for_each(|row| vectors.push(&vector_of_features(row.id)));
                let bytes = vectors_bytes("vectors", &ids(&rows), &vectors).unwrap();
                let name = part(PartKind::Vectors, Side::Items, shard);
                objects.push(put(&self.store, &path, name, bytes).await);
            }
        }
        let parameters = ItemCfParameters {
            prediction_neighbours: PREDICTION_NEIGHBOURS as u32,
            ..ItemCfParameters::default()
        };
        let parameters = match model {
            "item_cf" => model_parameters::Model::ItemCf(parameters),
            _ => model_parameters::Model::Content(ContentParameters::default()),
        };
        ModelVersion {
            name,
            model: model.to_owned(),
            manifest_checksum: Manifest::new("model", objects).write(&self.store, &path).await.unwrap(),
            path,
            dataset_name: self.dataset.name.clone(),
            dataset_version: self.dataset.version.clone(),
            model_parameters: Some(ModelParameters { model: Some(parameters), ..Default::default() }),
            rating_mean: RATING_MEAN,
            rating_slope: if model == "content_based" { RATING_SLOPE } else { 0.0 },
            ..Default::default()
        }
    }

    /// A blend of an ALS, an item CF and a content version and popularity.
    pub(crate) async fn blend(&self, versions: [&ModelVersion; 3], weights: [f64; 4]) -> ModelVersion {
        let name = "hybrid_model_v1".to_owned();
        let path = model_path("hybrid", &name);
        let names = versions.map(|version| (version.model.as_str(), version.name.as_str()));
        let named = names.into_iter().chain([("popularity", "")]).zip(weights).zip(KNOTS);
        let sources = named.map(|(((model, version), weight), knots)| HybridSource {
            model: model.to_owned(),
            version: version.to_owned(),
            weight,
            knots: knots.iter().map(|&(score, level)| CalibrationKnot { score, level }).collect(),
        });
        ModelVersion {
            name,
            model: "hybrid".to_owned(),
            manifest_checksum: Manifest::new("model", Vec::new()).write(&self.store, &path).await.unwrap(),
            path,
            dataset_name: self.dataset.name.clone(),
            dataset_version: self.dataset.version.clone(),
            rating_mean: RATING_MEAN,
            hybrid: Some(HybridModel { sources: sources.collect(), ..HybridModel::default() }),
            ..Default::default()
        }
    }

    /// Everything placed on the one worker.
    pub(crate) fn metadata(&self, revision: u64, versions: Vec<ModelVersion>) -> Metadata {
        let replicas = |side: Side| {
            (0..SHARDS).map(move |shard| ShardReplicas {
                side: side.into(),
                shard,
                nodes: vec![NODE.to_owned()],
            })
        };
        let placement = Placement {
            dataset_name: self.dataset.name.clone(),
            dataset_version: self.dataset.version.clone(),
            shards: replicas(Side::Users).chain(replicas(Side::Items)).collect(),
        };
        Metadata {
            cluster_id: CLUSTER.to_owned(),
            revision,
            leader_term: 1,
            versions,
            datasets: vec![self.dataset.clone()],
            placements: vec![placement],
            ..Default::default()
        }
    }

    pub(crate) fn user(&self, id: i64) -> &TrueRow {
        self.users.iter().find(|row| row.id == id).unwrap()
    }

    pub(crate) fn item(&self, id: i64) -> &TrueRow {
        self.items.iter().find(|row| row.id == id).unwrap()
    }

    /// The file behind a part of the data set or the model.
    pub(crate) fn object(&self, folder: &str, name: &str) -> std::path::PathBuf {
        self.store.file_path(&format!("{folder}/{name}")).unwrap()
    }
}

fn ids(rows: &[&TrueRow]) -> IdColumn {
    let mut column = IdColumn::empty(IdKind::Integer);
    rows.iter().for_each(|row| column.push(&EntityId::Integer(row.id)));
    column
}

/// An item's features; every fifth item has none, and half of the others no genome.
pub(crate) fn vector_of_features(id: i64) -> Vector {
    if id % 5 == 0 {
        return Vector::default();
    }
    let feature = |at: usize| value(77, id as u64, at as u64) / 4.0;
    let features = (0..FEATURES).filter(|at| feature(*at) > 0.0).map(|at| (at as u32, feature(at)));
    let genome = (0..GENOME_WIDTH).filter(|_| id % 2 == 0).map(|at| feature(10 + at));
    Vector { features: features.collect(), genome: genome.collect() }
}

fn of_shard(rows: &[TrueRow], shard: u32) -> Vec<&TrueRow> {
    rows.iter().filter(|row| row.shard == shard).collect()
}

async fn put(store: &Store, folder: &str, name: String, bytes: Bytes) -> ObjectEntry {
    let entry = store.put(&format!("{folder}/{name}"), bytes).await.unwrap();
    ObjectEntry { path: name, ..entry }
}

fn ratings_bytes(rows: &[&TrueRow]) -> Bytes {
    let ids = ids(rows);
    let mut indptr = vec![0_u64];
    rows.iter().for_each(|row| indptr.push(indptr.last().unwrap() + row.rated.len() as u64));
    let indices: Vec<u32> = rows.iter().flat_map(|row| row.rated.iter().map(|rated| rated.0)).collect();
    let ratings: Vec<f32> = rows.iter().flat_map(|row| row.rated.iter().map(|rated| rated.1)).collect();
    let timestamps: Vec<i64> =
        rows.iter().flat_map(|row| row.rated.iter().map(|rated| timestamp(row.row, rated.0))).collect();
    let mut writer = TensorWriter::new();
    ids.write(&mut writer);
    writer.add("indptr", &[indptr.len()], &indptr);
    writer.add("indices", &[indices.len()], &indices);
    writer.add("ratings", &[ratings.len()], &ratings);
    writer.add("timestamps", &[timestamps.len()], &timestamps);
    writer.to_bytes("ratings").unwrap()
}

/// When a rating was given, as both sides' blocks have it; some times are not known.
pub(crate) fn timestamp(row: u32, other: u32) -> i64 {
    let (low, high) = (row.min(other), row.max(other));
    let draw = mix64(u64::from(low) << 32 | u64::from(high));
    if draw.is_multiple_of(9) { 0 } else { 1_500_000_000 + (draw % 4_000) as i64 * 10_000 }
}

pub(crate) fn factors_bytes(rows: &[&TrueRow]) -> Bytes {
    let ids = ids(rows);
    let ranking: Vec<f32> = rows.iter().flat_map(|row| row.ranking.clone()).collect();
    let rating: Vec<f32> = rows.iter().flat_map(|row| row.rating.clone()).collect();
    let biases: Vec<f32> = rows.iter().map(|row| row.bias).collect();
    let counts: Vec<u32> = rows.iter().map(|row| row.train_count).collect();
    let mut writer = TensorWriter::new();
    ids.write(&mut writer);
    writer.add("ranking", &[rows.len(), RANK], &ranking);
    writer.add("rating", &[rows.len(), RANK], &rating);
    writer.add("rating_bias", &[rows.len()], &biases);
    writer.add("train_counts", &[rows.len()], &counts);
    writer.to_bytes("factors").unwrap()
}

/// Items with an even id are in the movies file.
fn catalogue_bytes(rows: &[&TrueRow]) -> Bytes {
    let rows: Vec<&&TrueRow> = rows.iter().filter(|row| row.id % 2 == 0).collect();
    let schema = "message catalogue { REQUIRED INT64 item_id; REQUIRED BYTE_ARRAY title (UTF8);
        OPTIONAL INT32 year; REQUIRED BYTE_ARRAY genres (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts = |text: fn(i64) -> String| -> Vec<ByteArray> {
        rows.iter().map(|row| ByteArray::from(text(row.id).into_bytes())).collect()
    };
    let mut column = group.next_column().unwrap().unwrap();
    let item_ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    column.typed::<Int64Type>().write_batch(&item_ids, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts(title), None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let years: Vec<Option<i32>> = rows.iter().map(|row| year(row.id)).collect();
    let known: Vec<i16> = years.iter().map(|year| i16::from(year.is_some())).collect();
    let years: Vec<i32> = years.into_iter().flatten().collect();
    column.typed::<Int32Type>().write_batch(&years, Some(&known), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts(|id| genres(id).join("|")), None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes.into()
}

pub(crate) fn title(id: i64) -> String {
    if id % 2 == 0 { format!("Film {id}, The (1999)") } else { String::new() }
}

pub(crate) fn year(id: i64) -> Option<i32> {
    (id % 2 == 0 && id % 10 != 0).then_some(1980 + (id % 30) as i32)
}

pub(crate) fn genres(id: i64) -> Vec<String> {
    if id % 4 == 0 { vec!["Comedy".to_owned(), "Film-Noir".to_owned()] } else { Vec::new() }
}

async fn write_dataset(store: &Store, users: &[TrueRow], items: &[TrueRow]) -> DatasetInfo {
    let path = dataset_path("movies", "v1");
    let mut objects = Vec::new();
    let mut stats = HashMap::from([(Side::Users, Vec::new()), (Side::Items, Vec::new())]);
    for shard in 0..SHARDS {
        for (side, rows) in [(Side::Users, of_shard(users, shard)), (Side::Items, of_shard(items, shard))] {
            let name = part(PartKind::Ratings, side, shard);
            objects.push(put(store, &path, name, ratings_bytes(&rows)).await);
            let ratings = rows.iter().map(|row| row.rated.len() as u64).sum();
            stats.get_mut(&side).unwrap().push(ShardStats { shard, rows: rows.len() as u64, ratings });
        }
        let rows = of_shard(items, shard);
        objects.push(put(store, &path, catalogue_part(shard), catalogue_bytes(&rows)).await);
    }
    let all: Vec<f64> = users.iter().flat_map(|row| row.rated.iter().map(|&(_, r)| f64::from(r))).collect();
    DatasetInfo {
        name: "movies".to_owned(),
        version: "v1".to_owned(),
        shard_count: SHARDS,
        user_id_kind: v1::IdKind::Integer.into(),
        item_id_kind: v1::IdKind::Integer.into(),
        user_shards: stats.remove(&Side::Users).unwrap(),
        item_shards: stats.remove(&Side::Items).unwrap(),
        users: users.len() as u64,
        items: items.len() as u64,
        ratings: all.len() as u64,
        rating_min: 0.5,
        rating_max: 5.0,
        rating_mean: all.iter().sum::<f64>() / all.len() as f64,
        manifest_checksum: Manifest::new("dataset", objects).write(store, &path).await.unwrap(),
        path,
        ..Default::default()
    }
}

async fn write_model(
    store: &Store,
    name: &str,
    dataset: &DatasetInfo,
    users: &[TrueRow],
    items: &[TrueRow],
) -> ModelVersion {
    let path = model_path("als", name);
    let mut objects = Vec::new();
    for shard in 0..SHARDS {
        for (side, rows) in [(Side::Users, users), (Side::Items, items)] {
            let bytes = factors_bytes(&of_shard(rows, shard));
            objects.push(put(store, &path, part(PartKind::Factors, side, shard), bytes).await);
        }
    }
    ModelVersion {
        name: name.to_owned(),
        model: "als".to_owned(),
        manifest_checksum: Manifest::new("model", objects).write(store, &path).await.unwrap(),
        path,
        dataset_name: dataset.name.clone(),
        dataset_version: dataset.version.clone(),
        parameters: Some(AlsParameters {
            objective: ObjectiveChoice::Both.into(),
            rank: RANK as u32,
            explicit: Some(ExplicitParameters { regularization: 0.05, biases: true, ..Default::default() }),
            implicit: Some(ImplicitParameters {
                regularization: 0.01,
                unobserved_weight: 0.1,
                alpha: 0.5,
                regularization_exponent: 1.0,
                ..Default::default()
            }),
            ..Default::default()
        }),
        rating_mean: RATING_MEAN,
        ..Default::default()
    }
}

/// A coordinator that leads, streams the metadata it is given and remembers the last heartbeat.
pub(crate) struct TestCoordinator {
    pub(crate) address: String,
    pub(crate) metadata: watch::Sender<Metadata>,
    pub(crate) frozen: Arc<AtomicBool>,
    beats: watch::Receiver<HeartbeatRequest>,
    server: JoinHandle<()>,
}

impl TestCoordinator {
    pub(crate) async fn start(metadata: Metadata) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (metadata, _) = watch::channel(metadata);
        let (beat, beats) = watch::channel(HeartbeatRequest::default());
        let frozen = Arc::new(AtomicBool::new(false));
        let fixture = CoordinatorFixture { metadata: metadata.clone(), frozen: Arc::clone(&frozen), beat };
        let service = CoordinatorServer::new(fixture);
        let server = tokio::spawn(async move {
            let incoming = TcpIncoming::from(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, metadata, frozen, beats, server }
    }

    /// Waits for a heartbeat that fulfils the condition.
    pub(crate) async fn beat_with(
        &self,
        what: &str,
        condition: impl Fn(&HeartbeatRequest) -> bool,
    ) -> HeartbeatRequest {
        let mut beats = self.beats.clone();
        let waited = tokio::time::timeout(WAIT_MAX, beats.wait_for(|beat| condition(beat))).await;
        let beat = waited.unwrap_or_else(|_| panic!("no heartbeat with {what}: {:?}", self.beats.borrow()));
        beat.unwrap().clone()
    }

    /// Waits until all shards of exactly these versions are reported.
    pub(crate) async fn all_loaded(&self, versions: &[&str]) -> HeartbeatRequest {
        let all: Vec<u32> = (0..SHARDS).collect();
        self.beat_with("everything loaded", |beat| {
            beat.loaded.iter().map(|version| version.version.as_str()).eq(versions.iter().copied())
                && beat.loaded.iter().all(|loaded| loaded.user_shards == all && loaded.item_shards == all)
        })
        .await
    }

    pub(crate) async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

struct CoordinatorFixture {
    metadata: watch::Sender<Metadata>,
    /// Streams deliver the metadata of this moment and then nothing, as a cut-off leader's do.
    frozen: Arc<AtomicBool>,
    beat: watch::Sender<HeartbeatRequest>,
}

type BoxStream<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What every call gets that workers have no reason to make.
fn not_asked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("workers do not ask this"))
}

#[tonic::async_trait]
impl coordinator_server::Coordinator for CoordinatorFixture {
    type WatchMetadataStream = BoxStream<Metadata>;
    type WatchJobStream = BoxStream<JobInfo>;

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatReply>, Status> {
        self.beat.send_replace(request.into_inner());
        let metadata_revision = self.metadata.borrow().revision;
        Ok(Response::new(HeartbeatReply { lease_ms: 300, metadata_revision }))
    }

    async fn watch_metadata(
        &self,
        request: Request<WatchMetadataRequest>,
    ) -> Result<Response<Self::WatchMetadataStream>, Status> {
        assert_eq!(request.into_inner().cluster_id, CLUSTER);
        let metadata = WatchStream::new(self.metadata.subscribe()).map(Ok);
        if self.frozen.load(Ordering::Relaxed) {
            return Ok(Response::new(Box::pin(metadata.take(1).chain(futures::stream::pending()))));
        }
        Ok(Response::new(Box::pin(metadata)))
    }

    async fn import_dataset(
        &self,
        _: Request<ImportDatasetRequest>,
    ) -> Result<Response<StartJobReply>, Status> {
        not_asked()
    }

    async fn list_datasets(
        &self,
        _: Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsReply>, Status> {
        not_asked()
    }

    async fn start_training(
        &self,
        _: Request<StartTrainingRequest>,
    ) -> Result<Response<StartJobReply>, Status> {
        not_asked()
    }

    async fn list_jobs(&self, _: Request<ListJobsRequest>) -> Result<Response<ListJobsReply>, Status> {
        not_asked()
    }

    async fn get_job(&self, _: Request<JobRequest>) -> Result<Response<JobInfo>, Status> {
        not_asked()
    }

    async fn watch_job(&self, _: Request<JobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        not_asked()
    }

    async fn cancel_job(&self, _: Request<JobRequest>) -> Result<Response<JobInfo>, Status> {
        not_asked()
    }

    async fn list_models(&self, _: Request<ListModelsRequest>) -> Result<Response<ListModelsReply>, Status> {
        not_asked()
    }

    async fn register_model(
        &self,
        _: Request<RegisterModelRequest>,
    ) -> Result<Response<RegisterModelReply>, Status> {
        not_asked()
    }

    async fn promote(&self, _: Request<PromoteRequest>) -> Result<Response<PromoteReply>, Status> {
        not_asked()
    }

    async fn rollback(&self, _: Request<RollbackRequest>) -> Result<Response<PromoteReply>, Status> {
        not_asked()
    }

    async fn status(&self, _: Request<ClusterStatusRequest>) -> Result<Response<ClusterStatus>, Status> {
        not_asked()
    }
}

/// A real worker on a free port.
pub(crate) struct TestWorker {
    pub(crate) channel: Channel,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), node::WorkerError>>,
}

impl TestWorker {
    pub(crate) async fn start(world: &World, coordinator: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = WorkerConfig {
            node: NodeConfig {
                cluster_id: CLUSTER.to_owned(),
                name: NODE.to_owned(),
                listen: address,
                advertise: None,
                data_dir: world.folder.path().join("worker"),
                store: world.store.uri().to_owned(),
                store_options: BTreeMap::new(),
                coordinators: vec![coordinator.to_owned()],
                metrics_listen: None,
                log_format: LogFormat::Text,
                log: "info".to_owned(),
                seed: Some(7),
            },
            training_threads: 1,
            serving_threads: 2,
            serving_queue: 64,
        };
        let shutdown = Shutdown::new();
        let channels = Channels::tcp();
        let channel = channels.get(&address.to_string()).unwrap();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let (store, clock) = (world.store.clone(), Arc::new(SystemClock));
        let worker =
            node::run(config, incoming, address.to_string(), channels, store, clock, shutdown.clone());
        Self { channel, shutdown, running: tokio::spawn(worker) }
    }

    /// Stops as an operator would; the worker must end cleanly and in time.
    pub(crate) async fn stop(self) {
        assert!(self.shutdown.drain(Duration::from_secs(15)).await, "a task outlived the drain");
        self.running.await.unwrap().unwrap();
    }
}
