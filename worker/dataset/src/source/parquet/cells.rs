//! Values of Parquet columns, whatever type they are stored as.

use std::borrow::Cow;

use half::f16;
use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, DataType, FixedLenByteArray, Int96},
    errors::Result,
    file::reader::RowGroupReader,
};
use shoal_common::ids::IdKind;
use shoal_format::row::IdRef;
use shoal_proto::v1::Side;

use super::meaning::{Meaning, meaning};
use crate::{fields, rejection::Reason, values};

/// A value of a Parquet column, whatever its type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    /// The row has no value.
    Null,
    Integer(i64),
    /// A whole number that is none of 64 bits with a sign.
    Large(i128),
    /// A number that need not be whole.
    Float(f64),
    /// A time: seconds since the epoch.
    Seconds(i64),
    /// A text, UTF-8.
    Text(Cow<'a, str>),
    /// The texts of a list.
    List(Vec<Cow<'a, str>>),
}

impl Cell<'_> {
    /// The value as a text; an empty one for none, and one separated by `|` for a list.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Integer(value) | Self::Seconds(value) => value.to_string().into(),
            Self::Large(value) => value.to_string().into(),
            Self::Float(value) => value.to_string().into(),
            Self::Text(text) => Cow::Borrowed(text),
            Self::List(texts) => texts.join("|").into(),
        }
    }

    /// The texts of a list, or the one text that there is.
    pub(super) fn texts(&self) -> Vec<Cow<'_, str>> {
        match self {
            Self::Null => Vec::new(),
            Self::List(texts) => texts.iter().map(|text| Cow::Borrowed(&**text)).collect(),
            _ => vec![self.text()],
        }
    }

    /// The value as a whole number that is not below 0.
    pub(super) fn index(&self) -> Option<u32> {
        match self {
            Self::Integer(value) => u32::try_from(*value).ok(),
            Self::Float(value) if value.fract() == 0.0 && (0.0..4_294_967_296.0).contains(value) => {
                Some(*value as u32)
            }
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The value as a number.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Null | Self::Seconds(_) | Self::List(_) => None,
            Self::Integer(value) => Some(*value as f64),
            Self::Large(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => fields::number(text.as_bytes()),
        }
    }

    /// The value as a time in seconds; a text is one by its file's rules, which are not known here.
    pub(super) fn seconds(&self) -> Option<i64> {
        match self {
            Self::Null | Self::Large(_) | Self::List(_) | Self::Text(_) => None,
            Self::Integer(value) | Self::Seconds(value) => Some(*value),
            // As in a text, what is beyond is no time.
            Self::Float(value) => (value.abs() < 1e15).then_some(*value as i64),
        }
    }
}

/// An id read from a cell.
#[derive(Debug)]
pub(super) enum Id<'a> {
    Integer(i64),
    Text(Cow<'a, str>),
}

impl<'a> Id<'a> {
    pub(super) fn read(
        cell: &'a Cell<'_>,
        kind: IdKind,
        side: Side,
        rules: &values::Values,
    ) -> std::result::Result<Self, Reason> {
        let (empty, too_large) = match side {
            Side::Items => (Reason::EmptyItem, Reason::ItemTooLarge),
            _ => (Reason::EmptyUser, Reason::UserTooLarge),
        };
        match (cell, kind) {
            (Cell::Null, _) => Err(empty),
            (Cell::Large(_), IdKind::Integer) => Err(too_large),
            (Cell::Integer(id), IdKind::Integer) => Ok(Self::Integer(*id)),
            // Whole numbers beside missing values are often stored as floats.
            (Cell::Float(id), _) if id.fract() == 0.0 && id.abs() < 9e15 => Ok(match kind {
                IdKind::Integer => Self::Integer(*id as i64),
                IdKind::Text => Self::Text((*id as i64).to_string().into()),
            }),
            _ => match cell.text() {
                Cow::Borrowed(text) => rules.id(text, kind, side).map(|id| match id {
                    IdRef::Integer(id) => Self::Integer(id),
                    IdRef::Text(text) => Self::Text(text.into()),
                }),
                Cow::Owned(text) => rules.id(&text, kind, side).map(|id| match id {
                    IdRef::Integer(id) => Self::Integer(id),
                    IdRef::Text(text) => Self::Text(text.to_owned().into()),
                }),
            },
        }
    }

