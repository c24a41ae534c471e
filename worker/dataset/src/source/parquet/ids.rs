//! What the ids of a column are: by its type, and by how large the file says its values are.

use parquet::{
    basic::Type,
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData},
        statistics::Statistics,
    },
    schema::types::ColumnDescriptor,
};
use shoal_common::ids::IdKind;

use super::{
    super::look::IdLook,
    cells::big_endian,
    meaning::{Meaning, id_kind, meaning},
};

/// Decimal digits that any i64 has room for.
const DIGITS_MAX: i32 = 18;

/// Whole numbers if the column's type says so. If it has room for larger ones than an i64, they are texts where the
/// statistics of a row group name a larger one, or do not say.
pub(super) fn look_at_ids(described: &ColumnDescriptor, metadata: &ParquetMetaData, column: usize) -> IdLook {
    let kind = id_kind(described);
    let meaning = meaning(described);
    if kind != IdKind::Integer || !may_be_large(described, meaning) {
        return IdLook { kind, because: "the column's type says so".to_owned() };
    }
    let text = |because| IdLook { kind: IdKind::Text, because };
    for chunk in metadata.row_groups().iter().filter_map(|group| group.columns().get(column)) {
        let Some(bounds) = bounds(chunk, meaning) else {
            return text(
                "the column's type has room for larger numbers than 9223372036854775807, and the file does not say how \
                 large its ids are"
                    .to_owned(),
            );
        };
        if let Some(large) = bounds.into_iter().find(|bound| i64::try_from(*bound).is_err()) {
            return text(format!(
                "{large} is larger than 9223372036854775807, which ids that are numbers can be"
            ));
        }
    }
    IdLook { kind, because: "the column's type and its largest value say so".to_owned() }
}

fn may_be_large(described: &ColumnDescriptor, meaning: Meaning) -> bool {
    match (meaning, described.physical_type()) {
        (Meaning::Unsigned, Type::INT64) => true,
        (Meaning::Decimal(_), Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY) => {
            described.type_precision() > DIGITS_MAX
        }
        _ => false,
    }
}

/// Values between which those of a chunk are, none where it has no value; `None` where the file does not say.
fn bounds(chunk: &ColumnChunkMetaData, meaning: Meaning) -> Option<Vec<i128>> {
    let statistics = chunk.statistics()?;
    if statistics.null_count_opt() == u64::try_from(chunk.num_values()).ok() {
        return Some(Vec::new());
    }
    let bounds = match statistics {
        // Whichever order the writer compared them in, one of the two is beyond an i64 if any value is.
        Statistics::Int64(values) => [values.min_opt(), values.max_opt()]
            .into_iter()
            .map(|value| Some(i128::from(*value? as u64)))
            .collect::<Option<Vec<i128>>>()?,
        Statistics::ByteArray(_) | Statistics::FixedLenByteArray(_) => {
            [statistics.min_bytes_opt(), statistics.max_bytes_opt()]
                .into_iter()
                .map(|bytes| big_endian(bytes?))
                .collect::<Option<Vec<i128>>>()?
        }
        _ => return None,
    };
    let scale = if let Meaning::Decimal(scale) = meaning { scale } else { 0 };
    let divisor = 10_i128.checked_pow(scale)?;
    Some(bounds.into_iter().map(|bound| bound / divisor).collect())
}
