//! The parameters of the models that are not ALS as flags, and the one place of their defaults.
//!
//! The defaults were chosen on `ml-latest-small` with a fifth held out: see the notes at each.

use shoal_common::model_parameters::EASE_RIDGE_MAX;
use shoal_core::ModelKind;
use shoal_proto::v1::{
    BlendedVersion, ContentParameters, DatasetInfo, EaseParameters, HybridParameters, ItemCfParameters,
    ModelParameters, Similarity, SplitParameters, model_parameters::Model,
};

use crate::{
    blend_weights::{BlendWeights, UnfitWeights},
    output,
    parameters::AlsArgs,
};

/// Pairs of items with fewer common users tell little.
pub const COMMON_USERS_MIN: u32 = 5;
/// Cosine takes care of small numbers by itself; other measures are better for 10 to 50.
pub const SHRINKAGE: f64 = 0.0;
/// Kept per item: lists hardly change from 50 to 200, ratings are predicted for more items.
pub const NEIGHBOURS: u32 = 200;
/// A user with more ratings takes part with a sample: pairs grow with the square.
pub const USER_RATINGS_MAX: u32 = 500;
/// Held-out rmse has a flat minimum from 10 to 40.
pub const PREDICTION_NEIGHBOURS: u32 = 20;
/// What blocks of features count for: a genome says most of an item, a decade least.
pub const CONTENT_WEIGHTS: [f64; 4] = [1.0, 4.0, 4.0, 0.25];
/// A tag that one item has tells nothing of others.
pub const TAG_ITEMS_MIN: u32 = 2;
/// Tags that content keeps at most, the ones on the most items.
pub const TAGS_MAX: u32 = 4_096;
/// λ that Steck (2019) found best for MovieLens 20M, and the number of its ratings. With a hundredth of the ratings of
/// `ml-latest-small` ndcg@20 is best at a fifth of it.
pub const RIDGE: f64 = 500.0;
const RIDGE_RATINGS: f64 = 2e7;
const RIDGE_EXPONENT: f64 = 0.3;
/// Items that EASE weighs in a minute or two on a few cores: the operations are the cube of their number.
const EASE_ITEMS_QUICK: u64 = 20_000;

/// Share of the training ratings that weights are learned on.
pub const VALIDATION_RATIO: f64 = 0.2;
/// Users whose lists weights are learned on.
pub const LEARNING_USERS: u32 = 5_000;
/// Ratings that weights are learned on.
pub const LEARNING_RATINGS: u64 = 4_000_000;

/// A measure of similarity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SimilarityKind {
    /// Of rating vectors over all users
    Cosine,
    /// Of ratings less their user's mean, over common users
    AdjustedCosine,
    /// Correlation over common users
    Pearson,
    /// Common users / users of either
    Jaccard,
}

/// λ of EASE for this data set, with two digits: [`RIDGE`] for as many ratings as MovieLens 20M has, for fewer less.
fn ridge(dataset: &DatasetInfo) -> f64 {
    let ridge = RIDGE * (dataset.ratings as f64 / RIDGE_RATINGS).powf(RIDGE_EXPONENT);
    let digit = 10_f64.powf(ridge.max(1.0).log10().floor() - 1.0);
    ((ridge / digit).round() * digit).max(1.0)
}

/// Reads a ridge of EASE.
fn ridge_in_range(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && *number <= EASE_RIDGE_MAX);
    number.ok_or_else(|| format!("'{text}' is not a number above 0 and at most {EASE_RIDGE_MAX:e}"))
}

