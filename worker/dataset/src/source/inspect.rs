//! A look at a source: which files it has, what their columns are, and which kind of ids.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use shoal_common::{
    ids::IdKind,
    store::{Access, join},
};
use shoal_proto::v1::{
    DatasetSource, DuplicateRule, FileContent, FileLook, InspectSourceReply, SourceFile, SourceFormat,
    SourceLook, TimeRule,
};

use super::{
    SourceError, SourceFolder,
    files::{self, Found, extension},
    look::{Columns, IdLook, TextHead, look_at_text, numbers_text, value_rules},
    parquet::ParquetFile,
};
use crate::values::unit_of;

/// Parts that are looked at at the same time.
const LOOKS: usize = 16;

/// Looks that are told of a source.
const LOOKS_KEPT: usize = 100;

/// Names of files without anything in them that are told of a source.
const EMPTY_KEPT: usize = 20;

/// A file, what was understood of it, and the kinds of its user and item ids where it has such.
struct Described {
    file: SourceFile,
    look: FileLook,
    ids: [Option<IdLook>; 2],
    /// Names of its columns, where it has a header.
    columns: Vec<String>,
}

/// Looks at a source.
///
/// # Errors
/// When no ratings are recognised, or a file cannot be read or lacks a column.
pub async fn inspect(source: &DatasetSource, access: &Access) -> Result<InspectSourceReply, SourceError> {
    let (folder, asked) = SourceFolder::open_asked(source, access)?;
    let (mut files, mut empty, mut not_read) = (Vec::new(), Vec::new(), Vec::new());
    let found = files::find(&folder, &asked).await?;
    for asked in found.asked {
        files.extend(describe(source, &folder, asked, &mut empty).await?);
    }
    for beside in found.beside {
        // What happens to lie beside a file that was named by itself may belong to another.
        if source.with_neighbours {
            files.extend(describe(source, &folder, beside, &mut empty).await?);
        } else {
            not_read.extend(beside.parts.into_iter().map(|(name, _)| name).take(1));
        }
    }
    let mut ids = [None, None];
    // The ratings come first. Of parts that differ the one with texts says what ids are.
    for found in files.iter().filter(|found| found.file.content() == FileContent::Ratings) {
        for (all, own) in ids.iter_mut().zip(&found.ids) {
            let is_told = |look: &Option<IdLook>| look.as_ref().is_some_and(|look| look.kind == IdKind::Text);
            if all.is_none() || (!is_told(all) && is_told(own)) {
                all.clone_from(own);
            }
        }
    }
    let ratings = files.first().ok_or_else(|| SourceError::Empty(folder.uri.clone()))?;
    let duplicates = duplicate_rule(source, &ratings.file);
    let [users, items] = ids;
    let users = settled(source.user_id_kind(), users, "--user-ids");
    let items = settled(source.item_id_kind(), items, "--item-ids");
    Ok(InspectSourceReply {
        user_id_kind: shoal_proto::v1::IdKind::from(users.kind).into(),
        item_id_kind: shoal_proto::v1::IdKind::from(items.kind).into(),
        duplicates: duplicates.into(),
        look: Some(SourceLook {
            files: files.iter().take(LOOKS_KEPT).map(|found| found.look.clone()).collect(),
            file_count: files.len() as u64,
            user_ids_because: users.because,
            item_ids_because: items.because,
            not_read,
            empty_file_count: empty.len() as u64,
            empty_files: empty.into_iter().take(EMPTY_KEPT).collect(),
        }),
        files: files.into_iter().map(|found| found.file).collect(),
        previews: Vec::new(),
    })
}

/// The kind that was asked for, else the one that was found.
fn settled(asked: shoal_proto::v1::IdKind, found: Option<IdLook>, flag: &str) -> IdLook {
    match IdKind::from_proto(asked) {
        Some(kind) => IdLook { kind, because: format!("{flag} says so") },
        // A file of ratings has both ids.
        None => found.unwrap_or_else(|| IdLook { kind: IdKind::Text, because: String::new() }),
    }
}

