//! Files as people have them, read by the public reader: what is understood of them, and which rows come of it.

mod cases;
mod tables;

use std::path::Path;

use shoal_common::{
    compute::{Compute, ComputeError},
    ids::{EntityId, IdKind},
    store::{Access, StoreOptions},
};
use shoal_dataset::{
    parse::Rules,
    source::{SourceError, SourceFolder, inspect, rows::RowSink},
};
use shoal_format::row::Row;
use shoal_proto::v1::{DatasetSource, FileLook, ImportReport, InspectSourceReply};

/// A rating: user, item, rating, time.
type Rating = (EntityId, EntityId, f32, i64);

/// A movie: item, title, year, genres.
type Movie = (EntityId, String, Option<i32>, String);

/// What is read of a source.
#[derive(Debug)]
struct Read {
    found: InspectSourceReply,
    /// In the order of the files.
    ratings: Vec<Rating>,
    movies: Vec<Movie>,
    /// What was understood of each file.
    reports: Vec<ImportReport>,
}

impl Read {
    fn look(&self, file: usize) -> &FileLook {
        &self.found.look.as_ref().unwrap().files[file]
    }

    /// Names and numbers of a file's columns, by role.
    fn columns(&self, file: usize) -> Vec<(&str, &str, u32)> {
        let columns = &self.look(file).columns;
        columns.iter().map(|column| (&*column.role, &*column.name, column.number)).collect()
    }

    /// Reasons of rejected rows of the ratings, and the lines of the first of them as the range counts.
    fn rejected(&self) -> Vec<(&str, u64)> {
        let rejections = &self.reports[0].rejections;
        rejections.iter().map(|rejection| (&*rejection.reason, rejection.count)).collect()
    }
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum Failed {
    Source(#[from] SourceError),
    Compute(#[from] ComputeError),
}

#[derive(Default)]
struct Rows {
    ratings: Vec<Rating>,
    movies: Vec<Movie>,
}

impl RowSink for Rows {
    type Error = Failed;

    fn take(&mut self, row: &Row<'_>, _: u64) -> Result<(), Failed> {
        match row {
            Row::Rating(row) => {
                self.ratings.push((row.user.to_entity(), row.item.to_entity(), row.rating, row.timestamp));
            }
            Row::Item(row) => {
                let movie =
                    (row.item.to_entity(), row.title.clone().into_owned(), row.year, row.genres.clone());
                self.movies.push(movie);
            }
            Row::Tag(_) | Row::Genome(_) | Row::GenomeTag(_) => {}
        }
        Ok(())
    }
}

/// Reads a source whole.
fn read_source(source: &DatasetSource) -> Result<Read, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let access = Access::anywhere(StoreOptions::default());
        let found = inspect(source, &access).await?;
        let folder = SourceFolder::open(source, &access)?;
        let rules = Rules {
            user_id_kind: IdKind::from_proto(found.user_id_kind()).unwrap(),
            item_id_kind: IdKind::from_proto(found.item_id_kind()).unwrap(),
            rating_min: source.rating_min,
            rating_max: source.rating_max,
        };
        let compute = Compute::new("test", 1)?;
        let (mut rows, mut reports) = (Rows::default(), Vec::new());
        for file in &found.files {
            let range = 0..file.length_bytes;
            let read = folder.read_range(file, rules, range, &compute, rows, |_| ()).await?;
            rows = read.sink;
            reports.push(read.report);
        }
        let Rows { ratings, movies } = rows;
        Ok(Read { found, ratings, movies, reports })
    })
}

/// Writes files and reads the first by itself, or their folder when its name is empty.
fn read(name: &str, files: &[(&str, &str)], source: DatasetSource) -> Result<Read, Failed> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    read_source(&DatasetSource { uri: address(&folder.path().join(name)), ..source })
}

fn address(path: &Path) -> String {
    path.to_str().unwrap().trim_end_matches('/').to_owned()
}

fn integer(id: i64) -> EntityId {
    EntityId::Integer(id)
}

fn text(id: &str) -> EntityId {
    EntityId::Text(id.into())
}