    pub(super) fn borrow(&self) -> IdRef<'_> {
        match self {
            Self::Integer(id) => IdRef::Integer(*id),
            Self::Text(text) => IdRef::Text(text),
        }
    }
}

/// Decoded values that are not null.
enum Values {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
    Bool(Vec<bool>),
}

/// Reads a column value by value.
pub(super) struct CellReader {
    reader: ColumnReader,
    meaning: Meaning,
    /// The level of a value that is there.
    present: i16,
    /// Whether a row has a list of values.
    is_list: bool,
    levels: Vec<i16>,
    /// Of lists: 0 where a row begins.
    repetitions: Vec<i16>,
    values: Values,
    /// The next level of the batch, and its value.
    level: usize,
    value: usize,
}

impl CellReader {
    pub(super) fn new(group: &dyn RowGroupReader, column: usize) -> Result<Self> {
        let described = group.metadata().schema_descr().column(column);
        let (meaning, present) = (meaning(&described), described.max_def_level());
        let is_list = described.max_rep_level() > 0;
        let reader = group.get_column_reader(column)?;
        let values = match &reader {
            ColumnReader::Int32ColumnReader(_) => Values::Int32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Int64(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Int96(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Float(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Double(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
            ColumnReader::BoolColumnReader(_) => Values::Bool(Vec::new()),
        };
        let (levels, repetitions) = (Vec::new(), Vec::new());
        Ok(Self { reader, meaning, present, is_list, levels, repetitions, values, level: 0, value: 0 })
    }

    /// Decodes the next `count` rows.
    pub(super) fn fill(&mut self, count: usize) -> Result<()> {
        (self.level, self.value) = (0, 0);
        self.levels.clear();
        self.repetitions.clear();
        let levels = (&mut self.levels, self.is_list.then_some(&mut self.repetitions));
        match (&mut self.reader, &mut self.values) {
            (ColumnReader::Int32ColumnReader(reader), Values::Int32(values)) => {
                fill(reader, count, levels, values)
            }
            (ColumnReader::Int64ColumnReader(reader), Values::Int64(values)) => {
                fill(reader, count, levels, values)
            }
            (ColumnReader::Int96ColumnReader(reader), Values::Int96(values)) => {
                fill(reader, count, levels, values)
            }
            (ColumnReader::FloatColumnReader(reader), Values::Float(values)) => {
                fill(reader, count, levels, values)
            }
            (ColumnReader::DoubleColumnReader(reader), Values::Double(values)) => {
                fill(reader, count, levels, values)
            }
            (ColumnReader::ByteArrayColumnReader(reader), Values::Bytes(values)) => {
                fill(reader, count, levels, values)
            }
            (ColumnReader::FixedLenByteArrayColumnReader(reader), Values::Fixed(values)) => {
                fill(reader, count, levels, values)
            }
            (ColumnReader::BoolColumnReader(reader), Values::Bool(values)) => {
                fill(reader, count, levels, values)
            }
            // The values were made for the reader.
            _ => Ok(()),
        }
    }

    /// The value of the next row; none where the column is shorter than it should be.
    pub(super) fn next(&mut self) -> Cell<'_> {
        if self.is_list {
            return self.next_list();
        }
        let level = self.levels.get(self.level).copied();
        self.level += 1;
        // Without levels every value is there.
        if self.present > 0 && level != Some(self.present) {
            return Cell::Null;
        }
        self.value += 1;
        self.cell(self.value - 1).unwrap_or(Cell::Null)
    }

    /// The list of the next row. Levels alone tell where it ends, and so every way to write a list is read.
    fn next_list(&mut self) -> Cell<'_> {
        let (first_level, first_value) = (self.level, self.value);
        while self.level < self.levels.len()
            && (self.level == first_level || self.repetitions.get(self.level).is_some_and(|&again| again > 0))
        {
            self.value += usize::from(self.levels[self.level] == self.present);
            self.level += 1;
        }
        let texts = (first_value..self.value).filter_map(|at| self.cell(at));
        Cell::List(
            texts
                .map(|cell| match cell {
                    Cell::Text(text) => text,
                    other => other.text().into_owned().into(),
                })
                .collect(),
        )
    }

    fn cell(&self, at: usize) -> Option<Cell<'_>> {
        Some(match &self.values {
            Values::Int32(values) => match *values.get(at)? {
                value if self.meaning == Meaning::Unsigned => Cell::Integer(i64::from(value as u32)),
                value => self.integer(i64::from(value)),
            },
            Values::Int64(values) => self.integer(*values.get(at)?),
            Values::Int96(values) => Cell::Seconds(values.get(at)?.to_seconds()),
            Values::Float(values) => Cell::Float(f64::from(*values.get(at)?)),
            Values::Double(values) => Cell::Float(*values.get(at)?),
            Values::Bytes(values) => self.bytes(values.get(at)?.data()),
            Values::Fixed(values) => self.bytes(values.get(at)?.data()),
            Values::Bool(values) => Cell::Integer(i64::from(*values.get(at)?)),
        })
    }

    fn integer(&self, value: i64) -> Cell<'static> {
        match self.meaning {
            Meaning::Unsigned => whole(i128::from(value as u64)),
            Meaning::Decimal(scale) => decimal(i128::from(value), scale),
            Meaning::Time(per_second) => Cell::Seconds(value.div_euclid(per_second)),
            Meaning::Day => Cell::Seconds(value.saturating_mul(86_400)),
            Meaning::Plain | Meaning::Half | Meaning::Uuid | Meaning::Other => Cell::Integer(value),
        }
    }

