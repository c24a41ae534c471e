//! A look at a source: which files it has, what their columns are, and which kind of ids.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use shoal_common::{ids::IdKind, store::join};
use shoal_proto::v1::{DatasetSource, FileContent, InspectSourceReply, SourceFile, SourceFormat};

use super::{
    SourceError, SourceFolder,
    columns::Columns,
    files::{self, Found, extension, layout_name},
    parquet::ParquetFile,
};
use crate::dataset::{fields, parse};

/// Parts that are looked at at the same time.
const LOOKS: usize = 16;

/// Ids are texts if more than one in so many is not a whole number.
const ROWS_PER_TEXT_ID: u32 = 100;

/// A file, and the kinds of the ids in its first two columns.
struct Described {
    file: SourceFile,
    kinds: (IdKind, IdKind),
    /// Names of its columns, where it has a header.
    columns: Vec<String>,
}

/// Looks at a source.
///
/// # Errors
/// When no ratings are recognised, or a file cannot be read or lacks a column.
pub async fn inspect(
    source: &DatasetSource,
    options: &BTreeMap<String, String>,
) -> Result<InspectSourceReply, SourceError> {
    let (folder, asked) = SourceFolder::open_asked(source, options)?;
    let mut files: Vec<Described> = Vec::new();
    for found in files::find(&folder, &asked).await? {
        files.extend(describe(source, &folder, found).await?);
    }
    // The ratings come first.
    let ratings = files.iter().filter(|found| found.file.content() == FileContent::Ratings);
    let kinds = ratings.map(|found| found.kinds).reduce(|all, kinds| {
        let either = |a, b| if a == IdKind::Text { a } else { b };
        (either(all.0, kinds.0), either(all.1, kinds.1))
    });
    let kinds = kinds.ok_or_else(|| SourceError::Empty(folder.uri.clone()))?;
    let user_id_kind = IdKind::from_proto(source.user_id_kind()).unwrap_or(kinds.0);
    let item_id_kind = IdKind::from_proto(source.item_id_kind()).unwrap_or(kinds.1);
    Ok(InspectSourceReply {
        user_id_kind: shoal_proto::v1::IdKind::from(user_id_kind).into(),
        item_id_kind: shoal_proto::v1::IdKind::from(item_id_kind).into(),
        files: files.into_iter().map(|found| found.file).collect(),
        ..InspectSourceReply::default()
    })
}

