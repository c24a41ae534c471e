//! Which items a query may list. Pure: a filter is resolved for a shard once, then asked row by row, and
//! only for rows whose score would enter the list. Because it acts before the selection, a list has as
//! many items as were asked for whenever that many pass.

use shoal_common::{
    ids::{EntityId, MissingId},
    letter_case::fold_case,
};
use shoal_engine::score::Admits;
use shoal_format::id_column::IdColumn;
use shoal_proto::v1;

use super::descriptions::Descriptions;

/// The conditions of a query, all of which have to hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemFilter {
    /// At least one of these, case-folded; any when empty.
    pub genres: Vec<String>,
    /// None of these, case-folded.
    pub exclude_genres: Vec<String>,
    /// The first year of release that passes; `None` for no lower end.
    pub year_min: Option<i32>,
    /// The last year of release that passes; `None` for no upper end.
    pub year_max: Option<i32>,
    /// Items of these ids are not listed.
    pub exclude_ids: Vec<EntityId>,
    /// Only items of these ids may be listed; `None` allows every item.
    pub allow_ids: Option<Vec<EntityId>>,
}

impl TryFrom<v1::ItemFilter> for ItemFilter {
    type Error = MissingId;

    fn try_from(filter: v1::ItemFilter) -> Result<Self, MissingId> {
        let ids = |ids: Vec<v1::EntityId>| ids.into_iter().map(EntityId::try_from).collect();
        let folded = |names: Vec<String>| names.iter().map(|name| fold_case(name)).collect();
        Ok(Self {
            genres: folded(filter.genres),
            exclude_genres: folded(filter.exclude_genres),
            year_min: filter.year_min,
            year_max: filter.year_max,
            exclude_ids: ids(filter.exclude_ids)?,
            allow_ids: filter.allow_ids.map(|allowed| ids(allowed.ids)).transpose()?,
        })
    }
}

impl ItemFilter {
    /// Which of the genres that the filter names some row of a shard has: positions among `genres`, which
    /// `exclude_genres` follow. `None` where the filter names no genre.
    #[must_use]
    pub fn known_genres(&self, descriptions: &Descriptions) -> Option<Vec<u32>> {
        let named = self.genres.iter().chain(&self.exclude_genres);
        let known = (0..).zip(named.clone()).filter(|(_, name)| descriptions.has_genre(name));
        named.clone().next().is_some().then(|| known.map(|(at, _)| at).collect())
    }

    /// The filter as the rows of one shard are asked. Ids of other shards say nothing here.
    #[must_use]
    pub fn of_shard<'a>(&self, ids: &IdColumn, descriptions: &'a Descriptions) -> RowFilter<'a> {
        let rows = |named: &[EntityId]| {
            let mut rows: Vec<usize> = named.iter().filter_map(|id| ids.find(id)).collect();
            rows.sort_unstable();
            rows
        };
        let marks = |names: &[String]| (!names.is_empty()).then(|| descriptions.marks(names));
        let years = (self.year_min.unwrap_or(i32::MIN), self.year_max.unwrap_or(i32::MAX));
        RowFilter {
            descriptions,
            genres: marks(&self.genres),
            exclude_genres: marks(&self.exclude_genres),
            years: (self.year_min.is_some() || self.year_max.is_some()).then_some(years),
            excluded: rows(&self.exclude_ids),
            allowed: self.allow_ids.as_deref().map(rows),
        }
    }
}

/// A filter resolved for one shard.
#[derive(Debug, Clone)]
pub struct RowFilter<'a> {
    descriptions: &'a Descriptions,
    /// By the shard's numbers of genres.
    genres: Option<Vec<bool>>,
    exclude_genres: Option<Vec<bool>>,
    years: Option<(i32, i32)>,
    /// Rows that do not pass, ascending; `allowed` are the only ones that do.
    excluded: Vec<usize>,
    allowed: Option<Vec<usize>>,
}