/// What is done with pairs that come again: as was asked for; else rows without ratings are counted, and of ratings the
/// last one counts.
fn duplicate_rule(source: &DatasetSource, ratings: &SourceFile) -> DuplicateRule {
    match source.duplicates() {
        DuplicateRule::Unspecified if ratings.columns.get(2) == Some(&-1) => DuplicateRule::Count,
        DuplicateRule::Unspecified => DuplicateRule::Last,
        asked => asked,
    }
}

/// Looks at a file or at the parts of one, which have to have the same columns. Parts without any text are left out, and
/// their names put to those of the `empty` files.
async fn describe(
    source: &DatasetSource,
    folder: &SourceFolder,
    found: Found,
    empty: &mut Vec<String>,
) -> Result<Vec<Described>, SourceError> {
    let content = found.content;
    let first_name = found.parts.first().map(|(name, _)| join(&folder.uri, name)).unwrap_or_default();
    empty.extend(found.empty);
    let names: Vec<String> = found.parts.iter().map(|(name, _)| name.clone()).collect();
    let looks = found.parts.into_iter().map(|(uri, length_bytes)| async move {
        let file = SourceFile { uri, content: content.into(), length_bytes, ..SourceFile::default() };
        if extension(&file.uri) == "parquet" {
            describe_parquet(source, folder, file).await.map(Some)
        } else {
            describe_text(source, folder, file).await
        }
    });
    let described: Vec<Option<Described>> = stream::iter(looks).buffered(LOOKS).try_collect().await?;
    let without_text = names.into_iter().zip(&described).filter(|(_, described)| described.is_none());
    empty.extend(without_text.map(|(name, _)| name));
    let described: Vec<Described> = described.into_iter().flatten().collect();
    let Some(first) = described.first() else { return Err(SourceError::Empty(first_name)) };
    let sorted = |columns: &[String]| {
        let mut columns = columns.to_vec();
        columns.sort();
        columns
    };
    let names = sorted(&first.columns);
    if let Some(other) = described.iter().find(|other| sorted(&other.columns) != names) {
        let name = |described: &Described| join(&folder.uri, &described.file.uri);
        return Err(SourceError::PartsDiffer {
            first: name(first),
            first_columns: listed(&first.columns),
            other: name(other),
            other_columns: listed(&other.columns),
        });
    }
    Ok(described)
}

/// Some columns, as a message has them.
fn listed(columns: &[String]) -> String {
    const SHOWN: usize = 20;
    match columns {
        [] => "not named".to_owned(),
        _ if columns.len() <= SHOWN => columns.join(", "),
        _ => format!("{} and {} more", columns[..SHOWN].join(", "), columns.len() - SHOWN),
    }
}

/// Looks at a text file's first bytes; `None` for a file without any text.
async fn describe_text(
    source: &DatasetSource,
    folder: &SourceFolder,
    mut file: SourceFile,
) -> Result<Option<Described>, SourceError> {
    let uri = join(&folder.uri, &file.uri);
    let head = folder.read_head(&mut file, &source.encoding).await?;
    if head.is_whole && head.text.is_empty() {
        return Ok(None);
    }
    let encoding = head.encoding(&file);
    let text = TextHead {
        uri: &uri,
        text: &head.text,
        mark_bytes: head.mark_bytes,
        is_whole: head.is_whole,
        encoding: &encoding,
    };
    let understood = look_at_text(source, &text, &mut file)?;
    let look = FileLook { file: file.uri.clone(), ..understood.look };
    Ok(Some(Described { look, file, ids: understood.ids, columns: understood.names }))
}