/// Looks at a file or at the parts of one, which have to have the same columns. Parts without any text are left out.
async fn describe(
    source: &DatasetSource,
    folder: &SourceFolder,
    found: Found,
) -> Result<Vec<Described>, SourceError> {
    let content = found.content;
    let first_name = found.parts.first().map(|(name, _)| join(&folder.uri, name)).unwrap_or_default();
    let looks = found.parts.into_iter().map(|(uri, length_bytes)| async move {
        let mut file = SourceFile { uri, content: content.into(), length_bytes, ..SourceFile::default() };
        if extension(&file.uri) == "parquet" {
            describe_parquet(source, folder, file).await.map(Some)
        } else {
            describe_text(source, folder, &mut file).await
        }
    });
    let described: Vec<Option<Described>> = stream::iter(looks).buffered(LOOKS).try_collect().await?;
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

/// Fills in what a text file's first bytes say; `None` for a file without any text.
async fn describe_text(
    source: &DatasetSource,
    folder: &SourceFolder,
    file: &mut SourceFile,
) -> Result<Option<Described>, SourceError> {
    let uri = join(&folder.uri, &file.uri);
    let content = file.content();
    let named = !source.user_column.is_empty() && content == FileContent::Ratings;
    let head = folder.read_head(file, &source.encoding).await?;
    if head.is_whole && head.text.is_empty() {
        return Ok(None);
    }
    let text = &head.text[..];
    let (format, delimiter) = match (extension(&file.uri), content) {
        ("dat", _) if !named => (SourceFormat::DoubleColon, b':'),
        ("data", FileContent::Ratings) if !named => (SourceFormat::Tab, b'\t'),
        ("base" | "test", FileContent::Ratings) if !named && is_movielens_100k(&file.uri) => {
            (SourceFormat::Tab, b'\t')
        }
        ("item", FileContent::Movies) => (SourceFormat::Pipe, b'|'),
        _ => (SourceFormat::Csv, super::columns::delimiter(text)),
    };
    file.set_format(format);
    file.delimiter = u32::from(delimiter);
    // The first row's place in the text that was read.
    let mut first_row = 0;
    let mut names = Vec::new();
    if format == SourceFormat::Csv {
        let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
        let columns = Columns::read(&text[..end], delimiter, &uri)?;
        file.columns = columns.find(source, content)?;
        first_row = (end + 1).min(text.len());
        (file.header_lines, file.column_count) = (1, columns.count());
        names = columns.into_names();
        // The long files are read in many ranges, which begin at line ends.
        file.multiline =
            file.one_range || !matches!(content, FileContent::Ratings | FileContent::GenomeScores);
    } else {
        // Users, items, ratings or tags, and times; or items, titles and genres.
        file.columns = match (content, format) {
            (FileContent::Ratings | FileContent::Tags, _) => vec![0, 1, 2, 3],
            (_, SourceFormat::Pipe) => vec![0, 1, 5],
            _ => vec![0, 1, 2],
        };
    }
    file.data_offset = head.mark_bytes + first_row as u64;
    let kinds = id_kinds(file, &text[first_row..]);
    Ok(Some(Described { file: file.clone(), kinds, columns: names }))
}

/// Whether a file is one of the splits that come with MovieLens 100K: `u1.base`, `ub.test`.
fn is_movielens_100k(path: &str) -> bool {
    let stem = layout_name(path).split('.').next();
    stem.and_then(|stem| stem.strip_prefix('u'))
        .is_some_and(|split| ["1", "2", "3", "4", "5", "a", "b"].contains(&split))
}

/// Fills in what a Parquet file's footer says.
async fn describe_parquet(
    source: &DatasetSource,
    folder: &SourceFolder,
    mut file: SourceFile,
) -> Result<Described, SourceError> {
    let uri = join(&folder.uri, &file.uri);
    let parquet = ParquetFile::open(folder, &file.uri, file.length_bytes).await?;
    let columns = Columns::new(parquet.columns(), &uri);
    file.set_format(SourceFormat::Parquet);
    file.columns = columns.find(source, file.content())?;
    let kinds = parquet.id_kinds(&file)?;
    Ok(Described { file, kinds, columns: columns.into_names() })
}

/// The kinds of ids: whole numbers if nearly all of the file's first rows are. The others are bad rows then, where
/// real text ids, such as ISBNs, have many that are not.
fn id_kinds(file: &SourceFile, rows: &[u8]) -> (IdKind, IdKind) {
    let (mut read, mut texts) = (0, [0; 2]);
    let mut lines: Vec<&[u8]> = rows.split(|&byte| byte == b'\n').collect();
    // The last line of the sample may be cut off.
    if lines.len() > 1 {
        lines.pop();
    }
    for line in lines {
        let Some(fields) = parse::split_line(file, parse::trim_line(line)) else { continue };
        let is_text = |column: usize| {
            file.columns
                .get(column)
                .and_then(|&at| fields.get(usize::try_from(at).ok()?))
                .is_some_and(|field| !field.is_empty() && fields::integer(field).is_none())
        };
        read += 1;
        for (column, texts) in texts.iter_mut().enumerate() {
            *texts += u32::from(is_text(column));
        }
    }
    let [users, items] =
        texts.map(|texts| if texts * ROWS_PER_TEXT_ID > read { IdKind::Text } else { IdKind::Integer });
    (users, items)
}

#[cfg(test)]
mod tests {
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
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(inspect(&DatasetSource { uri, ..source }, &BTreeMap::new()))
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
            ("u.data", "1\t2\t3\t4\n", "u.item", SourceFormat::Tab),
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
