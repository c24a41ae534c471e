//! Data sets, and what became of the files that they were read from.

use serde::Serialize;
use shoal_common::readable::short_name;
use shoal_proto::v1::{
    ColumnLook, DatasetInfo, DuplicateRule, FileContent, FileLook, IdKind, ImportReport, RejectionCount,
    SourceFormat,
};
use utoipa::ToSchema;

use super::iso_time;

/// A version of a data set.
#[derive(Debug, Serialize, ToSchema)]
pub struct Dataset {
    name: String,
    version: String,
    users: u64,
    /// Every item that is known, rated or only in the catalogue.
    items: u64,
    ratings: u64,
    /// Items with a row in the file of items.
    catalogue_items: u64,
    /// Tags that users gave the items.
    tags: u64,
    /// Items with a tag genome.
    genome_items: u64,
    rating_min: f64,
    rating_max: f64,
    rating_mean: f64,
    /// `integer` or `text`.
    user_id_kind: String,
    /// `integer` or `text`.
    item_id_kind: String,
    /// Shards of each side.
    shard_count: u32,
    /// The folder in the store.
    path: String,
    manifest_checksum: String,
    created: Option<String>,
    source_uri: String,
    report: Option<Report>,
}

impl From<&DatasetInfo> for Dataset {
    fn from(info: &DatasetInfo) -> Self {
        let kind = |kind: IdKind| short_name(kind.as_str_name(), "ID_KIND_");
        let (users, items) = (info.user_id_kind(), info.item_id_kind());
        Self {
            name: info.name.clone(),
            version: info.version.clone(),
            users: info.users,
            items: info.items,
            ratings: info.ratings,
            catalogue_items: info.catalogue_items,
            tags: info.tags,
            genome_items: info.genome_items,
            rating_min: info.rating_min,
            rating_max: info.rating_max,
            rating_mean: info.rating_mean,
            user_id_kind: kind(users),
            item_id_kind: kind(items),
            shard_count: info.shard_count,
            path: info.path.clone(),
            manifest_checksum: info.manifest_checksum.clone(),
            created: iso_time(info.created_unix_ms),
            source_uri: info.source_uri.clone(),
            report: info.report.as_ref().map(|report| Report::new(report, users, items)),
        }
    }
}

/// What was understood of the files of an import, and what became of their rows.
#[derive(Debug, Serialize, ToSchema)]
pub struct Report {
    rows_read: u64,
    rows_accepted: u64,
    /// Accepted rows whose time is missing.
    rows_without_time: u64,
    /// Rows whose pair had come before.
    duplicates: u64,
    /// What was done with them: `last`, `count` or `sum`.
    duplicate_rule: &'static str,
    bytes_read: u64,
    /// The first of the files; `file_count` says how many there were.
    files: Vec<String>,
    file_count: u64,
    /// Rows that were read as Windows-1252.
    rows_not_utf8: u64,
    /// Characters that the encoding does not have.
    characters_replaced: u64,
    understood: Vec<FileRead>,
    user_ids: IdsRead,
    item_ids: IdsRead,
    /// Recognised files that were not read.
    not_read: Vec<String>,
    /// The first of the files without content; `empty_file_count` says how many there were.
    empty_files: Vec<String>,
    empty_file_count: u64,
    /// The reason with the most rows first.
    rejections: Vec<Rejection>,
}

/// What was understood of a file.
#[derive(Debug, Serialize, ToSchema)]
struct FileRead {
    file: String,
    /// `ratings`, `items`, `tags`, `genome scores` or `genome tags`.
    content: &'static str,
    /// `text` or `parquet`.
    format: &'static str,
    delimiter: String,
    encoding: String,
    /// Whether the first row names the columns.
    header: bool,
    columns: Vec<ColumnRead>,
    /// How times are read.
    times: String,
    /// What else was found out, decided or left out.
    notes: Vec<String>,
}

