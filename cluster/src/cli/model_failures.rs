//! Models that could not be trained while others were: one that fails does not keep the others from being trained.

use serde_json::{Value, json};
use shoal_core::ModelKind;

use super::failure::{Exit, exit_of, sentence};

/// A model of which there is no version, or none that is live as was asked for.
#[derive(Debug)]
pub(super) struct ModelFailure {
    pub(super) model: ModelKind,
    /// Why, as one sentence.
    pub(super) reason: String,
}

impl ModelFailure {
    /// The failure of one model, if the others may do better.
    ///
    /// # Errors
    /// The error itself when it would be theirs too: the cluster is out of reach, the request is wrong, or somebody wants to
    /// stop.
    pub(super) fn of(model: ModelKind, error: anyhow::Error) -> anyhow::Result<Self> {
        match exit_of(&error) {
            Exit::Failed | Exit::NotFound => Ok(Self { model, reason: sentence(&error) }),
            Exit::Done
            | Exit::Usage
            | Exit::Unavailable
            | Exit::Cancelled
            | Exit::Denied
            | Exit::Interrupted => Err(error),
        }
    }

    /// That there is nothing to blend.
    pub(super) fn of_blend() -> Self {
        let kinds: Vec<&str> = ModelKind::blended().map(ModelKind::name).collect();
        let reason = format!(
            "there is no version to blend with the same data and held-out ratings; train one of {} too",
            kinds.join(", ")
        );
        Self { model: ModelKind::Hybrid, reason }
    }

    /// The failure as a line of text.
    pub(super) fn line(&self) -> String {
        format!("Failed: {}: {}", self.model, self.reason)
    }

    /// The failure as a JSON object with `model` and `error`.
    pub(super) fn json(&self) -> Value {
        json!({"model": self.model.name(), "error": self.reason})
    }
}

/// The exit code of a command with these failures.
pub(super) fn exit_with(failures: &[ModelFailure]) -> Exit {
    if failures.is_empty() { Exit::Done } else { Exit::Failed }
}

#[cfg(test)]
mod tests {
    use super::{super::failure::refusal, *};

    #[test]
    fn what_only_one_model_suffers_from_is_kept_and_the_rest_ends_the_command() {
        for (exit, goes_on) in [
            (Exit::Failed, true),
            (Exit::NotFound, true),
            (Exit::Usage, false),
            (Exit::Unavailable, false),
            (Exit::Cancelled, false),
        ] {
            let failure = ModelFailure::of(ModelKind::Als, refusal(exit, "job 3 failed: no"));
            assert_eq!(failure.is_ok(), goes_on, "{exit:?}");
        }
        let failure = ModelFailure::of(ModelKind::Als, refusal(Exit::Failed, "job 3 failed: no")).unwrap();
        assert_eq!(failure.line(), "Failed: als: job 3 failed: no");
        assert_eq!(failure.json(), json!({"model": "als", "error": "job 3 failed: no"}));
        assert_eq!((exit_with(&[]), exit_with(&[failure])), (Exit::Done, Exit::Failed));
        let blend = ModelFailure::of_blend();
        assert!(blend.line().starts_with("Failed: hybrid: there is no version to blend"), "{blend:?}");
    }
}
