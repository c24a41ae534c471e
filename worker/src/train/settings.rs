//! A job's parameters as the solvers take them.

use shoal_engine::{
    als::{explicit, implicit, problem::Solver},
    preference::Preference,
};
use shoal_proto::v1::{
    AlsParameters, AlsSolver, Confidence, EaseParameters, ImplicitParameters, Objective, ObjectiveChoice,
    Preference as PreferenceKind, RegularizationScaling, Side,
};

use super::error::TrainError;
use crate::exchange::wire::RowFormat;

/// Which objectives are trained, and with what.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(super) rank: usize,
    pub(super) seed: u64,
    /// How rows travel; solved rows are rounded to it.
    pub(crate) exchange: RowFormat,
    pub(super) solver: Solver,
    rating: Option<explicit::Settings>,
    /// With `other_rows` of the users' half-step; see [`Settings::ranking`].
    ranking: Option<implicit::Settings>,
    users: u64,
    items: u64,
}

impl Settings {
    pub(crate) fn new(parameters: &AlsParameters, users: u64, items: u64) -> Result<Self, TrainError> {
        let missing = |what: &str| TrainError::Request(format!("the {what} parameters are missing"));
        let choice = parameters.objective();
        let rank = parameters.rank as usize;
        if rank == 0 {
            return Err(TrainError::Request("the rank is 0; it must be at least 1".to_owned()));
        }
        let rating = if choice == ObjectiveChoice::Implicit {
            None
        } else {
            let explicit = parameters.explicit.as_ref().ok_or_else(|| missing("explicit"))?;
            let (regularization, biases) = (explicit.regularization, explicit.biases);
            Some(explicit::Settings {
                rank,
                regularization,
                scaling: explicit_scaling(explicit.scaling())?,
                biases,
                rating_mean: 0.0,
            })
        };
        let ranking = if choice == ObjectiveChoice::Explicit {
            None
        } else {
            let implicit = parameters.implicit.as_ref().ok_or_else(|| missing("implicit"))?;
            Some(implicit::Settings {
                rank,
                regularization: implicit.regularization,
                scaling: implicit_scaling(implicit.scaling()),
                confidence: confidence(implicit.confidence()),
                preference: preference(implicit),
                unobserved_weight: implicit.unobserved_weight,
                alpha: implicit.alpha,
                regularization_exponent: implicit.regularization_exponent,
                other_rows: items,
            })
        };
        let exchange = RowFormat::from_proto(parameters.exchange());
        let solver = solver(parameters);
        if solver == Solver::Nonnegative && rating.is_some_and(|settings| settings.biases) {
            return Err(TrainError::Request("rows without negative elements have no biases".to_owned()));
        }
        Ok(Self { rank, seed: 0, exchange, solver, rating, ranking, users, items })
    }

    /// Draws the factors that a training starts from with this seed.
    pub(super) fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Counts so many users: those who are trained on.
    pub(super) fn with_users(self, users: u64) -> Self {
        Self { users, ..self }
    }

    /// Fixes μ, which is known once every worker has counted; zero without biases.
    pub(crate) fn set_rating_mean(&mut self, mean: f64) {
        if let Some(rating) = &mut self.rating {
            rating.rating_mean = if rating.biases { mean } else { 0.0 };
        }
    }

    pub(crate) fn rating(&self) -> Option<explicit::Settings> {
        self.rating
    }

    pub(super) fn has_ranking(&self) -> bool {
        self.ranking.is_some()
    }

    /// For solving `side`: N counts the rows of the other one.
    pub(crate) fn ranking(&self, side: Side) -> Option<implicit::Settings> {
        let other_rows = if side == Side::Items { self.users } else { self.items };
        self.ranking.map(|settings| implicit::Settings { other_rows, ..settings })
    }

    /// The solver of a row that has nowhere to start from: the exact one of its kind.
    pub(crate) fn exact_solver(&self) -> Solver {
        if self.solver == Solver::Nonnegative { Solver::Nonnegative } else { Solver::Cholesky }
    }

    /// Whether a row's solution does not depend on where it was.
    pub(super) fn is_exact(&self) -> bool {
        self.solver == self.exact_solver()
    }

    /// The objectives trained, in the order they are solved, with the elements of a stored row.
    pub(super) fn widths(&self) -> Vec<(Objective, usize)> {
        let rating = self.rating.map(|settings| (Objective::Rating, settings.width()));
        let ranking = self.ranking.map(|settings| (Objective::Ranking, settings.rank));
        rating.into_iter().chain(ranking).collect()
    }
}

fn solver(parameters: &AlsParameters) -> Solver {
    match parameters.solver() {
        _ if parameters.nonnegative => Solver::Nonnegative,
        AlsSolver::Unspecified | AlsSolver::Cholesky => Solver::Cholesky,
        AlsSolver::ConjugateGradients => {
            Solver::ConjugateGradients { steps: parameters.solver_steps.max(1) as usize }
        }
        AlsSolver::Ialspp => Solver::Descent { block: parameters.solver_block.max(1) as usize },
    }
}

fn explicit_scaling(scaling: RegularizationScaling) -> Result<explicit::Scaling, TrainError> {
    match scaling {
        RegularizationScaling::Unspecified | RegularizationScaling::Ratings => Ok(explicit::Scaling::Ratings),
        RegularizationScaling::None => Ok(explicit::Scaling::None),
        RegularizationScaling::Ials => Err(TrainError::Request(
            "the iALS scaling of the regularization is of the implicit objective; use ratings or none"
                .to_owned(),
        )),
    }
}

fn implicit_scaling(scaling: RegularizationScaling) -> implicit::Scaling {
    match scaling {
        RegularizationScaling::Unspecified | RegularizationScaling::Ials => implicit::Scaling::Ials,
        RegularizationScaling::Ratings => implicit::Scaling::Ratings,
        RegularizationScaling::None => implicit::Scaling::None,
    }
}

fn confidence(confidence: Confidence) -> implicit::Confidence {
    match confidence {
        Confidence::Unspecified | Confidence::Ials => implicit::Confidence::Ials,
        Confidence::Spark => implicit::Confidence::Spark,
        Confidence::Implicit => implicit::Confidence::Implicit,
    }
}

/// What a rating counts for in EASE.
pub(crate) fn ease_preference(ease: &EaseParameters) -> Preference {
    match ease.preference() {
        PreferenceKind::Unspecified | PreferenceKind::Observed => Preference::Observed,
        PreferenceKind::Positive => Preference::Positive,
        PreferenceKind::Height => Preference::by_height(ease.rating_least, ease.rating_greatest),
    }
}

fn preference(implicit: &ImplicitParameters) -> Preference {
    match (implicit.preference(), implicit.confidence()) {
        (PreferenceKind::Observed, _)
        | (PreferenceKind::Unspecified, Confidence::Unspecified | Confidence::Ials) => Preference::Observed,
        (PreferenceKind::Positive, _)
        | (PreferenceKind::Unspecified, Confidence::Spark | Confidence::Implicit) => Preference::Positive,
        (PreferenceKind::Height, _) => Preference::by_height(implicit.rating_least, implicit.rating_greatest),
    }
}
