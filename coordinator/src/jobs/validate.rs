//! Whether a request can work at all: looked at before a job is made of it.

use shoal_common::split;
use shoal_proto::v1::{
    AlsParameters, AlsSolver, Confidence, DuplicateRule, ExplicitParameters, ImplicitParameters,
    ImportDatasetRequest, ObjectiveChoice, RegularizationScaling, SplitParameters, StartTrainingRequest,
};

use super::model::check_model;

const RANK_MAX: u32 = 512;
const SWEEPS_MAX: u32 = 1_000;
const SOLVER_STEPS_MAX: u32 = 100;
const SHARDS_MAX: u32 = 4_096;

/// Everything that is wrong with an import request.
#[must_use]
pub fn validate_import(request: &ImportDatasetRequest) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_name(&request.name) {
        problems.push(format!(
            "the name '{}' must be 1 to 64 lower-case letters, digits, '-' or '_', and begin with a letter or digit",
            request.name
        ));
    }
    if request.shard_count > SHARDS_MAX {
        problems.push(format!("{} shards are too many; at most {SHARDS_MAX}", request.shard_count));
    }
    match &request.source {
        None => problems.push("the source is missing".to_owned()),
        Some(source) => {
            if source.uri.is_empty() {
                problems.push("the source's address is missing".to_owned());
            }
            if !(0.0..=1.0).contains(&source.bad_rows_ratio_max) {
                problems.push(format!(
                    "the share of bad rows, {}, must be from 0 to 1",
                    source.bad_rows_ratio_max
                ));
            }
            if !source.rating_min.is_finite()
                || !source.rating_max.is_finite()
                || source.rating_min > source.rating_max
            {
                problems.push("the range of ratings is empty".to_owned());
            }
            if source.no_time && !(source.time_column.is_empty() && source.time_format.is_empty()) {
                problems.push("a time column or format is given, and no time is wanted".to_owned());
            }
            if source.no_rating && !source.rating_column.is_empty() {
                problems.push("a rating column is given, and no rating is wanted".to_owned());
            }
            if source.no_rating && source.duplicates() == DuplicateRule::Sum {
                problems.push("there are no ratings to sum; count the pairs".to_owned());
            }
        }
    }
    problems
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=64).contains(&name.len())
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || c == '-' || c == '_')
}

/// Everything that is wrong with a training request.
#[must_use]
pub fn validate_training(request: &StartTrainingRequest) -> Vec<String> {
    let mut problems = Vec::new();
    match (&request.model, &request.parameters) {
        (Some(model), _) => check_model(model, &mut problems),
        (None, None) => problems.push("the parameters are missing".to_owned()),
        (None, Some(parameters)) => check_parameters(parameters, &mut problems),
    }
    problems
}

pub(super) fn check_split(split: &SplitParameters, problems: &mut Vec<String>) {
    let SplitParameters { test_ratio, test_uri, temporal, seed: _, test_source: _ } = split;
    if !(0.0..1.0).contains(test_ratio) {
        problems.push(format!("the test ratio {test_ratio} must be from 0 to below 1"));
    }
    if !test_uri.is_empty() && *test_ratio > 0.0 {
        problems.push("give a test ratio or a test file, not both".to_owned());
    }
    if *temporal && *test_ratio == 0.0 {
        problems.push("a split by time needs a test ratio above 0".to_owned());
    }
}

fn check_parameters(parameters: &AlsParameters, problems: &mut Vec<String>) {
    if !(1..=RANK_MAX).contains(&parameters.rank) {
        problems.push(format!("the rank {} must be from 1 to {RANK_MAX}", parameters.rank));
    }
    if !(1..=SWEEPS_MAX).contains(&parameters.sweeps) {
        problems.push(format!("the number of sweeps {} must be from 1 to {SWEEPS_MAX}", parameters.sweeps));
    }
    check_split(&split::of_als(parameters), problems);
    check_solver(parameters, problems);
    let choice = parameters.objective();
    if choice != ObjectiveChoice::Implicit {
        match &parameters.explicit {
            None => problems.push("the explicit parameters are missing".to_owned()),
            Some(explicit) => check_explicit(explicit, problems),
        }
    }
    if choice != ObjectiveChoice::Explicit {
        match &parameters.implicit {
            None => problems.push("the implicit parameters are missing".to_owned()),
            Some(implicit) => check_implicit(implicit, problems),
        }
    }
}

