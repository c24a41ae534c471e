//! What the command line asks of a router, over HTTP. Answers stay JSON as they came: what a script
//! gets from `--json` is what the API gives.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
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
        "no router answers at {url} ({reason}); is the cluster running? `shoal up` starts one on this machine, --url names \
         another"
    )]
    Unreachable {
        /// Who was asked.
        url: String,
        /// The innermost cause: "Connection refused" rather than how it was met.
        reason: String,
    },
    /// Somebody took the question and did not answer in time.
    #[error("the router at {url} did not answer within {} s; try again, or look into its log", ANSWER_MAX.as_secs())]
    Late {
        /// Who was asked.
        url: String,
    },
    /// The answer is none of a router.
    #[error(
        "what answers at {url} is no router of Shoal (it answered {status} without JSON); --url names another"
    )]
    NoRouter {
        /// Who was asked.
        url: String,
        /// HTTP status.
        status: StatusCode,
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

    /// The address of a route.
    #[must_use]
    pub fn url(&self, route: &str, query: &[(&str, String)]) -> Url {
        self.address(route, None, query)
    }

    /// The address of a route about an id of any characters; `parameter` is what the id is called.
    #[must_use]
    pub fn url_about(&self, route: &str, parameter: &str, id: &str, query: &[(&str, String)]) -> Url {
        // Of these three no path is left as it is, escaped or not.
        if ["", ".", ".."].contains(&id) {
            let query: Vec<_> =
                [(parameter, id.to_owned())].into_iter().chain(query.iter().cloned()).collect();
            return self.address(route, None, &query);
        }
        self.address(route, Some(id), query)
    }

    fn address(&self, route: &str, id: Option<&str>, query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        let mut path = format!("{}/recommendations/{route}", url.path().trim_end_matches('/'));
        if let Some(id) = id {
            path.push('/');
            // Whole, as the setters of a URL leave out line ends and tabs.
            path.extend(utf8_percent_encode(id, NON_ALPHANUMERIC));
        }
        url.set_path(&path);
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
        self.get(self.url_about("recommend", "user_id", user, parameters)).await
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
        self.get(self.url_about("similar", "movie_id", item, parameters)).await
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
        let url = self.url("predict", parameters);
        // As texts: of which kind ids are is for the router to know, and `007` is another text than `7`.
        let body = json!({"user_id": user, "movie_id": item});
        self.answer(self.http.post(url).json(&body)).await
    }

    /// Where each of some users' lists would come from: `model` where the model knows the user.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn sources(&self, users: &[i64]) -> Result<Vec<String>, RecommenderError> {
        let url = self.url("batch", &[("n", "1".to_owned())]);
        let answer = self.answer(self.http.post(url).json(&json!({"user_ids": users}))).await?;
        let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(results.iter().map(|of| of["source"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Which version answers, and how many shards of it can.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn health(&self) -> Result<Value, RecommenderError> {
        self.get(self.url("health", &[])).await
    }

    async fn get(&self, url: Url) -> Result<Value, RecommenderError> {
        self.answer(self.http.get(url)).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, RecommenderError> {
        let url = || self.base.to_string();
        let unreachable = |error: reqwest::Error| match error.is_timeout() && !error.is_connect() {
            true => RecommenderError::Late { url: url() },
            false => RecommenderError::Unreachable { url: url(), reason: innermost(&error) },
        };
        let reply = request.send().await.map_err(unreachable)?;
        let status = reply.status();
        let text = reply.text().await.map_err(unreachable)?;
        let no_router = || RecommenderError::NoRouter { url: url(), status };
        let body: Value = serde_json::from_str(&text).map_err(|_| no_router())?;
        if status.is_success() {
            return Ok(body);
        }
        let detail = body.get("detail").and_then(Value::as_str).ok_or_else(no_router)?;
        Err(RecommenderError::Refused { status, detail: detail.to_owned() })
    }
}

/// The innermost cause of an error, which says what happened rather than how it was met.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// A parameter as JSON: a number where it is one.
#[must_use]
pub fn id_value(id: &str) -> Value {
    id.parse::<i64>().map_or_else(|_| id.into(), Value::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_of_any_characters_comes_back_from_its_address(
            id in prop_oneof![".{0,8}", "[./%?#\\\\ \t\n\r\u{7f}é🐟]{0,4}"],
            base in prop::sample::select(&["http://h:1", "http://h:1/", "http://h:1/behind/a%20proxy/"][..]),
        ) {
            let url = Recommender::new(base).unwrap().url_about("recommend", "user_id", &id, &[("n", "3".to_owned())]);
            let prefix = base.trim_start_matches("http://h:1").trim_end_matches('/');
            let path = url.path().strip_prefix(prefix).unwrap();
            let named = url.query_pairs().find(|(name, _)| name == "user_id").map(|(_, value)| value.into_owned());
            let found = match path.strip_prefix("/recommendations/recommend/") {
                Some(escaped) => {
                    prop_assert!(!escaped.contains('/') && named.is_none());
                    percent_encoding::percent_decode_str(escaped).decode_utf8().unwrap().into_owned()
                }
                None => {
                    prop_assert_eq!(path, "/recommendations/recommend");
                    named.unwrap()
                }
            };
            prop_assert_eq!(found, id);
            prop_assert!(url.query_pairs().any(|pair| pair == ("n".into(), "3".into())));
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_said_in_one_sentence() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Recommender::new(&url).unwrap().health().await.unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains("onnection refused") && sentence.contains("`shoal up`"), "{sentence}");
        assert!(std::error::Error::source(&error).is_none(), "a chain of causes would be said after it");
    }
}
