//! Items by the words of their titles.

use shoal_common::title_words::TitleWords;

use super::{CountRange, Queries};
use crate::{
    answer::FoundItems,
    error::{Parameter, QueryError},
    shard_calls::{Matches, ShardCalls},
    snapshot::{Live, Target},
};

/// How many items may be asked for.
pub const SEARCH_COUNT: CountRange = CountRange { default: 10, max: 50 };
/// Characters of a query.
pub const SEARCH_CHARACTERS_MAX: usize = 200;
/// Words of a query.
pub const SEARCH_WORDS_MAX: usize = 20;

/// What to search for.
#[derive(Debug, Clone)]
pub struct Search {
    /// Words that titles have, or that begin their words.
    pub query: String,
    /// How many, 1 to 50; 10 by default.
    pub n: Option<i64>,
    /// Rather no answer than one without some shards.
    pub complete: bool,
}

impl Search {
    /// The words and how many items.
    fn check(&self) -> Result<(Vec<String>, u32), QueryError> {
        let wrong = |reason: String| QueryError::invalid(Parameter::Query, reason);
        let characters = self.query.chars().count();
        if characters > SEARCH_CHARACTERS_MAX {
            let reason = format!("it has {characters} characters; it may have up to {SEARCH_CHARACTERS_MAX}");
            return Err(wrong(reason));
        }
        let TitleWords { words, .. } = TitleWords::of(&self.query);
        match words.len() {
            0 => Err(wrong(format!("'{}' has no word: write letters or digits of a title", self.query))),
            1..=SEARCH_WORDS_MAX => Ok((words, SEARCH_COUNT.check(self.n)?)),
            many => Err(wrong(format!("it has {many} words; it may have up to {SEARCH_WORDS_MAX}"))),
        }
    }
}

impl Queries {
    /// Items whose titles have the words.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn search(&self, request: &Search) -> Result<FoundItems, QueryError> {
        let check = |_: &Live| request.check();
        let answer = |calls, (words, n)| async move { search(&calls, words, n, request.complete).await };
        self.run(&Target::default(), check, answer).await
    }
}

async fn search(
    calls: &ShardCalls,
    words: Vec<String>,
    n: u32,
    complete: bool,
) -> Result<FoundItems, QueryError> {
    let Matches { items, matched, shards } = calls.search_items(words, n, complete).await?;
    Ok(FoundItems { items, matched, model_version: calls.live.version.name.clone(), shards })
}