fn check_solver(parameters: &AlsParameters, problems: &mut Vec<String>) {
    let solver = parameters.solver();
    if parameters.solver_steps > SOLVER_STEPS_MAX {
        let steps = parameters.solver_steps;
        problems
            .push(format!("{steps} steps of conjugate gradients are too many; at most {SOLVER_STEPS_MAX}"));
    }
    if solver == AlsSolver::Ialspp && parameters.solver_block > parameters.rank {
        problems.push(format!(
            "blocks of {} are larger than the rank; at most {}",
            parameters.solver_block, parameters.rank
        ));
    }
    if !parameters.nonnegative {
        return;
    }
    if !matches!(solver, AlsSolver::Unspecified | AlsSolver::Cholesky) {
        problems.push(
            "factors without negative elements take the cholesky solver; leave the other out".to_owned(),
        );
    }
    let biases = parameters.explicit.as_ref().is_some_and(|explicit| explicit.biases);
    if biases && parameters.objective() != ObjectiveChoice::Implicit {
        problems.push("factors without negative elements go without biases; leave the biases out".to_owned());
    }
}

fn check_explicit(explicit: &ExplicitParameters, problems: &mut Vec<String>) {
    check_positive("explicit regularization", explicit.regularization, problems);
    if explicit.scaling() == RegularizationScaling::Ials {
        problems.push(
            "the iALS scaling of the regularization is of the implicit objective; the explicit one takes ratings or none"
                .to_owned(),
        );
    }
}

fn check_implicit(implicit: &ImplicitParameters, problems: &mut Vec<String>) {
    check_positive("implicit regularization", implicit.regularization, problems);
    for (name, value) in [
        ("weight of unobserved pairs", implicit.unobserved_weight),
        ("alpha", implicit.alpha),
        ("regularization exponent", implicit.regularization_exponent),
    ] {
        if !(value >= 0.0 && value.is_finite()) {
            problems.push(format!("the {name}, {value}, must be a number from 0"));
        }
    }
    let convention = match implicit.confidence() {
        Confidence::Unspecified | Confidence::Ials => return,
        Confidence::Spark => "spark",
        Confidence::Implicit => "implicit",
    };
    if implicit.unobserved_weight != 1.0 {
        problems.push(format!(
            "the {convention} confidence counts every unobserved pair with a weight of 1, not {}",
            implicit.unobserved_weight
        ));
    }
    check_positive(&format!("alpha of the {convention} confidence"), implicit.alpha, problems);
}

fn check_positive(name: &str, value: f64, problems: &mut Vec<String>) {
    if !(value > 0.0 && value.is_finite()) {
        problems.push(format!("the {name}, {value}, must be a number above 0"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named() {
        let parameters = AlsParameters { rank: 0, sweeps: 0, test_ratio: 1.0, ..AlsParameters::default() };
        let by_time = AlsParameters { test_ratio: 0.0, temporal: true, ..parameters.clone() };
        for parameters in [parameters, by_time] {
            let request =
                StartTrainingRequest { parameters: Some(parameters), ..StartTrainingRequest::default() };
            assert_eq!(validate_training(&request).len(), 5);
        }
        let conventions = AlsParameters {
            rank: 8,
            sweeps: 1,
            explicit: Some(ExplicitParameters {
                regularization: 0.1,
                scaling: RegularizationScaling::Ials.into(),
                ..ExplicitParameters::default()
            }),
            implicit: Some(ImplicitParameters {
                regularization: 0.1,
                confidence: Confidence::Spark.into(),
                unobserved_weight: 0.3,
                ..ImplicitParameters::default()
            }),
            ..AlsParameters::default()
        };
        let request =
            StartTrainingRequest { parameters: Some(conventions), ..StartTrainingRequest::default() };
        assert_eq!(validate_training(&request).len(), 3);
        let solver = AlsParameters {
            rank: 8,
            sweeps: 1,
            objective: ObjectiveChoice::Explicit.into(),
            explicit: Some(ExplicitParameters {
                regularization: 0.1,
                biases: true,
                ..ExplicitParameters::default()
            }),
            solver: AlsSolver::Ialspp.into(),
            solver_block: 9,
            nonnegative: true,
            ..AlsParameters::default()
        };
        let request = StartTrainingRequest { parameters: Some(solver), ..StartTrainingRequest::default() };
        assert_eq!(validate_training(&request).len(), 3);
        for name in ["", "Big", "../x", "-a", &"a".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_name("ml-20m_v2"));
    }
}
