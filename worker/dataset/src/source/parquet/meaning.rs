//! What the stored values of a column mean, by its type, and what they can be read as.

use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit, Type},
    schema::types::ColumnDescriptor,
};
use shoal_common::ids::IdKind;
use shoal_proto::v1::FileContent;

/// What stored values mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    /// What their type says.
    Plain,
    /// Whole numbers without a sign.
    Unsigned,
    /// Whole numbers, to be divided by ten so many times.
    Decimal(u32),
    /// Numbers of two bytes with a fraction.
    Half,
    /// Times, so many in a second.
    Time(i64),
    /// Days since the epoch.
    Day,
    /// Sixteen bytes, which are written in a usual form.
    Uuid,
    /// Something that is neither an id, a number, a time nor a text.
    Other,
}

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Id,
    Number,
    Time,
    Text,
    /// A text, or a list of them.
    Texts,
}

/// What the columns of a content are read as, in the order of `SourceFile.columns`.
pub(super) fn roles(content: FileContent) -> &'static [Role] {
    match content {
        FileContent::Unspecified | FileContent::Ratings => &[Role::Id, Role::Id, Role::Number, Role::Time],
        FileContent::Items => &[Role::Id, Role::Text, Role::Texts, Role::Number],
        FileContent::Tags => &[Role::Id, Role::Id, Role::Texts, Role::Time],
        FileContent::GenomeScores => &[Role::Id, Role::Number, Role::Number],
        FileContent::GenomeTags => &[Role::Number, Role::Text],
    }
}

/// The meaning of a column's values: the newer of two ways to say it is believed where there are both.
pub(super) fn meaning(column: &ColumnDescriptor) -> Meaning {
    let scale = |scale: i32| u32::try_from(scale).map_or(Meaning::Other, Meaning::Decimal);
    match column.logical_type_ref() {
        Some(LogicalType::Decimal(decimal)) => return scale(decimal.scale),
        Some(LogicalType::Date) => return Meaning::Day,
        Some(LogicalType::Timestamp(timestamp)) => {
            return Meaning::Time(match timestamp.unit {
                TimeUnit::MILLIS => 1_000,
                TimeUnit::MICROS => 1_000_000,
                TimeUnit::NANOS => 1_000_000_000,
            });
        }
        Some(LogicalType::Integer(integer)) if !integer.is_signed => return Meaning::Unsigned,
        Some(LogicalType::Float16) => return Meaning::Half,
        Some(LogicalType::Uuid) => return Meaning::Uuid,
        Some(LogicalType::Time(_)) => return Meaning::Other,
        _ => {}
    }
    match column.converted_type() {
        ConvertedType::DECIMAL => scale(column.type_scale()),
        ConvertedType::DATE => Meaning::Day,
        ConvertedType::TIMESTAMP_MILLIS => Meaning::Time(1_000),
        ConvertedType::TIMESTAMP_MICROS => Meaning::Time(1_000_000),
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
            Meaning::Unsigned
        }
        ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS | ConvertedType::INTERVAL => Meaning::Other,
        _ => Meaning::Plain,
    }
}

/// Whether values of the column can be read as this.
pub(super) fn is_readable(column: &ColumnDescriptor, role: Role) -> bool {
    let meaning = meaning(column);
    let is_list = column.max_rep_level() > 0;
    match (meaning, column.physical_type()) {
        (Meaning::Other, _) => false,
        _ if is_list && (role != Role::Texts || column.max_rep_level() > 1) => false,
        // A yes or no is a rating of 1 or 0.
        (_, Type::BOOLEAN) => role == Role::Number,
        (Meaning::Half, _) => column.type_length() == 2,
        (Meaning::Uuid, _) => column.type_length() == 16,
        (_, Type::INT96) => role == Role::Time,
        (Meaning::Time(_) | Meaning::Day, _) => role == Role::Time,
        _ => true,
    }
}

/// What ids of the column are.
pub(super) fn id_kind(column: &ColumnDescriptor) -> IdKind {
    match (meaning(column), column.physical_type()) {
        (Meaning::Uuid, _) => IdKind::Text,
        (Meaning::Plain, Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY) => IdKind::Text,
        _ => IdKind::Integer,
    }
}

/// Whether values of the column are whole numbers that mean nothing else.
pub(super) fn is_plain_integer(column: &ColumnDescriptor) -> bool {
    meaning(column) == Meaning::Plain && matches!(column.physical_type(), Type::INT32 | Type::INT64)
}
