//! The words of a face: what it calls the things that queries are about, in its sentences and as names of its
//! parameters and fields. Below the faces they are items everywhere.

use shoal_core::ModelKind;

/// What a face calls an item and what belongs to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    /// One item, in a sentence.
    pub item: &'static str,
    /// Some items, in a sentence.
    pub items: &'static str,
    /// The parameter and field of an item's id.
    pub item_id: &'static str,
    /// The filter's parameter of the categories that are listed.
    pub categories: &'static str,
    /// The filter's parameter of the categories that are left out.
    pub exclude_categories: &'static str,
    /// What is said besides of a field that a body must not have.
    pub unknown_field: &'static str,
}

impl Words {
    /// What is said of an item that has nothing like it, as far as the model knows.
    #[must_use]
    pub fn nothing_alike(&self, model: ModelKind) -> String {
        format!(
            "{model} knows nothing that is like this {}: it was left out of the model, or too few have rated it. Another \
             model may know more.",
            self.item
        )
    }

    /// The product's own.
    pub const OWN: Self = Self {
        item: "item",
        items: "items",
        item_id: "item_id",
        categories: "categories",
        exclude_categories: "exclude_categories",
        unknown_field: "; parameters are a part of the query string",
    };
}
