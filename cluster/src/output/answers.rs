//! Answers of a router, which are JSON, as people read them in a terminal.

use serde_json::Value;

use super::{Align, Table, decimal, genre_list};

/// The items of an answer to a search, as a table.
pub(crate) fn found_items(answer: &Value) -> Table {
    let mut table = Table::new(&[
        ("TITLE", Align::Left),
        ("CATEGORIES", Align::Left),
        ("RATINGS", Align::Right),
        ("POPULARITY", Align::Right),
        ("ITEM", Align::Right),
    ])
    .flexible(&["TITLE", "CATEGORIES"]);
    for item in list(answer, "items") {
        table.row([
            cell(&item["title"]),
            genre_list(&item["categories"]),
            cell(&item["ratings"]),
            item["popularity"].as_f64().map(|mean| format!("{mean:.2}")).unwrap_or_default(),
            cell(&item["item_id"]),
        ]);
    }
    table
}

/// Which version answered, and whether it knew the user or had every shard.
pub(crate) fn heading(answer: &Value) -> String {
    let mut line = format!("Version {}", cell(&answer["model_version"]));
    if answer["source"].as_str().is_some_and(|source| source.starts_with("fallback")) {
        line.push_str("; it has nothing to list for this user, so these are the popular ones");
    }
    if answer["shards"]["failed"].as_u64().is_some_and(|failed| failed > 0) {
        line.push_str("; some shards did not answer");
    }
    let unknown: Vec<String> =
        list(answer, "unknown_categories").iter().map(|name| format!("'{}'", cell(name))).collect();
    if !unknown.is_empty() {
        line.push_str(&format!("; no item is of the category {}", unknown.join(" or ")));
    }
    line.push('\n');
    line
}

/// The items of an answer to `recommend`, as a table.
pub(crate) fn recommendations(answer: &Value) -> Table {
    let rating = |item: &Value| {
        item["predicted_rating"].as_f64().map(|rating| format!("{rating:.2}")).unwrap_or_default()
    };
    ranked_items(answer, &[("RATING", rating), ("SCORE", |item| score(&item["score"]))])
}

/// The items of an answer to `similar`, as a table.
pub(crate) fn similar_items(answer: &Value) -> Table {
    ranked_items(answer, &[("SIMILARITY", |item| score(&item["similarity"]))])
}

/// The head of a column, and how the column tells a figure of an item.
type Figure = (&'static str, fn(&Value) -> String);

/// The items of a ranked list as a table, each with these figures.
fn ranked_items(answer: &Value, figures: &[Figure]) -> Table {
    let figure = |(name, _): &Figure| (*name, Align::Right);
    let described = [("RANK", Align::Right), ("TITLE", Align::Left), ("CATEGORIES", Align::Left)];
    let columns: Vec<(&str, Align)> =
        described.into_iter().chain(figures.iter().map(figure)).chain([("ITEM", Align::Right)]).collect();
    let mut table = Table::new(&columns).flexible(&["TITLE", "CATEGORIES"]);
    for item in list(answer, "items") {
        let described = [cell(&item["rank"]), cell(&item["title"]), genre_list(&item["categories"])];
        let figures = figures.iter().map(|(_, figure)| figure(item));
        table.row(described.into_iter().chain(figures).chain([cell(&item["item_id"])]));
    }
    table
}

/// The values of a list of an answer; none where it has no such list.
pub(crate) fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn score(value: &Value) -> String {
    value.as_f64().map(decimal).unwrap_or_default()
}

/// A value of an answer as a cell of a table.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
