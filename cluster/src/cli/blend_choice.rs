//! Which versions a hybrid blends, and why these.

use serde_json::{Value, json};
use shoal_common::{model_parameters::blended_version, readable::parameters_json, split};
use shoal_core::ModelKind;
use shoal_proto::v1::{BlendedVersion, DatasetInfo, ModelParameters, ModelVersion, SplitParameters};

/// Of one model the version that is blended, or that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlendChoice {
    pub(super) kind: ModelKind,
    /// Name of the version.
    pub(super) version: Option<String>,
    /// Why it is this one, or none: the end of a sentence.
    pub(super) because: String,
}

impl BlendChoice {
    /// A version that this command has trained, or that was trained alike before.
    pub(super) fn of_run(kind: ModelKind, version: &str, was_there: bool) -> Self {
        let because = if was_there { "trained alike before" } else { "trained in this run" };
        Self { kind, version: Some(version.to_owned()), because: because.to_owned() }
    }

    /// The newest version of before that was measured on the same ratings of the same data. `asked` is what this command
    /// would train the model with.
    pub(super) fn of_before(
        kind: ModelKind,
        versions: &[ModelVersion],
        dataset: &DatasetInfo,
        held_out: &SplitParameters,
        asked: &ModelParameters,
        has_failed: bool,
    ) -> Self {
        let fits = versions.iter().filter(|version| {
            version.model == kind.folder()
                && (&version.dataset_name, &version.dataset_version) == (&dataset.name, &dataset.version)
                && version.imported_from.is_empty()
                && split::of_version(version) == *held_out
        });
        let failed = if has_failed { format!("{kind} has failed, and ") } else { String::new() };
        let Some(version) = fits.max_by_key(|version| version.created_unix_ms) else {
            let because =
                format!("{failed}there is no version of it with the same data and held-out ratings");
            return Self { kind, version: None, because };
        };
        let trained = version.model_parameters.as_ref().map(parameters_json).unwrap_or_default();
        let others = differences(&trained, &parameters_json(asked));
        let mut because = format!("{failed}it is the newest with the same data and held-out ratings");
        if !others.is_empty() {
            because.push_str(&format!("; this command would train it otherwise: {}", others.join(", ")));
        }
        Self { kind, version: Some(version.name.clone()), because }
    }

    /// The choice as a line of text.
    pub(super) fn line(&self) -> String {
        match &self.version {
            Some(version) => format!("The hybrid blends {version}: {}.", self.because),
            None => format!("The hybrid blends no {}: {}.", self.kind, self.because),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({"model": self.kind.folder(), "version": self.version, "because": self.because})
    }
}

/// The versions that are blended.
pub(super) fn blended(choices: &[BlendChoice]) -> Vec<BlendedVersion> {
    let version = |choice: &BlendChoice| Some(blended_version(choice.kind, choice.version.clone()?));
    choices.iter().filter_map(version).collect()
}

/// The values by which parameters differ from others, as `rank 8 instead of 64`.
fn differences(these: &Value, others: &Value) -> Vec<String> {
    let (Some(these), Some(others)) = (these.as_object(), others.as_object()) else { return Vec::new() };
    let mut found = Vec::new();
    for (name, value) in these {
        let other = others.get(name).unwrap_or(&Value::Null);
        if value.is_object() && other.is_object() {
            found.extend(differences(value, other).into_iter().map(|inner| format!("{name} {inner}")));
        } else if value != other {
            found.push(format!("{name} {} instead of {}", plain(value), plain(other)));
        }
    }
    found
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{ItemCfParameters, model_parameters::Model};

    use super::*;

    fn trained_with(neighbours: u32, seed: u64) -> ModelParameters {
        let item_cf = ItemCfParameters { neighbours, ..ItemCfParameters::default() };
        let split = SplitParameters { seed, test_ratio: 0.2, ..SplitParameters::default() };
        ModelParameters { split: Some(split), model: Some(Model::ItemCf(item_cf)) }
    }

    fn version(name: &str, parameters: ModelParameters, created_unix_ms: i64) -> ModelVersion {
        ModelVersion {
            name: name.to_owned(),
            model: "item_cf".to_owned(),
            dataset_name: "films".to_owned(),
            model_parameters: Some(parameters),
            created_unix_ms,
            ..ModelVersion::default()
        }
    }

    #[test]
    fn the_newest_that_fits_is_chosen_and_its_other_parameters_are_said() {
        let dataset = DatasetInfo { name: "films".to_owned(), ..DatasetInfo::default() };
        let versions = [
            version("old", trained_with(200, 7), 1),
            version("new", trained_with(10, 7), 2),
            version("of another split", trained_with(200, 8), 3),
        ];
        let asked = trained_with(200, 7);
        let choose = |versions: &[ModelVersion], has_failed| {
            let held_out = asked.split.clone().unwrap();
            BlendChoice::of_before(ModelKind::ItemCf, versions, &dataset, &held_out, &asked, has_failed)
        };
        let line = choose(&versions, false).line();
        assert!(line.starts_with("The hybrid blends new: it is the newest"), "{line}");
        assert!(line.ends_with("would train it otherwise: neighbours 10 instead of 200."), "{line}");
        let line = choose(&versions[..1], true).line();
        assert!(line.starts_with("The hybrid blends old: item_cf has failed, and it is"), "{line}");
        assert!(line.ends_with("held-out ratings."), "{line}");
        let none = choose(&versions[2..], false);
        assert_eq!(none.version, None);
        assert!(
            none.line().starts_with("The hybrid blends no item_cf: there is no version"),
            "{}",
            none.line()
        );
        let of_run = BlendChoice::of_run(ModelKind::Als, "a", false);
        assert_eq!(blended(&[of_run, none]), [blended_version(ModelKind::Als, "a".to_owned())]);
    }

    #[test]
    fn what_differs_is_named_down_to_the_value() {
        let these = json!({"rank": 8, "implicit": {"alpha": 1.0, "scaling": "ials"}, "explicit": null});
        let others = json!({"rank": 64, "implicit": {"alpha": 2.0, "scaling": "ials"}, "explicit": 0.5});
        let mut found = differences(&these, &others);
        found.sort();
        let expected =
            ["explicit none instead of 0.5", "implicit alpha 1.0 instead of 2.0", "rank 8 instead of 64"];
        assert_eq!(found, expected);
    }
}