impl Admits for RowFilter<'_> {
    fn admits(&self, row: usize) -> bool {
        let has_one_of = |marks: &[bool]| {
            self.descriptions.genre_numbers(row).iter().any(|number| marks[*number as usize])
        };
        let has_year = |(first, last): (i32, i32)| {
            self.descriptions.year(row).is_some_and(|year| (first..=last).contains(&year))
        };
        self.excluded.binary_search(&row).is_err()
            && self.allowed.as_ref().is_none_or(|allowed| allowed.binary_search(&row).is_ok())
            && self.years.is_none_or(has_year)
            && self.genres.as_deref().is_none_or(has_one_of)
            && !self.exclude_genres.as_deref().is_some_and(has_one_of)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_common::ids::IdKind;

    use super::*;
    use crate::serve::descriptions::Description;

    const GENRES: [&str; 6] =
        ["Comedy", "Action, Drama", "Épouvante", "(no genres listed)", "comedy", "Straßenfilm"];
    const NAMES: [&str; 6] =
        ["COMEDY", "action, drama", "e\u{301}pouvante", "(No Genres Listed)", "Western", "STRASSENFILM"];

    fn names() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 0..3)
    }

    fn some_ids() -> impl Strategy<Value = Vec<EntityId>> {
        prop::collection::vec((0_i64..40).prop_map(EntityId::Integer), 0..12)
    }

    prop_compose! {
        fn filter()(
            genres in names(),
            exclude_genres in names(),
            year_min in prop::option::of(1990..2000),
            year_max in prop::option::of(1990..2000),
            exclude_ids in some_ids(),
            allow_ids in prop::option::of(some_ids()),
        ) -> v1::ItemFilter {
            let wire = |ids: Vec<EntityId>| ids.into_iter().map(Into::into).collect();
            v1::ItemFilter {
                genres,
                exclude_genres,
                year_min,
                year_max,
                exclude_ids: wire(exclude_ids),
                allow_ids: allow_ids.map(|allowed| v1::EntityIds { ids: wire(allowed) }),
                ..v1::ItemFilter::default()
            }
        }
    }

    /// Whether a genre has a name, by the tables above: what stands at the same place, and `comedy` is `Comedy`.
    fn is_named(genre: &str, name: &str) -> bool {
        let at = |texts: &[&str], text: &str| texts.iter().position(|other| *other == text).unwrap();
        let genre = if genre == "comedy" { "Comedy" } else { genre };
        at(&GENRES, genre) == at(&NAMES, name)
    }

    /// The conditions as their documentation words them.
    fn admits(filter: &v1::ItemFilter, id: i64, description: &Description) -> bool {
        let has = |names: &[String]| {
            description.genres.iter().any(|genre| names.iter().any(|name| is_named(genre, name)))
        };
        let id = v1::EntityId::from(EntityId::Integer(id));
        let year = description.year;
        (filter.genres.is_empty() || has(&filter.genres))
            && !has(&filter.exclude_genres)
            && filter.year_min.is_none_or(|min| year.is_some_and(|year| year >= min))
            && filter.year_max.is_none_or(|max| year.is_some_and(|year| year <= max))
            && !filter.exclude_ids.contains(&id)
            && filter.allow_ids.as_ref().is_none_or(|allowed| allowed.ids.contains(&id))
    }

    proptest! {
        #[test]
        fn admits_what_every_condition_admits(
            filter in filter(),
            rows in prop::collection::vec(
                (prop::option::of(1988..2002), prop::collection::vec(0_usize..GENRES.len(), 0..4)), 0..30,
            ),
        ) {
            let describe = |(year, genres): &(Option<i32>, Vec<usize>)| Description {
                title: "".into(),
                year: *year,
                genres: genres.iter().map(|&genre| GENRES[genre].into()).collect(),
            };
            let rows: Vec<Description> = rows.iter().map(describe).collect();
            let mut ids = IdColumn::empty(IdKind::Integer);
            (0..rows.len()).for_each(|row| ids.push(&EntityId::Integer(row as i64 + 3)));
            let descriptions = Descriptions::new(rows.clone());
            let read = ItemFilter::try_from(filter.clone()).unwrap();
            let named: Vec<&String> = filter.genres.iter().chain(&filter.exclude_genres).collect();
            let has = |name: &str| rows.iter().any(|row| row.genres.iter().any(|genre| is_named(genre, name)));
            let known: Vec<u32> = (0..).zip(&named).filter(|(_, name)| has(name)).map(|(at, _)| at).collect();
            prop_assert_eq!(read.known_genres(&descriptions), (!named.is_empty()).then_some(known));
            let resolved = read.of_shard(&ids, &descriptions);
            for (row, description) in rows.iter().enumerate() {
                prop_assert_eq!(resolved.admits(row), admits(&filter, row as i64 + 3, description), "row {}", row);
            }
        }
    }
}
