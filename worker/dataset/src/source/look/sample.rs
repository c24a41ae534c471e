//! The first rows of a text file, split into fields, and the delimiter by which they are.

use std::borrow::Cow;

use shoal_proto::v1::SourceFormat;

use crate::{
    fields::{decode, split_double, split_quoted},
    parse::{RowEnd, quoted_row_end, trim_line},
};

/// Rows that a delimiter has to split alike.
const DELIMITER_ROWS: usize = 50;

/// What stands between fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimiter {
    Byte(u8),
    DoubleColon,
}

/// Those that are found out; of two that split equally well the one that stands first is taken.
const CANDIDATES: [Delimiter; 5] = [
    Delimiter::Byte(b','),
    Delimiter::Byte(b';'),
    Delimiter::Byte(b'\t'),
    Delimiter::Byte(b'|'),
    Delimiter::DoubleColon,
];

impl Delimiter {
    /// The delimiter of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.as_bytes() {
            b"::" => Some(Self::DoubleColon),
            b"\\t" => Some(Self::Byte(b'\t')),
            &[byte] if !byte.is_ascii_alphanumeric() && !b"\"\r\n.-+".contains(&byte) => {
                Some(Self::Byte(byte))
            }
            _ if name.eq_ignore_ascii_case("tab") => Some(Self::Byte(b'\t')),
            _ => None,
        }
    }

    /// How people call it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Byte(b'\t') => "tab".to_owned(),
            Self::Byte(byte) => char::from(byte).to_string(),
            Self::DoubleColon => "::".to_owned(),
        }
    }

    pub(super) fn format(self) -> SourceFormat {
        if self == Self::DoubleColon { SourceFormat::DoubleColon } else { SourceFormat::Csv }
    }

    /// The byte of a CSV file.
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Byte(byte) => byte,
            Self::DoubleColon => b':',
        }
    }

    fn split(self, row: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
        match self {
            Self::Byte(byte) => split_quoted(row, byte),
            Self::DoubleColon => Some(split_double(row, b"::")),
        }
    }
}

/// One of the first rows.
#[derive(Debug)]
pub(super) struct SampleRow {
    /// Its first line, from 1.
    pub(super) line: u64,
    /// As UTF-8, without blanks around them.
    pub(super) fields: Vec<String>,
    /// Where in the text the next row begins.
    pub(super) end: usize,
    /// Lines up to there.
    pub(super) lines: u64,
}

/// The first rows of a file.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) delimiter: Delimiter,
    pub(super) rows: Vec<SampleRow>,
}

impl Sample {
    /// Splits the first bytes of a file into at most so many rows; `whole` when no others follow. Empty lines are passed
    /// over, and so is a last row that may go on.
    fn split(head: &[u8], whole: bool, delimiter: Delimiter, most: usize) -> Self {
        let (mut rows, mut at, mut line) = (Vec::new(), 0, 1);
        while at < head.len() && rows.len() < most {
            let rest = &head[at..];
            let newline = memchr::memchr(b'\n', rest);
            let quoted_end = match delimiter {
                Delimiter::Byte(byte) if rest[..newline.unwrap_or(rest.len())].contains(&b'"') => {
                    quoted_row_end(rest, byte, whole)
                }
                _ => RowEnd::Broken,
            };
            let end = match (quoted_end, newline) {
                (RowEnd::At(end), _) => end,
                (_, Some(newline)) => newline,
                (_, None) if whole || rows.is_empty() => rest.len(),
                _ => break,
            };
            let row = trim_line(&rest[..end]);
            let lines = 1 + memchr::memchr_iter(b'\n', &rest[..end]).count() as u64;
            at = (at + end + 1).min(head.len());
            if !row.iter().all(u8::is_ascii_whitespace)
                && let Some(fields) = delimiter.split(row)
            {
                let fields = fields.iter().map(|field| decode(field).trim().to_owned()).collect();
                rows.push(SampleRow { line, fields, end: at, lines: line - 1 + lines });
            }
            line += lines;
        }
        Self { delimiter, rows }
    }

