//! Lines of nothing but numbers, as nearly all lines of the long files are: ids, a short decimal number and seconds, in
//! this order. They are read where they lie, line end and all, eight bytes at a time (Lemire, "Quickly parsing eight
//! digits", 2018, for digits that are shifted to the end of the word). Whatever else there is, a sign, a blank, a
//! quote, a longer number or another column, is for [`PlainLines`](super::plain::PlainLines) and the long way.

use shoal_common::ids::IdKind;
use shoal_format::row::{GenomeRow, IdRef, RatingRow, Row};
use shoal_proto::v1::{FileContent, SourceFile, SourceFormat};

use super::{Rules, plain::POWERS, relevance};
use crate::values::{TIME_MAX, Values};

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// What stands in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// User, item, rating.
    Rating,
    /// User, item, rating, seconds.
    TimedRating,
    /// Item, tag, relevance.
    Genome,
}

/// Reads lines of numbers.
#[derive(Debug)]
pub(super) struct NumericLines {
    layout: Layout,
    delimiter: u8,
    rules: Rules,
    /// How many of the times' unit a second has.
    per_second: i64,
}

impl NumericLines {
    /// A reader of this file's lines; `None` when it has other columns, or in another order.
    pub(super) fn new(file: &SourceFile, rules: Rules, values: &Values) -> Option<Self> {
        if values.has_decimal_commas() || values.times.has_format() {
            return None;
        }
        let delimiter = match file.format() {
            SourceFormat::Csv => u8::try_from(file.delimiter).ok()?,
            SourceFormat::Tab => b'\t',
            _ => return None,
        };
        let layout = match (file.content(), &file.columns[..]) {
            (FileContent::Ratings, [0, 1, 2, 3]) => Layout::TimedRating,
            (FileContent::Ratings, [0, 1, 2] | [0, 1, 2, -1]) => Layout::Rating,
            (FileContent::GenomeScores, [0, 1, 2]) => Layout::Genome,
            _ => return None,
        };
        let integers = match layout {
            Layout::Rating | Layout::TimedRating => [rules.user_id_kind, rules.item_id_kind],
            Layout::Genome => [rules.item_id_kind, IdKind::Integer],
        };
        let ends_numbers = !delimiter.is_ascii_digit() && !b".\r\n".contains(&delimiter);
        let per_second = values.times.per_second();
        let is_read = ends_numbers && integers == [IdKind::Integer; 2];
        is_read.then_some(Self { layout, delimiter, rules, per_second })
    }

    /// Reads the line that `bytes` begin with, and says how long it is with its end; `None`, and no row, when it is not
    /// such a line.
    #[inline]
    pub(super) fn read(&self, bytes: &[u8], on_row: impl FnOnce(Row<'_>)) -> Option<usize> {
        let (first, at) = id(bytes, 0)?;
        let (second, at) = id(bytes, self.after_delimiter(bytes, at)?)?;
        let (value, at) = decimal(bytes, self.after_delimiter(bytes, at)?)?;
        if self.layout == Layout::Genome {
            let (tag, relevance) = (u32::try_from(second).ok()?, relevance(value).ok()?);
            let end = after_line(bytes, at)?;
            on_row(Row::Genome(GenomeRow { item: IdRef::Integer(first), tag, relevance }));
            return Some(end);
        }
        let (timestamp, at) = match self.layout {
            Layout::TimedRating => integer(bytes, self.after_delimiter(bytes, at)?)?,
            _ => (0, at),
        };
        let timestamp = if self.per_second == 1 { timestamp } else { timestamp.div_euclid(self.per_second) };
        if timestamp >= TIME_MAX {
            return None;
        }
        let rating = self.rules.accept(value).ok()?;
        let end = after_line(bytes, at)?;
        let (user, item) = (IdRef::Integer(first), IdRef::Integer(second));
        on_row(Row::Rating(RatingRow { user, item, rating, timestamp }));
        Some(end)
    }

    #[inline]
    fn after_delimiter(&self, bytes: &[u8], at: usize) -> Option<usize> {
        (*bytes.get(at)? == self.delimiter).then_some(at + 1)
    }
}

#[inline]
fn after_line(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'\n' => Some(at + 1),
        b'\r' if bytes.get(at + 1) == Some(&b'\n') => Some(at + 2),
        _ => None,
    }
}

