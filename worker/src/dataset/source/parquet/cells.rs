//! Values of Parquet columns, whatever type they are stored as.

use std::borrow::Cow;

use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit, Type},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, DataType, FixedLenByteArray, Int96},
    errors::Result,
    file::reader::RowGroupReader,
    schema::types::ColumnDescriptor,
};
use shoal_common::ids::IdKind;

use crate::dataset::{fields, parse::Reason, row::IdRef};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    /// None.
    Null,
    /// A whole number.
    Integer(i64),
    /// Any number.
    Float(f64),
    /// A time: seconds since the epoch.
    Seconds(i64),
    /// A text.
    Text(Cow<'a, str>),
}

impl Cell<'_> {
    /// The value as a text; an empty one for none.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Integer(value) | Self::Seconds(value) => value.to_string().into(),
            Self::Float(value) => value.to_string().into(),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }

    /// The value as a number.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Null | Self::Seconds(_) => None,
            Self::Integer(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => fields::number(text.as_bytes()),
        }
    }

    /// The value as a time, as [`fields::timestamp`] reads one.
    pub(super) fn seconds(&self) -> Option<i64> {
        match self {
            Self::Null => None,
            Self::Integer(value) | Self::Seconds(value) => Some(*value),
            // As in a text, what is beyond is no time.
            Self::Float(value) => (value.abs() < 1e15).then_some(*value as i64),
            Self::Text(text) => fields::timestamp(text.as_bytes()),
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
        empty: Reason,
        not_integer: Reason,
    ) -> std::result::Result<Self, Reason> {
        match (cell, kind) {
            (Cell::Null, _) => Err(empty),
            (Cell::Integer(id), IdKind::Integer) => Ok(Self::Integer(*id)),
            // Whole numbers beside missing values are often stored as floats.
            (Cell::Float(id), _) if id.fract() == 0.0 && id.abs() < 9e15 => Ok(match kind {
                IdKind::Integer => Self::Integer(*id as i64),
                IdKind::Text => Self::Text((*id as i64).to_string().into()),
            }),
            _ => {
                let text = match cell.text() {
                    Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
                    Cow::Owned(text) => text.into(),
                };
                match kind {
                    _ if text.is_empty() => Err(empty),
                    IdKind::Integer => text.parse().map(Self::Integer).map_err(|_| not_integer),
                    IdKind::Text => Ok(Self::Text(text)),
                }
            }
        }
    }

    pub(super) fn borrow(&self) -> IdRef<'_> {
        match self {
            Self::Integer(id) => IdRef::Integer(*id),
            Self::Text(text) => IdRef::Text(text),
        }
    }
}

/// What stored values mean.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    /// What their type says.
    Plain,
    /// Numbers, to be divided by this.
    Decimal(f64),
    /// Times, so many in a second.
    Time(i64),
    /// Days since the epoch.
    Day,
}

fn meaning(column: &ColumnDescriptor) -> Meaning {
    match column.logical_type_ref() {
        Some(LogicalType::Decimal(decimal)) => return Meaning::Decimal(10_f64.powi(decimal.scale)),
        Some(LogicalType::Date) => return Meaning::Day,
        Some(LogicalType::Timestamp(timestamp)) => {
            return Meaning::Time(match timestamp.unit {
                TimeUnit::MILLIS => 1_000,
                TimeUnit::MICROS => 1_000_000,
                TimeUnit::NANOS => 1_000_000_000,
            });
        }
        _ => {}
    }
    match column.converted_type() {
        ConvertedType::DECIMAL => Meaning::Decimal(10_f64.powi(column.type_scale())),
        ConvertedType::DATE => Meaning::Day,
        ConvertedType::TIMESTAMP_MILLIS => Meaning::Time(1_000),
        ConvertedType::TIMESTAMP_MICROS => Meaning::Time(1_000_000),
        _ => Meaning::Plain,
    }
}

/// Whether values of the column are read.
pub(super) fn is_readable(column: &ColumnDescriptor) -> bool {
    let decimal = matches!(meaning(column), Meaning::Decimal(_));
    column.max_rep_level() == 0
        && match column.physical_type() {
            Type::BOOLEAN => false,
            Type::FIXED_LEN_BYTE_ARRAY => decimal && column.type_length() <= DECIMAL_BYTES_MAX as i32,
            _ => true,
        }
}

