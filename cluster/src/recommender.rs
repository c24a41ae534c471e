//! What the command line asks of a router, over HTTP. Answers stay JSON as they came: what a script
//! gets from `--json` is what the API gives.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::{Value, json};
use shoal_common::{access::Token, causes::innermost, tls::does_not_speak_tls};

/// A query may be retried and hedged by the router; its own timeout is shorter than this.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A query without an answer.
#[derive(Debug, thiserror::Error)]
pub enum RecommenderError {
    /// The address is no URL.
    #[error("'{0}' is not an http:// or https:// address")]
    Address(String),
    /// The authority's certificate cannot be used.
    #[error("cannot use '{path}' to check the router's certificate: {reason}")]
    Authority {
        /// The file of the authority's certificate.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No router answered at the address.
    #[error(
        "no router answers at {url} ({reason}); is the cluster running? `shoal up` starts one on this machine, --url names \
         another, and --certs the folder of a ca.pem to trust"
    )]
    Unreachable {
        /// The address that was asked.
        url: String,
        /// The innermost cause: "Connection refused" rather than how it was met.
        reason: String,
    },
    /// Somebody took the question and did not answer in time.
    #[error("the router at {url} did not answer within {} s; try again, or look into its log", ANSWER_MAX.as_secs())]
    Late {
        /// The address that was asked.
        url: String,
    },
    /// The answer is none of a router.
    #[error(
        "what answers at {url} is no router of Shoal (it answered {status} without JSON); --url names another"
    )]
    NoRouter {
        /// The address that was asked.
        url: String,
        /// The HTTP status of the answer.
        status: StatusCode,
    },
    /// The router refused: its own sentence.
    #[error("{detail}")]
    Refused {
        /// The HTTP status of the answer.
        status: StatusCode,
        /// The `detail` of the answer.
        detail: String,
    },
}

/// A face of a service: its paths, and what its answers call things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Api {
    /// `/v1`, of items
    #[default]
    V1,
    /// `/recommendations`, of movies
    Recommendations,
}

/// What a face calls things in bodies and answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// The name of an item's id.
    pub item_id: &'static str,
    /// The list of an answer to [`Route::Recommend`].
    pub recommended: &'static str,
    /// The list of an answer to [`Route::Similar`].
    pub similar: &'static str,
}

impl Api {
    /// What the face calls things.
    #[must_use]
    pub fn names(self) -> &'static Names {
        match self {
            Self::V1 => &Names { item_id: "item_id", recommended: "items", similar: "items" },
            Self::Recommendations => {
                &Names { item_id: "movie_id", recommended: "recommendations", similar: "similar_movies" }
            }
        }
    }
}

/// What is asked of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// The best items for a user.
    Recommend {
        /// Id of the user.
        user: &'a str,
    },
    /// The items most like another.
    Similar {
        /// Id of the item.
        item: &'a str,
    },
    /// The rating a user would give an item.
    Predict,
    /// The best items for many users.
    Batch,
    /// Which version answers, and whether the service is well.
    Health,
    /// What is known of an item; of `/v1` alone.
    Item {
        /// Id of the item.
        item: &'a str,
    },
    /// Items by their titles; of `/v1` alone.
    Items,
}