/// What a column is taken for.
#[derive(Debug, Serialize, ToSchema)]
struct ColumnRead {
    role: String,
    name: String,
    /// From 1.
    number: u32,
    /// Other columns that could have been meant.
    candidates: Vec<String>,
}

/// What ids are, and why.
#[derive(Debug, Serialize, ToSchema)]
struct IdsRead {
    /// `integer` or `text`.
    kind: &'static str,
    because: String,
}

/// Rows that were not taken, for one reason.
#[derive(Debug, Serialize, ToSchema)]
struct Rejection {
    reason: String,
    count: u64,
    /// The first of them.
    examples: Vec<RejectedRow>,
}

/// Where a row stands that was not taken.
#[derive(Debug, Serialize, ToSchema)]
struct RejectedRow {
    file: String,
    line: u64,
    reason: String,
}

impl Report {
    /// The report of an import whose ids are of these kinds.
    #[must_use]
    pub fn new(report: &ImportReport, user_ids: IdKind, item_ids: IdKind) -> Self {
        let look = report.look.clone().unwrap_or_default();
        let ids = |kind: IdKind, because: String| IdsRead {
            kind: if kind == IdKind::Integer { "integer" } else { "text" },
            because,
        };
        Self {
            rows_read: report.rows_read,
            rows_accepted: report.rows_accepted,
            rows_without_time: report.rows_without_time,
            duplicates: report.duplicates,
            duplicate_rule: match report.duplicate_rule() {
                DuplicateRule::Unspecified | DuplicateRule::Last => "last",
                DuplicateRule::Count => "count",
                DuplicateRule::Sum => "sum",
            },
            bytes_read: report.bytes_read,
            files: report.files.clone(),
            file_count: report.file_count,
            rows_not_utf8: report.rows_not_utf8,
            characters_replaced: report.characters_replaced,
            understood: look.files.iter().map(FileRead::from).collect(),
            user_ids: ids(user_ids, look.user_ids_because),
            item_ids: ids(item_ids, look.item_ids_because),
            not_read: look.not_read,
            empty_files: look.empty_files,
            empty_file_count: look.empty_file_count,
            rejections: report.rejections.iter().map(Rejection::from).collect(),
        }
    }
}

impl From<&FileLook> for FileRead {
    fn from(file: &FileLook) -> Self {
        Self {
            file: file.file.clone(),
            content: content_name(file.content()),
            format: format_name(file.format()),
            delimiter: file.delimiter.clone(),
            encoding: file.encoding.clone(),
            header: file.header,
            columns: file.columns.iter().map(ColumnRead::from).collect(),
            times: file.times.clone(),
            notes: file.notes.clone(),
        }
    }
}

impl From<&ColumnLook> for ColumnRead {
    fn from(column: &ColumnLook) -> Self {
        let ColumnLook { role, name, number, candidates } = column.clone();
        Self { role, name, number, candidates }
    }
}

impl From<&RejectionCount> for Rejection {
    fn from(rejection: &RejectionCount) -> Self {
        let examples = rejection.examples.iter().map(|row| RejectedRow {
            file: row.file.clone(),
            line: row.line,
            reason: row.reason.clone(),
        });
        Self { reason: rejection.reason.clone(), count: rejection.count, examples: examples.collect() }
    }
}

/// What a file holds, in words.
#[must_use]
pub fn content_name(content: FileContent) -> &'static str {
    match content {
        FileContent::Unspecified | FileContent::Ratings => "ratings",
        FileContent::Items => "items",
        FileContent::Tags => "tags",
        FileContent::GenomeScores => "genome scores",
        FileContent::GenomeTags => "genome tags",
    }
}

/// What a file is written as, in words.
fn format_name(format: SourceFormat) -> &'static str {
    match format {
        SourceFormat::Parquet => "parquet",
        SourceFormat::Unspecified
        | SourceFormat::Csv
        | SourceFormat::DoubleColon
        | SourceFormat::Tab
        | SourceFormat::Pipe => "text",
    }
}
