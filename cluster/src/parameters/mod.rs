//! The parameters of ALS as flags, and the one place of their defaults.
//!
//! The defaults were chosen on `ml-latest-small` with a fifth held out: see the notes at each. Two of them depend on the
//! data set, because no number suits both it and one of a hundred times as many users.

mod held_out_users;
mod preference;

use std::str::FromStr;

use shoal_proto::v1::{
    AlsParameters, AlsSolver, Confidence, DatasetInfo, DatasetSource, ExchangeFormat, ExplicitParameters,
    ImplicitParameters, ModelParameters, ObjectiveChoice, RegularizationScaling, SplitParameters, SweepOrder,
    model_parameters::Model,
};

pub use held_out_users::{HeldOutUsers, held_out_user_share};
pub use preference::{COUNTS_MEAN_SHARE_MAX, PreferenceForm};

/// Elements of a factor row.
pub const RANK: u32 = 32;
/// Sweeps over users and items: the held-out metrics have settled by then.
pub const SWEEPS: u32 = 15;
/// λ of the explicit objective, scaled by the number of a row's ratings: held-out rmse has a flat
/// minimum from 0.10 to 0.15.
pub const EXPLICIT_REGULARIZATION: f64 = 0.12;
/// The most that α₀, the weight of a pair that was not observed, is by default. See [`unobserved_weight`].
pub const UNOBSERVED_WEIGHT_MAX: f64 = 0.3;
/// α₀ by default, in units of the share of all pairs that was observed.
pub const UNOBSERVED_WEIGHT_OF_DENSITY: f64 = 28.0;
/// Of a typical user's number of ratings n, what λ·(n + α₀·N) is by default. See [`implicit_regularization`].
pub const IMPLICIT_RIDGE: f64 = 0.13;
/// α: how much a rating's height adds to the confidence of an observed pair.
pub const ALPHA: f64 = 0.0;
/// ν of the implicit objective.
pub const REGULARIZATION_EXPONENT: f64 = 1.0;
/// Share of the pairs that are held out and measured on.
pub const TEST_RATIO: f64 = 0.2;
/// Seed of the starting factors and of the held-out split.
pub const SEED: u64 = 42;

/// Which factors a version holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Objective {
    /// Lists are ranked by the implicit factors, ratings predicted from the explicit ones.
    Both,
    /// Only factors that reproduce ratings.
    Explicit,
    /// Only factors that reproduce preference.
    Implicit,
}

/// How factor rows travel between workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Exchange {
    /// As they are computed.
    F32,
    /// Rounded to 16 bits.
    Bf16,
}

/// A published system whose conventions and defaults are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Spark MLlib: no biases, items first, both regularizations 0.1 times a row's ratings
    Spark,
    /// The library implicit: confidence alpha·r, regularization 0.01 as it is
    Implicit,
    /// iALS (Rendle et al. 2022): every rating is a liking; otherwise what Shoal does by default
    Ials,
}

/// How a regularization grows with a row's number of ratings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scaling {
    /// Times the row's number of ratings
    Ratings,
    /// Not at all
    None,
    /// Times (n + unobserved weight · N)^exponent; the implicit objective only
    Ials,
}

/// What a rating r means as confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ConfidenceForm {
    /// alpha·|r| besides a weight of 1
    Spark,
    /// alpha·|r| itself
    Implicit,
    /// 1 + alpha·|r| besides the unobserved weight
    Ials,
}

/// How a half-step solves a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Solver {
    /// Exactly
    Cholesky,
    /// By a few steps of conjugate gradients from where it was
    Cg,
    /// By a round of block coordinate descent from where it was (Rendle et al. 2021)
    #[value(name = "ials++")]
    Ialspp,
}

/// How what is held out is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SplitKind {
    /// By a hash of user, item and seed
    Random,
    /// The newest of each user's; the ratings need time stamps
    Temporal,
    /// Some users entirely; of each the test ratio is measured on and the rest folded in, as published figures are
    Strong,
}

/// The share of all pairs of users and items that was observed; 1 for a data set without any.
fn density(dataset: &DatasetInfo) -> f64 {
    let pairs = dataset.users as f64 * dataset.items as f64;
    if dataset.ratings == 0 { 1.0 } else { dataset.ratings as f64 / pairs }
}