/// Whether ids of the column are whole numbers.
pub(super) fn holds_numbers(column: &ColumnDescriptor) -> bool {
    column.physical_type() != Type::BYTE_ARRAY || meaning(column) != Meaning::Plain
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
    /// Of a type that [`is_readable`] denies.
    None,
}

/// Reads a column value by value.
pub(super) struct CellReader {
    reader: ColumnReader,
    meaning: Meaning,
    /// The level of a value that is there.
    present: i16,
    levels: Vec<i16>,
    values: Values,
    /// The next row of the batch, and its value.
    row: usize,
    value: usize,
}

impl CellReader {
    pub(super) fn new(group: &dyn RowGroupReader, column: usize) -> Result<Self> {
        let described = group.metadata().schema_descr().column(column);
        let (meaning, present) = (meaning(&described), described.max_def_level());
        let reader = group.get_column_reader(column)?;
        let values = match &reader {
            ColumnReader::Int32ColumnReader(_) => Values::Int32(Vec::new()),
            ColumnReader::Int64ColumnReader(_) => Values::Int64(Vec::new()),
            ColumnReader::Int96ColumnReader(_) => Values::Int96(Vec::new()),
            ColumnReader::FloatColumnReader(_) => Values::Float(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Values::Double(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Values::Bytes(Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(_) => Values::Fixed(Vec::new()),
            ColumnReader::BoolColumnReader(_) => Values::None,
        };
        Ok(Self { reader, meaning, present, levels: Vec::new(), values, row: 0, value: 0 })
    }

    /// Decodes the next `count` rows.
    pub(super) fn fill(&mut self, count: usize) -> Result<()> {
        (self.row, self.value) = (0, 0);
        self.levels.clear();
        let levels = &mut self.levels;
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
            _ => Ok(()),
        }
    }

    /// The value of the next row; none where the column is shorter than it should be.
    pub(super) fn next(&mut self) -> Cell<'_> {
        let level = self.levels.get(self.row).copied();
        self.row += 1;
        // Without levels every value is there.
        if self.present > 0 && level != Some(self.present) {
            return Cell::Null;
        }
        self.value += 1;
        self.cell(self.value - 1).unwrap_or(Cell::Null)
    }

    fn cell(&self, at: usize) -> Option<Cell<'_>> {
        Some(match &self.values {
            Values::Int32(values) => self.integer(i64::from(*values.get(at)?)),
            Values::Int64(values) => self.integer(*values.get(at)?),
            Values::Int96(values) => Cell::Seconds(values.get(at)?.to_seconds()),
            Values::Float(values) => Cell::Float(f64::from(*values.get(at)?)),
            Values::Double(values) => Cell::Float(*values.get(at)?),
            Values::Bytes(values) => self.bytes(values.get(at)?.data()),
            Values::Fixed(values) => self.bytes(values.get(at)?.data()),
            Values::None => return None,
        })
    }

    fn integer(&self, value: i64) -> Cell<'static> {
        match self.meaning {
            Meaning::Plain => Cell::Integer(value),
            Meaning::Decimal(divisor) => Cell::Float(value as f64 / divisor),
            Meaning::Time(per_second) => Cell::Seconds(value.div_euclid(per_second)),
            Meaning::Day => Cell::Seconds(value.saturating_mul(86_400)),
        }
    }

    fn bytes<'a>(&self, bytes: &'a [u8]) -> Cell<'a> {
        match self.meaning {
            Meaning::Decimal(divisor) => {
                big_endian(bytes).map_or(Cell::Null, |value| Cell::Float(value as f64 / divisor))
            }
            _ => Cell::Text(fields::decode(bytes)),
        }
    }
}

fn fill<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    levels: &mut Vec<i16>,
    values: &mut Vec<T::T>,
) -> Result<()> {
    values.clear();
    let mut rows = 0;
    while rows < count {
        // A page at a time is read.
        let (read, _, _) = reader.read_records(count - rows, Some(&mut *levels), None, values)?;
        if read == 0 {
            break;
        }
        rows += read;
    }
    Ok(())
}

/// The longest decimals that are read.
const DECIMAL_BYTES_MAX: usize = 16;

/// A big-endian number in two's complement.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [fill; DECIMAL_BYTES_MAX];
    wide[DECIMAL_BYTES_MAX.checked_sub(bytes.len())?..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}
