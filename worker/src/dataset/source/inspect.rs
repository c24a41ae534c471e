//! A look at a source: which files it has, what their columns are, and which kind of ids.

use std::collections::BTreeMap;

use bytes::Bytes;
use shoal_common::ids::IdKind;
use shoal_proto::v1::{DatasetSource, FileContent, InspectSourceReply, SourceFile, SourceFormat};

use super::{SourceError, SourceFolder, columns::Columns, parquet::ParquetFile};
use crate::dataset::{fields, parse};

/// Bytes at the start of a file that decide its header and its kind of ids.
const SAMPLE_BYTES: u64 = 256 * 1024;

/// Ids are texts if more than one in so many is not a whole number.
const ROWS_PER_TEXT_ID: u32 = 100;

/// Names under which a file of each content is looked for, in order of preference.
const NAMES: [(FileContent, &[&str]); 5] = [
    (FileContent::Ratings, &["ratings.csv", "rating.csv", "ratings.dat", "u.data", "ratings.parquet"]),
    (FileContent::Movies, &["movies.csv", "movie.csv", "movies.dat", "u.item", "movies.parquet"]),
    (FileContent::Tags, &["tags.csv", "tag.csv", "tags.dat"]),
    (FileContent::GenomeScores, &["genome-scores.csv", "genome_scores.csv"]),
    (FileContent::GenomeTags, &["genome-tags.csv", "genome_tags.csv"]),
];

/// Endings of files that are packed, which are not read.
const PACKED: [&str; 7] = ["gz", "zip", "bz2", "xz", "zst", "7z", "tar"];

/// A file, and the kinds of the ids in its first two columns.
struct Described {
    file: SourceFile,
    kinds: (IdKind, IdKind),
}

/// Looks at a source.
///
/// # Errors
/// When no ratings are recognised, or a file cannot be read or lacks a column.
pub async fn inspect(
    source: &DatasetSource,
    options: &BTreeMap<String, String>,
) -> Result<InspectSourceReply, SourceError> {
    let (folder, file) = SourceFolder::open(&source.uri, options)?;
    let store_error = |error| SourceError::Store { uri: source.uri.clone(), source: Box::new(error) };
    let listed: BTreeMap<String, u64> =
        folder.store.list_folder("").await.map_err(store_error)?.into_iter().collect();
    let mut files = Vec::new();
    for (content, names) in NAMES {
        let name = match (&file, content) {
            (Some(file), FileContent::Ratings) => Some(file.clone()),
            // A single file comes without a catalogue, unless the layout's own file lies beside it.
            _ => names.iter().find(|name| listed.contains_key(**name)).map(|name| (*name).to_owned()),
        };
        let Some((name, length)) = name.and_then(|name| listed.get(&name).map(|length| (name, *length)))
        else {
            continue;
        };
        if length == 0 {
            return Err(SourceError::Empty(format!("{}/{name}", folder.uri)));
        }
        let mut file =
            SourceFile { uri: name, content: content.into(), length_bytes: length, ..SourceFile::default() };
        let kinds = if extension(&file.uri) == "parquet" {
            describe_parquet(source, &folder, &mut file).await?
        } else {
            describe_text(source, &folder, &mut file).await?
        };
        files.push(Described { file, kinds });
    }
    let ratings = files.iter().find(|found| found.file.content() == FileContent::Ratings);
    let Some(Described { kinds, .. }) = ratings else {
        return Err(SourceError::NoRatings {
            uri: source.uri.clone(),
            looked_for: NAMES[0].1.join(", "),
            found: if listed.is_empty() {
                "nothing".to_owned()
            } else {
                listed.keys().take(12).cloned().collect::<Vec<_>>().join(", ")
            },
        });
    };
    let user_id_kind = IdKind::from_proto(source.user_id_kind()).unwrap_or(kinds.0);
    let item_id_kind = IdKind::from_proto(source.item_id_kind()).unwrap_or(kinds.1);
    Ok(InspectSourceReply {
        user_id_kind: shoal_proto::v1::IdKind::from(user_id_kind).into(),
        item_id_kind: shoal_proto::v1::IdKind::from(item_id_kind).into(),
        files: files.into_iter().map(|found| found.file).collect(),
        ..InspectSourceReply::default()
    })
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// Fills in what a text file's first bytes say.
async fn describe_text(
    source: &DatasetSource,
    folder: &SourceFolder,
    file: &mut SourceFile,
) -> Result<(IdKind, IdKind), SourceError> {
    let uri = format!("{}/{}", folder.uri, file.uri);
    let content = file.content();
    let named = !source.user_column.is_empty() && content == FileContent::Ratings;
    let head: Bytes = folder.read_exactly(&file.uri, 0..file.length_bytes.min(SAMPLE_BYTES)).await?;
    let (format, delimiter) = match (extension(&file.uri), content) {
        ("dat", _) if !named => (SourceFormat::DoubleColon, b':'),
        ("data", FileContent::Ratings) if !named => (SourceFormat::Tab, b'\t'),
        ("item", FileContent::Movies) => (SourceFormat::Pipe, b'|'),
        (packed, _) if PACKED.contains(&packed) => return Err(SourceError::Format(uri)),
        // Text has no zeros, but UTF-16 has, and so have files of other kinds.
        _ if head.contains(&0) => return Err(SourceError::Format(uri)),
        _ => (SourceFormat::Csv, super::columns::delimiter(&head)),
    };
    file.set_format(format);
    file.delimiter = u32::from(delimiter);
    let bom = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    if format == SourceFormat::Csv {
        let end = memchr::memchr(b'\n', &head).unwrap_or(head.len());
        let columns = Columns::read(&head[bom..end], delimiter, &uri)?;
        file.columns = columns.find(source, content)?;
        file.data_offset = (end as u64 + 1).min(file.length_bytes);
        (file.header_lines, file.column_count) = (1, columns.count());
        // The long files are read in many ranges, which begin at line ends.
        file.multiline = !matches!(content, FileContent::Ratings | FileContent::GenomeScores);
    } else {
        // Users, items, ratings or tags, and times; or items, titles and genres.
        file.columns = match (content, format) {
            (FileContent::Ratings | FileContent::Tags, _) => vec![0, 1, 2, 3],
            (_, SourceFormat::Pipe) => vec![0, 1, 5],
            _ => vec![0, 1, 2],
        };
        file.data_offset = bom as u64;
    }
    Ok(id_kinds(file, &head))
}

/// Fills in what a Parquet file's footer says.
async fn describe_parquet(
    source: &DatasetSource,
    folder: &SourceFolder,
    file: &mut SourceFile,
) -> Result<(IdKind, IdKind), SourceError> {
    let uri = format!("{}/{}", folder.uri, file.uri);
    let parquet = ParquetFile::open(folder, &file.uri, file.length_bytes).await?;
    let columns = Columns::new(parquet.columns(), &uri);
    file.set_format(SourceFormat::Parquet);
    file.columns = columns.find(source, file.content())?;
    let mut kinds = Vec::new();
    for column in file.columns.iter().filter_map(|&column| usize::try_from(column).ok()) {
        kinds.push(parquet.id_kind(column)?);
    }
    // The first two columns are never absent.
    Ok((kinds[0], kinds[1]))
}

/// The kinds of ids: whole numbers if nearly all of the file's first rows are. The others are bad rows then, where
/// real text ids, such as ISBNs, have many that are not.
fn id_kinds(file: &SourceFile, head: &[u8]) -> (IdKind, IdKind) {
    let rows = &head[(file.data_offset as usize).min(head.len())..];
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
