//! The weights of a hybrid, as `--weights` has them.

use std::str::FromStr;

use shoal_core::ModelKind;
use shoal_proto::v1::BlendedVersion;

/// The last source of every hybrid, which is no model and has one spelling.
const POPULARITY: &str = "popularity";

/// Weights before it is known what is blended.
#[derive(Debug, Clone, PartialEq)]
pub enum BlendWeights {
    /// Sources and their weights; those that are not named have none.
    Named(Vec<(BlendSource, f64)>),
    /// One for each source.
    InOrder(Vec<f64>),
}

/// What a hybrid blends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlendSource {
    /// A version of this model.
    Model(ModelKind),
    /// How often items were rated.
    Popularity,
}

/// Weights that are not those of what is blended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnfitWeights {
    /// There are too few or too many.
    #[error("--weights has {found} numbers for {} sources, which are {} in this order", .sources.len(), .sources.join(", "))]
    Count {
        /// How many there are.
        found: usize,
        /// The sources of the blend, in the order of weights.
        sources: Vec<&'static str>,
    },
    /// One is of a model without a version to blend.
    #[error("--weights names {name}, which is not blended: the sources are {}", .sources.join(", "))]
    NotBlended {
        /// Name of the model.
        name: &'static str,
        /// The sources of the blend, in the order of weights.
        sources: Vec<&'static str>,
    },
}

impl BlendSource {
    fn name(self) -> &'static str {
        match self {
            Self::Model(kind) => kind.name(),
            Self::Popularity => POPULARITY,
        }
    }

    /// Whatever may be blended, in the order of weights.
    fn all() -> impl Iterator<Item = Self> + Clone {
        ModelKind::blended().map(Self::Model).chain([Self::Popularity])
    }

    fn parse(name: &str) -> Option<Self> {
        match name.parse::<ModelKind>() {
            Ok(kind) => Self::all().find(|source| *source == Self::Model(kind)),
            Err(_) => (name == POPULARITY).then_some(Self::Popularity),
        }
    }
}

impl BlendWeights {
    /// The weights of these versions in their order, then of popularity.
    ///
    /// # Errors
    /// When there is not one for each, or one is of something else.
    pub fn of(&self, versions: &[BlendedVersion]) -> Result<Vec<f64>, UnfitWeights> {
        let models = versions.iter().filter_map(|version| ModelKind::parse(&version.model).ok());
        let sources: Vec<BlendSource> =
            models.map(BlendSource::Model).chain([BlendSource::Popularity]).collect();
        let names = || sources.iter().map(|source| source.name()).collect();
        match self {
            Self::InOrder(weights) if weights.len() == sources.len() => Ok(weights.clone()),
            Self::InOrder(weights) => Err(UnfitWeights::Count { found: weights.len(), sources: names() }),
            Self::Named(named) => {
                if let Some((other, _)) = named.iter().find(|(source, _)| !sources.contains(source)) {
                    return Err(UnfitWeights::NotBlended { name: other.name(), sources: names() });
                }
                let weight = |source: &BlendSource| {
                    named.iter().find(|(named, _)| named == source).map_or(0.0, |(_, weight)| *weight)
                };
                Ok(sources.iter().map(weight).collect())
            }
        }
    }
}

impl FromStr for BlendWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let weight = text.trim().parse().ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0);
            weight.ok_or_else(|| format!("'{text}' is not a number from 0"))
        };
        let sum;
        let weights = if text.contains('=') {
            let mut named: Vec<(BlendSource, f64)> = Vec::new();
            for part in text.split(',') {
                let (name, value) = part
                    .split_once('=')
                    .ok_or_else(|| format!("'{part}' is not a name, '=' and a number"))?;
                let name = name.trim().to_ascii_lowercase();
                let source = BlendSource::parse(&name).ok_or_else(|| {
                    let names: Vec<&str> = BlendSource::all().map(BlendSource::name).collect();
                    format!("'{name}' is none of {}", names.join(", "))
                })?;
                if named.iter().any(|(other, _)| *other == source) {
                    return Err(format!("'{name}' has two weights"));
                }
                named.push((source, number(value)?));
            }
            sum = named.iter().map(|(_, weight)| weight).sum::<f64>();
            Self::Named(named)
        } else {
            let weights = text.split(',').map(number).collect::<Result<Vec<f64>, String>>()?;
            sum = weights.iter().sum::<f64>();
            Self::InOrder(weights)
        };
        if sum > 0.0 { Ok(weights) } else { Err("every weight is 0".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use shoal_common::model_parameters::blended_version;

    use super::*;

    fn versions(kinds: &[ModelKind]) -> Vec<BlendedVersion> {
        kinds.iter().map(|kind| blended_version(*kind, "v".to_owned())).collect()
    }

    #[test]
    fn weights_are_named_or_in_order_and_checked() {
        let of = |text: &str, kinds: &[ModelKind]| text.parse::<BlendWeights>().unwrap().of(&versions(kinds));
        let three = [ModelKind::Als, ModelKind::ItemCf, ModelKind::Content];
        let named = "als=.6, content-based=0.2,ITEM_CF=0.1,popularity=.1";
        assert_eq!(of(named, &three), Ok(vec![0.6, 0.1, 0.2, 0.1]));
        assert_eq!(of("als=.6,content=0.4", &three), Ok(vec![0.6, 0.0, 0.4, 0.0]));
        assert_eq!(of("1, 2,0.5,0", &three), Ok(vec![1.0, 2.0, 0.5, 0.0]));
        assert_eq!(of("1,2", &[ModelKind::Content]), Ok(vec![1.0, 2.0]));
        for bad in [
            "als",
            "als=-1",
            "als=nan",
            "als=0",
            "als=1,als=2",
            "spark=1",
            "hybrid=1",
            "als=1,2",
            "0,0",
            "1,-1",
            "",
        ] {
            assert!(bad.parse::<BlendWeights>().is_err(), "{bad}");
        }
    }

    #[test]
    fn weights_that_do_not_fit_are_refused_with_the_order() {
        let two = versions(&[ModelKind::Als, ModelKind::Content]);
        let refusal = |text: &str| text.parse::<BlendWeights>().unwrap().of(&two).unwrap_err().to_string();
        assert_eq!(
            refusal("1,2,3,4"),
            "--weights has 4 numbers for 3 sources, which are als, content, popularity in this order"
        );
        assert_eq!(
            refusal("als=1,item_cf=1"),
            "--weights names item_cf, which is not blended: the sources are als, content, popularity"
        );
    }

    #[test]
    fn the_help_tells_the_order() {
        use clap::Args as _;
        let command = crate::model_parameters::ModelArgs::augment_args(clap::Command::new("train"));
        let weights = command.get_arguments().find(|argument| argument.get_id() == "weights").unwrap();
        let names: Vec<&str> = BlendSource::all().map(BlendSource::name).collect();
        let help = weights.get_help().unwrap().to_string();
        assert!(help.contains(&format!("in the order {}.", names.join(", "))), "{help}");
    }
}
