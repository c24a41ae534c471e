//! Which columns files of lists have, and their names.

use shoal_proto::v1::{ListsColumn, ListsParameters};

/// The columns where none are named.
const COLUMNS: [ListsColumn; 6] = [
    ListsColumn::UserId,
    ListsColumn::ItemId,
    ListsColumn::Rank,
    ListsColumn::Score,
    ListsColumn::PredictedRating,
    ListsColumn::Source,
];

/// The columns of the files, in their order.
pub(super) fn columns(parameters: &ListsParameters) -> Vec<ListsColumn> {
    if parameters.columns.is_empty() { COLUMNS.to_vec() } else { parameters.columns().collect() }
}

/// The names of the columns, in their order.
pub(super) fn column_names(parameters: &ListsParameters) -> Vec<&'static str> {
    columns(parameters).into_iter().map(name).collect()
}

pub(super) fn name(column: ListsColumn) -> &'static str {
    match column {
        ListsColumn::Unspecified => "unspecified",
        ListsColumn::UserId => "user_id",
        ListsColumn::ItemId => "item_id",
        ListsColumn::Rank => "rank",
        ListsColumn::Score => "score",
        ListsColumn::PredictedRating => "predicted_rating",
        ListsColumn::Source => "source",
        ListsColumn::Title => "title",
    }
}
