//! What quickstart prints at its end.

use serde_json::{Map, Value, json};
use shoal_common::readable::evaluation_json;
use shoal_proto::v1::{DatasetInfo, ModelVersion};

use crate::{cli::query, output};

/// Everything there is to say.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) dataset: DatasetInfo,
    /// What its ratings were taken for, where that was guessed.
    pub(super) guessed: Option<String>,
    /// Of ALS, which answers where no model is named.
    pub(super) version: ModelVersion,
    /// Of the other models.
    pub(super) others: [ModelVersion; 3],
    /// The router's answer for one user.
    pub(super) answer: Value,
    pub(super) http: String,
    pub(super) dir: String,
    /// Seconds per stage, in order.
    pub(super) seconds: Vec<(&'static str, f64)>,
}

impl Report {
    /// One object for scripts.
    pub(super) fn json(&self) -> Value {
        let seconds: Map<String, Value> =
            self.seconds.iter().map(|(stage, seconds)| ((*stage).to_owned(), (*seconds).into())).collect();
        json!({
            "dataset": output::dataset(&self.dataset),
            "version": self.version.name,
            "parameters": self.version.parameters.as_ref().map(output::parameters),
            "metrics": self.version.metrics.as_ref().map(output::sweep_metrics),
            "models": self.versions().map(model_json).collect::<Vec<_>>(),
            "seconds": seconds,
            "sample_answer": self.answer,
            "http": self.http,
            "dir": self.dir,
        })
    }

    fn versions(&self) -> impl Iterator<Item = &ModelVersion> {
        std::iter::once(&self.version).chain(&self.others)
    }

    /// A page for people; `serving` says how it goes on.
    pub(super) fn text(&self, serving: bool) -> String {
        let mut text = self.guessed.as_ref().map(|guessed| format!("\n{guessed}\n")).unwrap_or_default();
        let metrics = self.version.metrics.as_ref().map(output::metrics_lines).unwrap_or_default();
        if !metrics.is_empty() {
            text.push_str("\nMeasured on what was held out:\n");
            for line in metrics {
                text.push_str(&format!("  {line}\n"));
            }
        }
        let versions = self.versions().map(|version| (version, false));
        text.push_str(&format!("\nThe models beside each other:\n{}", output::worth(versions)));
        let user = &self.answer["user_id"];
        text.push_str(&format!(
            "\nThe top ten for user {}:\n{}",
            plain(user),
            query::recommendations(&self.answer)
        ));
        text.push_str("\nTry:\n");
        for line in self.curl_lines() {
            text.push_str(&format!("  {line}\n"));
        }
        if serving {
            text.push_str(&format!("\nServing on {} until Ctrl-C.", self.http));
        }
        text
    }

    fn curl_lines(&self) -> [String; 4] {
        let (http, user) = (&self.http, &self.answer["user_id"]);
        let movie = &self.answer["recommendations"][0]["movie_id"];
        let body = format!(r#"{{"user_id": {user}, "movie_id": {movie}}}"#);
        [
            format!("curl '{http}/recommendations/recommend/{}?n=5'", plain(user)),
            format!("curl '{http}/recommendations/recommend/{}?n=5&model=hybrid'", plain(user)),
            format!("curl '{http}/recommendations/similar/{}?n=5'", plain(movie)),
            format!("curl -H 'content-type: application/json' -d '{body}' {http}/recommendations/predict"),
        ]
    }
}

fn model_json(version: &ModelVersion) -> Value {
    json!({
        "model": version.model,
        "version": version.name,
        "evaluation": version.evaluation.as_ref().map(evaluation_json),
    })
}

/// An id without the quotes of JSON.
fn plain(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
