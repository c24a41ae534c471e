//! Conventions in which published systems differ: named when a job is made, so that what a version was trained
//! with is on record and does not follow a later default.

use shoal_proto::v1::{
    AlsParameters, AlsSolver, Confidence, ImplicitParameters, ObjectiveChoice, Preference,
    RegularizationScaling, SweepOrder,
};

/// Steps of conjugate gradients in a half-step, as the library `implicit` takes.
const CG_STEPS: u32 = 3;

/// Elements of a block of iALS++: where the kernels are near their best, and a half of the published choice.
const BLOCK: u32 = 64;

/// Names whatever a request left unspecified, and drops the parameters of an objective that is not trained.
pub fn settle(parameters: &mut AlsParameters) {
    let choice = parameters.objective();
    parameters.explicit.take_if(|_| choice == ObjectiveChoice::Implicit);
    parameters.implicit.take_if(|_| choice == ObjectiveChoice::Explicit);
    if let Some(explicit) = &mut parameters.explicit
        && explicit.scaling() == RegularizationScaling::Unspecified
    {
        explicit.set_scaling(RegularizationScaling::Ratings);
    }
    if let Some(implicit) = &mut parameters.implicit {
        if implicit.scaling() == RegularizationScaling::Unspecified {
            implicit.set_scaling(RegularizationScaling::Ials);
        }
        if implicit.confidence() == Confidence::Unspecified {
            implicit.set_confidence(Confidence::Ials);
        }
        if implicit.preference() == Preference::Unspecified {
            implicit.set_preference(match implicit.confidence() {
                Confidence::Unspecified | Confidence::Ials => Preference::Observed,
                Confidence::Spark | Confidence::Implicit => Preference::Positive,
            });
        }
    }
    if parameters.order() == SweepOrder::Unspecified {
        parameters.set_order(SweepOrder::UsersFirst);
    }
    if parameters.solver() == AlsSolver::Unspecified {
        parameters.set_solver(AlsSolver::Cholesky);
    }
    match parameters.solver() {
        AlsSolver::ConjugateGradients if parameters.solver_steps == 0 => parameters.solver_steps = CG_STEPS,
        AlsSolver::Ialspp if parameters.solver_block == 0 => {
            parameters.solver_block = BLOCK.min(parameters.rank);
        }
        _ => {}
    }
}

pub(super) fn scaling_name(scaling: RegularizationScaling) -> String {
    short_name(scaling.as_str_name(), "REGULARIZATION_SCALING_")
}

pub(super) fn confidence_name(confidence: Confidence) -> String {
    short_name(confidence.as_str_name(), "CONFIDENCE_")
}

pub(super) fn preference_name(implicit: &ImplicitParameters) -> String {
    let name = short_name(implicit.preference().as_str_name(), "PREFERENCE_");
    match implicit.preference() {
        Preference::Height => {
            format!("{name}, from {} to {}", implicit.rating_least, implicit.rating_greatest)
        }
        Preference::Unspecified | Preference::Observed | Preference::Positive => name,
    }
}

pub(super) fn solver_name(parameters: &AlsParameters) -> String {
    let name = short_name(parameters.solver().as_str_name(), "ALS_SOLVER_");
    match parameters.solver() {
        _ if parameters.nonnegative => format!("{name}, nonnegative"),
        AlsSolver::ConjugateGradients => format!("{name}, {} steps", parameters.solver_steps),
        AlsSolver::Ialspp => format!("{name}, blocks of {}", parameters.solver_block),
        AlsSolver::Unspecified | AlsSolver::Cholesky => name,
    }
}

fn short_name(full: &str, prefix: &str) -> String {
    full.strip_prefix(prefix).unwrap_or(full).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::ExplicitParameters;

    use super::*;

    #[test]
    fn what_was_left_open_is_named_and_what_was_said_stays() {
        let mut parameters = AlsParameters {
            explicit: Some(ExplicitParameters::default()),
            implicit: Some(ImplicitParameters {
                confidence: Confidence::Spark.into(),
                ..ImplicitParameters::default()
            }),
            ..AlsParameters::default()
        };
        settle(&mut parameters);
        let (explicit, implicit) = (parameters.explicit.unwrap(), parameters.implicit.unwrap());
        assert_eq!(scaling_name(explicit.scaling()), "ratings");
        assert_eq!(scaling_name(implicit.scaling()), "ials");
        assert_eq!(confidence_name(implicit.confidence()), "spark");
        assert_eq!(preference_name(&implicit), "positive");
        assert_eq!(parameters.order(), SweepOrder::UsersFirst);
        assert_eq!(solver_name(&parameters), "cholesky");
    }

    #[test]
    fn a_solver_is_named_with_what_it_takes() {
        let named = |parameters: AlsParameters| {
            let mut parameters = AlsParameters { rank: 48, ..parameters };
            settle(&mut parameters);
            solver_name(&parameters)
        };
        let cg = AlsSolver::ConjugateGradients.into();
        assert_eq!(named(AlsParameters { solver: cg, ..Default::default() }), "conjugate_gradients, 3 steps");
        let ialspp = AlsSolver::Ialspp.into();
        assert_eq!(named(AlsParameters { solver: ialspp, ..Default::default() }), "ialspp, blocks of 48");
        assert_eq!(named(AlsParameters { nonnegative: true, ..Default::default() }), "cholesky, nonnegative");
    }

    #[test]
    fn parameters_of_what_is_not_trained_are_dropped() {
        let mut parameters = AlsParameters {
            objective: ObjectiveChoice::Explicit.into(),
            explicit: Some(ExplicitParameters::default()),
            implicit: Some(ImplicitParameters::default()),
            ..AlsParameters::default()
        };
        settle(&mut parameters);
        assert!(parameters.explicit.is_some() && parameters.implicit.is_none());
    }
}