    fn bytes<'a>(&self, bytes: &'a [u8]) -> Cell<'a> {
        match (self.meaning, bytes) {
            (Meaning::Decimal(scale), _) => match big_endian(bytes) {
                Some(value) => decimal(value, scale),
                None => Cell::Float(wide_big_endian(bytes) / 10_f64.powi(scale as i32)),
            },
            (Meaning::Half, &[low, high]) => Cell::Float(f16::from_le_bytes([low, high]).to_f64()),
            (Meaning::Uuid, bytes) => Cell::Text(uuid(bytes).into()),
            _ => Cell::Text(fields::decode(bytes)),
        }
    }
}

/// A whole number, whatever its size.
fn whole(value: i128) -> Cell<'static> {
    i64::try_from(value).map_or(Cell::Large(value), Cell::Integer)
}

/// A decimal number: whole where nothing stands behind the point, so that ids stay what they are.
fn decimal(value: i128, scale: u32) -> Cell<'static> {
    match 10_i128.checked_pow(scale) {
        Some(divisor) if value % divisor == 0 => whole(value / divisor),
        Some(divisor) => Cell::Float(value as f64 / divisor as f64),
        None => Cell::Float(value as f64 / 10_f64.powi(scale as i32)),
    }
}

fn fill<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    (levels, mut repetitions): (&mut Vec<i16>, Option<&mut Vec<i16>>),
    values: &mut Vec<T::T>,
) -> Result<()> {
    values.clear();
    let mut rows = 0;
    while rows < count {
        // A page at a time is read.
        let (read, _, _) =
            reader.read_records(count - rows, Some(&mut *levels), repetitions.as_deref_mut(), values)?;
        if read == 0 {
            break;
        }
        rows += read;
    }
    Ok(())
}

/// The longest decimals that are read digit by digit.
const DECIMAL_BYTES_MAX: usize = 16;