/// α₀ of the implicit objective for a data set where nobody chose it. The sparser the data, the more pairs were not
/// observed for each that was, and a weight that suits one size makes every list of another the popular one. What
/// Rendle et al. 2022 found best falls with the density: 0.3 for ML-1M (4.5 %), 0.1 for ML-20M (0.35 %), 0.02
/// for the Million Song Dataset (0.14 %).
#[must_use]
pub fn unobserved_weight(dataset: &DatasetInfo) -> f64 {
    two_digits((UNOBSERVED_WEIGHT_OF_DENSITY * density(dataset)).min(UNOBSERVED_WEIGHT_MAX))
}

/// λ of the implicit objective, scaled by n + α₀·N, where nobody chose it: the ridge of a user with as many ratings as
/// users have on average is [`IMPLICIT_RIDGE`] of them. That is the best λ on `ml-latest-small`, 0.007, and keeps
/// its proportion where α₀ and the density are others.
#[must_use]
pub fn implicit_regularization(dataset: &DatasetInfo, unobserved_weight: f64) -> f64 {
    two_digits(IMPLICIT_RIDGE / (1.0 + unobserved_weight / density(dataset)))
}

/// Rounded so that people can read it and type it.
fn two_digits(value: f64) -> f64 {
    // What was just printed is a number.
    format!("{value:.1e}").parse().unwrap_or(value)
}

/// What holds where neither a flag nor the request says otherwise.
struct Defaults {
    biases: bool,
    order: SweepOrder,
    explicit: (f64, RegularizationScaling),
    /// The regularization, unless the data set decides.
    implicit: (Option<f64>, RegularizationScaling),
    confidence: Confidence,
    preference: PreferenceForm,
    alpha: f64,
    /// Unless the data set decides.
    unobserved_weight: Option<f64>,
}

impl Defaults {
    fn new(preset: Option<Preset>) -> Self {
        let ours = Self {
            biases: true,
            order: SweepOrder::UsersFirst,
            explicit: (EXPLICIT_REGULARIZATION, RegularizationScaling::Ratings),
            implicit: (None, RegularizationScaling::Ials),
            confidence: Confidence::Ials,
            preference: PreferenceForm::Auto,
            alpha: ALPHA,
            unobserved_weight: None,
        };
        match preset {
            None => ours,
            Some(Preset::Ials) => Self { preference: PreferenceForm::Observed, ..ours },
            Some(Preset::Spark) => Self {
                biases: false,
                order: SweepOrder::ItemsFirst,
                explicit: (0.1, RegularizationScaling::Ratings),
                implicit: (Some(0.1), RegularizationScaling::Ratings),
                confidence: Confidence::Spark,
                preference: PreferenceForm::Positive,
                alpha: 1.0,
                unobserved_weight: Some(1.0),
            },
            Some(Preset::Implicit) => Self {
                implicit: (Some(0.01), RegularizationScaling::None),
                confidence: Confidence::Implicit,
                preference: PreferenceForm::Positive,
                alpha: 1.0,
                unobserved_weight: Some(1.0),
                ..ours
            },
        }
    }
}

