//! Why rows are not taken: each reason is one sentence of the import's report.

/// Why a row is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Reason {
    #[error("a quoted field is not closed")]
    OpenQuote,
    #[error("the line is longer than 1 MiB")]
    TooLong,
    #[error("too few columns")]
    TooFewColumns,
    #[error("more fields than the file has columns (is a quote missing, or --decimal-comma?)")]
    TooManyFields,
    #[error("the user id is empty")]
    EmptyUser,
    #[error("the item id is empty")]
    EmptyItem,
    #[error("the user id is a word for no value (--null-values names others)")]
    MissingUser,
    #[error("the item id is a word for no value (--null-values names others)")]
    MissingItem,
    #[error(
        "the user id would change as a number, which the file's first ids do not (--user-ids text keeps it)"
    )]
    UserWouldChange,
    #[error(
        "the item id would change as a number, which the file's first ids do not (--item-ids text keeps it)"
    )]
    ItemWouldChange,
    #[error("the user id is not a whole number as the file's first ids are (--user-ids text takes any)")]
    UserNotInteger,
    #[error("the item id is not a whole number as the file's first ids are (--item-ids text takes any)")]
    ItemNotInteger,
    #[error("the user id is above 9223372036854775807 (--user-ids text takes any)")]
    UserTooLarge,
    #[error("the item id is above 9223372036854775807 (--item-ids text takes any)")]
    ItemTooLarge,
    #[error("the rating is missing")]
    MissingRating,
    #[error("the rating is not a number")]
    RatingNotNumber,
    #[error("the rating has a decimal comma (--decimal-comma reads it)")]
    RatingHasComma,
    #[error("the rating is out of range")]
    RatingOutOfRange,
    #[error("the rating is beyond a thousand million, which is no rating")]
    ImplausibleRating,
    #[error(
        "the time is neither a number nor a date that begins with its year (--time-format reads others, --no-time reads none)"
    )]
    BadTimestamp,
    #[error("the time is not written as --time-format says")]
    TimeNotInFormat,
    #[error("the time is before 1970 or after 2199, when nobody rates")]
    ImplausibleTime,
    #[error("the tag is empty")]
    EmptyTag,
    #[error("the tag's number is not a whole number")]
    TagNotNumber,
    #[error("the relevance is not a number from 0 to 1")]
    BadRelevance,
}
