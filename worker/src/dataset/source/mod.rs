//! A source of ratings: which files it has, in which layout, with which kind of ids.
//!
//! Recognised are the MovieLens layouts as users have them: Kaggle's (`rating.csv movie.csv …`),
//! GroupLens's (`ratings.csv movies.csv …`), 1M (`ratings.dat movies.dat`), 100K (`u.data u.item`), and
//! any CSV file whose columns are named. Files are found by listing the source's folder, so a source can be
//! wherever a store can.

mod columns;

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use shoal_common::{
    ids::IdKind,
    store::{Store, StoreError},
};
use shoal_proto::v1::{DatasetSource, FileContent, InspectSourceReply, SourceFile, SourceFormat};

use self::columns::Columns;
use super::fields;

/// Bytes at the start of a file that decide its header and its kind of ids.
const SAMPLE_BYTES: u64 = 256 * 1024;

/// Ids are texts if more than one in so many is not a whole number.
const ROWS_PER_TEXT_ID: u32 = 100;

/// Read beyond a range's end at a time, to find the end of its last row.
const TAIL_BYTES: u64 = 64 * 1024;

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The files cannot be reached.
    #[error("cannot read the source '{uri}'")]
    Store {
        /// As given.
        uri: String,
        /// The store's error.
        source: Box<StoreError>,
    },
    /// No ratings file was recognised.
    #[error(
        "no ratings were found in '{uri}': looked for {looked_for}; found {found}; to use another file, give its path and name its columns"
    )]
    NoRatings {
        /// As given.
        uri: String,
        /// The file names that would have done.
        looked_for: String,
        /// What is there.
        found: String,
    },
    /// A file lacks a column.
    #[error("'{file}' has no column '{column}': its columns are {columns}")]
    NoColumn {
        /// The file.
        file: String,
        /// The column that was looked for.
        column: String,
        /// Those it has.
        columns: String,
    },
    /// A file has no rows.
    #[error("'{0}' is empty")]
    Empty(String),
    /// The format is not one that is read.
    #[error("'{0}' is not in a format that can be imported: give a CSV file or a MovieLens folder")]
    Format(String),
}

/// Names under which a file of each content is looked for, in order of preference.
const NAMES: [(FileContent, &[&str]); 2] = [
    (FileContent::Ratings, &["ratings.csv", "rating.csv", "ratings.dat", "u.data"]),
    (FileContent::Movies, &["movies.csv", "movie.csv", "movies.dat", "u.item"]),
];

/// A folder and the store that is opened on it.
#[derive(Debug)]
pub struct SourceFolder {
    /// Opened on the folder.
    pub store: Store,
    /// The folder's own address, to which file names are joined.
    pub uri: String,
}

impl SourceFolder {
    /// Opens the folder that holds `uri` (a file), or is `uri`, and says which file was meant, if one was.
    ///
    /// # Errors
    /// When there is nothing at the address, or it cannot be reached.
    pub fn open(
        uri: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(Self, Option<String>), SourceError> {
        let store_error = |source| SourceError::Store { uri: uri.to_owned(), source: Box::new(source) };
        let trimmed = uri.trim_end_matches('/');
        let is_file = match trimmed.split_once("://") {
            None => std::path::Path::new(trimmed).is_file(),
            Some(("file", path)) => std::path::Path::new(path).is_file(),
            // Object stores have no folders: a name with an extension is a file.
            Some(_) => trimmed.rsplit('/').next().is_some_and(|name| name.contains('.')),
        };
        let (folder, file) = match trimmed.rsplit_once('/') {
            Some((folder, name)) if is_file => {
                (if folder.is_empty() { "/" } else { folder }, Some(name.to_owned()))
            }
            None if is_file => (".", Some(trimmed.to_owned())),
            _ => (trimmed, None),
        };
        let store = Store::open_existing(folder, options).map_err(store_error)?;
        Ok((Self { store, uri: folder.to_owned() }, file))
    }

    /// The bytes of the rows that start in a range of a file, and the position of the first: from the
    /// first row start at or after the range's begin to the end of the row that goes beyond its end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read_rows(&self, file: &SourceFile, range: Range<u64>) -> Result<(Bytes, u64), SourceError> {
        let length = file.length_bytes;
        let (begin, end) = (range.start.max(file.data_offset), range.end.min(length));
        if begin >= end {
            return Ok((Bytes::new(), begin));
        }
        let read = async |range| {
            let uri = format!("{}/{}", self.uri, file.uri);
            self.store
                .get_range(&file.uri, range)
                .await
                .map_err(|source| SourceError::Store { uri, source: Box::new(source) })
        };
        // The first data row starts where the header ends, whatever byte stands before.
        let from = if begin == file.data_offset { begin } else { begin - 1 };
        let mut bytes = read(from..end).await?.to_vec();
        let skipped =
            if from == begin { Some(0) } else { memchr::memchr(b'\n', &bytes).map(|newline| newline + 1) };
        let Some(skipped) = skipped.filter(|skipped| from + (*skipped as u64) < end) else {
            return Ok((Bytes::new(), end));
        };
        let mut at = end;
        while at < length && bytes.last() != Some(&b'\n') {
            let more = read(at..length.min(at + TAIL_BYTES)).await?;
            let row_end = memchr::memchr(b'\n', &more).map_or(more.len(), |newline| newline + 1);
            bytes.extend_from_slice(&more[..row_end]);
            at += more.len() as u64;
        }
        Ok((Bytes::from(bytes).slice(skipped..), from + skipped as u64))
    }