/// Flags of a training.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Training")]
pub struct AlsArgs {
    /// What the factors are fitted to
    #[arg(long, value_enum, default_value = "both")]
    pub objective: Objective,
    /// Elements of a factor row, 1 to 512
    #[arg(long, default_value_t = RANK, value_parser = clap::value_parser!(u32).range(1..=512))]
    pub rank: u32,
    /// Sweeps over users and items, 1 to 1000
    #[arg(long, default_value_t = SWEEPS, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub iterations: u32,
    /// Follow the conventions and defaults of a published system; what other flags say goes before
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Regularization of the explicit objective [default: 0.12, or the preset's]
    #[arg(long, value_parser = positive)]
    pub reg: Option<f64>,
    /// Leave out the mean and the user and item biases of the explicit objective
    #[arg(long, hide_short_help = true)]
    pub no_biases: bool,
    /// How regularizations grow with a row's number of ratings [default: explicit ratings, implicit ials, or the
    /// preset's]
    #[arg(long, value_enum, hide_short_help = true)]
    pub regularization_scaling: Option<Scaling>,
    /// Solve items before users in every sweep, as Spark does
    #[arg(long, hide_short_help = true)]
    pub items_first: bool,
    /// What a rating means as confidence in the implicit objective [default: ials, or the preset's]
    #[arg(long, value_enum, hide_short_help = true)]
    pub confidence: Option<ConfidenceForm>,
    /// What a rating means as preference in the implicit objective, how much of a liking it is [default: auto, or
    /// positive with another confidence than ials, or the preset's]
    #[arg(long, value_enum)]
    pub preference: Option<PreferenceForm>,
    /// Confidence that a rating's height adds in the implicit objective; with the ials confidence 0 makes every rating as
    /// sure [default: 0, or 1 with another confidence]
    #[arg(long, value_parser = not_negative, hide_short_help = true)]
    pub alpha: Option<f64>,
    /// Regularization of the implicit objective [default: by how sparse the ratings are, or the preset's]
    #[arg(long, value_parser = positive)]
    pub implicit_reg: Option<f64>,
    /// Weight of the pairs nobody rated in the implicit objective [default: by how sparse the ratings are, up to 0.3, or
    /// 1 with another confidence than ials, which must have 1]
    #[arg(long, value_parser = not_negative, hide_short_help = true)]
    pub unobserved_weight: Option<f64>,
    /// How a row is solved: cg and ials++ cost less at large ranks and reach less in a sweep
    #[arg(long, value_enum, default_value = "cholesky", hide_short_help = true)]
    pub solver: Solver,
    /// Steps of cg in a half-step
    #[arg(long, default_value_t = 3, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..=100), hide_short_help = true)]
    pub cg_steps: u32,
    /// Elements of a block of ials++, at most the rank
    #[arg(long, default_value_t = 64, value_name = "ELEMENTS", value_parser = clap::value_parser!(u32).range(1..=512), hide_short_help = true)]
    pub block_size: u32,
    /// Let no factor be negative, as Spark does on request; without biases
    #[arg(long, hide_short_help = true)]
    pub nonnegative: bool,
    /// Exponent with which the ials scaling grows with a row's number of ratings
    #[arg(long, default_value_t = REGULARIZATION_EXPONENT, value_parser = not_negative, hide_short_help = true)]
    pub reg_exponent: f64,
    /// Seed of the starting factors and of the held-out split
    #[arg(long, default_value_t = SEED)]
    pub seed: u64,
    /// Share of the ratings held out and measured on after each sweep; 0 for none. With --split strong of each held-out
    /// user's
    #[arg(long, default_value_t = TEST_RATIO, value_parser = ratio)]
    pub test_ratio: f64,
    /// Which ratings are held out
    #[arg(long, value_enum, default_value = "random")]
    pub split: SplitKind,
    /// With --split strong: how many users are held out, about, or which share of them [default: 10,000, at most a tenth]
    #[arg(long, value_name = "USERS", conflicts_with = "test", hide_short_help = true)]
    pub held_out_users: Option<HeldOutUsers>,
    /// Ratings to measure on instead of a share of the data set
    #[arg(long, value_name = "FILE", conflicts_with_all = ["test_ratio", "split"])]
    pub test: Option<String>,
    /// How factor rows travel between workers and are kept: bf16 halves the bytes and costs accuracy
    #[arg(long, value_enum, default_value = "f32", hide_short_help = true)]
    pub exchange: Exchange,
    /// Threads of each worker; by default what the worker was given
    #[arg(long, default_value_t = 0, hide_default_value = true, hide_short_help = true)]
    pub threads: u32,
    /// A checkpoint every so many sweeps
    #[arg(long, default_value_t = 1, value_name = "SWEEPS", value_parser = clap::value_parser!(u32).range(1..=1_000), hide_short_help = true)]
    pub checkpoint_every: u32,
    /// Users that are measured, after each sweep and at the end, for every model: a number, all, or auto for as many as
    /// cost little beside the training
    #[arg(long, default_value = "auto", value_name = "USERS", hide_short_help = true)]
    pub ranking_users: RankingUsers,
}

impl AlsArgs {
    /// What every model of a run holds out. `test_uri` is the held-out file as the workers find it, and `test_source` says
    /// how it is read.
    ///
    /// # Errors
    /// When the flags contradict each other, or the data set has not so many users.
    pub fn held_out(
        &self,
        dataset: &DatasetInfo,
        test_uri: Option<String>,
        test_source: Option<DatasetSource>,
    ) -> Result<SplitParameters, String> {
        let is_strong = self.split == SplitKind::Strong;
        if self.held_out_users.is_some() && !is_strong {
            return Err("--held-out-users is of --split strong; give both or neither".to_owned());
        }
        if is_strong && self.test_ratio == 0.0 {
            return Err("--split strong measures on a share of each held-out user's ratings; give a \
                        --test-ratio above 0"
                .to_owned());
        }
        let held_out_user_share =
            if is_strong { held_out_user_share(self.held_out_users, dataset)? } else { 0.0 };
        Ok(SplitParameters {
            test_ratio: if test_uri.is_some() { 0.0 } else { self.test_ratio },
            test_uri: test_uri.unwrap_or_default(),
            seed: self.seed,
            temporal: self.split == SplitKind::Temporal,
            test_source,
            held_out_user_share,
        })
    }

