//! What the command line asks of a router, over HTTP. Answers stay JSON as they came: what a script
//! gets from `--json` is what the API gives.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde_json::{Value, json};

/// A query may be retried and hedged by the router; its own timeout is shorter than this.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A query without an answer.
#[derive(Debug, thiserror::Error)]
pub enum RecommenderError {
    /// The address is no URL.
    #[error("'{0}' is not an http:// address")]
    Address(String),
    /// Nobody answered.
    #[error(
        "no router answers at {url}; is the cluster running? `shoal up` starts one on this machine, --url names another"
    )]
    Unreachable {
        /// Who was asked.
        url: String,
        /// What the client said.
        source: reqwest::Error,
    },
    /// The router refused: its own sentence.
    #[error("{detail}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// The answer's `detail`.
        detail: String,
    },
}

/// Calls one router.
#[derive(Debug, Clone)]
pub struct Recommender {
    base: Url,
    http: reqwest::Client,
}

impl Recommender {
    /// A client of the router at `url` (`http://host:port`).
    ///
    /// # Errors
    /// When the address is no `http://` URL.
    pub fn new(url: &str) -> Result<Self, RecommenderError> {
        let bad = || RecommenderError::Address(url.to_owned());
        let base = Url::parse(url).map_err(|_| bad())?;
        if base.scheme() != "http" || base.cannot_be_a_base() {
            return Err(bad());
        }
        let http = reqwest::Client::builder().timeout(ANSWER_MAX).no_proxy().build().map_err(|_| bad())?;
        Ok(Self { base, http })
    }

    /// The address of the service.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The address of a route, ids escaped.
    #[must_use]
    pub fn url(&self, segments: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        // A base that can be one has segments: checked when it was made.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("recommendations").extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The best items for a user; `parameters` are those of the route.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn recommend(
        &self,
        user: &str,
        parameters: &[(&str, String)],
    ) -> Result<Value, RecommenderError> {
        self.get(self.url(&["recommend", user], parameters)).await
    }

    /// The items most like another; `parameters` are those of the route.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn similar(
        &self,
        item: &str,
        parameters: &[(&str, String)],
    ) -> Result<Value, RecommenderError> {
        self.get(self.url(&["similar", item], parameters)).await
    }

    /// The rating a user would give an item; `parameters` are those of the route.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn predict(
        &self,
        user: &str,
        item: &str,
        parameters: &[(&str, String)],
    ) -> Result<Value, RecommenderError> {
        let url = self.url(&["predict"], parameters);
        let body = json!({"user_id": id_value(user), "movie_id": id_value(item)});
        self.answer(self.http.post(url).json(&body)).await
    }

    /// Where each of some users' lists would come from: `model` where the model knows the user.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn sources(&self, users: &[i64]) -> Result<Vec<String>, RecommenderError> {
        let url = self.url(&["batch"], &[("n", "1".to_owned())]);
        let answer = self.answer(self.http.post(url).json(&json!({"user_ids": users}))).await?;
        let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(results.iter().map(|of| of["source"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Which version answers, and how many shards of it can.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn health(&self) -> Result<Value, RecommenderError> {
        self.get(self.url(&["health"], &[])).await
    }

    async fn get(&self, url: Url) -> Result<Value, RecommenderError> {
        self.answer(self.http.get(url)).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, RecommenderError> {
        let unreachable = |source| RecommenderError::Unreachable { url: self.base.to_string(), source };
        let reply = request.send().await.map_err(unreachable)?;
        let status = reply.status();
        let text = reply.text().await.map_err(unreachable)?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(body);
        }
        let detail = match body.get("detail").and_then(Value::as_str) {
            Some(detail) => detail.to_owned(),
            None => format!("the router answered {status} without saying why"),
        };
        Err(RecommenderError::Refused { status, detail })
    }
}

/// An id as the API takes it: a number where it is one.
#[must_use]
pub fn id_value(id: &str) -> Value {
    id.parse::<i64>().map_or_else(|_| id.into(), Value::from)
}
