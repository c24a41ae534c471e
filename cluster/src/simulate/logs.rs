//! The two files of a simulation: a line per request, and the figures.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use shoal_common::clock::UtcTime;

use super::{
    plan::{Asked, id_json},
    summary::Summary,
    tally::Record,
};

/// The files, of which the first is open.
#[derive(Debug)]
pub struct Logs {
    lines: BufWriter<File>,
    lines_path: PathBuf,
    summary_path: PathBuf,
    start_unix_ms: i64,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write '{path}'; give a folder that can be written to with --logs")]
pub struct LogsError {
    path: PathBuf,
    source: io::Error,
}

impl Logs {
    /// Opens `traffic_simulation_<stamp>.jsonl` in a folder, which is made if need be; the stamp is that of the start.
    ///
    /// # Errors
    /// When the file is there already or cannot be made.
    pub fn create(folder: &Path, start_unix_ms: i64) -> Result<Self, LogsError> {
        let stamp = UtcTime::from_unix_ms(start_unix_ms).compact();
        let path = |ending: &str| folder.join(format!("traffic_simulation_{stamp}.{ending}"));
        let (lines_path, summary_path) = (path("jsonl"), path("json"));
        let lines = std::fs::create_dir_all(folder).and_then(|()| File::create_new(&lines_path));
        let lines = lines.map_err(|source| LogsError { path: lines_path.clone(), source })?;
        Ok(Self { lines: BufWriter::new(lines), lines_path, summary_path, start_unix_ms })
    }

    /// Where the lines are.
    #[must_use]
    pub fn lines_path(&self) -> &Path {
        &self.lines_path
    }

    /// Where the figures will be.
    #[must_use]
    pub fn summary_path(&self) -> &Path {
        &self.summary_path
    }

    /// Adds a request's line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, record: &Record, asked: &Asked) -> Result<(), LogsError> {
        let written = serde_json::to_writer(&mut self.lines, &line(record, asked, self.start_unix_ms));
        let written = written.map_err(io::Error::from).and_then(|()| self.lines.write_all(b"\n"));
        written.map_err(|source| LogsError { path: self.lines_path.clone(), source })
    }

    /// Writes the figures; both files are whole afterwards.
    ///
    /// # Errors
    /// When either cannot be written.
    pub fn finish(mut self, summary: &Summary) -> Result<(), LogsError> {
        self.lines.flush().map_err(|source| LogsError { path: self.lines_path.clone(), source })?;
        let text = serde_json::to_string_pretty(summary).map_err(io::Error::from);
        let written = text.and_then(|text| std::fs::write(&self.summary_path, text + "\n"));
        written.map_err(|source| LogsError { path: self.summary_path.clone(), source })
    }
}

fn line(record: &Record, asked: &Asked, start_unix_ms: i64) -> Value {
    let question = &record.question;
    let due_ms = i64::try_from(record.due.as_millis()).unwrap_or(i64::MAX);
    let params = asked.params(question);
    json!({
        "timestamp": UtcTime::from_unix_ms(start_unix_ms.saturating_add(due_ms)).iso_8601(),
        "request": {
            "endpoint": asked.path(question),
            "n": params.get("n"),
            "params": params,
            "user_id": question.user().map(id_json),
        },
        "response": {
            "success": record.outcome.result.is_ok(),
            "latency": record.latency.as_secs_f64(),
            "status": record.outcome.status,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shoal_common::ids::EntityId;

    use super::*;
    use crate::{
        recommender::Api,
        simulate::{
            client::{Failure, Outcome},
            plan::Question,
        },
    };

    #[test]
    fn a_line_has_the_names_that_scripts_read() {
        let asked = |api| Asked { api, n: 5, parameters: vec![("use_cache".into(), "false".into())] };
        let by = |api, question, status, failure| {
            let outcome = Outcome { status, result: Err(failure) };
            let (due, latency) = (Duration::from_millis(1_500), Duration::from_millis(250));
            line(&Record { due, sent: due, latency, question, outcome }, &asked(api), 1_795_515_300_000)
        };
        let of = |question, status, failure| by(Api::Recommendations, question, status, failure);
        let user = EntityId::Integer(7);
        let recommend = Question::Recommend { user: user.clone(), known: None };
        assert_eq!(
            of(recommend, Some(503), Failure::Status(503)),
            json!({
                "timestamp": "2026-11-24T10:15:01.500Z",
                "request": {
                    "endpoint": "/recommendations/recommend/7", "params": {"n": 5, "use_cache": "false"},
                    "user_id": 7, "n": 5,
                },
                "response": {"success": false, "latency": 0.25, "status": 503},
            })
        );
        let question = Question::Predict { user: user.clone(), item: EntityId::Text("m".into()) };
        let predict = of(question.clone(), None, Failure::Timeout);
        assert_eq!(
            predict["request"],
            json!({
                "endpoint": "/recommendations/predict", "params": {"user_id": 7, "movie_id": "m"},
                "user_id": 7, "n": null,
            })
        );
        assert_eq!(predict["response"]["status"], Value::Null);
        let own = by(Api::V1, question, None, Failure::Timeout);
        assert_eq!(own["request"]["endpoint"], "/v1/predictions");
        assert_eq!(own["request"]["params"], json!({"user_id": 7, "item_id": "m"}));
        let own = by(Api::V1, Question::Recommend { user, known: None }, None, Failure::Timeout);
        assert_eq!(own["request"]["endpoint"], "/v1/users/7/recommendations");
    }

    #[test]
    fn a_file_of_the_same_second_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Logs::create(&folder.path().join("logs"), 5_000).unwrap();
        let error = Logs::create(&folder.path().join("logs"), 5_999).unwrap_err();
        assert!(error.to_string().contains("traffic_simulation_19700101_000005.jsonl"), "{error}");
    }
}
