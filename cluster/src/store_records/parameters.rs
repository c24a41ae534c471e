//! What a version was trained with, as far as answering needs it: the other way round of
//! `shoal_common::readable::parameters_json`.

use serde::Deserialize;
use shoal_core::ModelKind;
use shoal_proto::v1::{
    AlsParameters, AlsSolver, Confidence, ContentParameters, EaseParameters, ExplicitParameters,
    HybridParameters, ImplicitParameters, ItemCfParameters, ModelParameters, ObjectiveChoice, Preference,
    RegularizationScaling, Similarity, model_parameters::Model,
};

use super::exact::Exact;

/// The parameters of any model; those of other models are missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameters {
    objective: Option<String>,
    rank: u32,
    sweeps: u32,
    solver: Option<String>,
    solver_steps: Option<u32>,
    solver_block: Option<u32>,
    nonnegative: bool,
    explicit: Option<Explicit>,
    implicit: Option<Implicit>,
    similarity: Option<String>,
    common_users_min: u32,
    shrinkage: Exact,
    neighbours: u32,
    user_ratings_max: u32,
    prediction_neighbours: u32,
    genres_weight: Exact,
    genome_weight: Exact,
    tags_weight: Exact,
    decade_weight: Exact,
    tag_items_min: u32,
    tags_max: u32,
    regularization: Exact,
    items_max: Option<u32>,
    preference: Option<String>,
    rating_least: Option<Exact>,
    rating_greatest: Option<Exact>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Explicit {
    regularization: Exact,
    biases: bool,
    scaling: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Implicit {
    regularization: Exact,
    unobserved_weight: Exact,
    alpha: Exact,
    regularization_exponent: Exact,
    scaling: Option<String>,
    confidence: Option<String>,
    preference: Option<String>,
    rating_least: Option<Exact>,
    rating_greatest: Option<Exact>,
}

impl Parameters {
    /// The parameters of a version of this kind.
    ///
    /// # Errors
    /// What is not understood of them.
    pub(super) fn of(self, kind: ModelKind) -> Result<ModelParameters, String> {
        let model = match kind {
            ModelKind::Als => Model::Als(self.als()?),
            ModelKind::ItemCf => Model::ItemCf(ItemCfParameters {
                similarity: named("SIMILARITY", self.similarity, Similarity::from_str_name)? as i32,
                common_users_min: self.common_users_min,
                shrinkage: self.shrinkage.0,
                neighbours: self.neighbours,
                user_ratings_max: self.user_ratings_max,
                prediction_neighbours: self.prediction_neighbours,
            }),
            ModelKind::Content => Model::Content(ContentParameters {
                genres_weight: self.genres_weight.0,
                genome_weight: self.genome_weight.0,
                tags_weight: self.tags_weight.0,
                decade_weight: self.decade_weight.0,
                tag_items_min: self.tag_items_min,
                tags_max: self.tags_max,
                neighbours: self.neighbours,
            }),
            ModelKind::Ease => {
                let (preference, least, greatest) =
                    preference(self.preference, self.rating_least, self.rating_greatest)?;
                Model::Ease(EaseParameters {
                    regularization: self.regularization.0,
                    neighbours: self.neighbours,
                    items_max: self.items_max.unwrap_or_default(),
                    preference: preference.into(),
                    rating_least: least,
                    rating_greatest: greatest,
                    prediction_neighbours: self.prediction_neighbours,
                })
            }
            // What is blended, and by which weights, stands among the sources.
            ModelKind::Hybrid => Model::Hybrid(HybridParameters::default()),
        };
        Ok(ModelParameters { split: None, model: Some(model) })
    }

    fn als(self) -> Result<AlsParameters, String> {
        if self.rank == 0 {
            return Err("the rank is missing".to_owned());
        }
        // The first releases wrote down the objectives alone that there were.
        let objective = match (&self.objective, &self.explicit, &self.implicit) {
            (Some(_), ..) => named("OBJECTIVE_CHOICE", self.objective, ObjectiveChoice::from_str_name)?,
            (None, Some(_), None) => ObjectiveChoice::Explicit,
            (None, None, Some(_)) => ObjectiveChoice::Implicit,
            (None, ..) => ObjectiveChoice::Both,
        };
        Ok(AlsParameters {
            objective: objective.into(),
            rank: self.rank,
            sweeps: self.sweeps,
            solver: named("ALS_SOLVER", self.solver, AlsSolver::from_str_name)?.into(),
            solver_steps: self.solver_steps.unwrap_or_default(),
            solver_block: self.solver_block.unwrap_or_default(),
            nonnegative: self.nonnegative,
            explicit: self.explicit.map(explicit).transpose()?,
            implicit: self.implicit.map(implicit).transpose()?,
            ..AlsParameters::default()
        })
    }
}

fn explicit(explicit: Explicit) -> Result<ExplicitParameters, String> {
    Ok(ExplicitParameters {
        regularization: explicit.regularization.0,
        biases: explicit.biases,
        scaling: scaling(explicit.scaling)?,
    })
}

fn implicit(implicit: Implicit) -> Result<ImplicitParameters, String> {
    let (preference, rating_least, rating_greatest) =
        preference(implicit.preference, implicit.rating_least, implicit.rating_greatest)?;
    Ok(ImplicitParameters {
        regularization: implicit.regularization.0,
        unobserved_weight: implicit.unobserved_weight.0,
        alpha: implicit.alpha.0,
        regularization_exponent: implicit.regularization_exponent.0,
        confidence: named("CONFIDENCE", implicit.confidence, Confidence::from_str_name)?.into(),
        scaling: scaling(implicit.scaling)?,
        preference: preference.into(),
        rating_least,
        rating_greatest,
    })
}

fn scaling(scaling: Option<String>) -> Result<i32, String> {
    Ok(named("REGULARIZATION_SCALING", scaling, RegularizationScaling::from_str_name)?.into())
}

/// A preference and the ends of its scale, which the first releases wrote into its name: "height, from 0.5 to 5".
fn preference(
    text: Option<String>,
    least: Option<Exact>,
    greatest: Option<Exact>,
) -> Result<(Preference, f64, f64), String> {
    let text = text.unwrap_or_else(|| "unspecified".to_owned());
    let (name, scale) = text.split_once(", from ").unwrap_or((&text, ""));
    let preference = named("PREFERENCE", Some(name.to_owned()), Preference::from_str_name)?;
    let written = scale
        .split_once(" to ")
        .and_then(|(least, greatest)| Some((least.parse::<f64>().ok()?, greatest.parse::<f64>().ok()?)));
    match (preference, least, greatest, written) {
        (Preference::Height, Some(least), Some(greatest), _) => Ok((preference, least.0, greatest.0)),
        (Preference::Height, _, _, Some((least, greatest))) => Ok((preference, least, greatest)),
        (Preference::Height, ..) => Err(format!("the preference '{text}' has no scale")),
        (Preference::Unspecified | Preference::Observed | Preference::Positive, ..) => {
            Ok((preference, 0.0, 0.0))
        }
    }
}

/// A value of an enumeration by its short name; without a name the unspecified one.
fn named<T>(kind: &str, name: Option<String>, find: fn(&str) -> Option<T>) -> Result<T, String> {
    let name = name.unwrap_or_else(|| "unspecified".to_owned());
    find(&format!("{kind}_{}", name.to_ascii_uppercase())).ok_or_else(|| {
        format!("'{name}' is no {} of this release", kind.to_ascii_lowercase().replace('_', " "))
    })
}

#[cfg(test)]
mod tests {
    use shoal_common::readable::parameters_json;

    use super::*;

    fn read_back(kind: ModelKind, model: Model) -> Option<Model> {
        let json = parameters_json(&ModelParameters { split: None, model: Some(model) });
        let read: Parameters = serde_json::from_str(&json.to_string()).unwrap();
        read.of(kind).unwrap().model
    }

    #[test]
    fn what_answering_needs_of_the_parameters_is_read_back() {
        let implicit = ImplicitParameters {
            regularization: 0.075,
            unobserved_weight: 0.3,
            alpha: 2.0,
            regularization_exponent: 1.0,
            confidence: Confidence::Spark.into(),
            scaling: RegularizationScaling::Ials.into(),
            preference: Preference::Height.into(),
            rating_least: 0.5,
            rating_greatest: 5.0,
        };
        let explicit = ExplicitParameters {
            regularization: 0.1,
            biases: true,
            scaling: RegularizationScaling::None.into(),
        };
        for objective in [ObjectiveChoice::Both, ObjectiveChoice::Explicit, ObjectiveChoice::Implicit] {
            let als = AlsParameters {
                objective: objective.into(),
                rank: 32,
                sweeps: 7,
                solver: AlsSolver::ConjugateGradients.into(),
                solver_steps: 3,
                explicit: (objective != ObjectiveChoice::Implicit).then_some(explicit),
                implicit: (objective != ObjectiveChoice::Explicit).then_some(implicit),
                ..AlsParameters::default()
            };
            assert_eq!(read_back(ModelKind::Als, Model::Als(als.clone())), Some(Model::Als(als)));
        }
        let item_cf = ItemCfParameters {
            similarity: Similarity::AdjustedCosine.into(),
            common_users_min: 2,
            shrinkage: 0.1,
            neighbours: 30,
            user_ratings_max: 500,
            prediction_neighbours: 20,
        };
        let content = ContentParameters {
            genres_weight: 1.0,
            genome_weight: 4.0,
            tags_weight: 0.5,
            decade_weight: 0.25,
            tag_items_min: 2,
            tags_max: 4096,
            neighbours: 12,
        };
        let ease = EaseParameters {
            regularization: 250.0,
            neighbours: 100,
            items_max: 9,
            preference: Preference::Height.into(),
            rating_least: 1.0,
            rating_greatest: 5.0,
            prediction_neighbours: 20,
        };
        for (kind, model) in [
            (ModelKind::ItemCf, Model::ItemCf(item_cf)),
            (ModelKind::Content, Model::Content(content)),
            (ModelKind::Ease, Model::Ease(ease)),
        ] {
            assert_eq!(read_back(kind, model.clone()), Some(model));
        }
    }

    #[test]
    fn the_first_form_is_understood_and_nonsense_is_not() {
        let of = |text: &str| serde_json::from_str::<Parameters>(text).unwrap().of(ModelKind::Als);
        let als = of(r#"{"rank": 8, "explicit": {}, "implicit": {"preference": "height, from 0.5 to 5"}}"#);
        let Some(Model::Als(als)) = als.unwrap().model else { panic!("another model") };
        assert_eq!(als.objective(), ObjectiveChoice::Both);
        let implicit = als.implicit.unwrap();
        assert_eq!((implicit.rating_least, implicit.rating_greatest), (0.5, 5.0));
        for wrong in [
            r#"{"explicit": {}}"#,
            r#"{"rank": 8, "objective": "both ways"}"#,
            r#"{"rank": 8, "implicit": {"preference": "height"}}"#,
        ] {
            of(wrong).unwrap_err();
        }
    }
}
