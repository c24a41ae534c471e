//! The items of a shard by the words of their titles. Pure.
//!
//! Each title is a list of numbers of words, and words have their numbers in alphabetical order: a beginning of words is
//! a range of numbers. A search passes over the numbers of all titles, a few for each.

use std::{cmp::Reverse, collections::BTreeMap, ops::Range};

use shoal_common::title_words::TitleWords;
use shoal_proto::v1::TitleMatch;

/// The words of a shard's titles.
#[derive(Debug, Clone, Default)]
pub(super) struct TitleIndex {
    /// Every word of a title, in alphabetical order, each once.
    vocabulary: Vec<Box<str>>,
    titles: Vec<Title>,
    /// The words of all titles, by their numbers.
    numbers: Vec<u32>,
}

/// Where the words of a title are among all numbers: first the words in their order, then parts of words.
#[derive(Debug, Clone, Copy)]
struct Title {
    first: usize,
    words: u32,
    parts: u32,
    /// Whether the last word is the year of release.
    ends_with_year: bool,
}

/// Rows of a shard that a search has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// The first of the matching rows, in order; no more than were asked for.
    pub rows: Vec<(usize, TitleMatch)>,
    /// How many rows match, also those beyond `rows`.
    pub matched: u64,
}

/// A word that is searched for.
struct Wanted {
    /// The words that it begins.
    prefixed: Range<u32>,
    /// The word that it is.
    whole: Option<u32>,
}

impl TitleIndex {
    /// Of the titles of all rows, with the years of release where they are known.
    pub(super) fn new(described: &[(&str, Option<i32>)]) -> Self {
        let words_of = |(title, _): &(&str, Option<i32>)| TitleWords::of(title);
        let mut words: BTreeMap<String, u32> = BTreeMap::new();
        for TitleWords { words: whole, parts } in described.iter().map(words_of) {
            words.extend(whole.into_iter().chain(parts).map(|word| (word, 0)));
        }
        // Titles of one shard were read from one file into memory: they have far fewer words than 2³².
        (0..).zip(words.values_mut()).for_each(|(place, number)| *number = place);
        let mut index = Self::default();
        for of_row in described {
            let TitleWords { words: whole, parts } = words_of(of_row);
            let year = of_row.1.map(|year| year.to_string());
            index.titles.push(Title {
                first: index.numbers.len(),
                words: whole.len() as u32,
                parts: parts.len() as u32,
                ends_with_year: year.is_some() && whole.last() == year.as_ref(),
            });
            index.numbers.extend(whole.iter().chain(&parts).filter_map(|word| words.get(word)));
        }
        index.vocabulary = words.into_keys().map(String::into_boxed_str).collect();
        index
    }

    /// The first `n` rows whose titles have all the words or words that begin with them: the closer first, then those with
    /// more ratings, then ascending.
    pub(super) fn search(&self, words: &[String], n: usize, ratings: impl Fn(usize) -> u32) -> Matches {
        let wanted: Vec<Wanted> = words.iter().map(|word| self.wanted(word)).collect();
        let of_row = |(row, title): (usize, &Title)| Some((self.matches(title, &wanted)?, row));
        let mut found: Vec<(TitleMatch, usize)> = self.titles.iter().enumerate().filter_map(of_row).collect();
        let matched = found.len() as u64;
        let key = |(of, row): &(TitleMatch, usize)| (*of as i32, Reverse(ratings(*row)), *row);
        if n < found.len() {
            found.select_nth_unstable_by_key(n, key);
            found.truncate(n);
        }
        found.sort_unstable_by_key(key);
        Matches { rows: found.into_iter().map(|(of, row)| (row, of)).collect(), matched }
    }

    fn wanted(&self, word: &str) -> Wanted {
        let first = self.vocabulary.partition_point(|known| **known < *word);
        let prefixed = self.vocabulary[first..].partition_point(|known| known.starts_with(word));
        let whole = self.vocabulary.get(first).filter(|known| ***known == *word);
        let (first, end) = (first as u32, (first + prefixed) as u32);
        Wanted { prefixed: first..end, whole: whole.map(|_| first) }
    }

    fn matches(&self, title: &Title, wanted: &[Wanted]) -> Option<TitleMatch> {
        let end = title.first + title.words as usize;
        let words = &self.numbers[title.first..end];
        let with_parts = &self.numbers[title.first..end + title.parts as usize];
        let begins = |word: &Wanted| with_parts.iter().any(|number| word.prefixed.contains(number));
        if !wanted.iter().all(begins) {
            return None;
        }
        let without_year = &words[..words.len() - usize::from(title.ends_with_year)];
        let whole: Option<Vec<u32>> = wanted.iter().map(|word| word.whole).collect();
        if let Some(mut whole) = whole.clone() {
            whole.sort_unstable();
            let is = |words: &[u32]| {
                let mut words = words.to_vec();
                words.sort_unstable();
                words == whole
            };
            if wanted.len() == words.len() && is(words)
                || wanted.len() == without_year.len() && is(without_year)
            {
                return Some(TitleMatch::Title);
            }
        }
        if begins_with(words, wanted) {
            return Some(TitleMatch::Beginning);
        }
        let has_all = whole.is_some_and(|whole| whole.iter().all(|word| with_parts.contains(word)));
        Some(if has_all { TitleMatch::Words } else { TitleMatch::Prefixes })
    }
}