/// Flags of item CF, content, EASE and the blend.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Item CF, content, EASE and hybrid")]
pub struct ModelArgs {
    /// What makes two items alike in item CF
    #[arg(long, value_enum, default_value = "cosine", hide_short_help = true)]
    pub similarity: SimilarityKind,
    /// Pairs of items with fewer common users are passed over
    #[arg(long, default_value_t = COMMON_USERS_MIN, value_name = "USERS", value_parser = clap::value_parser!(u32).range(1..), hide_short_help = true)]
    pub min_common_users: u32,
    /// s of n / (n + s), by which a similarity that rests on n common users is multiplied
    #[arg(long, default_value_t = SHRINKAGE, hide_short_help = true)]
    pub shrinkage: f64,
    /// Similar items kept per item, 1 to 10000; of EASE weights, so many per item on average
    #[arg(long, default_value_t = NEIGHBOURS, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub neighbours: u32,
    /// Of a user with more ratings a seeded sample of so many takes part in pairs of items
    #[arg(long, default_value_t = USER_RATINGS_MAX, value_name = "RATINGS", value_parser = clap::value_parser!(u32).range(2..), hide_short_help = true)]
    pub user_ratings_max: u32,
    /// Rated similar items that a rating is predicted from
    #[arg(long, default_value_t = PREDICTION_NEIGHBOURS, value_name = "ITEMS", value_parser = clap::value_parser!(u32).range(1..=10_000), hide_short_help = true)]
    pub prediction_neighbours: u32,
    /// What genres count for in content; 0 leaves them out, here and below
    #[arg(long, default_value_t = CONTENT_WEIGHTS[0], value_name = "WEIGHT", hide_short_help = true)]
    pub genres_weight: f64,
    /// What the tag genome counts for in content
    #[arg(long, default_value_t = CONTENT_WEIGHTS[1], value_name = "WEIGHT", hide_short_help = true)]
    pub genome_weight: f64,
    /// What users' tags count for in content
    #[arg(long, default_value_t = CONTENT_WEIGHTS[2], value_name = "WEIGHT", hide_short_help = true)]
    pub tags_weight: f64,
    /// What the decade of release counts for in content
    #[arg(long, default_value_t = CONTENT_WEIGHTS[3], value_name = "WEIGHT", hide_short_help = true)]
    pub decade_weight: f64,
    /// Tags on fewer items are passed over
    #[arg(long, default_value_t = TAG_ITEMS_MIN, value_name = "ITEMS", value_parser = clap::value_parser!(u32).range(1..), hide_short_help = true)]
    pub tag_items_min: u32,
    /// The tags on the most items that are kept
    #[arg(long, default_value_t = TAGS_MAX, value_name = "TAGS", value_parser = clap::value_parser!(u32).range(..=1_000_000), hide_short_help = true)]
    pub tags_max: u32,
    /// Ridge of EASE
    ///
    /// What is added to the sum of the squares of an item's likings. By default it follows the number of ratings: 500 for 20
    /// million, 100 for 100,000.
    #[arg(long, value_name = "LAMBDA", allow_negative_numbers = true, value_parser = ridge_in_range)]
    pub ease_reg: Option<f64>,
    /// Only so many items take part in EASE, the most rated ones; all that are rated by default
    #[arg(long, value_name = "ITEMS", value_parser = clap::value_parser!(u32).range(1..), hide_short_help = true)]
    pub items_max: Option<u32>,
    /// Weights of the hybrid by name, as als=0.6,item_cf=0.2,content=0.2, where sources that are not named get 0; or a
    /// number for each source that is blended, in the order als, item_cf, content, ease, popularity. Without it weights are
    /// learned
    #[arg(long, value_name = "WEIGHTS")]
    pub weights: Option<BlendWeights>,
    /// Share of the training ratings that weights are learned on
    #[arg(long, default_value_t = VALIDATION_RATIO, value_name = "RATIO", hide_short_help = true)]
    pub validation_ratio: f64,
    /// Users whose lists weights are learned on; 0 means all
    #[arg(long, default_value_t = LEARNING_USERS, value_name = "USERS", hide_short_help = true)]
    pub learning_users: u32,
    /// Ratings, about, that weights are learned on, those of a sample of the users where there are more; 0 means all
    #[arg(long, default_value_t = LEARNING_RATINGS, value_name = "RATINGS", hide_short_help = true)]
    pub learning_ratings: u64,
}

