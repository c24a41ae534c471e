//! The id of a job, checked before anything is done with it.

use std::fmt;

/// Bytes of an id, and of the name of a part of a job.
const LENGTH_MAX: usize = 64;
/// Characters of a refused text that its error shows.
const SHOWN_MAX: usize = 80;

/// The id of a job, or of a part of one: `job-000012`, `job-000012.measure`.
///
/// An id is 1 to 64 of `a`–`z`, `0`–`9` and `-`. The name of a part follows a dot and may have `_` as well. So an id is
/// always one plain name in a path, and never `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(String);

/// The text is not the id of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{}' is not the id of a job: an id is 1 to {LENGTH_MAX} lower-case letters, digits or '-'; `shoal jobs list` shows those there are",
    .0.escape_debug()
)]
pub struct NotAJobId(String);

impl JobId {
    /// Checks the text of an id.
    ///
    /// # Errors
    /// [`NotAJobId`] with the beginning of the text.
    pub fn parse(text: &str) -> Result<Self, NotAJobId> {
        let (id, part) = match text.split_once('.') {
            Some((id, part)) => (id, Some(part)),
            None => (text, None),
        };
        let is_part = |part: &str| is_plain(part, |byte| byte == b'-' || byte == b'_');
        if is_plain(id, |byte| byte == b'-') && part.is_none_or(is_part) {
            return Ok(Self(text.to_owned()));
        }
        Err(NotAJobId(text.chars().take(SHOWN_MAX).collect()))
    }

    /// The id as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(name: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || allowed(byte);
    (1..=LENGTH_MAX).contains(&name.len()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_parts_are_names_and_nothing_else_is() {
        for id in ["job-000001", "job-000001.item_cf", "j", &"a".repeat(64)] {
            assert_eq!(JobId::parse(id).unwrap().as_str(), id);
        }
        for id in ["", ".", "..", "a.", ".a", "a..b", "a/b", "/a", "A", "a_b", "a b", "a\0", &"a".repeat(65)]
        {
            assert!(JobId::parse(id).is_err(), "{id:?}");
        }
        let shown = JobId::parse(&"\u{1b}[31m".repeat(1_000)).unwrap_err().to_string();
        assert!(shown.len() < 600 && !shown.contains('\u{1b}'), "{shown}");
    }
}
