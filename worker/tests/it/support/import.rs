//! Imports, as a leader runs them.

use std::{collections::BTreeMap, ops::Range, path::Path};

use futures::{StreamExt as _, TryStreamExt as _};
use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::RowAccessor as _,
};
use shoal_common::store::{
    Manifest, PartKind, catalogue_part, genome_part, genome_tags_part, part, tags_part,
};
use shoal_format::{blocks::RatingBlock, tensor_file::TensorFile};
use shoal_proto::v1::{step_event::Event, step_request::Step, worker_jobs_client::WorkerJobsClient, *};
use tonic::Status;

use super::Workers;

/// A source with nothing but an address.
pub(crate) fn source(path: &Path) -> DatasetSource {
    DatasetSource { uri: path.to_str().unwrap().to_owned(), bad_rows_ratio_max: 1.0, ..Default::default() }
}

/// A source with named columns.
pub(crate) fn with_columns(path: &Path, [user, item, rating, time]: [&str; 4]) -> DatasetSource {
    DatasetSource {
        user_column: user.into(),
        item_column: item.into(),
        rating_column: rating.into(),
        time_column: time.into(),
        ..source(path)
    }
}

/// What an import made.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) info: DatasetInfo,
    /// Rejected lines: file, line, reason.
    pub(crate) rejected: Vec<(String, u64, String)>,
}

/// One rating as it lies in the store: user, item, rating, time.
pub(crate) type Stored = (String, String, f32, i64);

/// One row of the catalogue: item, title, year, genres.
pub(crate) type Titled = (String, String, Option<i32>, String);

impl Workers {
    pub(crate) async fn inspect(&self, source: &DatasetSource) -> Result<InspectSourceReply, Status> {
        let request = InspectSourceRequest { source: Some(source.clone()), preview: false };
        let mut client = WorkerJobsClient::new(self.channels[0].clone());
        Ok(client.inspect_source(request).await?.into_inner())
    }

    /// Imports in ranges of `range_bytes`, dealt to the workers in turn.
    pub(crate) async fn import(
        &self,
        source: &DatasetSource,
        shards: u32,
        range_bytes: u64,
    ) -> Result<Imported, Status> {
        let cut = |file: &SourceFile| {
            let begins = (0..file.length_bytes).step_by(range_bytes as usize);
            begins.map(|begin| begin..(begin + range_bytes).min(file.length_bytes)).collect()
        };
        self.import_cut(source, shards, cut).await
    }

    /// Imports in the ranges that `cut` makes of each file.
    pub(crate) async fn import_cut(
        &self,
        source: &DatasetSource,
        shards: u32,
        cut: impl Fn(&SourceFile) -> Vec<Range<u64>>,
    ) -> Result<Imported, Status> {
        let attempt = self.next_attempt();
        let found = self.inspect(source).await?;
        let begin = IngestBegin {
            source: Some(source.clone()),
            shard_count: shards,
            user_id_kind: found.user_id_kind,
            item_id_kind: found.item_id_kind,
            owners: self.owners(shards),
            workers: self.peers.clone(),
            staging_path: format!("staging/{attempt}"),
            files: found.files.clone(),
            duplicates: found.duplicates,
        };
        self.on_all(attempt, Step::IngestBegin(begin)).await?;
        let mut steps = Vec::new();
        for (number, file) in found.files.iter().enumerate() {
            let ranges = if file.multiline || file.one_range {
                std::iter::once(0..file.length_bytes).collect()
            } else {
                cut(file)
            };
            let file = number as u32;
            steps.extend(ranges.into_iter().map(|Range { start: begin, end }| IngestParse {
                file,
                begin,
                end,
            }));
        }
        let parses = steps
            .iter()
            .enumerate()
            .map(|(at, &step)| self.on_one(at % self.peers.len(), attempt, Step::IngestParse(step)));
        // As a leader does, no more at once than the workers are good for.
        let done = futures::stream::iter(parses).buffered(2 * self.peers.len()).try_collect().await?;
        let (report, rejected) = merge(&found.files, &steps, done);
        let info = self.sort_and_build(attempt, shards, report, &found).await?;
        Ok(Imported { info, rejected })
    }

