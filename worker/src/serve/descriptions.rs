//! What people see of a shard's items, and what filters go by. Genres are kept once per shard and
//! numbered: a filter is resolved to numbers once per query, and a row costs a few look-ups.

use std::{collections::HashMap, sync::OnceLock};

use shoal_common::letter_case::fold_case;

use super::titles::{Matches, TitleIndex};

/// What the catalogue says of one item; empty for one that it does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Description {
    /// As in the catalogue.
    pub(super) title: Box<str>,
    /// Of the release, if it is known.
    pub(super) year: Option<i32>,
    /// In the file's order.
    pub(super) genres: Vec<Box<str>>,
}

/// The descriptions of a shard's rows.
#[derive(Debug, Clone, Default)]
pub struct Descriptions {
    titles: Vec<Box<str>>,
    years: Vec<Option<i32>>,
    genre_names: Vec<Box<str>>,
    /// The numbers of the genres that have a name but for letter case, by the name's case-folded form.
    genres_named: HashMap<String, Vec<u32>>,
    /// Rows + 1 offsets into `genre_numbers`.
    spans: Vec<u32>,
    genre_numbers: Vec<u32>,
    /// Made when titles are first searched: most versions never have theirs searched.
    titles_by_words: OnceLock<TitleIndex>,
}

impl Descriptions {
    pub(super) fn new(rows: Vec<Description>) -> Self {
        let mut all = Self { spans: vec![0], ..Self::default() };
        let mut numbers: HashMap<Box<str>, u32> = HashMap::new();
        for row in rows {
            all.titles.push(row.title);
            all.years.push(row.year);
            for genre in row.genres {
                let number = *numbers.entry(genre).or_insert_with_key(|genre| {
                    all.genre_names.push(genre.clone());
                    // As many as there are, at most one per mention; see below.
                    all.genre_names.len() as u32 - 1
                });
                all.genre_numbers.push(number);
            }
            // A part of the catalogue is far from 2³² mentions of genres: it was read from one file into memory.
            all.spans.push(all.genre_numbers.len() as u32);
        }
        for (number, name) in (0..).zip(&all.genre_names) {
            all.genres_named.entry(fold_case(name)).or_default().push(number);
        }
        all
    }

    /// The title of a row, as in the catalogue.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn title(&self, row: usize) -> &str {
        &self.titles[row]
    }

    /// The release year of a row, if it is known.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn year(&self, row: usize) -> Option<i32> {
        self.years[row]
    }

    /// The first `n` rows whose titles have these words, which are folded, or words that begin with them: the closer
    /// first, then those with more `ratings`, then ascending.
    pub(super) fn search(&self, words: &[String], n: usize, ratings: impl Fn(usize) -> u32) -> Matches {
        let index = self.titles_by_words.get_or_init(|| {
            let titles = self.titles.iter().map(|title| &**title);
            TitleIndex::new(&titles.zip(self.years.iter().copied()).collect::<Vec<_>>())
        });
        index.search(words, n, ratings)
    }

    /// The genres of a row, in the file's order.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn genres(&self, row: usize) -> impl Iterator<Item = &str> {
        self.genre_numbers(row).iter().map(|number| &*self.genre_names[*number as usize])
    }

    /// The genres that some row has, in no particular order.
    pub fn genre_names(&self) -> impl Iterator<Item = &str> {
        self.genre_names.iter().map(|genre| &**genre)
    }

    /// The numbers of a row's genres.
    pub(super) fn genre_numbers(&self, row: usize) -> &[u32] {
        &self.genre_numbers[self.spans[row] as usize..self.spans[row + 1] as usize]
    }

    /// For each genre of the shard, whether it is among `names`, which are case-folded.
    pub(super) fn marks(&self, names: &[String]) -> Vec<bool> {
        let mut marks = vec![false; self.genre_names.len()];
        let named = names.iter().filter_map(|name| self.genres_named.get(name)).flatten();
        named.for_each(|number| marks[*number as usize] = true);
        marks
    }

    /// Whether some row has a genre of this case-folded name.
    pub(crate) fn has_genre(&self, name: &str) -> bool {
        self.genres_named.contains_key(name)
    }
}