impl<'a> Route<'a> {
    /// The parts of the route's path, as they are before anything is escaped.
    #[must_use]
    pub fn path(self, api: Api) -> Vec<&'a str> {
        match (self, api) {
            (Self::Recommend { user }, Api::V1) => vec!["v1", "users", user, "recommendations"],
            (Self::Similar { item }, Api::V1) => vec!["v1", "items", item, "similar"],
            (Self::Predict, Api::V1) => vec!["v1", "predictions"],
            (Self::Batch, Api::V1) => vec!["v1", "recommendations", "batch"],
            (Self::Health, Api::V1) => vec!["v1", "health"],
            (Self::Item { item }, _) => vec!["v1", "items", item],
            (Self::Items, _) => vec!["v1", "items"],
            (Self::Recommend { user }, Api::Recommendations) => vec!["recommendations", "recommend", user],
            (Self::Similar { item }, Api::Recommendations) => vec!["recommendations", "similar", item],
            (Self::Predict, Api::Recommendations) => vec!["recommendations", "predict"],
            (Self::Batch, Api::Recommendations) => vec!["recommendations", "batch"],
            (Self::Health, Api::Recommendations) => vec!["recommendations", "health"],
        }
    }

    /// The path of a route about an id that no path can carry, and the parameter that names the id.
    fn path_beside(self, api: Api) -> Option<(Vec<&'static str>, &'static str, &'a str)> {
        let item_id = api.names().item_id;
        let (id, path, parameter) = match (self, api) {
            (Self::Recommend { user }, Api::V1) => (user, vec!["v1", "recommendations"], "user_id"),
            (Self::Recommend { user }, Api::Recommendations) => {
                (user, vec!["recommendations", "recommend"], "user_id")
            }
            (Self::Similar { item }, Api::V1) => (item, vec!["v1", "similar"], item_id),
            (Self::Similar { item }, Api::Recommendations) => {
                (item, vec!["recommendations", "similar"], item_id)
            }
            (Self::Item { item }, _) => (item, vec!["v1", "item"], "item_id"),
            (Self::Predict | Self::Batch | Self::Health | Self::Items, _) => return None,
        };
        // Of these three no path is left as it is, escaped or not.
        ["", ".", ".."].contains(&id).then_some((path, parameter, id))
    }
}

/// A client of one router.
#[derive(Debug, Clone)]
pub struct Recommender {
    base: Url,
    http: reqwest::Client,
    api: Api,
    authority: Option<reqwest::Certificate>,
    /// `Authorization`, where a token is shown.
    credentials: HeaderMap,
}

fn builder(authority: Option<&reqwest::Certificate>, credentials: HeaderMap) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().no_proxy().default_headers(credentials);
    match authority {
        Some(authority) => builder.add_root_certificate(authority.clone()),
        None => builder,
    }
}

