//! On which day a token was last used: known coarsely, so that a token in use is written down once a day.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const DAY_MS: i64 = 86_400_000;

/// The day of a time, counted from the Unix epoch.
#[must_use]
fn unix_day(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(DAY_MS)
}

/// A token and a day on which it was used.
pub type TokenUse = (String, i64);

/// Tokens whose use is not written down yet. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct TokenUses(Arc<Mutex<Uses>>);

#[derive(Debug, Default)]
struct Uses {
    /// To be written down: the last day of each token's use.
    pending: BTreeMap<String, i64>,
    /// The day that is written down of each token.
    written: HashMap<String, i64>,
}

impl TokenUses {
    fn lock(&self) -> MutexGuard<'_, Uses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token was used. The caller has checked it, so ids are as many as there are tokens.
    pub fn note(&self, id: &str, now_unix_ms: i64) {
        let (mut uses, day) = (self.lock(), unix_day(now_unix_ms));
        if uses.written.get(id) == Some(&day) || uses.pending.get(id) == Some(&day) {
            return;
        }
        uses.pending.insert(id.to_owned(), day);
    }

    /// The uses that are to be written down, in the order of the ids.
    #[must_use]
    pub fn pending(&self) -> Vec<TokenUse> {
        self.lock().pending.iter().map(|(id, day)| (id.clone(), *day)).collect()
    }

    /// These uses are written down.
    pub fn written(&self, written: &[TokenUse]) {
        let mut uses = self.lock();
        for (id, day) in written {
            if uses.pending.get(id) == Some(day) {
                uses.pending.remove(id);
            }
            uses.written.insert(id.clone(), *day);
        }
        // Of a day that is over nothing needs to be remembered, so a token that was revoked is forgotten in time.
        let last = uses.written.values().max().copied();
        uses.written.retain(|_, day| Some(*day) == last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_written_down_once_a_day() {
        let uses = TokenUses::default();
        uses.note("a", 0);
        uses.note("a", 5);
        uses.note("b", 5);
        let of = |id: &str, day| (id.to_owned(), day);
        assert_eq!(uses.pending(), [of("a", 0), of("b", 0)]);
        uses.written(&[of("a", 0)]);
        uses.note("a", DAY_MS - 1);
        assert_eq!(uses.pending(), [of("b", 0)]);
        uses.note("a", DAY_MS);
        assert_eq!(uses.pending(), [of("a", 1), of("b", 0)]);
        // What was said before midnight does not stand for the day after.
        uses.note("b", DAY_MS);
        uses.written(&[of("b", 0)]);
        assert_eq!(uses.pending(), [of("a", 1), of("b", 1)]);
    }
}
