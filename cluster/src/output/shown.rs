//! Foreign text on a terminal: what would move the cursor, hide or turn text round is shown instead of obeyed.
//!
//! Titles, names, paths and other nodes' reasons are written by others. Everything that commands print goes through here,
//! errors too: nobody who prints has to think of it.

use std::borrow::Cow;

use super::style;

/// Whether a character does something to a terminal, or to the text around it, instead of being seen.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            // Marks, embeddings, overrides and isolates of the direction of text.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Separators of lines and paragraphs, what joins without being seen, and tags.
            | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn escape(letter: char, text: &mut String) {
    match letter {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        other => text.extend(other.escape_unicode()),
    }
}

/// Text for one line: whatever acts is shown, line breaks too.
#[must_use]
pub fn shown_line(text: &str) -> Cow<'_, str> {
    if !text.contains(|letter| acts(letter) || style::is_mark(letter)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if acts(letter) || style::is_mark(letter) { escape(letter, &mut shown) } else { shown.push(letter) }
    }
    Cow::Owned(shown)
}

/// Text of several lines, which may have marks of style: lines and styles are ours, and whatever else acts is shown.
#[must_use]
pub(super) fn painted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => shown.push(letter),
            mark if style::is_mark(mark) => shown.push_str(&style::sequence(mark)),
            letter if acts(letter) => escape(letter, &mut shown),
            letter => shown.push(letter),
        }
    }
    shown
}

/// A JSON document in which whatever acts is escaped as JSON does it: its values stay the same.
#[must_use]
pub(super) fn json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for letter in document.chars() {
        if letter != '\n' && (acts(letter) || style::is_mark(letter)) {
            let units = letter.encode_utf16(&mut [0; 2]).to_vec();
            shown.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_is_shown_and_what_is_seen_stays() {
        let title = "\u{1b}]0;owned\u{7}\u{1b}[31mred\u{202e}dcba\u{2066}\n\u{9b}2J";
        assert_eq!(
            shown_line(title),
            "\\u{1b}]0;owned\\u{7}\\u{1b}[31mred\\u{202e}dcba\\u{2066}\\n\\u{9b}2J"
        );
        assert_eq!(painted("a\tb\n\u{1b}c"), "a\tb\n\\u{1b}c");
        for seen in ["Amélie (2001)", "千と千尋の神隠し", "שלום", "👩\u{200d}🚀", "a\u{301}"]
        {
            assert!(matches!(shown_line(seen), Cow::Borrowed(_)), "{seen}");
        }
    }

    proptest! {
        #[test]
        fn json_stays_the_same_and_does_not_act(text in "\\PC{0,20}[\\x00-\\x1f\u{7f}-\u{9f}\u{202a}-\u{202e}\u{e0041}]{0,5}") {
            let value = serde_json::json!({ "title": text });
            let printed = json(&format!("{value:#}"));
            prop_assert!(!printed.contains(|letter| letter != '\n' && acts(letter)));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
        }

        #[test]
        fn no_text_acts(text in "\\PC{0,20}[\\x00-\\x1f\u{7f}-\u{9f}\u{202a}-\u{202e}\u{2066}-\u{2069}\u{f8f0}-\u{f8ff}]{0,5}\\PC{0,20}") {
            prop_assert!(!shown_line(&text).contains(|letter| acts(letter) || style::is_mark(letter)));
            // Of foreign text nothing but marks of style, which every cell takes out, can become a sequence.
            let has_sequence = painted(&text).contains('\u{1b}');
            prop_assert!(text.contains(style::is_mark) || !has_sequence);
        }
    }
}