/// The certificate of a cluster's authority.
fn authority(path: &Path) -> Result<reqwest::Certificate, RecommenderError> {
    let failed = |reason: String| RecommenderError::Authority { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    reqwest::Certificate::from_pem(&pem).map_err(|error| failed(error.to_string()))
}

impl Recommender {
    /// A client of the router at `url` (`http://host:port` or `https://host:port`). Beside the authorities of this
    /// machine, that of the folder `certs` is trusted. The token is shown with each request.
    ///
    /// # Errors
    /// When the address is no such URL, or the authority's certificate cannot be read.
    pub fn new(url: &str, certs: Option<&Path>, token: Option<&Token>) -> Result<Self, RecommenderError> {
        let bad = || RecommenderError::Address(url.to_owned());
        let base = Url::parse(url).map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(bad());
        }
        let authority = certs.map(|folder| authority(&folder.join("ca.pem"))).transpose()?;
        let credentials: HeaderMap = token.map(|token| (AUTHORIZATION, token.header())).into_iter().collect();
        let http = builder(authority.as_ref(), credentials.clone());
        let http = http.timeout(ANSWER_MAX).build().map_err(|_| bad())?;
        Ok(Self { base, http, api: Api::default(), authority, credentials })
    }

    /// An HTTP client that trusts whom this one trusts, and shows what it shows.
    pub fn http_builder(&self) -> reqwest::ClientBuilder {
        builder(self.authority.as_ref(), self.credentials.clone())
    }

    /// The same router by this face.
    #[must_use]
    pub fn by(self, api: Api) -> Self {
        Self { api, ..self }
    }

    /// The face that is asked.
    #[must_use]
    pub fn api(&self) -> Api {
        self.api
    }

    /// The address of the service.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The address of a route, whose ids may have any characters.
    #[must_use]
    pub fn url(&self, route: Route<'_>, query: &[(&str, String)]) -> Url {
        match route.path_beside(self.api) {
            None => self.address(&route.path(self.api), query),
            Some((path, parameter, id)) => {
                let id = std::iter::once((parameter, id.to_owned()));
                self.address(&path, &id.chain(query.iter().cloned()).collect::<Vec<_>>())
            }
        }
    }

    fn address(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.base.clone();
        let mut whole = url.path().trim_end_matches('/').to_owned();
        for part in path {
            whole.push('/');
            // Whole, as the setters of a URL leave out line ends and tabs.
            whole.extend(utf8_percent_encode(part, NON_ALPHANUMERIC));
        }
        url.set_path(&whole);
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
        self.get(self.url(Route::Recommend { user }, parameters)).await
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
        self.get(self.url(Route::Similar { item }, parameters)).await
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
        let url = self.url(Route::Predict, parameters);
        // As texts: of which kind ids are is for the router to know, and `007` is another text than `7`.
        let body = json!({"user_id": user, self.api.names().item_id: item});
        self.answer(self.http.post(url).json(&body)).await
    }

    /// What is known of an item.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn item(&self, item: &str) -> Result<Value, RecommenderError> {
        self.get(self.url(Route::Item { item }, &[])).await
    }

    /// The items whose titles answer to some words; `parameters` are those of the route.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn items(&self, query: &str, parameters: &[(&str, String)]) -> Result<Value, RecommenderError> {
        let query = [("query", query.to_owned())];
        self.get(self.url(Route::Items, &[&query[..], parameters].concat())).await
    }

    /// Where each of some users' lists would come from: `model` where the model knows the user.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn sources(&self, users: &[i64]) -> Result<Vec<String>, RecommenderError> {
        let url = self.url(Route::Batch, &[("n", "1".to_owned())]);
        let answer = self.answer(self.http.post(url).json(&json!({"user_ids": users}))).await?;
        let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(results.iter().map(|of| of["source"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Which version answers, and how many shards of it can.
    ///
    /// # Errors
    /// See [`RecommenderError`].
    pub async fn health(&self) -> Result<Value, RecommenderError> {
        self.get(self.url(Route::Health, &[])).await
    }

    async fn get(&self, url: Url) -> Result<Value, RecommenderError> {
        self.answer(self.http.get(url)).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, RecommenderError> {
        let url = || self.base.to_string();
        let unreachable = |error: reqwest::Error| match error.is_timeout() && !error.is_connect() {
            true => RecommenderError::Late { url: url() },
            false if does_not_speak_tls(&error) => {
                let reason = "what listens there does not speak TLS: use http://".to_owned();
                RecommenderError::Unreachable { url: url(), reason }
            }
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
            (base, proxy) in prop::sample::select(
                &[("http://h:1", 0), ("http://h:1/", 0), ("http://h:1/behind/a%20proxy/", 2)][..],
            ),
            api in prop::sample::select(&[Api::V1, Api::Recommendations][..]),
        ) {
            let service = Recommender::new(base, None, None).unwrap().by(api);
            let query = [("n", "3".to_owned())];
            let item_id = api.names().item_id;
            for (route, parameter) in
                [(Route::Recommend { user: &id }, "user_id"), (Route::Similar { item: &id }, item_id)]
            {
                let url = service.url(route, &query);
                let named = url.query_pairs().find(|(name, _)| name == parameter);
                let found = match named {
                    Some((_, value)) => {
                        prop_assert!(["", ".", ".."].contains(&&*value));
                        value.into_owned()
                    }
                    None => {
                        let parts: Vec<&str> = url.path_segments().unwrap().collect();
                        let expected = route.path(api);
                        prop_assert_eq!(parts.len(), expected.len() + proxy);
                        let at = expected.iter().rposition(|part| *part == id).unwrap();
                        let escaped = parts[proxy + at];
                        percent_encoding::percent_decode_str(escaped).decode_utf8().unwrap().into_owned()
                    }
                };
                prop_assert_eq!(&found, &id);
                prop_assert!(url.query_pairs().any(|pair| pair == ("n".into(), "3".into())));
                let prefix = base.trim_start_matches("http://h:1").trim_end_matches('/');
                prop_assert!(url.path().starts_with(prefix));
            }
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_said_in_one_sentence() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Recommender::new(&url, None, None).unwrap().health().await.unwrap_err();
        let sentence = error.to_string();
        assert!(sentence.contains("onnection refused") && sentence.contains("`shoal up`"), "{sentence}");
        assert!(std::error::Error::source(&error).is_none(), "a chain of causes would be said after it");
    }
}
