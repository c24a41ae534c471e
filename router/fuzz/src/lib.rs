//! What the router decodes: cursors, query strings and bodies that clients send. Each function takes any bytes and must
//! return: a panic or a loop without end is a finding.
//!
//! `cargo test -p shoal-router-fuzz` tries every target on mutated examples; CONTRIBUTING says how to let libFuzzer
//! search for hours.

use shoal_router::{
    http::{read_body, read_query_string},
    query::reread_cursor,
};

/// The place in a list that a client hands back.
pub fn cursor(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(again) = reread_cursor(text) {
        assert_eq!(reread_cursor(&again).ok(), Some(again), "a cursor that was read is read again");
    }
}

/// Parameters, with lists between commas and values between quotation marks.
pub fn query_string(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = read_query_string(text);
}

/// JSON of every route that takes it.
pub fn body(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = read_body(text);
}

/// All targets of this crate.
#[must_use]
pub fn targets() -> Vec<shoal_fuzz::Target> {
    let of = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let queries = [
        "n=5&exclude_ids=%22m:a,b%22,7&exclude_ids=%22say%20%22%22no%22%22%22&year_min=1990",
        "n=5&model=hybrid&rank_by=rating&diversity=0.5&categories=drama,comedy&timeout_ms=100",
    ];
    let bodies = [
        r#"{"user_ids": [1, "a", -7]}"#,
        r#"{"user_id": 1, "item_id": "x"}"#,
        r#"{"items": [{"item_id": 260, "rating": 5}, {"item_id": "1196"}]}"#,
    ];
    vec![
        ("cursor", cursor, of(&["30-00ff00ff00ff00ff-als_model_v1_20261124_101500", "0-0-v"])),
        ("query_string", query_string, of(&queries)),
        ("body", body, of(&bodies)),
    ]
}
