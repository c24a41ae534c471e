//! Which item a text means: the item with this id, else the one whose title has these words.

use std::fmt::Write as _;

use serde_json::Value;

use super::failure::{Exit, refusal};
use crate::{
    output::answers::{cell, found_items, list},
    recommender::{Recommender, RecommenderError},
};

/// Candidates that are named when several fit.
const CANDIDATES_MAX: usize = 10;

/// The id of the item that is meant. Which item was taken for a title is said on standard error.
///
/// # Errors
/// When no item fits, or several do: those are named.
pub(super) async fn item_meant(router: &Recommender, text: &str, by_title: bool) -> anyhow::Result<String> {
    let unknown = match by_title {
        true => None,
        false => match router.item(text).await {
            Ok(_) => return Ok(text.to_owned()),
            // No id of this data set, or nobody's.
            Err(error @ RecommenderError::Refused { .. }) if is_unknown(&error) => Some(error),
            Err(error) => return Err(error.into()),
        },
    };
    let found = match router.items(text, &[("n", CANDIDATES_MAX.to_string())]).await {
        Ok(found) => found,
        // A text without a word is no title; then what was said of the id is the answer.
        Err(RecommenderError::Refused { status, .. }) if status == 400 && unknown.is_some() => Value::Null,
        Err(error) => return Err(error.into()),
    };
    match choose(&found) {
        Choice::One(item) => {
            crate::output::say(&format!(
                "shoal: '{text}' is taken for {} (item {})",
                cell(&item["title"]),
                cell(&item["item_id"])
            ));
            Ok(cell(&item["item_id"]))
        }
        Choice::None => {
            let no_title =
                format!("no title has the words '{text}'; `shoal items` finds items by their titles");
            let message =
                unknown.map_or_else(|| no_title.clone(), |error| format!("{error}, and {no_title}"));
            Err(refusal(Exit::NotFound, message))
        }
        Choice::Several => {
            let matched = found["matched"].as_u64().unwrap_or_default();
            let mut message = format!("'{text}' may be any of {matched} items; name one by its id");
            if matched > CANDIDATES_MAX as u64 {
                let _ = write!(message, " (`shoal items` lists more than these)");
            }
            let _ = write!(message, ":\n{}", found_items(&found));
            Err(refusal(Exit::Usage, message))
        }
    }
}

fn is_unknown(error: &RecommenderError) -> bool {
    matches!(error, RecommenderError::Refused { status, .. } if [400, 404].contains(&status.as_u16()))
}

/// What a search says of one item that is meant.
#[derive(Debug, PartialEq)]
enum Choice<'a> {
    None,
    One(&'a Value),
    Several,
}

/// The only item that was found, else the only one whose title the words are.
fn choose(found: &Value) -> Choice<'_> {
    let items = list(found, "items");
    let titles: Vec<&Value> = items.iter().filter(|item| item["match"] == "title").collect();
    match (items, &titles[..]) {
        ([], _) => Choice::None,
        ([item], _) => Choice::One(item),
        (_, [item]) => Choice::One(item),
        _ => Choice::Several,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_item_is_meant_if_it_is_alone_or_alone_has_the_title() {
        let found = |matches: &[&str]| {
            let item = |(id, of): (usize, &&str)| json!({"item_id": id, "match": of});
            json!({ "items": matches.iter().enumerate().map(item).collect::<Vec<_>>() })
        };
        for (matches, chosen) in [
            (&["prefixes"][..], Some(0)),
            (&["title", "beginning", "words"], Some(0)),
            (&["title", "title"], None),
            (&["words", "prefixes"], None),
        ] {
            let found = found(matches);
            match choose(&found) {
                Choice::One(item) => assert_eq!(item["item_id"].as_u64(), chosen, "{matches:?}"),
                other => assert_eq!((other, chosen), (Choice::Several, None), "{matches:?}"),
            }
        }
        assert_eq!(choose(&found(&[])), Choice::None);
        assert_eq!(choose(&Value::Null), Choice::None);
    }
}
