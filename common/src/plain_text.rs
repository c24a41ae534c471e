//! Names and addresses of nodes, checked where they come in: they stand in logs, metrics and terminals, are parts of
//! addresses that others call, and are kept by every coordinator and told to every node.

use std::fmt;

use crate::rpc::shortened;

/// Text of 1 to `CHARACTERS_MAX` characters: ASCII letters and digits, `.`, `-`, `_`, `:`, `[` and `]`, of which the first is a
/// letter, a digit or `[`. That covers host names, IPv4 and IPv6 addresses with a port, and names of nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlainText<const CHARACTERS_MAX: usize>(String);

/// The name of a node, one of a kind in its cluster.
pub type NodeName = PlainText<NODE_NAME_MAX>;

/// host:port, where a node is called.
pub type NodeAddress = PlainText<NODE_ADDRESS_MAX>;

/// Characters of a node's name.
pub const NODE_NAME_MAX: usize = 64;

/// Characters of a node's address.
pub const NODE_ADDRESS_MAX: usize = 256;

/// How much of a refused text is shown.
const SHOWN_BYTES_MAX: usize = 100;

/// A text that is no [`PlainText`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{shown}' must be 1 to {characters_max} letters, digits or one of . - _ : [ ], and begin with a letter, a digit or ["
)]
pub struct NotPlain {
    /// The text, with what a terminal would obey escaped, and cut where it is long.
    pub shown: String,
    /// The most characters that it may have.
    pub characters_max: usize,
}

impl<const CHARACTERS_MAX: usize> PlainText<CHARACTERS_MAX> {
    /// Checks a text.
    ///
    /// # Errors
    /// [`NotPlain`] where it is too long, empty or of other characters.
    pub fn new(text: impl Into<String>) -> Result<Self, NotPlain> {
        let text = text.into();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'[');
        if begins && text.len() <= CHARACTERS_MAX && text.bytes().all(is_plain) {
            return Ok(Self(text));
        }
        let beginning: String = text.chars().take(2 * SHOWN_BYTES_MAX).collect();
        let escaped = beginning.escape_debug().to_string();
        let shown = shortened(&escaped, SHOWN_BYTES_MAX).into_owned();
        Err(NotPlain { shown, characters_max: CHARACTERS_MAX })
    }

    /// The text as it was checked: nothing in it changes a terminal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const CHARACTERS_MAX: usize> fmt::Display for PlainText<CHARACTERS_MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const CHARACTERS_MAX: usize> From<PlainText<CHARACTERS_MAX>> for String {
    fn from(text: PlainText<CHARACTERS_MAX>) -> Self {
        text.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_addresses_and_names_are_plain() {
        for text in [
            "worker-1",
            "10.0.0.1:7000",
            "[fe80::1]:7000",
            "node.example.org:1",
            "a",
            "Pod_7",
            &"x".repeat(64),
        ] {
            assert_eq!(NodeName::new(text).unwrap().as_str(), text);
        }
        let long = "x".repeat(65);
        for text in
            ["", ".", "..", "-x", "a/b", "a b", "a\nb", "\u{1b}[31m", "ä", "a\u{202e}b", "http://a:1", &long]
        {
            NodeName::new(text).unwrap_err();
        }
        NodeAddress::new("x".repeat(256)).unwrap();
        NodeAddress::new("x".repeat(257)).unwrap_err();
    }

    #[test]
    fn a_refusal_shows_a_text_without_obeying_it() {
        let refused =
            NodeName::new("\u{1b}]0;title\u{7}".to_owned() + &"x".repeat(3 << 20)).unwrap_err().to_string();
        assert!(refused.starts_with(r"'\u{1b}]0;title\u{7}xxx") && refused.len() < 300, "{refused}");
    }

    proptest! {
        #[test]
        fn what_is_taken_is_taken_whole_and_of_the_alphabet(text in "\\PC{0,80}|[a-z.:-]{0,80}") {
            if let Ok(plain) = NodeName::new(text.clone()) {
                prop_assert_eq!(plain.as_str(), &text);
                prop_assert!(text.len() <= 64 && text.is_ascii() && !text.contains(['/', ' ', '\n', '"']));
            }
        }
    }
}
