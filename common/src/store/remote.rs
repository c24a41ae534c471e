//! Stores at `s3://…`: how they are opened, and how requests to them travel.
//!
//! The library that speaks S3 is given a client of our own: the one that the rest of the program has, whose answers and
//! failures are also told to the [`Pulse`].

use std::{error::Error as _, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService,
    },
    prefix::PrefixStore,
};

use super::{StoreError, StoreOptions, pulse::Pulse};
use crate::causes::innermost;

/// The option that names a file of authorities, which the client takes and not the library.
const CA_BUNDLE: &str = "ca_bundle";

/// The option that says for how long failed requests are tried again.
const RETRY_SECONDS: &str = "retry_seconds";

/// Options that say where the server is, and that it may be one without TLS.
const ENDPOINT: &str = "endpoint";
const ALLOW_HTTP: &str = "allow_http";

/// More tries than fit in the time.
const TRIES_MAX: usize = 10_000;

/// The pause between two tries grows up to this.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long a connection may take, and how long a server may say nothing.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Opens the store at an address with a scheme.
pub(super) fn open(
    uri: &str,
    options: &StoreOptions,
    pulse: &Pulse,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let refused = |reason: String| StoreError::Address { uri: uri.to_owned(), reason };
    let scheme = uri.split_once("://").map_or(uri, |(scheme, _)| scheme);
    if scheme != "s3" {
        return Err(refused(format!(
            "'{scheme}://' is no kind of store; use a path, file:///… or s3://bucket/prefix"
        )));
    }
    let url = url::Url::parse(uri).map_err(|error| refused(error.to_string()))?;
    let (_, prefix) = ObjectStoreScheme::parse(&url).map_err(|error| refused(error.to_string()))?;
    let resolved = options.resolved()?;
    let said =
        |wanted: &str| resolved.iter().find(|(option, _)| *option == wanted).map(|(_, value)| value.as_str());
    // The client would refuse each request, and each would be tried again until the time is over.
    if let Some(endpoint) = said(ENDPOINT).filter(|endpoint| endpoint.starts_with("http://"))
        && said(ALLOW_HTTP) != Some("true")
    {
        return Err(refused(format!(
            "the endpoint '{endpoint}' is without TLS, so that others may read what travels; accept it with the store option \
             {ALLOW_HTTP}=true, or name an https:// endpoint"
        )));
    }
    let authorities = said(CA_BUNDLE);
    let connector =
        Connector { pulse: pulse.clone(), authorities: authorities.map(read_authorities).transpose()? };
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: PAUSE_MAX, ..BackoffConfig::default() },
        // The time is the limit.
        max_retries: TRIES_MAX,
        retry_timeout: options.patience(),
    };
    let mut builder = AmazonS3Builder::new().with_url(uri).with_retry(retry).with_http_connector(connector);
    for (option, value) in resolved {
        if matches!(option, CA_BUNDLE | RETRY_SECONDS) {
            continue;
        }
        let key: AmazonS3ConfigKey =
            option.parse().map_err(|_| refused(format!("'{option}' is no option")))?;
        builder = builder.with_config(key, value);
    }
    let bucket = builder.build().map_err(|error| refused(innermost(&error)))?;
    Ok(Arc::new(PrefixStore::new(bucket, prefix)))
}

fn read_authorities(path: &str) -> Result<Vec<reqwest::Certificate>, StoreError> {
    let failed =
        |reason: String| StoreError::Option { name: CA_BUNDLE.to_owned(), path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(innermost(&error)))
}

/// Makes clients for the library.
#[derive(Debug)]
struct Connector {
    pulse: Pulse,
    /// Authorities beside the system's.
    authorities: Option<Vec<reqwest::Certificate>>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allows_http =
            options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|flag| flag == "true");
        let mut client = reqwest::Client::builder()
            .https_only(!allows_http)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX);
        for authority in self.authorities.iter().flatten() {
            client = client.add_root_certificate(authority.clone());
        }
        let client = client
            .build()
            .map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })?;
        Ok(HttpClient::new(Client { client, pulse: self.pulse.clone() }))
    }
}

/// A client whose answers are noted.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    pulse: Pulse,
}

#[async_trait::async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let length = body.content_length();
        let request = http::Request::from_parts(parts, reqwest::Body::wrap(body));
        let mut request = reqwest::Request::try_from(request)
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        // Servers of S3 want to know how long a body is, also where there is nothing in it.
        if matches!(*request.method(), http::Method::PUT | http::Method::POST) {
            request.headers_mut().entry(http::header::CONTENT_LENGTH).or_insert(length.into());
        }
        match self.client.execute(request).await {
            Ok(response) => {
                match response.status() {
                    status if status.is_server_error() => self.pulse.failed(format!("it answers {status}")),
                    _ => self.pulse.answered(),
                }
                let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
                let body = HttpResponseBody::new(Noted { body, pulse: self.pulse.clone() });
                Ok(HttpResponse::from_parts(parts, body))
            }
            Err(error) => {
                self.pulse.failed(innermost(&error));
                Err(failure(error))
            }
        }
    }
}

/// A failure as the library tells which of them to try again.
fn failure(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else if was_closed(&error) {
        HttpErrorKind::Request
    } else {
        HttpErrorKind::Interrupted
    };
    // The library names the address itself, where that is no secret.
    HttpError::new(kind, error.without_url())
}

/// Whether the server closed the connection before it answered, as one does that has just been started anew.
fn was_closed(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted();
        }
        source = error.source();
    }
    false
}

pin_project_lite::pin_project! {
    /// A body that is read: each piece of it is a sign of the store.
    struct Noted {
        #[pin]
        body: reqwest::Body,
        pulse: Pulse,
    }
}

impl http_body::Body for Noted {
    type Data = bytes::Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = std::task::ready!(this.body.poll_frame(context));
        std::task::Poll::Ready(match frame {
            Some(Ok(frame)) => {
                this.pulse.answered();
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                this.pulse.failed(innermost(&error));
                Some(Err(failure(error)))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
