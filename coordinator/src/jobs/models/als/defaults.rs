//! Conventions in which published systems differ: named when a job is made, so that what a version was trained
//! with is on record and does not follow a later default.

use shoal_proto::v1::{
    AlsParameters, AlsSolver, Confidence, ObjectiveChoice, Preference, RegularizationScaling, SweepOrder,
};

/// Steps of conjugate gradients in a half-step, as the library `implicit` takes.
const CG_STEPS: u32 = 3;

/// Elements of a block of iALS++: where the kernels are near their best, and a half of the published choice.
const BLOCK: u32 = 64;

/// Names whatever a request left unspecified, and drops the parameters of an objective that is not trained.
pub(in crate::jobs) fn fill_in_defaults(parameters: &mut AlsParameters) {
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

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{ExplicitParameters, ImplicitParameters};

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
        fill_in_defaults(&mut parameters);
        let (explicit, implicit) = (parameters.explicit.unwrap(), parameters.implicit.unwrap());
        assert_eq!(explicit.scaling(), RegularizationScaling::Ratings);
        assert_eq!(implicit.scaling(), RegularizationScaling::Ials);
        assert_eq!(implicit.confidence(), Confidence::Spark);
        assert_eq!(implicit.preference(), Preference::Positive);
        assert_eq!(parameters.order(), SweepOrder::UsersFirst);
        assert_eq!(parameters.solver(), AlsSolver::Cholesky);
    }

    #[test]
    fn a_solver_has_what_it_takes() {
        let filled = |solver: AlsSolver| {
            let mut parameters = AlsParameters { rank: 48, solver: solver.into(), ..Default::default() };
            fill_in_defaults(&mut parameters);
            (parameters.solver_steps, parameters.solver_block)
        };
        assert_eq!(filled(AlsSolver::ConjugateGradients), (CG_STEPS, 0));
        assert_eq!(filled(AlsSolver::Ialspp), (0, 48));
        assert_eq!(filled(AlsSolver::Cholesky), (0, 0));
    }

    #[test]
    fn parameters_of_what_is_not_trained_are_dropped() {
        let mut parameters = AlsParameters {
            objective: ObjectiveChoice::Explicit.into(),
            explicit: Some(ExplicitParameters::default()),
            implicit: Some(ImplicitParameters::default()),
            ..AlsParameters::default()
        };
        fill_in_defaults(&mut parameters);
        assert!(parameters.explicit.is_some() && parameters.implicit.is_none());
    }
}