    /// Parameters of ALS on the wire, for training on a data set.
    #[must_use]
    pub fn model(&self, dataset: &DatasetInfo, split: SplitParameters) -> ModelParameters {
        ModelParameters { split: Some(split), model: Some(Model::Als(self.parameters(dataset))) }
    }

    fn parameters(&self, dataset: &DatasetInfo) -> AlsParameters {
        let choice = match self.objective {
            Objective::Both => ObjectiveChoice::Both,
            Objective::Explicit => ObjectiveChoice::Explicit,
            Objective::Implicit => ObjectiveChoice::Implicit,
        };
        let defaults = Defaults::new(self.preset);
        let order = if self.items_first { SweepOrder::ItemsFirst } else { defaults.order };
        AlsParameters {
            objective: choice.into(),
            rank: self.rank,
            sweeps: self.iterations,
            explicit: (choice != ObjectiveChoice::Implicit).then(|| self.explicit(&defaults)),
            implicit: (choice != ObjectiveChoice::Explicit).then(|| self.implicit(&defaults, dataset)),
            order: order.into(),
            solver: match self.solver {
                Solver::Cholesky => AlsSolver::Cholesky,
                Solver::Cg => AlsSolver::ConjugateGradients,
                Solver::Ialspp => AlsSolver::Ialspp,
            }
            .into(),
            solver_steps: if self.solver == Solver::Cg { self.cg_steps } else { 0 },
            solver_block: if self.solver == Solver::Ialspp { self.block_size.min(self.rank) } else { 0 },
            nonnegative: self.nonnegative,
            threads: self.threads,
            checkpoint_every_sweeps: self.checkpoint_every,
            exchange: match self.exchange {
                Exchange::F32 => ExchangeFormat::F32,
                Exchange::Bf16 => ExchangeFormat::Bf16,
            }
            .into(),
            ..AlsParameters::default()
        }
    }

    fn explicit(&self, defaults: &Defaults) -> ExplicitParameters {
        let (regularization, scaling) = defaults.explicit;
        let scaling = match self.regularization_scaling {
            Some(Scaling::Ratings) => RegularizationScaling::Ratings,
            Some(Scaling::None) => RegularizationScaling::None,
            // The explicit objective has no weight of unobserved pairs.
            Some(Scaling::Ials) | None => scaling,
        };
        ExplicitParameters {
            regularization: self.reg.unwrap_or(regularization),
            biases: defaults.biases && !self.no_biases && !self.nonnegative,
            scaling: scaling.into(),
        }
    }

