//! The HTTP API as a client sees it.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

/// Above the router's own timeout, so that its answer is the one that is seen.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The answer to one HTTP request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body. Panics when it is no JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of a good answer.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }
}

/// A client of one router.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    base: String,
    client: reqwest::Client,
}

impl Http {
    pub(crate) fn new(base: &str) -> Self {
        let client = reqwest::Client::builder().timeout(ANSWER_MAX).no_proxy().build().unwrap();
        Self { base: base.trim_end_matches('/').to_owned(), client }
    }

    /// The address that is asked.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// `GET` by the holder of a token.
    pub(crate) async fn get_with(&self, token: &str, path: &str) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base));
        self.answer(request.bearer_auth(token)).await.unwrap()
    }

    /// `GET`, or why there was no answer at all.
    pub(crate) async fn try_get(&self, path: &str) -> Result<Answer, reqwest::Error> {
        self.answer(self.client.get(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap()
    }

    /// `POST` of JSON, or why there was no answer at all.
    pub(crate) async fn try_post(&self, path: &str, body: impl ToString) -> Result<Answer, reqwest::Error> {
        let request = self.client.post(format!("{}{path}", self.base));
        self.answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl ToString) -> Answer {
        self.try_post(path, body).await.unwrap()
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let reply = request.send().await?;
        let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
        Ok(Answer { status, headers, text: reply.text().await? })
    }
}
