//! The parameters of ALS as flags, and the one place of their defaults.
//!
//! The defaults were chosen on `ml-latest-small` with a fifth held out: see the notes at each.

use shoal_proto::v1::{
    AlsParameters, ExchangeFormat, ExplicitParameters, ImplicitParameters, ObjectiveChoice,
};

/// Elements of a factor row.
pub const RANK: u32 = 32;
/// Sweeps over users and items: the held-out metrics have settled by then.
pub const SWEEPS: u32 = 15;
/// λ of the explicit objective, scaled by the number of a row's ratings: held-out rmse has a flat
/// minimum from 0.10 to 0.15.
pub const EXPLICIT_REGULARIZATION: f64 = 0.12;
/// λ of the implicit objective, scaled by (n + α₀·N)^ν: what Rendle et al. 2022 found for ML-1M, and near
/// the best here.
pub const IMPLICIT_REGULARIZATION: f64 = 0.007;
/// α₀: the weight of a pair that was not observed, likewise.
pub const UNOBSERVED_WEIGHT: f64 = 0.3;
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
    /// Regularization of the explicit objective, times a row's number of ratings (as Spark)
    #[arg(long, default_value_t = EXPLICIT_REGULARIZATION, value_parser = positive)]
    pub reg: f64,
    /// Leave out the mean and the user and item biases of the explicit objective
    #[arg(long)]
    pub no_biases: bool,
    /// Confidence that a rating's height adds in the implicit objective; 0 counts every rating alike
    #[arg(long, default_value_t = ALPHA, value_parser = not_negative)]
    pub alpha: f64,
    /// Regularization of the implicit objective
    #[arg(long, default_value_t = IMPLICIT_REGULARIZATION, value_parser = positive)]
    pub implicit_reg: f64,
    /// Weight of the pairs nobody rated in the implicit objective
    #[arg(long, default_value_t = UNOBSERVED_WEIGHT, value_parser = not_negative)]
    pub unobserved_weight: f64,
    /// Exponent with which the implicit regularization grows with a row's number of ratings
    #[arg(long, default_value_t = REGULARIZATION_EXPONENT, value_parser = not_negative)]
    pub reg_exponent: f64,
    /// Seed of the starting factors and of the held-out split
    #[arg(long, default_value_t = SEED)]
    pub seed: u64,
    /// Share of the ratings held out and measured on after each sweep; 0 for none
    #[arg(long, default_value_t = TEST_RATIO, value_parser = ratio)]
    pub test_ratio: f64,
    /// Ratings to measure on instead of a share of the data set
    #[arg(long, value_name = "FILE", conflicts_with = "test_ratio")]
    pub test: Option<String>,
    /// How factor rows travel between workers and are kept: bf16 halves the bytes and costs accuracy
    #[arg(long, value_enum, default_value = "f32")]
    pub exchange: Exchange,
    /// Threads of each worker; by default what the worker was given
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub threads: u32,
    /// A checkpoint every so many sweeps
    #[arg(long, default_value_t = 1, value_name = "SWEEPS", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub checkpoint_every: u32,
    /// Users whose lists are measured after each sweep; 0 means all
    #[arg(long, default_value_t = 0, value_name = "USERS")]
    pub ranking_users: u32,
}

impl AlsArgs {
    /// The parameters on the wire. `test_uri` is the held-out file as the workers find it.
    #[must_use]
    pub fn parameters(&self, test_uri: Option<String>) -> AlsParameters {
        let choice = match self.objective {
            Objective::Both => ObjectiveChoice::Both,
            Objective::Explicit => ObjectiveChoice::Explicit,
            Objective::Implicit => ObjectiveChoice::Implicit,
        };
        AlsParameters {
            objective: choice.into(),
            rank: self.rank,
            sweeps: self.iterations,
            explicit: (choice != ObjectiveChoice::Implicit)
                .then_some(ExplicitParameters { regularization: self.reg, biases: !self.no_biases }),
            implicit: (choice != ObjectiveChoice::Explicit).then_some(ImplicitParameters {
                regularization: self.implicit_reg,
                unobserved_weight: self.unobserved_weight,
                alpha: self.alpha,
                regularization_exponent: self.reg_exponent,
            }),
            seed: self.seed,
            test_ratio: if test_uri.is_some() { 0.0 } else { self.test_ratio },
            test_uri: test_uri.unwrap_or_default(),
            threads: self.threads,
            checkpoint_every_sweeps: self.checkpoint_every,
            ranking_users_max: self.ranking_users,
            exchange: match self.exchange {
                Exchange::F32 => ExchangeFormat::F32,
                Exchange::Bf16 => ExchangeFormat::Bf16,
            }
            .into(),
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
