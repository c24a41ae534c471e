//! Where the next page begins, as a text that clients hand back: the version and the query it belongs to,
//! and how many results came before. A page comes from the version that the first one came from, for as long as
//! that is served, so that no result is listed twice or left out.

use shoal_core::hash::hash_bytes;

use crate::error::{Parameter, QueryError};

/// Results that paging reaches: workers rank up to 10,000.
pub(super) const REACH: u32 = 10_000;

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) version: String,
    pub(super) offset: u32,
    fingerprint: u64,
}

impl Cursor {
    /// The place after `offset` results of a query (in its normal form).
    pub(super) fn new(version: &str, offset: u32, request: &[u8]) -> Self {
        Self { version: version.to_owned(), offset, fingerprint: hash_bytes(request) }
    }

    /// Reads what [`Cursor::to_text`] wrote.
    pub(super) fn parse(text: &str) -> Result<Self, QueryError> {
        let read = || {
            let (offset, rest) = text.split_once('-')?;
            let (fingerprint, version) = rest.split_once('-')?;
            let offset = offset.parse().ok().filter(|offset| *offset < REACH)?;
            let fingerprint = u64::from_str_radix(fingerprint, 16).ok()?;
            Some(Self { version: version.to_owned(), offset, fingerprint })
        };
        read().ok_or_else(|| {
            QueryError::invalid(
                Parameter::Cursor,
                "it is not a next_cursor of an answer; leave it out to begin anew",
            )
        })
    }

    /// Checks that the cursor is of this query.
    pub(super) fn check(&self, request: &[u8]) -> Result<(), QueryError> {
        if self.fingerprint == hash_bytes(request) {
            return Ok(());
        }
        Err(QueryError::invalid(
            Parameter::Cursor,
            "it belongs to another query; repeat that one's parameters",
        ))
    }

    /// For clients; the characters need no escaping in a URL.
    pub(super) fn to_text(&self) -> String {
        format!("{}-{:016x}-{}", self.offset, self.fingerprint, self.version)
    }
}

/// A cursor's text, read and written again. For fuzz targets.
///
/// # Errors
/// When the text is no cursor.
#[doc(hidden)]
pub fn reread_cursor(text: &str) -> Result<String, QueryError> {
    Cursor::parse(text).map(|cursor| cursor.to_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_fits_its_query_only() {
        let cursor = Cursor::new("als_model_v1_20261124_101500", 30, b"query");
        let read = Cursor::parse(&cursor.to_text()).unwrap();
        assert_eq!(read, cursor);
        assert!(read.check(b"query").is_ok() && read.check(b"another").is_err());
        for text in ["", "30", "x-0-v", "30-zz-v", "-1-0-v", "10000-0-v"] {
            assert!(Cursor::parse(text).is_err(), "{text}");
        }
    }
}
