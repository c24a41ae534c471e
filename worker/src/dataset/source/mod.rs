//! A source of ratings: which files it has, in which layout, with which kind of ids.
//!
//! Recognised are the MovieLens layouts as users have them: Kaggle's (`rating.csv movie.csv …`),
//! GroupLens's (`ratings.csv movies.csv …`), 1M (`ratings.dat movies.dat`), 100K (`u.data u.item`), and
//! any CSV file whose columns are named. Files are found by listing the source's folder, so a source can be
//! wherever a store can.

mod columns;

use std::collections::BTreeMap;

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

/// Read of a range at a time.
const PIECE_BYTES: u64 = 4 * 1024 * 1024;

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
    /// A file is shorter than it was.
    #[error("'{0}' has changed while it was read; import it again when nobody writes it")]
    Changed(String),
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

    /// The next bytes of a file from `position` on, and whether they are the last. Pieces do not go beyond `end`, or
    /// go on from there in smaller ones, as the end of a row may be near.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read_piece(
        &self,
        file: &SourceFile,
        position: u64,
        end: u64,
    ) -> Result<(Bytes, bool), SourceError> {
        let most = if position < end { (end - position).min(PIECE_BYTES) } else { TAIL_BYTES };
        let piece_end = (position + most).min(file.length_bytes);
        let is_last = piece_end == file.length_bytes;
        if position >= piece_end {
            return Ok((Bytes::new(), is_last));
        }
        let uri = format!("{}/{}", self.uri, file.uri);
        let read = self.store.get_range(&file.uri, position..piece_end).await;
        let bytes =
            read.map_err(|source| SourceError::Store { uri: uri.clone(), source: Box::new(source) })?;
        if bytes.len() as u64 != piece_end - position {
            return Err(SourceError::Changed(uri));
        }
        Ok((bytes, is_last))
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
    let (columns, data_offset, header_lines, column_count) = if format == SourceFormat::Csv {
        let end = memchr::memchr(b'\n', head).unwrap_or(head.len());
        let columns = Columns::read(&head[bom..end], delimiter, &uri)?;
        (columns.find(source, content)?, (end + 1).min(head.len()), 1, columns.count())
    } else {
        // Users, items, ratings and times; or items, titles and genres.
        let columns = match (content, format) {
            (FileContent::Ratings, _) => vec![0, 1, 2, 3],
            (_, SourceFormat::Pipe) => vec![0, 1, 5],
            _ => vec![0, 1, 2],
        };
        (columns, bom, 0, 0)
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
        column_count,
        // Ratings are read in many ranges, which begin at line ends.
        multiline: format == SourceFormat::Csv && content != FileContent::Ratings,
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
