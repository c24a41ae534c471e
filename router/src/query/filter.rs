//! Which movies may be listed, as clients say it.

use std::collections::HashSet;

use shoal_common::{
    ids::{EntityId, IdKind},
    letter_case::fold_case,
};
use shoal_proto::v1::{EntityIds, ItemFilter, KnownGenres};

use super::{GivenId, QueryError};

/// Ids that a filter may name.
pub const FILTER_IDS_MAX: usize = 1_000;
/// Genres that a filter may name.
pub const FILTER_GENRES_MAX: usize = 50;

/// Conditions, all of which have to hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// At least one of these genres, compared without regard to letter case; any when empty.
    pub genres: Vec<String>,
    /// None of these genres.
    pub exclude_genres: Vec<String>,
    /// First year of release.
    pub year_min: Option<i32>,
    /// Last year of release.
    pub year_max: Option<i32>,
    /// None of these movies.
    pub exclude_ids: Vec<GivenId>,
    /// Only these movies.
    pub allow_ids: Option<Vec<GivenId>>,
}

impl Filter {
    /// The filter as workers take it, in a normal form: filters that say the same are equal. `None` when
    /// there is no condition.
    ///
    /// # Errors
    /// When a range is empty, a list too long, or an id not one.
    pub(super) fn resolve(&self, kind: IdKind) -> Result<Option<ItemFilter>, QueryError> {
        if *self == Self::default() {
            return Ok(None);
        }
        if let (Some(min), Some(max)) = (self.year_min, self.year_max)
            && min > max
        {
            let reason = format!("it is {min}, after year_max, which is {max}");
            return Err(QueryError::invalid("year_min", reason));
        }
        Ok(Some(ItemFilter {
            genres: genres("genres", &self.genres)?,
            exclude_genres: genres("exclude_genres", &self.exclude_genres)?,
            year_min: self.year_min,
            year_max: self.year_max,
            exclude_ids: ids("exclude_ids", &self.exclude_ids, kind)?,
            allow_ids: match &self.allow_ids {
                Some(allowed) => Some(EntityIds { ids: ids("allow_ids", allowed, kind)? }),
                None => None,
            },
        }))
    }

    /// Those of these genres that the filter names, as it names them and in its order.
    pub(super) fn as_given(&self, genres: &[String]) -> Vec<String> {
        let mut wanted: HashSet<String> = genres.iter().map(|name| fold_case(name)).collect();
        let named = self.genres.iter().chain(&self.exclude_genres);
        named.filter(|name| wanted.remove(&fold_case(name))).cloned().collect()
    }
}

/// The genres that the filter names and no item has of the shards that say so, each once; none where a shard does not say,
/// as a worker of an earlier build.
pub(super) fn unknown_genres<'a>(
    filter: Option<&ItemFilter>,
    of_shards: impl Iterator<Item = Option<&'a KnownGenres>>,
) -> Vec<String> {
    let Some(filter) = filter else { return Vec::new() };
    let mut named: Vec<(&String, bool)> =
        filter.genres.iter().chain(&filter.exclude_genres).map(|name| (name, false)).collect();
    for known in of_shards {
        let Some(known) = known else { return Vec::new() };
        for position in &known.positions {
            if let Some((_, known)) = named.get_mut(*position as usize) {
                *known = true;
            }
        }
    }
    let mut unknown: Vec<String> =
        named.into_iter().filter(|(_, known)| !known).map(|(name, _)| name.clone()).collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}

fn genres(parameter: &'static str, names: &[String]) -> Result<Vec<String>, QueryError> {
    at_most(parameter, names.len(), FILTER_GENRES_MAX)?;
    let mut names: Vec<String> = names.iter().map(|name| fold_case(name)).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn ids(
    parameter: &'static str,
    given: &[GivenId],
    kind: IdKind,
) -> Result<Vec<shoal_proto::v1::EntityId>, QueryError> {
    at_most(parameter, given.len(), FILTER_IDS_MAX)?;
    let mut ids: Vec<EntityId> =
        given.iter().map(|id| id.resolve(kind, parameter)).collect::<Result<_, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids.into_iter().map(Into::into).collect())
}

fn at_most(parameter: &'static str, count: usize, max: usize) -> Result<(), QueryError> {
    if count <= max {
        return Ok(());
    }
    Err(QueryError::invalid(parameter, format!("it names {count}; it may name up to {max}")))
}