    async fn sort_and_build(
        &self,
        attempt: u32,
        shards: u32,
        report: ImportReport,
        found: &InspectSourceReply,
    ) -> Result<DatasetInfo, Status> {
        let mut info = DatasetInfo {
            name: "test".into(),
            version: format!("v{attempt}"),
            path: format!("datasets/test/v{attempt}"),
            shard_count: shards,
            user_id_kind: found.user_id_kind,
            item_id_kind: found.item_id_kind,
            report: Some(report),
            rating_min: f64::INFINITY,
            rating_max: f64::NEG_INFINITY,
            ..DatasetInfo::default()
        };
        for event in self.on_all(attempt, Step::IngestSort(IngestSort {})).await? {
            let Event::IngestSortDone(done) = event else { panic!("{event:?}") };
            info.user_shards.extend(done.user_shards);
            info.item_shards.extend(done.item_shards);
            info.catalogue_items += done.catalogue_items;
            info.rating_min = info.rating_min.min(done.rating_min);
            info.rating_max = info.rating_max.max(done.rating_max);
            info.tags += done.tags;
            info.genome_items += done.genome_items;
            info.report.as_mut().unwrap().duplicates += done.duplicates;
        }
        info.user_shards.sort_by_key(|shard| shard.shard);
        info.item_shards.sort_by_key(|shard| shard.shard);
        info.users = info.user_shards.iter().map(|shard| shard.rows).sum();
        info.items = info.item_shards.iter().map(|shard| shard.rows).sum();
        info.ratings = info.user_shards.iter().map(|shard| shard.ratings).sum();
        let build = IngestBuild {
            path: info.path.clone(),
            user_rows: info.user_shards.iter().map(|shard| shard.rows).collect(),
            item_rows: info.item_shards.iter().map(|shard| shard.rows).collect(),
        };
        let mut objects = Vec::new();
        for event in self.on_all(attempt, Step::IngestBuild(build)).await? {
            let Event::IngestBuildDone(done) = event else { panic!("{event:?}") };
            objects.extend(done.objects);
        }
        info.manifest_checksum =
            Manifest::new("dataset", objects).write(&self.store, &info.path).await.unwrap();
        self.release().await;
        self.store.delete_folder("staging").await.unwrap();
        Ok(info)
    }

    /// Every rating of a side's blocks, by user and item; each block checked as it is opened.
    pub(crate) async fn stored(&self, info: &DatasetInfo, side: Side) -> Vec<Stored> {
        let (own, other) = match side {
            Side::Items => (&info.item_shards, Side::Users),
            _ => (&info.user_shards, Side::Items),
        };
        let other_rows = if side == Side::Items { info.users } else { info.items };
        let other_ids = self.ids(info, other).await;
        let mut stored = Vec::new();
        for shard in own {
            let block = self.block(info, side, shard, other_rows).await;
            for row in 0..block.rows() {
                let own = block.ids().get(row).to_string();
                for at in block.span(row) {
                    let other = other_ids[block.indices()[at] as usize].clone();
                    let (rating, time) = (block.ratings()[at], block.timestamps()[at]);
                    stored.push(match side {
                        Side::Items => (other, own.clone(), rating, time),
                        _ => (own.clone(), other, rating, time),
                    });
                }
            }
        }
        stored.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        stored
    }

    async fn block(
        &self,
        info: &DatasetInfo,
        side: Side,
        shard: &ShardStats,
        other_rows: u64,
    ) -> RatingBlock {
        let path = format!("{}/{}", info.path, part(PartKind::Ratings, side, shard.shard));
        let bytes = self.store.get(&path).await.unwrap();
        let file = TensorFile::from_bytes(&path, &bytes).unwrap();
        RatingBlock::open(file, shard.rows as usize, other_rows).unwrap()
    }

    /// The ids of a side in global order.
    pub(crate) async fn ids(&self, info: &DatasetInfo, side: Side) -> Vec<String> {
        let (shards, other_rows) = match side {
            Side::Items => (&info.item_shards, info.users),
            _ => (&info.user_shards, info.items),
        };
        let mut ids = Vec::new();
        for shard in shards {
            let block = self.block(info, side, shard, other_rows).await;
            ids.extend((0..block.rows()).map(|row| block.ids().get(row).to_string()));
        }
        ids
    }

