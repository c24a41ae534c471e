//! Which items may be listed, as clients say it.

use std::collections::HashSet;

use shoal_common::{
    ids::{EntityId, IdKind},
    letter_case::fold_case,
};
use shoal_proto::v1::{EntityIds, ItemFilter};

use super::given::GivenId;
use crate::error::{Parameter, QueryError};

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
    /// None of these items.
    pub exclude_ids: Vec<GivenId>,
    /// The only items that may be listed; `None` for all.
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
            return Err(QueryError::invalid(Parameter::YearMin, reason));
        }
        Ok(Some(ItemFilter {
            genres: genres(Parameter::Categories, &self.genres)?,
            exclude_genres: genres(Parameter::ExcludeCategories, &self.exclude_genres)?,
            year_min: self.year_min,
            year_max: self.year_max,
            exclude_ids: ids(Parameter::ExcludeIds, &self.exclude_ids, kind)?,
            allow_ids: match &self.allow_ids {
                Some(allowed) => Some(EntityIds { ids: ids(Parameter::AllowIds, allowed, kind)? }),
                None => None,
            },
            ..ItemFilter::default()
        }))
    }

    /// The genres that the filter names.
    pub(super) fn given_genres(&self) -> GivenGenres {
        GivenGenres(self.genres.iter().chain(&self.exclude_genres).cloned().collect())
    }
}

/// The genres of a filter, as they were given.
#[derive(Debug, Clone)]
pub(super) struct GivenGenres(Vec<String>);

impl GivenGenres {
    /// Those of these genres that were given, as they were given and in that order.
    pub(super) fn as_given(&self, genres: &[String]) -> Vec<String> {
        let mut wanted: HashSet<String> = genres.iter().map(|name| fold_case(name)).collect();
        self.0.iter().filter(|name| wanted.remove(&fold_case(name))).cloned().collect()
    }
}

fn genres(parameter: Parameter, names: &[String]) -> Result<Vec<String>, QueryError> {
    at_most(parameter, names.len(), FILTER_GENRES_MAX)?;
    let mut names: Vec<String> = names.iter().map(|name| fold_case(name)).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn ids(
    parameter: Parameter,
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

fn at_most(parameter: Parameter, count: usize, max: usize) -> Result<(), QueryError> {
    if count <= max {
        return Ok(());
    }
    Err(QueryError::invalid(parameter, format!("it names {count}; it may name up to {max}")))
}