/// Looks at a Parquet file's footer.
async fn describe_parquet(
    source: &DatasetSource,
    folder: &SourceFolder,
    mut file: SourceFile,
) -> Result<Described, SourceError> {
    let uri = join(&folder.uri, &file.uri);
    let parquet = ParquetFile::open(folder, &file.uri, file.length_bytes).await?;
    let columns = Columns::new(parquet.columns(), &uri);
    let found = columns.find(source, file.content())?;
    file.set_format(SourceFormat::Parquet);
    file.columns.clone_from(&found.positions);
    let mut rules = value_rules(source);
    let mut look = FileLook {
        file: file.uri.clone(),
        content: file.content,
        format: file.format,
        header: true,
        columns: found.looks,
        ..FileLook::default()
    };
    if let Some(&at @ 0..) = file.columns.get(3)
        && matches!(file.content(), FileContent::Ratings | FileContent::Tags)
    {
        let unit = match parquet.least_integer(at as usize) {
            Some(least) if source.time_unit == 0 => unit_of(&mut [least]),
            _ => source.time_unit(),
        };
        look.times = match parquet.least_integer(at as usize) {
            Some(_) => numbers_text(unit),
            None => "as the column's type says".to_owned(),
        };
        rules.time = Some(TimeRule {
            unit: unit.into(),
            format: source.time_format.clone(),
            zone: source.time_zone.clone(),
        });
    }
    let is_ratings = file.content() == FileContent::Ratings;
    if is_ratings && file.columns.get(2) == Some(&-1) {
        look.notes.push("no column is read as the rating: each row counts 1".to_owned());
    }
    file.values = Some(rules);
    let ids = parquet.look_at_ids(&file)?;
    Ok(Described { file, look, ids, columns: columns.into_names() })
}

#[cfg(test)]
mod tests {

    use shoal_common::store::StoreOptions;

    use super::*;

    fn inspect_files(
        files: &[(&str, &str)],
        source: DatasetSource,
    ) -> Result<InspectSourceReply, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let uri = format!("{}/{}", folder.path().display(), source.uri);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime
            .block_on(inspect(&DatasetSource { uri, ..source }, &Access::anywhere(StoreOptions::default())))
    }

    #[test]
    fn movielens_layouts_are_recognised() {
        for (ratings, row, movies, format) in [
            ("ratings.csv", "userId,movieId,rating,timestamp\n1,2,3,4\n", "movies.csv", SourceFormat::Csv),
            (
                "rating.csv",
                "\"userId\",\"movieId\",\"rating\",\"timestamp\"\n1,2,3,4\n",
                "movie.csv",
                SourceFormat::Csv,
            ),
            ("ratings.dat", "1::2::3::4\n", "movies.dat", SourceFormat::DoubleColon),
            ("u.data", "1\t2\t3\t4\n", "u.item", SourceFormat::Csv),
        ] {
            let found = inspect_files(
                &[(ratings, row), (movies, "movieId,title,genres\n1,a,b\n")],
                DatasetSource::default(),
            )
            .unwrap();
            assert_eq!(found.files.len(), 2, "{ratings}");
            assert_eq!((found.files[0].format(), &found.files[0].columns[..]), (format, &[0, 1, 2, 3][..]));
            assert_eq!(found.user_id_kind(), shoal_proto::v1::IdKind::Integer);
        }
    }

    #[test]
    fn any_csv_with_named_columns_and_text_ids() {
        let source = DatasetSource {
            uri: "likes.csv".into(),
            user_column: "who".into(),
            item_column: "what".into(),
            rating_column: "much".into(),
            ..DatasetSource::default()
        };
        let found = inspect_files(&[("likes.csv", "when;much;what;who\n9;4.5;12;ann\n")], source).unwrap();
        assert_eq!(found.files[0].columns, [3, 2, 1, -1]);
        assert_eq!(found.user_id_kind(), shoal_proto::v1::IdKind::Text);
        assert_eq!(found.item_id_kind(), shoal_proto::v1::IdKind::Integer);
    }

    #[test]
    fn what_was_looked_for_and_found_is_said() {
        let error = inspect_files(&[("notes.txt", "x")], DatasetSource::default()).unwrap_err().to_string();
        assert!(error.contains("ratings.csv") && error.contains("notes.txt"), "{error}");
    }
}