    /// The first rows of a file by this delimiter, or by the one that divides the most of them into as many fields as
    /// the first, at least two; of several the one that makes the most fields.
    pub(super) fn read(head: &[u8], whole: bool, delimiter: Option<Delimiter>) -> Self {
        let delimiter = delimiter.unwrap_or_else(|| {
            let mut best = (CANDIDATES[0], (0, 0));
            for candidate in CANDIDATES {
                let sample = Self::split(head, whole, candidate, DELIMITER_ROWS);
                let counts: Vec<usize> = sample.rows.iter().map(|row| row.fields.len()).collect();
                let fields = counts.first().copied().unwrap_or_default();
                let alike = counts.iter().filter(|&&count| count == fields).count();
                if fields >= 2 && (alike, fields) > best.1 {
                    best = (candidate, (alike, fields));
                }
            }
            best.0
        });
        Self::split(head, whole, delimiter, usize::MAX)
    }

    /// The fields of a column, and the lines in which they are; of the rows after a header.
    pub(super) fn column(&self, header: bool, at: usize) -> impl Iterator<Item = (u64, &str)> {
        let rows = self.rows.iter().skip(usize::from(header));
        rows.filter_map(move |row| row.fields.get(at).map(|field| (row.line, field.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_that_divides_the_rows_alike_wins() {
        for (text, delimiter, fields) in [
            ("a,b,c\n1,2,3\n", Delimiter::Byte(b','), 3),
            ("a;b;c\n1;2;4,5\n", Delimiter::Byte(b';'), 3),
            (
                "user\titem\tcomment (free, any, up to 10, no html)\n1\t2\tgood, bad\n3\t4\tx\n",
                Delimiter::Byte(b'\t'),
                3,
            ),
            ("1;2;4,5;9\n1;3;3,5;9\n", Delimiter::Byte(b';'), 4),
            ("a|b\n1|2\n", Delimiter::Byte(b'|'), 2),
            ("user::item::rating\n1::2::3\n", Delimiter::DoubleColon, 3),
            ("movieId,title,genres\n1,T,A|B\n2,U,C|D\n", Delimiter::Byte(b','), 3),
            ("\"x,y\";\"a\nb\"\n1;2\n", Delimiter::Byte(b';'), 2),
            ("alone\n1\n", Delimiter::Byte(b','), 1),
        ] {
            let sample = Sample::read(text.as_bytes(), true, None);
            assert_eq!((sample.delimiter, sample.rows[0].fields.len()), (delimiter, fields), "{text}");
        }
    }

    #[test]
    fn rows_know_their_lines_even_when_they_go_over_several() {
        let sample = Sample::read(b"\"a\r\nb\",c\r\n\r\n1,2\r\n3,4", false, None);
        let rows: Vec<(u64, usize, u64)> =
            sample.rows.iter().map(|row| (row.line, row.end, row.lines)).collect();
        assert_eq!(rows, [(1, 10, 2), (4, 17, 4)]);
        assert_eq!(sample.rows[0].fields, ["a\r\nb", "c"]);
    }

    #[test]
    fn delimiters_are_known_by_name() {
        for (name, delimiter) in [
            ("tab", Some(Delimiter::Byte(b'\t'))),
            ("\\t", Some(Delimiter::Byte(b'\t'))),
            ("\t", Some(Delimiter::Byte(b'\t'))),
            ("::", Some(Delimiter::DoubleColon)),
            (";", Some(Delimiter::Byte(b';'))),
            ("^", Some(Delimiter::Byte(b'^'))),
            ("7", None),
            ("\"", None),
            (",,", None),
            ("", None),
        ] {
            assert_eq!(Delimiter::named(name), delimiter, "{name}");
        }
    }
}
