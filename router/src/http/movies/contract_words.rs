//! The words of the contract, in which an item is a movie.

use crate::words::Words;

/// What the contract calls things.
pub(super) static WORDS: Words = Words {
    item: "movie",
    items: "movies",
    item_id: "movie_id",
    categories: "genres",
    exclude_categories: "exclude_genres",
    unknown_field: "",
};
