//! Names of models: as the registry and folders have them, and as people may write them.

/// The models, as the registry names them.
pub const MODELS: [&str; 4] = ["als", "item_cf", "content_based", "hybrid"];

/// The registry's name of a model that is named as clients do: `content` is short for `content_based`. `None` when
/// there is no such model.
#[must_use]
pub fn registered(name: &str) -> Option<&'static str> {
    let name = if name == "content" { "content_based" } else { name };
    MODELS.into_iter().find(|model| *model == name)
}

/// As [`registered`], for names that a person types: letters in any case, and hyphens for underscores.
#[must_use]
pub fn typed(name: &str) -> Option<&'static str> {
    registered(&name.to_ascii_lowercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_one_model() {
        for name in ["content", "content_based"] {
            assert_eq!(registered(name), Some("content_based"));
        }
        for name in ["ITEM_CF", "item-cf", "Item_Cf"] {
            assert_eq!((registered(name), typed(name)), (None, Some("item_cf")));
        }
        assert_eq!((typed("Content-Based"), typed("ALS")), (Some("content_based"), Some("als")));
        assert_eq!((registered("popularity"), typed("")), (None, None));
    }
}