    /// Every row of the catalogue, by item id as text.
    pub(crate) async fn catalogue(&self, info: &DatasetInfo) -> BTreeMap<String, Titled> {
        let mut titles = BTreeMap::new();
        for shard in 0..info.shard_count {
            let path = format!("{}/{}", info.path, catalogue_part(shard));
            let Ok(bytes) = self.store.get(&path).await else { continue };
            for row in SerializedFileReader::new(bytes).unwrap().get_row_iter(None).unwrap() {
                let row = row.unwrap();
                let item = row.get_long(0).map(|id| id.to_string());
                let item = item.unwrap_or_else(|_| row.get_string(0).unwrap().clone());
                let year = row.get_int(2).ok();
                let titled = (
                    item.clone(),
                    row.get_string(1).unwrap().clone(),
                    year,
                    row.get_string(3).unwrap().clone(),
                );
                assert!(titles.insert(item, titled).is_none(), "an item is in the catalogue twice");
            }
        }
        titles
    }
}

impl Workers {
    /// Every tag of the data set: item, user, tag, time; by item, user and time as texts.
    pub(crate) async fn tags(&self, info: &DatasetInfo) -> Vec<(String, String, String, i64)> {
        let mut tags = Vec::new();
        for shard in 0..info.shard_count {
            let Ok(bytes) = self.store.get(&format!("{}/{}", info.path, tags_part(shard))).await else {
                continue;
            };
            for row in SerializedFileReader::new(bytes).unwrap().get_row_iter(None).unwrap() {
                let row = row.unwrap();
                let [item, user] = [0, 1].map(|column| {
                    let id = row.get_long(column).map(|id| id.to_string());
                    id.unwrap_or_else(|_| row.get_string(column).unwrap().clone())
                });
                tags.push((item, user, row.get_string(2).unwrap().clone(), row.get_long(3).unwrap()));
            }
        }
        tags.sort();
        tags
    }

    /// The genome's scores by item and tag number, and the names of the tags.
    pub(crate) async fn genome(
        &self,
        info: &DatasetInfo,
    ) -> (BTreeMap<(String, u32), f32>, Vec<(i64, String)>) {
        let (mut scores, mut names) = (BTreeMap::new(), Vec::new());
        for shard in &info.item_shards {
            let path = format!("{}/{}", info.path, genome_part(shard.shard));
            let Ok(bytes) = self.store.get(&path).await else { continue };
            let file = TensorFile::from_bytes(&path, &bytes).unwrap();
            let ids = self.block(info, Side::Items, shard, info.users).await;
            let (rows, tags) = (file.vector::<u32>("rows").unwrap(), file.vector::<u32>("tags").unwrap());
            let (relevance, width) = file.matrix::<f32>("relevance", rows.len()).unwrap();
            assert_eq!(width, tags.len());
            for (&row, values) in rows.iter().zip(relevance.chunks_exact(width)) {
                let item = ids.ids().get(row as usize).to_string();
                scores.extend(tags.iter().zip(values).map(|(&tag, &value)| ((item.clone(), tag), value)));
            }
        }
        if let Ok(bytes) = self.store.get(&format!("{}/{}", info.path, genome_tags_part())).await {
            for row in SerializedFileReader::new(bytes).unwrap().get_row_iter(None).unwrap() {
                let row = row.unwrap();
                names.push((row.get_long(0).unwrap(), row.get_string(1).unwrap().clone()));
            }
        }
        (scores, names)
    }
}

/// One report of all ranges, and every rejected line with its number in its file.
fn merge(
    files: &[SourceFile],
    steps: &[IngestParse],
    done: Vec<Event>,
) -> (ImportReport, Vec<(String, u64, String)>) {
    let (mut merged, mut rejected, mut lines) = (ImportReport::default(), Vec::new(), BTreeMap::new());
    for (step, event) in steps.iter().zip(done) {
        let Event::IngestParseDone(done) = event else { panic!("{event:?}") };
        let file = &files[step.file as usize];
        let line = lines.entry(step.file).or_insert(u64::from(file.header_lines));
        let report = done.report.unwrap();
        merged.rows_read += report.rows_read;
        merged.rows_accepted += report.rows_accepted;
        for count in report.rejections {
            let examples = count
                .examples
                .iter()
                .map(|example| (file.uri.clone(), example.line + *line, example.reason.clone()));
            rejected.extend(examples);
            merged.rejections.push(count);
        }
        *line += done.lines;
    }
    rejected.sort_unstable();
    (merged, rejected)
}
