//! Which items may be listed, as flags.

use shoal_proto::v1::{EntityId, EntityIds, ItemFilter, entity_id::Kind};

/// Conditions, all of which have to hold.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which items")]
pub(super) struct FilterArgs {
    /// Only items of this category; of any of them, where it is given several times
    #[arg(long, visible_alias = "genre", value_name = "CATEGORY")]
    category: Vec<String>,
    /// No items of this category; may be given several times
    #[arg(long, visible_alias = "exclude-genre", value_name = "CATEGORY")]
    exclude_category: Vec<String>,
    /// Only items of this year or later
    #[arg(long, value_name = "YEAR")]
    year_min: Option<i32>,
    /// Only items of this year or earlier
    #[arg(long, value_name = "YEAR")]
    year_max: Option<i32>,
    /// Not this item; may be given several times
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    exclude_id: Vec<String>,
    /// Only this item; of any of them, where it is given several times
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    allow_id: Vec<String>,
    /// List what the user has rated too
    #[arg(long)]
    pub(super) include_seen: bool,
}

impl FilterArgs {
    /// As the workers take it; `None` when there is no condition. Ids become those of the data set there.
    pub(super) fn message(&self) -> Option<ItemFilter> {
        let ids = |ids: &[String]| -> Vec<EntityId> {
            ids.iter().map(|id| EntityId { kind: Some(Kind::Text(id.clone())) }).collect()
        };
        let filter = ItemFilter {
            genres: self.category.clone(),
            exclude_genres: self.exclude_category.clone(),
            year_min: self.year_min,
            year_max: self.year_max,
            exclude_ids: ids(&self.exclude_id),
            allow_ids: (!self.allow_id.is_empty()).then(|| EntityIds { ids: ids(&self.allow_id) }),
            ..ItemFilter::default()
        };
        (filter != ItemFilter::default()).then_some(filter)
    }

    /// As a router takes it in an address: each value in quotation marks, so that commas and marks of its own name
    /// nothing but itself.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let named = [
            ("categories", &self.category),
            ("exclude_categories", &self.exclude_category),
            ("exclude_ids", &self.exclude_id),
            ("allow_ids", &self.allow_id),
        ];
        let quoted = |value: &String| format!("\"{}\"", value.replace('"', "\"\""));
        let mut parameters: Vec<(&'static str, String)> = named
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, quoted(value))))
            .collect();
        let years = [("year_min", self.year_min), ("year_max", self.year_max)];
        parameters.extend(years.into_iter().filter_map(|(name, year)| Some((name, year?.to_string()))));
        parameters.extend(self.include_seen.then(|| ("exclude_seen", "false".to_owned())));
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_named_whatever_characters_it_has() {
        let filter = FilterArgs {
            category: vec!["Action, Drama".to_owned(), "say \"no\"".to_owned()],
            exclude_id: vec!["m:a,b".to_owned()],
            year_min: Some(1990),
            ..FilterArgs::default()
        };
        let expected = [
            ("categories", "\"Action, Drama\""),
            ("categories", "\"say \"\"no\"\"\""),
            ("exclude_ids", "\"m:a,b\""),
            ("year_min", "1990"),
        ];
        assert_eq!(filter.parameters(), expected.map(|(name, value)| (name, value.to_owned())));
    }
}
