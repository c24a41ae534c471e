//! Whether a request for batch lists can work at all: looked at before a job is made of it.

use std::collections::BTreeSet;

use super::validate::check_size;
use shoal_common::{
    ids::{EntityId, IdKind},
    item_filter::take_categories,
};
use shoal_proto::v1::{DatasetInfo, ItemFilter, ListsColumn, ListsFormat, ListsParameters, RankBy};

/// Items of a list.
const N_MAX: u32 = 1_000;
/// Ids and genres that a filter may name, as in a query.
const FILTER_IDS_MAX: usize = 1_000;
const FILTER_GENRES_MAX: usize = 50;

/// Everything that is wrong with lists of a version of this data set. Ids of the filter become those of the data set.
#[must_use]
pub fn settle_lists(parameters: &mut ListsParameters, dataset: &DatasetInfo) -> Vec<String> {
    let mut problems = Vec::new();
    check_size(parameters, [&parameters.out_uri, &parameters.users_uri], &mut problems);
    for (what, uri) in [("folder", &parameters.out_uri), ("users file", &parameters.users_uri)] {
        if !(uri.is_empty() || uri.starts_with('/') || uri.contains("://")) {
            problems.push(format!("the {what} '{uri}' must be a whole path, or file:///… or s3://…"));
        }
    }
    if !(1..=N_MAX).contains(&parameters.n) {
        problems.push(format!("n is {}; it must be from 1 to {N_MAX}", parameters.n));
    }
    if RankBy::try_from(parameters.rank_by).is_err() {
        problems.push("the way to rank is not known to this release".to_owned());
    }
    if ListsFormat::try_from(parameters.format).is_err() {
        problems.push("the format is not known to this release".to_owned());
    }
    let columns: Vec<_> = parameters.columns.iter().map(|column| ListsColumn::try_from(*column)).collect();
    let known = columns.iter().all(|column| column.is_ok_and(|column| column != ListsColumn::Unspecified));
    if !known {
        problems.push("a column is not known to this release".to_owned());
    }
    if parameters.columns.iter().collect::<BTreeSet<_>>().len() < parameters.columns.len() {
        problems.push("a column is named twice".to_owned());
    }
    if let Some(filter) = &mut parameters.filter {
        settle_filter(filter, dataset, &mut problems);
    }
    problems
}

fn settle_filter(filter: &mut ItemFilter, dataset: &DatasetInfo, problems: &mut Vec<String>) {
    take_categories(filter);
    if let (Some(first), Some(last)) = (filter.year_min, filter.year_max)
        && first > last
    {
        problems.push(format!("the first year, {first}, is after the last, {last}"));
    }
    for (name, genres) in [("categories", &filter.genres), ("exclude_categories", &filter.exclude_genres)] {
        if genres.len() > FILTER_GENRES_MAX {
            problems.push(format!("{name} names {}; it may name up to {FILTER_GENRES_MAX}", genres.len()));
        }
    }
    let kind = IdKind::from_proto(dataset.item_id_kind()).unwrap_or(IdKind::Integer);
    let allowed = filter.allow_ids.as_mut().map(|allowed| ("allow_ids", &mut allowed.ids));
    for (name, ids) in std::iter::once(("exclude_ids", &mut filter.exclude_ids)).chain(allowed) {
        if ids.len() > FILTER_IDS_MAX {
            problems.push(format!("{name} names {}; it may name up to {FILTER_IDS_MAX}", ids.len()));
            continue;
        }
        for id in ids {
            match EntityId::try_from(id.clone()).map(|given| EntityId::parse(&given.to_string(), kind)) {
                Ok(Ok(settled)) => *id = settled.into(),
                Ok(Err(error)) => problems.push(format!("{name}: {error}")),
                Err(error) => problems.push(format!("{name}: {error}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{self, EntityIds, IdKind as WireKind};

    use super::*;

    fn text(id: &str) -> v1::EntityId {
        EntityId::Text(id.into()).into()
    }

    #[test]
    fn every_problem_is_named() {
        let dataset = DatasetInfo { item_id_kind: WireKind::Integer.into(), ..DatasetInfo::default() };
        let filter = ItemFilter {
            genres: vec!["Drama".to_owned(); FILTER_GENRES_MAX + 1],
            year_min: Some(2000),
            year_max: Some(1999),
            exclude_ids: vec![text("seven")],
            allow_ids: Some(EntityIds { ids: vec![text("1"); FILTER_IDS_MAX + 1] }),
            ..ItemFilter::default()
        };
        let mut parameters = ListsParameters {
            n: u32::MAX,
            rank_by: 99,
            filter: Some(filter),
            users_uri: "users.txt".to_owned(),
            out_uri: "lists".to_owned(),
            format: 99,
            columns: vec![99, 99],
            ..ListsParameters::default()
        };
        let problems = settle_lists(&mut parameters, &dataset);
        assert_eq!(problems.len(), 11, "{problems:#?}");
    }

    #[test]
    fn categories_count_as_genres() {
        let many = |name: &str| vec![name.to_owned(); FILTER_GENRES_MAX];
        let filter = ItemFilter {
            genres: vec!["Drama".to_owned()],
            categories: vec!["Noir".to_owned()],
            exclude_categories: many("War"),
            ..ItemFilter::default()
        };
        let mut parameters =
            ListsParameters { n: 1, filter: Some(filter.clone()), ..ListsParameters::default() };
        assert_eq!(settle_lists(&mut parameters, &DatasetInfo::default()), Vec::<String>::new());
        let settled = ItemFilter {
            genres: vec!["Drama".to_owned(), "Noir".to_owned()],
            exclude_genres: many("War"),
            ..ItemFilter::default()
        };
        assert_eq!(parameters.filter, Some(settled));
        let filter = ItemFilter { exclude_genres: vec!["Drama".to_owned()], ..filter };
        let mut parameters = ListsParameters { n: 1, filter: Some(filter), ..ListsParameters::default() };
        let problems = settle_lists(&mut parameters, &DatasetInfo::default());
        assert!(problems.iter().any(|problem| problem.starts_with("exclude_categories")), "{problems:?}");
    }

    #[test]
    fn ids_become_those_of_the_data_set() {
        for (kind, expected) in
            [(WireKind::Integer, EntityId::Integer(7)), (WireKind::Text, EntityId::Text("7".into()))]
        {
            let dataset = DatasetInfo { item_id_kind: kind.into(), ..DatasetInfo::default() };
            let ids = vec![text("7"), EntityId::Integer(7).into()];
            let filter = ItemFilter { exclude_ids: ids, ..ItemFilter::default() };
            let mut parameters = ListsParameters { n: 1, filter: Some(filter), ..ListsParameters::default() };
            assert_eq!(settle_lists(&mut parameters, &dataset), Vec::<String>::new());
            let ids = parameters.filter.unwrap().exclude_ids;
            assert_eq!(ids, vec![v1::EntityId::from(expected.clone()), expected.into()]);
        }
    }
}