/// Whether the words stand at the beginning, the last of them whole or not.
fn begins_with(words: &[u32], wanted: &[Wanted]) -> bool {
    let Some((last, others)) = wanted.split_last() else { return false };
    let at_place = |(word, number): (&Wanted, &u32)| word.whole == Some(*number);
    words.len() >= wanted.len()
        && others.iter().zip(words).all(at_place)
        && last.prefixed.contains(&words[others.len()])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn search(titles: &[&str], query: &str, n: usize) -> Matches {
        let year = |title: &str| title.strip_suffix(')').and_then(|rest| rest[rest.len() - 4..].parse().ok());
        let index = TitleIndex::new(&titles.iter().map(|title| (*title, year(title))).collect::<Vec<_>>());
        // The later a title, the more ratings, by twos.
        index.search(&TitleWords::of(query).words, n, |row| row as u32 / 2)
    }

    const TITLES: [&str; 8] = [
        "Toy Story 2 (1999)",
        "Story of a Toy Maker, The",
        "Toy Story (1995)",
        "Toys (1992)",
        "Pinocchio's Toy Stories (2001)",
        "Story, Toy",
        "Amélie's Été (2001)",
        "",
    ];

    #[test]
    fn the_closer_a_title_the_earlier_it_comes() {
        use TitleMatch::{Beginning, Prefixes, Title, Words};
        let found = search(&TITLES, "TOY story", 10);
        assert_eq!(found.rows, [(5, Title), (2, Title), (0, Beginning), (1, Words)]);
        assert_eq!(found.matched, 4);
        let found = search(&TITLES, "stor toy", 10);
        assert_eq!(found.rows, [(4, Prefixes), (5, Prefixes), (2, Prefixes), (0, Prefixes), (1, Prefixes)]);
        assert_eq!(search(&TITLES, "toy stor", 10).rows[..2], [(2, Beginning), (0, Beginning)]);
        assert_eq!(search(&TITLES, "toy story 1995", 10).rows, [(2, Title)]);
        assert_eq!(search(&TITLES, "1995", 10).rows, [(2, Words)]);
        assert_eq!(search(&TITLES, "maker western", 10), Matches::default());
    }

    #[test]
    fn accents_and_apostrophes_are_not_needed() {
        for query in ["amelies ete", "Amélie’s ÉTÉ"] {
            assert_eq!(search(&TITLES, query, 10).rows, [(6, TitleMatch::Title)], "{query}");
        }
        for (query, of) in [("amelie", TitleMatch::Beginning), ("s", TitleMatch::Words)] {
            assert!(search(&TITLES, query, 10).rows.contains(&(6, of)), "{query}");
        }
    }

    #[test]
    fn no_more_than_asked_for_are_listed_and_all_are_counted() {
        let whole = search(&TITLES, "t", 10);
        for n in 1..10 {
            let first = search(&TITLES, "t", n);
            assert_eq!(first.rows[..], whole.rows[..n.min(whole.rows.len())]);
            assert_eq!(first.matched, 6);
        }
    }

    proptest! {
        /// Beside a search that looks at every title's words as they are.
        #[test]
        fn finds_what_every_word_begins_a_word_of(
            titles in prop::collection::vec(prop::collection::vec("[ab]{1,3}", 0..4), 0..12),
            query in prop::collection::vec("[ab]{1,3}", 1..4),
            n in 1_usize..12,
        ) {
            let texts: Vec<String> = titles.iter().map(|words| words.join(" ")).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let found = search(&texts, &query.join(" "), n);
            let fits = |words: &Vec<String>| query.iter().all(|word| words.iter().any(|of| of.starts_with(word)));
            let matched = titles.iter().filter(|words| fits(words)).count();
            prop_assert_eq!(found.matched, matched as u64);
            prop_assert_eq!(found.rows.len(), matched.min(n));
            for (row, of) in &found.rows {
                let words = &titles[*row];
                prop_assert!(fits(words));
                let has_all = query.iter().all(|word| words.contains(word));
                let sorted = |words: &Vec<String>| {
                    let mut words = words.clone();
                    words.sort();
                    words
                };
                prop_assert_eq!(*of == TitleMatch::Title, sorted(words) == sorted(&query));
                prop_assert!(has_all || *of == TitleMatch::Prefixes || *of == TitleMatch::Beginning);
            }
        }
    }
}