    async fn head(&self, name: &str, length: u64) -> Result<Bytes, SourceError> {
        let uri = format!("{}/{name}", self.uri);
        self.store
            .get_range(name, 0..length.min(SAMPLE_BYTES))
            .await
            .map_err(|source| SourceError::Store { uri, source: Box::new(source) })
    }
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
        folder.store.list("").await.map_err(store_error)?.into_iter().collect();
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
        let head = folder.head(&name, length).await?;
        files.push((describe(source, &folder, &name, length, content, &head)?, head));
    }
    let Some((ratings, head)) = files.iter().find(|(file, _)| file.content() == FileContent::Ratings) else {
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
    let (user_id_kind, item_id_kind) = id_kinds(ratings, head);
    Ok(InspectSourceReply {
        user_id_kind: shoal_proto::v1::IdKind::from(user_id_kind).into(),
        item_id_kind: shoal_proto::v1::IdKind::from(item_id_kind).into(),
        files: files.into_iter().map(|(file, _)| file).collect(),
    })
}

fn describe(
    source: &DatasetSource,
    folder: &SourceFolder,
    name: &str,
    length_bytes: u64,
    content: FileContent,
    head: &[u8],
) -> Result<SourceFile, SourceError> {
    let uri = format!("{}/{name}", folder.uri);
    let named = !source.user_column.is_empty() && content == FileContent::Ratings;
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let (format, delimiter) = match (extension, content) {
        ("dat", _) if !named => (SourceFormat::DoubleColon, b':'),
        ("data", FileContent::Ratings) if !named => (SourceFormat::Tab, b'\t'),
        ("item", FileContent::Movies) => (SourceFormat::Pipe, b'|'),
        ("parquet", _) => return Err(SourceError::Format(uri)),
        _ => (SourceFormat::Csv, columns::delimiter(head)),
    };
    let bom = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let (columns, data_offset, header_lines) = if format == SourceFormat::Csv {
        let end = memchr::memchr(b'\n', head).unwrap_or(head.len());
        let columns = Columns::read(&head[bom..end], delimiter, &uri)?;
        (columns.find(source, content)?, (end + 1).min(head.len()), 1)
    } else {
        // Users, items, ratings and times; or items, titles and genres.
        let columns = match (content, format) {
            (FileContent::Ratings, _) => vec![0, 1, 2, 3],
            (_, SourceFormat::Pipe) => vec![0, 1, 5],
            _ => vec![0, 1, 2],
        };
        (columns, bom, 0)
    };
    Ok(SourceFile {
        uri: name.to_owned(),
        content: content.into(),
        format: format.into(),
        length_bytes,
        data_offset: data_offset as u64,
        columns,
        delimiter: u32::from(delimiter),
        header_lines,
    })
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
        let Some(fields) = super::parse::split_line(file, super::parse::trim_line(line)) else { continue };
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_row_is_read_once_however_the_file_is_cut(
            rows in prop::collection::vec("[a-z]{0,5}", 0..12),
            last_newline: bool,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let header = "h,h\n";
            let mut text = format!("{header}{}", rows.join("\n"));
            if last_newline {
                text.push('\n');
            }
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("f.csv"), &text).unwrap();
            let (source, _) = SourceFolder::open(folder.path().to_str().unwrap(), &BTreeMap::new()).unwrap();
            let file = SourceFile {
                uri: "f.csv".into(),
                length_bytes: text.len() as u64,
                data_offset: header.len() as u64,
                ..SourceFile::default()
            };
            let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            bounds.extend([0, text.len()]);
            bounds.sort_unstable();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut read = Vec::new();
            for range in bounds.windows(2) {
                let rows = source.read_rows(&file, range[0] as u64..range[1] as u64);
                let (bytes, position) = runtime.block_on(rows).unwrap();
                if !bytes.is_empty() {
                    prop_assert_eq!(&text.as_bytes()[position as usize..][..bytes.len()], &bytes[..]);
                }
                read.extend_from_slice(&bytes);
            }
            prop_assert_eq!(read, &text.as_bytes()[header.len()..]);
        }
    }

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
