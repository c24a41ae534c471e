//! How the parameters and bodies of this face are described; they are read one by one, to name the wrong one.

use utoipa::{IntoParams, ToSchema};

use crate::http::answers::Id;

/// How many items, and by what order.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct RankingQuery {
    /// How many items.
    #[param(minimum = 1, maximum = 100, default = 10, example = 10)]
    n: Option<u32>,
    /// The scores to order by: `ranking` (what is liked next) or `rating` (what would be rated best, of the items for
    /// which the model predicts a rating). An `als` version that was trained for ratings alone has no order but theirs;
    /// `ranked_by` of the answer says which it is.
    #[param(pattern = "^(ranking|rating)$", default = "ranking", example = "ranking")]
    rank_by: Option<String>,
    /// Leave out what has been rated.
    #[param(default = true)]
    exclude_seen: Option<bool>,
    /// How much likeness to the items before, as the model knows it, counts against an item's score: 0 not at all, 1 is
    /// all that counts.
    #[param(minimum = 0, maximum = 1, default = 0.0, example = 0.3)]
    diversity: Option<f32>,
}

/// Which items an answer may have.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct FilterQuery {
    /// Only items of at least one of these categories; letter case does not matter. Values stand between commas, and the
    /// parameter may be repeated; a value with a comma of its own stands in quotation marks: `"Action, Drama",Comedy`.
    #[param(example = json!(["Comedy,Film-Noir"]))]
    categories: Option<Vec<String>>,
    /// No items of these categories, written as `categories` are.
    #[param(example = json!(["Horror"]))]
    exclude_categories: Option<Vec<String>>,
    /// Only items released in this year or later.
    #[param(minimum = 0, maximum = 9999, example = 1980)]
    year_min: Option<i32>,
    /// Only items released in this year or earlier.
    #[param(minimum = 0, maximum = 9999, example = 2005)]
    year_max: Option<i32>,
    /// None of these items; up to 1,000 ids, written as `categories` are.
    #[param(example = json!(["1,50"]))]
    exclude_ids: Option<Vec<String>>,
    /// Only these items; up to 1,000 ids, written as `categories` are.
    #[param(example = json!(["1,2,3,50,260"]))]
    allow_ids: Option<Vec<String>>,
}

/// Whose rating of what.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "user_id": 1, "item_id": 50 }))]
#[allow(dead_code, reason = "it describes the body, whose fields are read one by one to name the wrong one")]
pub(super) struct PairBody {
    user_id: Id,
    item_id: Id,
}

/// An item that was rated or, without a rating, looked at.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes the body, whose fields are read one by one to name the wrong one")]
pub(super) struct RatedItemBody {
    item_id: Id,
    /// On the data set's scale.
    #[schema(nullable = false)]
    rating: Option<f32>,
}

/// What somebody has rated or looked at.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "items": [{ "item_id": 260, "rating": 5.0 }, { "item_id": 1196 }] }))]
#[allow(dead_code, reason = "it describes the body, whose fields are read one by one to name the wrong one")]
pub(super) struct SessionBody {
    /// Each item once.
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<RatedItemBody>,
}