impl ModelArgs {
    /// Parameters of a model of this kind; `None` of a blend, for which has to be known what it is made of.
    #[must_use]
    pub fn single(
        &self,
        kind: ModelKind,
        als: &AlsArgs,
        dataset: &DatasetInfo,
        split: SplitParameters,
    ) -> Option<ModelParameters> {
        match kind {
            ModelKind::Als => Some(als.model(dataset, split)),
            ModelKind::ItemCf => Some(self.item_cf(split)),
            ModelKind::Content => Some(self.content(split)),
            ModelKind::Ease => Some(self.ease(als, dataset, split)),
            ModelKind::Hybrid => None,
        }
    }

    /// Parameters of item CF.
    #[must_use]
    pub fn item_cf(&self, split: SplitParameters) -> ModelParameters {
        let similarity = match self.similarity {
            SimilarityKind::Cosine => Similarity::Cosine,
            SimilarityKind::AdjustedCosine => Similarity::AdjustedCosine,
            SimilarityKind::Pearson => Similarity::Pearson,
            SimilarityKind::Jaccard => Similarity::Jaccard,
        };
        let parameters = ItemCfParameters {
            similarity: similarity.into(),
            common_users_min: self.min_common_users,
            shrinkage: self.shrinkage,
            neighbours: self.neighbours,
            user_ratings_max: self.user_ratings_max,
            prediction_neighbours: self.prediction_neighbours,
        };
        ModelParameters { split: Some(split), model: Some(Model::ItemCf(parameters)) }
    }

    /// What the flags say of a content-based model.
    #[must_use]
    pub fn content(&self, split: SplitParameters) -> ModelParameters {
        let parameters = ContentParameters {
            genres_weight: self.genres_weight,
            genome_weight: self.genome_weight,
            tags_weight: self.tags_weight,
            decade_weight: self.decade_weight,
            tag_items_min: self.tag_items_min,
            tags_max: self.tags_max,
            neighbours: self.neighbours,
        };
        ModelParameters { split: Some(split), model: Some(Model::Content(parameters)) }
    }

    /// Parameters of EASE. A rating means as liking what it means to ALS.
    #[must_use]
    pub fn ease(&self, als: &AlsArgs, dataset: &DatasetInfo, split: SplitParameters) -> ModelParameters {
        let (preference, rating_least, rating_greatest) = als.chosen_preference(dataset);
        let parameters = EaseParameters {
            regularization: self.ease_reg.unwrap_or_else(|| ridge(dataset)),
            neighbours: self.neighbours,
            // As many as there are is as good as no bound, and then versions are alike.
            items_max: self.items_max.filter(|most| u64::from(*most) < dataset.items).unwrap_or_default(),
            prediction_neighbours: self.prediction_neighbours,
            preference: preference.into(),
            rating_least,
            rating_greatest,
        };
        ModelParameters { split: Some(split), model: Some(Model::Ease(parameters)) }
    }

    /// A flag that none of these models reads, in a sentence.
    #[must_use]
    pub fn unread(&self, kinds: &[ModelKind]) -> Option<String> {
        let flags = [
            ("--weights", ModelKind::Hybrid, self.weights.is_some()),
            ("--ease-reg", ModelKind::Ease, self.ease_reg.is_some()),
            ("--items-max", ModelKind::Ease, self.items_max.is_some()),
        ];
        let (flag, kind, _) = flags.into_iter().find(|(_, kind, given)| *given && !kinds.contains(kind))?;
        Some(format!("{flag} says something of {kind}, which is not trained; name {kind} with --models too"))
    }

    /// That EASE is going to take long, where it is: said before it begins.
    #[must_use]
    pub fn ease_warning(&self, dataset: &DatasetInfo) -> Option<String> {
        let items = self.items_max.map_or(dataset.items, |most| dataset.items.min(most.into()));
        if items <= EASE_ITEMS_QUICK {
            return None;
        }
        let (count, ratio) = (items as f64, items as f64 / EASE_ITEMS_QUICK as f64);
        Some(format!(
            "EASE weighs up to {} items against each other: {:.1e} operations, and {} over all workers. With \
             --items-max {EASE_ITEMS_QUICK} it takes the most rated ones, in {:.0} % of the time.",
            output::count(items),
            count.powi(3),
            output::bytes(2 * items * items),
            100.0 / ratio.powi(3),
        ))
    }

