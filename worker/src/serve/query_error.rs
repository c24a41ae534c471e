//! Why a query for the best items cannot be answered.

use shoal_proto::v1::Objective;

/// The most items one query may ask of a shard. The public API asks for at most 100; the rest is
/// room for tools that rank deeper.
pub const N_MAX: u32 = 10_000;

/// A query that cannot be answered; asking again does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// How to score was not said.
    #[error("the kind of score is missing")]
    NoScore,
    /// Too many or no items asked for.
    #[error("n is {0}; it must be from 1 to {N_MAX}")]
    N(u32),
    /// No shard, or one twice.
    #[error("the shards asked for must be named, each once")]
    Shards,
    /// The version was not trained for what is asked.
    #[error("the version has no {} factors", objective_name(*objective))]
    NotTrained {
        /// The objective it lacks.
        objective: Objective,
    },
    /// A vector of another rank.
    #[error("'{field}' has {found} elements; the version's rank is {rank}")]
    Length {
        /// The field of the request.
        field: &'static str,
        /// How many elements the request has.
        found: usize,
        /// How many elements the version's factors have.
        rank: usize,
    },
    /// A field is not made of whole elements.
    #[error("'{0}' does not hold whole elements")]
    Torn(&'static str),
    /// A vector with an element that is not finite.
    #[error("'{0}' has an element that is not finite")]
    NotFinite(&'static str),
    /// Excluded rows out of order.
    #[error("'exclude_rows' does not ascend")]
    ExcludeOrder,
    /// A trend without its half-life, or a window that is no time.
    #[error("window_seconds is {0}; it must be above 0 for a trend, and not below 0")]
    Window(i64),
    /// Rated rows out of order, or without a rating each.
    #[error("'rated_rows' does not ascend, or has not one of 'ratings' each")]
    RatedRows,
    /// Listed rows without a score each.
    #[error("'listed_rows' has not one of 'listed_scores' each")]
    ListedRows,
    /// A rated row that is no item.
    #[error("'rated_rows' names row {0}, which the version does not have")]
    RatedRow(u32),
    /// The version has factors instead.
    #[error("the version has no neighbours to score by")]
    NoNeighbours,
    /// The version is of a model that blends no others.
    #[error("the version is no blend of others")]
    NoBlend,
    /// The version does not know what items are.
    #[error("the version has no vectors to make profiles of")]
    NoVectors,
    /// A profile of another version.
    #[error("'profile' has {found} elements; the version's have {width}")]
    Profile {
        /// How many elements the request has.
        found: usize,
        /// How many elements the version's profiles have.
        width: usize,
    },
    /// The filter names an id that is none.
    #[error("the filter has an id that is missing")]
    FilterId,
}

fn objective_name(objective: Objective) -> &'static str {
    match objective {
        Objective::Rating => "rating",
        Objective::Ranking => "ranking",
        Objective::Unspecified => "unspecified",
    }
}
