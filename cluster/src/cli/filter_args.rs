//! Which movies may be listed, as flags.

use shoal_proto::v1::{EntityId, EntityIds, ItemFilter, entity_id::Kind};

/// Conditions, all of which have to hold.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which movies")]
pub(super) struct FilterArgs {
    /// Only movies of this genre; of any of them, where it is given several times
    #[arg(long, value_name = "GENRE")]
    genre: Vec<String>,
    /// No movies of this genre; may be given several times
    #[arg(long, value_name = "GENRE")]
    exclude_genre: Vec<String>,
    /// Only movies of this year or later
    #[arg(long, value_name = "YEAR")]
    year_min: Option<i32>,
    /// Only movies of this year or earlier
    #[arg(long, value_name = "YEAR")]
    year_max: Option<i32>,
    /// Not this movie; may be given several times
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    exclude_id: Vec<String>,
    /// Only this movie; of any of them, where it is given several times
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
            genres: self.genre.clone(),
            exclude_genres: self.exclude_genre.clone(),
            year_min: self.year_min,
            year_max: self.year_max,
            exclude_ids: ids(&self.exclude_id),
            allow_ids: (!self.allow_id.is_empty()).then(|| EntityIds { ids: ids(&self.allow_id) }),
        };
        (filter != ItemFilter::default()).then_some(filter)
    }

    /// As a router takes it in an address: each value in quotation marks, so that commas and marks of its own name
    /// nothing but itself.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let named = [
            ("genres", &self.genre),
            ("exclude_genres", &self.exclude_genre),
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
            genre: vec!["Action, Drama".to_owned(), "say \"no\"".to_owned()],
            exclude_id: vec!["m:a,b".to_owned()],
            year_min: Some(1990),
            ..FilterArgs::default()
        };
        let expected = [
            ("genres", "\"Action, Drama\""),
            ("genres", "\"say \"\"no\"\"\""),
            ("exclude_ids", "\"m:a,b\""),
            ("year_min", "1990"),
        ];
        assert_eq!(filter.parameters(), expected.map(|(name, value)| (name, value.to_owned())));
    }
}