    fn implicit(&self, defaults: &Defaults, dataset: &DatasetInfo) -> ImplicitParameters {
        let (regularization, scaling) = defaults.implicit;
        let scaling = match self.regularization_scaling {
            Some(Scaling::Ratings) => RegularizationScaling::Ratings,
            Some(Scaling::None) => RegularizationScaling::None,
            Some(Scaling::Ials) => RegularizationScaling::Ials,
            None => scaling,
        };
        let (confidence, alpha, unobserved_weight) = match self.confidence {
            None => (defaults.confidence, defaults.alpha, defaults.unobserved_weight),
            Some(ConfidenceForm::Ials) => (Confidence::Ials, ALPHA, None),
            Some(ConfidenceForm::Spark) => (Confidence::Spark, 1.0, Some(1.0)),
            Some(ConfidenceForm::Implicit) => (Confidence::Implicit, 1.0, Some(1.0)),
        };
        let (preference, rating_least, rating_greatest) = self.chosen_preference(dataset);
        let unobserved_weight = self.unobserved_weight.or(unobserved_weight);
        let unobserved_weight =
            unobserved_weight.unwrap_or_else(|| crate::parameters::unobserved_weight(dataset));
        let regularization = self.implicit_reg.or(regularization);
        ImplicitParameters {
            regularization: regularization
                .unwrap_or_else(|| implicit_regularization(dataset, unobserved_weight)),
            unobserved_weight,
            alpha: self.alpha.unwrap_or(alpha),
            regularization_exponent: self.reg_exponent,
            confidence: confidence.into(),
            scaling: scaling.into(),
            preference: preference.into(),
            rating_least,
            rating_greatest,
        }
    }
}

/// How many users are measured, as requests say it: 0 for as many as the cost allows, the largest number for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankingUsers(pub u32);

impl FromStr for RankingUsers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(0)),
            // 0 has always stood for all.
            "all" | "0" => Ok(Self(u32::MAX)),
            number => {
                number.parse().map(Self).map_err(|_| "it must be a number of users, all, or auto".to_owned())
            }
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("it must be a number above 0".to_owned()),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("it must be a number of at least 0".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("it must be from 0 up to, but not including, 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use shoal_proto::v1::Preference;

    use super::*;

    #[derive(Debug, clap::Parser)]
    pub(super) struct Flags {
        #[command(flatten)]
        pub(super) als: AlsArgs,
    }

    /// As many users, items and ratings as `ml-latest-small` has.
    pub(super) fn small() -> DatasetInfo {
        DatasetInfo { users: 610, items: 9_742, ratings: 100_836, ..DatasetInfo::default() }
    }

    pub(super) fn parameters_for(dataset: &DatasetInfo, flags: &[&str]) -> AlsParameters {
        Flags::try_parse_from(["train"].iter().chain(flags)).unwrap().als.parameters(dataset)
    }

    fn parameters(flags: &[&str]) -> AlsParameters {
        parameters_for(&small(), flags)
    }

    #[test]
    fn the_implicit_objective_follows_how_sparse_the_ratings_are() {
        let chosen = |users, items, ratings, flags: &[&str]| {
            let dataset = DatasetInfo { users, items, ratings, ..DatasetInfo::default() };
            let implicit = parameters_for(&dataset, flags).implicit.unwrap();
            (implicit.unobserved_weight, implicit.regularization)
        };
        assert_eq!(chosen(610, 9_742, 100_836, &[]), (0.3, 0.007));
        assert_eq!(chosen(138_493, 26_744, 20_000_263, &[]), (0.15, 0.0045));
        assert_eq!(chosen(138_493, 26_744, 20_000_263, &["--unobserved-weight", "0.3"]), (0.3, 0.0023));
        assert_eq!(chosen(138_493, 26_744, 20_000_263, &["--implicit-reg", "1"]), (0.15, 1.0));
        // However few the ratings are, both are numbers that a training takes.
        assert_eq!(chosen(9_000, 27_000, 10_000, &[]), (0.0012, 0.0043));
        let (weight, regularization) = chosen(0, 0, 0, &[]);
        assert!(weight > 0.0 && regularization > 0.0);
    }

    #[test]
    fn a_preset_sets_conventions_and_flags_go_before_it() {
        let ours = parameters(&[]);
        let ials = parameters(&["--preset", "ials"]);
        assert_eq!(ials.implicit.unwrap().preference(), Preference::Observed);
        assert_eq!(ours, AlsParameters { implicit: ours.implicit, ..ials });
        let (explicit, implicit) = (ours.explicit.unwrap(), ours.implicit.unwrap());
        assert_eq!((explicit.regularization, explicit.biases), (EXPLICIT_REGULARIZATION, true));
        assert_eq!(explicit.scaling(), RegularizationScaling::Ratings);
        assert_eq!(
            (implicit.regularization, implicit.unobserved_weight, implicit.alpha),
            (0.007, 0.3, ALPHA)
        );
        assert_eq!(implicit.scaling(), RegularizationScaling::Ials);

        let spark = parameters(&["--preset", "spark", "--reg", "0.05"]);
        assert_eq!(spark.order(), SweepOrder::ItemsFirst);
        assert_eq!(spark.implicit.unwrap().preference(), Preference::Positive);
        let (explicit, implicit) = (spark.explicit.unwrap(), spark.implicit.unwrap());
        assert_eq!((explicit.regularization, explicit.biases), (0.05, false));
        assert_eq!((implicit.regularization, implicit.unobserved_weight, implicit.alpha), (0.1, 1.0, 1.0));
        assert_eq!(implicit.confidence(), Confidence::Spark);
        assert_eq!(implicit.scaling(), RegularizationScaling::Ratings);

        let implicit = parameters(&["--preset", "implicit", "--alpha", "40"]).implicit.unwrap();
        assert_eq!((implicit.regularization, implicit.alpha), (0.01, 40.0));
        assert_eq!(implicit.scaling(), RegularizationScaling::None);
        assert_eq!(implicit.confidence(), Confidence::Implicit);
        assert_eq!(implicit.preference(), Preference::Positive);
    }

    #[test]
    fn users_to_measure_are_a_number_all_or_what_the_cost_allows() {
        let asked = |flags: &[&str]| {
            let flags = Flags::try_parse_from(["train"].iter().chain(flags)).unwrap();
            flags.als.ranking_users.0
        };
        assert_eq!(asked(&[]), 0);
        assert_eq!(asked(&["--ranking-users", "500"]), 500);
        assert_eq!([asked(&["--ranking-users", "all"]), asked(&["--ranking-users", "0"])], [u32::MAX; 2]);
        for bad in ["-1", "some", "5000000000", ""] {
            assert!(bad.parse::<RankingUsers>().is_err(), "{bad}");
        }
    }

    #[test]
    fn some_users_are_held_out_where_the_split_says_so() {
        let split = |flags: &[&str]| {
            let flags = Flags::try_parse_from(["train"].iter().chain(flags)).unwrap();
            flags.als.held_out(&small(), None, None)
        };
        assert_eq!(split(&[]).unwrap().held_out_user_share, 0.0);
        let strong = split(&["--split", "strong"]).unwrap();
        assert_eq!(
            (strong.held_out_user_share, strong.test_ratio, strong.temporal),
            (0.1, TEST_RATIO, false)
        );
        let asked = split(&["--split", "strong", "--held-out-users", "122", "--test-ratio", "0.3"]).unwrap();
        assert_eq!((asked.held_out_user_share, asked.test_ratio), (0.2, 0.3));
        assert!(split(&["--held-out-users", "122"]).is_err());
        assert!(split(&["--split", "strong", "--test-ratio", "0"]).is_err());
        assert!(split(&["--split", "strong", "--held-out-users", "700"]).is_err());
        assert!(Flags::try_parse_from(["train", "--test", "f", "--held-out-users", "3"]).is_err());
    }

    #[test]
    fn conventions_can_be_chosen_one_by_one() {
        let chosen =
            parameters(&["--regularization-scaling", "none", "--confidence", "spark", "--items-first"]);
        assert_eq!(chosen.order(), SweepOrder::ItemsFirst);
        let (explicit, implicit) = (chosen.explicit.unwrap(), chosen.implicit.unwrap());
        assert_eq!(explicit.scaling(), RegularizationScaling::None);
        assert_eq!(implicit.scaling(), RegularizationScaling::None);
        assert_eq!((implicit.confidence(), implicit.unobserved_weight), (Confidence::Spark, 1.0));
        let solver = parameters(&["--solver", "ials++", "--rank", "32"]);
        assert_eq!((solver.solver(), solver.solver_block), (AlsSolver::Ialspp, 32));
        let nonnegative = parameters(&["--nonnegative"]);
        assert!(nonnegative.nonnegative && !nonnegative.explicit.unwrap().biases);
        let ials = parameters(&["--regularization-scaling", "ials"]);
        assert_eq!(ials.explicit.unwrap().scaling(), RegularizationScaling::Ratings);
    }
}