#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// How many digits a word begins with, and their value.
#[inline]
fn digits(word: u64) -> (usize, i64) {
    const EACH: u64 = u64::from_le_bytes([1; WORD]);
    // Digits become 0 to 9. Whatever is more gets its highest bit set; carries from such reach later bytes only.
    let values = word ^ (EACH * b'0' as u64);
    let others = (values.wrapping_add(EACH * (0x80 - 10)) | values) & (EACH * 0x80);
    let count = others.trailing_zeros() as usize / 8;
    // Zeros come in front, so that there are eight digits; then neighbours are added, in ones, twos and fours.
    let eight = values.checked_shl(8 * (WORD - count) as u32).unwrap_or(0);
    let twos = (eight * 10 + (eight >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    let all = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    (count, all as i64)
}

/// A whole number of one to fifteen digits, and where it ends.
#[inline]
fn integer(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let (count, value) = digits(word(bytes, at)?);
    match count {
        0 => None,
        WORD => {
            let (more, low) = digits(word(bytes, at + WORD)?);
            (more < WORD).then(|| (value * POWERS[more] as i64 + low, at + WORD + more))
        }
        _ => Some((value, at + count)),
    }
}

/// A whole number that is written as numbers are: one that begins with a zero may be a text.
#[inline]
fn id(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let (value, end) = integer(bytes, at)?;
    (bytes[at] != b'0' || end == at + 1).then_some((value, end))
}

/// A decimal number of up to seven digits before and after its point, and where it ends.
#[inline]
fn decimal(bytes: &[u8], at: usize) -> Option<(f64, usize)> {
    let rest = bytes.get(at..)?;
    // Most ratings have a digit on either side, which needs no counting: the next field is read at once.
    if let Some(&[whole @ b'0'..=b'9', b'.', tenth @ b'0'..=b'9', after]) = rest.first_chunk()
        && !after.is_ascii_digit()
    {
        let tenths = (whole - b'0') * 10 + (tenth - b'0');
        return Some((f64::from(tenths) / 10.0, at + 3));
    }
    let (count, whole) = digits(word(bytes, at)?);
    if !(1..WORD).contains(&count) {
        return None;
    }
    let at = at + count;
    if *bytes.get(at)? != b'.' {
        return Some((whole as f64, at));
    }
    let (count, fraction) = digits(word(bytes, at + 1)?);
    if count == WORD {
        return None;
    }
    // Both parts are exact, as in `plain::number`.
    let mantissa = whole * POWERS[count] as i64 + fraction;
    Some((mantissa as f64 / POWERS[count], at + 1 + count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse::{LineParser, RowReader};

    fn file(content: FileContent, columns: &[i32], delimiter: u8) -> SourceFile {
        SourceFile {
            content: content.into(),
            format: SourceFormat::Csv.into(),
            columns: columns.to_vec(),
            column_count: columns.len() as u32,
            delimiter: u32::from(delimiter),
            length_bytes: u64::MAX,
            ..SourceFile::default()
        }
    }

    fn rules(kind: IdKind) -> Rules {
        Rules { user_id_kind: kind, item_id_kind: IdKind::Integer, rating_min: 0.0, rating_max: 5.0 }
    }

    const RATINGS: [&[i32]; 5] = [&[0, 1, 2, 3], &[0, 1, 2, -1], &[0, 1, 2], &[1, 0, 2, 3], &[0, 1, 3, 2]];

    proptest! {
        #[test]
        fn lines_read_as_they_do_the_long_way(
            lines in prop::collection::vec(
                (
                    prop_oneof![8 => "[0-9]{1,16}", 1 => "[-+ ]?[0-9]{0,20}", 1 => "\\PC{0,4}"],
                    prop_oneof![8 => "[0-9]{1,7}", 1 => "\"?[0-9]{6,18}\"?", 1 => "[0-9a. ]{0,3}"],
                    prop_oneof![
                        8 => "[0-9]\\.[0-9]",
                        8 => "[0-9]{0,9}\\.?[0-9]{0,9}",
                        1 => "[-+]?[0-9]{1,2}[e.,:][0-9]{1,2}",
                        1 => "(nan|inf|\"1\"| 2)",
                    ],
                    prop_oneof![8 => "[0-9]{9,10}", 2 => "-?[0-9]{0,20}", 1 => "2004-02-29 23:59:59", 1 => "x?"],
                    prop_oneof![8 => "", 1 => "[,;]", 1 => "[,;][\"0-9]"],
                    prop_oneof![8 => "\n", 4 => "\r\n", 1 => "\r\r\n", 1 => " \n"],
                ),
                0..12,
            ),
            semicolons: bool,
            texts: bool,
            content in prop::sample::select(vec![FileContent::Ratings, FileContent::GenomeScores]),
            columns in prop::sample::select(RATINGS.to_vec()),
            cut: prop::sample::Index,
        ) {
            let delimiter = if semicolons { ';' } else { ',' };
            let columns = if content == FileContent::Ratings { columns } else { RATINGS[2] };
            let mut text = String::new();
            for (first, second, third, fourth, more, end) in lines {
                let fields = [first, second, third, fourth];
                let fields = if content == FileContent::Ratings && columns.len() == 4 { &fields[..] } else { &fields[..3] };
                text.push_str(&fields.join(&delimiter.to_string()));
                text.push_str(&more);
                text.push_str(&end);
            }
            let file = file(content, columns, delimiter as u8);
            let rules = rules(if texts { IdKind::Text } else { IdKind::Integer });
            let read = |mut reader: RowReader| {
                let mut rows = Vec::new();
                let (first, second) = text.as_bytes().split_at(cut.index(text.len() + 1));
                for (bytes, last) in [(first, false), (second, true)] {
                    reader.take(bytes, last, |row, at| rows.push(format!("{at} {row:?}")));
                }
                (rows, reader.finish())
            };
            let reader = || RowReader::new(&file, rules, "f".into(), 0..u64::MAX);
            let the_long_way = RowReader { parser: LineParser::the_long_way(&file, rules), ..reader() };
            prop_assert_eq!(read(reader()), read(the_long_way), "{:?}", text);
        }
    }

    #[test]
    fn only_short_numbers_in_order_are_read_here() {
        let read = |content, columns: &[i32], line: &str| {
            let lines = {
                let file = file(content, columns, b',');
                NumericLines::new(&file, rules(IdKind::Integer), &Values::new(&file))?
            };
            // What follows a line makes no difference.
            let mut row = String::new();
            let length =
                lines.read(format!("{line}7,8,9.5,10\n").as_bytes(), |found| row = format!("{found:?}"));
            assert_eq!(length.is_some(), !row.is_empty(), "{line}");
            length
        };
        for (content, columns, line) in [
            (FileContent::Ratings, RATINGS[0], "1,2,3.5,964982703\n"),
            (FileContent::Ratings, RATINGS[0], "70,12345678,4,12345678\r\n"),
            (FileContent::Ratings, RATINGS[0], "123456789012345,1234567,0.1234567,0\n"),
            (FileContent::Ratings, RATINGS[1], "138493,26744,5.\n"),
            (FileContent::Ratings, RATINGS[2], "1,2,3.25\n"),
            (FileContent::GenomeScores, RATINGS[2], "1,1128,0.02500\n"),
        ] {
            assert_eq!(read(content, columns, line), Some(line.len()), "{line}");
        }
        for line in [
            "\n",
            "1,2,3.5\n",
            "1,2,3.5,\n",
            "-1,2,3.5,4\n",
            "1, 2,3.5,4\n",
            "1,2,\"3.5\",4\n",
            "1,2,.5,4\n",
            "1,2,5e0,4\n",
            "1,2,5.5,4\n",
            "1,2,3.5,4,\n",
            "1,2,3.5,4\r",
            "1234567890123456,2,3.5,4\n",
            "1,2,3.12345678,4\n",
            "1,02,3.5,4\n",
            "1,2,3.5,123456789012345\n",
        ] {
            assert_eq!(read(FileContent::Ratings, RATINGS[0], line), None, "{line}");
        }
        assert_eq!(read(FileContent::Ratings, RATINGS[3], "1,2,3.5,4\n"), None);
        assert_eq!(read(FileContent::GenomeScores, RATINGS[2], "1,4294967296,0.5\n"), None);
    }
}