    /// Parameters of the blend of these versions.
    ///
    /// # Errors
    /// When the weights that are given are not those of these versions and popularity.
    pub fn hybrid(
        &self,
        split: SplitParameters,
        versions: Vec<BlendedVersion>,
    ) -> Result<ModelParameters, UnfitWeights> {
        let weights = self.weights.as_ref().map(|weights| weights.of(&versions)).transpose()?;
        let validation_ratio = if weights.is_none() { self.validation_ratio } else { 0.0 };
        let parameters = HybridParameters {
            versions,
            weights: weights.unwrap_or_default(),
            validation_ratio,
            learning_users_max: self.learning_users,
            learning_ratings_max: self.learning_ratings,
            ..HybridParameters::default()
        };
        Ok(ModelParameters { split: Some(split), model: Some(Model::Hybrid(parameters)) })
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn args(flags: &[&str]) -> Result<ModelArgs, String> {
        let command = ModelArgs::augment_args(clap::Command::new("train"));
        let matches = command.try_get_matches_from([&["train"], flags].concat());
        let matches = matches.map_err(|error| error.to_string())?;
        Ok(ModelArgs::from_arg_matches(&matches).unwrap())
    }

    #[test]
    fn a_ridge_that_says_nothing_is_refused_by_its_flag() {
        for bad in ["1e300", "-1", "0", "NaN", "inf", "much"] {
            let refused = args(&["--ease-reg", bad]).unwrap_err();
            assert!(refused.contains("--ease-reg <LAMBDA>") && refused.contains("above 0"), "{refused}");
        }
        assert_eq!(args(&["--ease-reg", "1e12"]).unwrap().ease_reg, Some(EASE_RIDGE_MAX));
    }

    #[test]
    fn a_flag_of_a_model_that_is_not_trained_is_refused() {
        let unread = |flags: &[&str], kinds: &[ModelKind]| args(flags).unwrap().unread(kinds);
        for (flags, kind) in [
            (["--weights", "als=1"], ModelKind::Hybrid),
            (["--ease-reg", "5"], ModelKind::Ease),
            (["--items-max", "5"], ModelKind::Ease),
        ] {
            let said = unread(&flags, &[ModelKind::Als]).unwrap();
            assert!(said.starts_with(flags[0]) && said.contains(kind.name()), "{said}");
            assert_eq!(unread(&flags, &[ModelKind::Als, kind]), None);
        }
        assert_eq!(unread(&[], &[]), None);
    }

    #[test]
    fn a_bound_that_bounds_nothing_is_none() {
        use crate::parameters::AlsArgs;
        let als = AlsArgs::augment_args(clap::Command::new("train")).get_matches_from(["train"]);
        let als = AlsArgs::from_arg_matches(&als).unwrap();
        let dataset = DatasetInfo { items: 40, ..DatasetInfo::default() };
        let most = |flag: &str| {
            let args = args(&["--items-max", flag]).unwrap();
            let Some(Model::Ease(ease)) = args.ease(&als, &dataset, SplitParameters::default()).model else {
                panic!("EASE has parameters of EASE");
            };
            ease.items_max
        };
        assert_eq!(["39", "40", "1000"].map(most), [39, 0, 0]);
    }

    #[test]
    fn a_long_training_of_ease_is_told_of_before_it_begins() {
        let warning = |flags: &[&str], items| {
            let args = args(flags).unwrap();
            args.ease_warning(&DatasetInfo { items, ..DatasetInfo::default() })
        };
        let said = warning(&[], 60_000).unwrap();
        for part in ["60,000 items", "2.2e14 operations", "--items-max 20000", "in 4 % of the time"] {
            assert!(said.contains(part), "'{part}' is missing in: {said}");
        }
        assert_eq!(warning(&[], 20_000), None);
        assert_eq!(warning(&["--items-max", "20000"], 60_000), None);
        assert!(warning(&["--items-max", "30000"], 60_000).unwrap().contains("30,000 items"));
    }
}
