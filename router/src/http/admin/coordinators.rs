//! Asking the coordinators for whoever asks the router.
//!
//! A router has no rights of its own among the methods for people and programs: it shows the caller's token, and the
//! coordinators judge it as if the caller had called them. Where callers prove themselves by certificates alone there is
//! nothing that a router could show, and nothing is asked.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{Extensions, StatusCode, header, request::Parts},
};
use shoal_common::{
    access::Token,
    clock::Clock,
    cluster_client::{ClientError, ClusterClient},
    rpc::{CallCredentials, Channels},
    shutdown::Shutdown,
};
use shoal_core::ModelKind;
use shoal_proto::v1::{DatasetInfo, ModelParameters};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tonic::Code;

use super::events::Streams;
use crate::http::{api::Api, error::HttpError};

/// Where the routes are.
pub(in crate::http) const ADMIN_PATH: &str = "/admin/";
/// Questions to the coordinators at once: they answer much, and queries go first.
const ASKED_AT_ONCE: usize = 16;
/// How long a leader is looked for: an election takes less.
const PATIENCE: Duration = Duration::from_secs(3);

/// How coordinators know who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Whoever reaches them may call.
    Nothing,
    /// By a token, or by an administrator's certificate.
    Tokens,
    /// By an administrator's certificate alone.
    Certificates,
}

/// The coordinators, as a router asks them. Clones share the number of questions at once.
#[derive(Debug, Clone)]
pub struct Coordinators {
    client: ClusterClient,
    places: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    proof: Proof,
    takes_no_changes: Option<&'static str>,
    training_defaults: TrainingDefaults,
    streams: Streams,
    stop: Shutdown,
}

/// What a model is trained with on a data set where nobody says; nothing for one that needs to be told more.
pub type TrainingDefaults = fn(ModelKind, &DatasetInfo) -> Option<ModelParameters>;

fn no_defaults(_: ModelKind, _: &DatasetInfo) -> Option<ModelParameters> {
    None
}

impl Coordinators {
    /// Knows these coordinators (`host:port`), at least one, and how they know who calls.
    #[must_use]
    pub fn new(
        channels: Channels,
        addresses: Vec<String>,
        clock: Arc<dyn Clock>,
        proof: Proof,
        stop: Shutdown,
    ) -> Self {
        let client = ClusterClient::new(channels, addresses).with_patience(PATIENCE);
        Self {
            client,
            places: Arc::new(Semaphore::new(ASKED_AT_ONCE)),
            clock,
            proof,
            takes_no_changes: None,
            training_defaults: no_defaults,
            streams: Streams::default(),
            stop,
        }
    }

    /// Takes no changes, for this reason.
    #[must_use]
    pub fn without_changes(self, reason: &'static str) -> Self {
        Self { takes_no_changes: Some(reason), ..self }
    }

    /// Trains with these parameters where nobody says otherwise.
    #[must_use]
    pub fn with_training_defaults(self, training_defaults: TrainingDefaults) -> Self {
        Self { training_defaults, ..self }
    }

    /// Why changes are not taken, where they are not.
    pub(super) fn takes_no_changes(&self) -> Option<&'static str> {
        self.takes_no_changes
    }

    pub(super) fn training_defaults(
        &self,
        kind: ModelKind,
        dataset: &DatasetInfo,
    ) -> Option<ModelParameters> {
        (self.training_defaults)(kind, dataset)
    }

    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Told when the router stops.
    pub(super) fn stop(&self) -> &Shutdown {
        &self.stop
    }

    /// Waits for a place among the questions at once.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.places).acquire_owned().await
    }

    /// The coordinators in the name of whoever has sent a request with these extensions.
    pub(super) fn in_the_name_of(&self, extensions: &Extensions) -> Result<ClusterClient, HttpError> {
        let client = self.client.clone();
        let refused = |detail: &str| Err(HttpError::of(StatusCode::FORBIDDEN, detail.to_owned()));
        match (self.proof, extensions.get::<ShownToken>()) {
            (Proof::Nothing, _) => Ok(client),
            (Proof::Tokens, Some(ShownToken(credentials))) => Ok(client.on_behalf_of(credentials.clone())),
            (Proof::Tokens, None) => refused(
                "the coordinators know the callers of a router by tokens alone, and this one has shown a certificate; \
                 send a token as 'Authorization: Bearer shoal_…', or use the command line with --certs",
            ),
            (Proof::Certificates, _) => refused(
                "the coordinators ask for an administrator's certificate, which a router cannot show for its callers; \
                 set node.tokens = true and send a token, or use the command line with --certs",
            ),
        }
    }

    pub(super) fn now_unix_ms(&self) -> i64 {
        self.clock.now_unix_ms()
    }
}

/// The token that a caller has shown and that was good, for the coordinators.
#[derive(Debug, Clone)]
pub(in crate::http) struct ShownToken(CallCredentials);

impl ShownToken {
    /// The token of the headers, if they have one.
    pub(in crate::http) fn of(headers: &axum::http::HeaderMap) -> Option<Self> {
        let token = Token::of_header(headers.get(header::AUTHORIZATION)?).ok()?;
        Some(Self(CallCredentials::new(Some(&token))))
    }
}

/// The coordinators in the name of whoever asks, and one of the places among those who ask at once.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) client: ClusterClient,
    _place: OwnedSemaphorePermit,
}

impl FromRequestParts<Api> for Asking {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, HttpError> {
        let client = api.coordinators.in_the_name_of(&parts.extensions)?;
        let place = Arc::clone(&api.coordinators.places).try_acquire_owned().map_err(|_| {
            HttpError::busy(format!(
                "{ASKED_AT_ONCE} questions to the coordinators are under way; try again in a moment"
            ))
        })?;
        Ok(Self { client, _place: place })
    }
}

impl From<ClientError> for HttpError {
    fn from(error: ClientError) -> Self {
        let status = match error {
            ClientError::Unreachable { addresses, reason } => {
                return Self::not_yet(format!(
                    "no leading coordinator answered at {addresses} ({reason}); queries go on without, and this is answered \
                     again when more than half of the coordinators are up"
                ));
            }
            ClientError::Refused(status) => status,
        };
        let detail = status.message().to_owned();
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => Self::bad_request(detail),
            Code::NotFound => Self::not_found(detail),
            Code::Unauthenticated => Self::of(StatusCode::UNAUTHORIZED, detail),
            Code::PermissionDenied => Self::of(StatusCode::FORBIDDEN, detail),
            Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => {
                Self::of(StatusCode::CONFLICT, detail)
            }
            Code::ResourceExhausted => Self::busy(detail),
            Code::Unavailable => Self::not_yet(detail),
            Code::DeadlineExceeded => Self::of(StatusCode::GATEWAY_TIMEOUT, detail),
            Code::Unimplemented => Self::of(
                StatusCode::NOT_IMPLEMENTED,
                format!("the coordinators are of another release than this router: {detail}"),
            ),
            _ => Self::of(StatusCode::BAD_GATEWAY, format!("the leading coordinator failed: {detail}")),
        }
    }
}