/// A big-endian number in two's complement; `None` when it is empty or longer than 128 bits.
pub(super) fn big_endian(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    // Bytes that only repeat the sign may be as many as they like.
    let longer = bytes.len().saturating_sub(DECIMAL_BYTES_MAX);
    let (sign, rest) = bytes.split_at(longer);
    let same_sign = rest.first().is_some_and(|byte| (byte ^ fill) & 0x80 == 0);
    if !same_sign || sign.iter().any(|&byte| byte != fill) {
        return None;
    }
    let mut wide = [fill; DECIMAL_BYTES_MAX];
    wide[DECIMAL_BYTES_MAX - rest.len()..].copy_from_slice(rest);
    Some(i128::from_be_bytes(wide))
}

/// As [`big_endian`], rounded, for numbers of any length; NaN for one without a byte.
fn wide_big_endian(bytes: &[u8]) -> f64 {
    let Some(&first) = bytes.first() else { return f64::NAN };
    let is_negative = first & 0x80 != 0;
    // Of a negative number all bits are turned, which leaves it a small one.
    let turned = if is_negative { 0xff } else { 0 };
    let value = bytes.iter().fold(0.0, |value, &byte| value * 256.0 + f64::from(byte ^ turned));
    if is_negative { -value - 1.0 } else { value }
}

/// Sixteen bytes as a UUID is written.
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len() + 4);
    for (at, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&at) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_every_digit_that_an_id_may_have() {
        assert_eq!(decimal(123_456_789_012_345_678_900, 2), Cell::Integer(1_234_567_890_123_456_789));
        assert_eq!(decimal(i128::from(u64::MAX), 0), Cell::Large(i128::from(u64::MAX)));
        assert_eq!(decimal(-425, 2), Cell::Float(-4.25));
        for value in [0, 1, -1, 425, -425, i128::from(i64::MIN), i128::MAX, i128::MIN] {
            let bytes = value.to_be_bytes();
            assert_eq!(big_endian(&bytes), Some(value));
            let sign = if value < 0 { 0xff } else { 0 };
            let longer = [&[sign; 9][..], &bytes].concat();
            assert_eq!(big_endian(&longer), Some(value));
            let rounded = wide_big_endian(&longer);
            assert!((rounded - value as f64).abs() <= (value as f64).abs() * 1e-12, "{rounded} for {value}");
        }
        let too_long = [&[1][..], &[0; 16]].concat();
        assert_eq!((big_endian(&too_long), wide_big_endian(&too_long)), (None, 2_f64.powi(128)));
        assert!(wide_big_endian(&[]).is_nan());
    }

    #[test]
    fn uuids_are_written_as_usual() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(uuid(&bytes), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }

    #[test]
    fn a_list_keeps_its_own_texts_beside_those_that_are_missing() {
        use parquet::{
            data_type::ByteArrayType,
            file::{reader::FileReader as _, reader::SerializedFileReader, writer::SerializedFileWriter},
            schema::parser::parse_message_type,
        };
        let schema = "message m {
            optional group genres (LIST) { repeated group list { optional binary element (UTF8); } }
        }";
        let schema = parse_message_type(schema).unwrap().into();
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts = ["a", "b", "c"].map(ByteArray::from);
        // A text and a missing one; a text; an empty list; no list; a missing text and a text.
        let (levels, repetitions) = ([3, 2, 3, 1, 0, 2, 3], [0, 1, 0, 0, 0, 0, 1]);
        column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), Some(&repetitions)).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        let file = bytes::Bytes::from(writer.into_inner().unwrap());
        let reader = SerializedFileReader::new(file).unwrap();
        let mut cells = CellReader::new(&*reader.get_row_group(0).unwrap(), 0).unwrap();
        cells.fill(5).unwrap();
        for expected in [&["a"][..], &["b"], &[], &[], &["c"]] {
            assert_eq!(cells.next(), Cell::List(expected.iter().map(|text| Cow::Borrowed(*text)).collect()));
        }
    }
}
