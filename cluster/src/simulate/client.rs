//! Asks one question over HTTP and says what became of it.

use std::{fmt, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    checks::{Facts, Fault, check},
    plan::{Asked, Cast, Question, id_json},
};
use crate::recommender::{Recommender, RecommenderError};

/// Why a request did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There was no answer within the time.
    Timeout,
    /// The connection could not be made, or broke.
    Connection,
    /// The answer was a refusal.
    Status(u16),
    /// The answer cannot be right.
    Answer(Fault),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::Connection => f.write_str("connection"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Answer(fault) => write!(f, "answer: {fault}"),
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What the answer said of itself, or why it is none.
    pub result: Result<Facts, Failure>,
}

/// Asks one service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    service: Recommender,
    asked: Arc<Asked>,
    cast: Arc<Cast>,
}

impl Client {
    /// A client of the service that gives up on an answer after `timeout`, keeping up to `connections` open.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(
        service: Recommender,
        asked: Arc<Asked>,
        cast: Arc<Cast>,
        timeout: Duration,
        connections: usize,
    ) -> Result<Self, RecommenderError> {
        let http = service
            .http_builder()
            .timeout(timeout)
            .pool_max_idle_per_host(connections)
            .build()
            .map_err(|_| RecommenderError::Address(service.base().to_string()))?;
        Ok(Self { http, service, asked, cast })
    }

    /// Asks, and checks the answer.
    pub async fn ask(&self, question: &Question) -> Outcome {
        let query = self.asked.query(question);
        let url = question.with_route(|route| self.service.url(route, &query));
        let request = match question {
            Question::Predict { user, item } => {
                let item_id = self.asked.api.names().item_id;
                let body = serde_json::json!({"user_id": id_json(user), item_id: id_json(item)});
                self.http.post(url).json(&body)
            }
            _ => self.http.get(url),
        };
        let failed =
            |error: &reqwest::Error| if error.is_timeout() { Failure::Timeout } else { Failure::Connection };
        let reply = match request.send().await {
            Ok(reply) => reply,
            Err(error) => return Outcome { status: None, result: Err(failed(&error)) },
        };
        let status = reply.status();
        let result = match reply.bytes().await {
            Err(error) => Err(failed(&error)),
            Ok(_) if !status.is_success() => Err(Failure::Status(status.as_u16())),
            Ok(bytes) => {
                let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                check(question, &self.asked, &self.cast.population, &body).map_err(Failure::Answer)
            }
        };
        Outcome { status: Some(status.as_u16()), result }
    }
}
