//! The header of a CSV file: which columns it has, and which of them are wanted.

use shoal_proto::v1::{DatasetSource, FileContent};

use super::SourceError;
use crate::dataset::fields::{decode, split_quoted};

/// Names that MovieLens and its likes use, compared without case, underscores and blanks.
const USER: &[&str] = &["userid", "user"];
const ITEM: &[&str] = &["movieid", "itemid", "movie", "item"];
const RATING: &[&str] = &["rating", "score", "stars"];
const TIME: &[&str] = &["timestamp", "time", "date", "datetime"];
const TITLE: &[&str] = &["title", "name"];
const GENRES: &[&str] = &["genres", "genre"];
const TAG: &[&str] = &["tag"];
const TAG_NUMBER: &[&str] = &["tagid"];
const RELEVANCE: &[&str] = &["relevance"];

/// The delimiter of a header line: the one of comma, semicolon, tab and pipe that it has most of.
pub(super) fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| line.iter().filter(|&&byte| byte == delimiter).count();
    // Of equal counts the last wins, so the comma stands last.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b',')
}

/// The names of a header.
pub(super) struct Columns<'a> {
    names: Vec<String>,
    file: &'a str,
}

impl<'a> Columns<'a> {
    pub(super) fn new(names: Vec<String>, file: &'a str) -> Self {
        Self { names, file }
    }

    pub(super) fn read(line: &[u8], delimiter: u8, file: &'a str) -> Result<Self, SourceError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let fields = split_quoted(line, delimiter).ok_or_else(|| SourceError::Format(file.to_owned()))?;
        Ok(Self::new(fields.iter().map(|field| decode(field).trim().to_owned()).collect(), file))
    }

    /// The names, in the file's order.
    pub(super) fn into_names(self) -> Vec<String> {
        self.names
    }

    /// How many columns there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }

    /// Positions of the columns of a content, −1 for one that may be absent and is.
    pub(super) fn find(&self, source: &DatasetSource, content: FileContent) -> Result<Vec<i32>, SourceError> {
        Ok(match content {
            FileContent::Movies => {
                vec![self.one("", ITEM)?, self.one("", TITLE)?, self.optional("", GENRES)?]
            }
            FileContent::Tags => {
                let who_and_what = [self.one("", USER)?, self.one("", ITEM)?];
                [&who_and_what[..], &[self.one("", TAG)?, self.optional("", TIME)?]].concat()
            }
            FileContent::GenomeScores => {
                vec![self.one("", ITEM)?, self.one("", TAG_NUMBER)?, self.one("", RELEVANCE)?]
            }
            FileContent::GenomeTags => vec![self.one("", TAG_NUMBER)?, self.one("", TAG)?],
            FileContent::Unspecified | FileContent::Ratings => vec![
                self.one(&source.user_column, USER)?,
                self.one(&source.item_column, ITEM)?,
                self.one(&source.rating_column, RATING)?,
                self.optional(&source.time_column, TIME)?,
            ],
        })
    }

    fn one(&self, wanted: &str, usual: &[&str]) -> Result<i32, SourceError> {
        self.position(wanted, usual).ok_or_else(|| SourceError::NoColumn {
            file: self.file.to_owned(),
            column: if wanted.is_empty() { usual[0].to_owned() } else { wanted.to_owned() },
            columns: self.names.join(", "),
        })
    }

    /// A column named by the user has to be there; one looked for by its usual names need not.
    fn optional(&self, wanted: &str, usual: &[&str]) -> Result<i32, SourceError> {
        if wanted.is_empty() { Ok(self.position("", usual).unwrap_or(-1)) } else { self.one(wanted, usual) }
    }

    fn position(&self, wanted: &str, usual: &[&str]) -> Option<i32> {
        let at = if wanted.is_empty() {
            let plain = |name: &String| name.to_lowercase().replace(['_', ' ', '-'], "");
            self.names.iter().position(|name| usual.contains(&plain(name).as_str()))
        } else {
            self.names.iter().position(|name| name == wanted)
        };
        at.and_then(|at| i32::try_from(at).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_found_and_named_ones_must_be_there() {
        let columns = Columns::read(b"\"timestamp\",\"User_ID\",movieId,rating\r", b',', "f.csv").unwrap();
        let usual = DatasetSource::default();
        assert_eq!(columns.find(&usual, FileContent::Ratings).unwrap(), [1, 2, 3, 0]);
        let named = DatasetSource { rating_column: "stars".into(), ..DatasetSource::default() };
        let error = columns.find(&named, FileContent::Ratings).unwrap_err().to_string();
        assert!(error.contains("no column 'stars'") && error.contains("movieId"), "{error}");
    }

    #[test]
    fn delimiters_are_recognised() {
        for (header, expected) in [("a,b,c", b','), ("a;b;c", b';'), ("a\tb", b'\t'), ("a", b',')] {
            assert_eq!(delimiter(header.as_bytes()), expected);
        }
    }
}
