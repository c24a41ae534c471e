//! What quickstart prints at its end.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use shoal_common::readable::{evaluation_json, parameters_json};
use shoal_core::ModelKind;
use shoal_proto::v1::{DatasetInfo, ModelVersion};

use crate::{cli::model_failures::ModelFailure, output};

/// Everything there is to say.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) dataset: DatasetInfo,
    /// What its ratings were taken for, where that was guessed.
    pub(super) guessed: Option<String>,
    pub(super) models: Models,
    pub(super) http: String,
    /// `curl`, with what it needs to ask the router.
    pub(super) curl: String,
    pub(super) dir: String,
    /// Seconds per stage, in order.
    pub(super) seconds: Vec<(&'static str, f64)>,
}

/// What was trained, and what could not be.
#[derive(Debug, Default)]
pub(super) struct Models {
    /// The first of them answers where no model is named.
    pub(super) versions: Vec<(ModelKind, ModelVersion)>,
    pub(super) failures: Vec<ModelFailure>,
    /// The router's answer for one user by ALS; null without it.
    pub(super) answer: Value,
}

impl Models {
    /// Keeps what came of one model.
    pub(super) fn keep(
        &mut self,
        model: ModelKind,
        trained: anyhow::Result<ModelVersion>,
    ) -> anyhow::Result<()> {
        match trained {
            Ok(version) => self.versions.push((model, version)),
            Err(error) => self.failures.push(ModelFailure::of(model, error)?),
        }
        Ok(())
    }
}

impl Report {
    /// One object for scripts.
    pub(super) fn json(&self) -> Value {
        let seconds: Map<String, Value> =
            self.seconds.iter().map(|(stage, seconds)| ((*stage).to_owned(), (*seconds).into())).collect();
        let Models { versions, failures, answer } = &self.models;
        let first = versions.first().map(|(_, version)| version);
        let failed = failures.iter().map(ModelFailure::json);
        json!({
            "dataset": output::dataset(&self.dataset),
            "version": first.map(|version| &version.name),
            "parameters": first.and_then(|version| version.model_parameters.as_ref()).map(parameters_json),
            "metrics": first.and_then(|version| version.metrics.as_ref()).map(output::sweep_metrics),
            "models": versions.iter().map(|(_, version)| model_json(version)).chain(failed).collect::<Vec<_>>(),
            "seconds": seconds,
            "sample_answer": answer,
            "http": self.http,
            "dir": self.dir,
        })
    }

    /// A page for people; `serving` says how it goes on.
    pub(super) fn text(&self, serving: bool) -> String {
        let mut text = self.guessed.as_ref().map(|guessed| format!("\n{guessed}\n")).unwrap_or_default();
        let Models { versions, failures, answer } = &self.models;
        let metrics = versions.first().and_then(|(_, version)| version.metrics.as_ref());
        let metrics = metrics.map(output::metrics_lines).unwrap_or_default();
        if !metrics.is_empty() {
            text.push_str("\nMeasured on what was held out:\n");
            for line in metrics {
                text.push_str(&format!("  {line}\n"));
            }
        }
        let rows = versions.iter().map(|(_, version)| (version, false));
        text.push_str(&format!("\nThe models beside each other:\n{}", output::worth(rows)));
        let remarks = output::remarks(versions.iter().map(|(_, version)| version));
        for line in remarks.into_iter().chain(failures.iter().map(ModelFailure::line)) {
            text.push_str(&format!("{line}\n"));
        }
        if !answer.is_null() {
            let user = plain(&answer["user_id"]);
            text.push_str(&format!(
                "\nThe top ten for user {user}:\n{}",
                output::answers::recommendations(answer)
            ));
        }
        if serving {
            self.tries(answer, &mut text);
            text.push_str(&format!("\nServing on {} until Ctrl-C.", self.http));
        }
        text
    }

    /// Requests to type, where there was an answer to build them from.
    fn tries(&self, answer: &Value, text: &mut String) {
        if answer.is_null() {
            return;
        }
        text.push_str("\nTry:\n");
        for line in self.curl_lines(answer) {
            text.push_str(&format!("  {line}\n"));
        }
    }

    fn curl_lines(&self, answer: &Value) -> [String; 4] {
        let (http, curl, user) = (&self.http, &self.curl, &answer["user_id"]);
        let item = &answer["items"][0]["item_id"];
        let body = format!(r#"{{"user_id": {user}, "item_id": {item}}}"#);
        // Ids of any characters: what a path cannot carry is escaped.
        let escaped = |id: &Value| utf8_percent_encode(&plain(id), NON_ALPHANUMERIC).to_string();
        let (user, item) = (escaped(user), escaped(item));
        [
            format!("{curl} '{http}/v1/users/{user}/recommendations?n=5'"),
            format!("{curl} '{http}/v1/users/{user}/recommendations?n=5&model=hybrid'"),
            format!("{curl} '{http}/v1/items/{item}/similar?n=5'"),
            format!("{curl} -H 'content-type: application/json' -d '{body}' {http}/v1/predictions"),
        ]
    }
}

fn model_json(version: &ModelVersion) -> Value {
    json!({
        "model": version.model,
        "version": version.name,
        "evaluation": version.evaluation.as_ref().map(evaluation_json),
        "remarks": version.remarks,
    })
}

/// An id without the quotes of JSON.
fn plain(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
