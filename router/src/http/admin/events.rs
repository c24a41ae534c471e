//! What changes, as server-sent events.
//!
//! An event is a whole state, never a difference: whoever misses some has lost nothing when the next one comes. The id of an
//! event is the checksum of what it says, so a client that comes back with `Last-Event-ID` is not sent again what it has.
//! A stream ends when the router stops and when the coordinators refuse the caller; clients come back by themselves.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{FromRequestParts, RawQuery},
    http::{HeaderMap, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::Stream;
use serde::Serialize;
use shoal_common::{
    access::Holder,
    cluster_client::{ClientError, ClusterClient, is_over},
};
use shoal_core::hash::checksum_hex;
use shoal_proto::v1::JobInfo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::{
    coordinators::Coordinators,
    reads::{Name, name_of, newest_first},
    views::{ClusterState, Job, Page},
};
use crate::http::{
    answers::ErrorAnswer,
    api::Api,
    error::HttpError,
    openapi::{NotFound, Refusals},
    parameters::Parameters,
};

/// Streams at once, of all callers.
const STREAMS_MAX: usize = 64;
/// Streams at once of one token.
const STREAMS_OF_TOKEN_MAX: usize = 8;
/// How often is looked for changes.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a stream that has nothing to say shows that it is there.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// Jobs that an event lists, the newest.
const JOBS_TOLD: usize = 20;

/// How many streams there are.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    places: Arc<Semaphore>,
    of_token: Arc<Mutex<HashMap<String, usize>>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(STREAMS_MAX)), of_token: Arc::default() }
    }
}

/// A stream's place among all, and among those of its token.
#[derive(Debug)]
struct StreamPlace {
    _place: OwnedSemaphorePermit,
    token: Option<String>,
    of_token: Arc<Mutex<HashMap<String, usize>>>,
}

impl Streams {
    fn enter(&self, holder: Option<&Holder>) -> Result<StreamPlace, HttpError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            HttpError::busy(format!(
                "{STREAMS_MAX} streams of events are open; close some, or try again later"
            ))
        })?;
        let token = holder.map(|holder| holder.token_id.to_string());
        if let Some(token) = &token {
            let mut of_token = self.of_token.lock().unwrap_or_else(PoisonError::into_inner);
            let open = of_token.entry(token.clone()).or_default();
            if *open >= STREAMS_OF_TOKEN_MAX {
                return Err(HttpError::busy(format!(
                    "{STREAMS_OF_TOKEN_MAX} streams of events of this token are open; close some first"
                )));
            }
            *open += 1;
        }
        Ok(StreamPlace { _place: place, token, of_token: Arc::clone(&self.of_token) })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let Some(token) = &self.token else { return };
        let mut of_token = self.of_token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = of_token.get_mut(token) {
            *open -= 1;
            if *open == 0 {
                of_token.remove(token);
            }
        }
    }
}

/// Who listens, and what it had heard before.
#[derive(Debug)]
pub(super) struct Listener {
    client: ClusterClient,
    coordinators: Coordinators,
    /// Checksums of what it has, by the name of the event.
    heard: HashMap<String, String>,
    _place: StreamPlace,
}

impl FromRequestParts<Api> for Listener {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, HttpError> {
        let client = api.coordinators.in_the_name_of(&parts.extensions)?;
        let place = api.coordinators.streams().enter(parts.extensions.get::<Holder>())?;
        Ok(Self {
            client,
            coordinators: api.coordinators.clone(),
            heard: heard(&parts.headers),
            _place: place,
        })
    }
}

/// What the id of the last event says: `name=checksum` for each kind of event, between commas.
fn heard(headers: &HeaderMap) -> HashMap<String, String> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    // A stream has two kinds of events.
    let pairs = last.split(',').take(2).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, checksum)| (name.to_owned(), checksum.to_owned())).collect()
}

impl Listener {
    /// An event of what is so now; nothing where it was told before.
    fn event(&mut self, name: &'static str, now: &impl Serialize) -> Option<Event> {
        let text = serde_json::to_string(now).ok()?;
        let checksum = checksum_hex(text.as_bytes());
        if self.heard.get(name) == Some(&checksum) {
            return None;
        }
        self.heard.insert(name.to_owned(), checksum);
        let mut ids: Vec<String> =
            self.heard.iter().map(|(name, checksum)| format!("{name}={checksum}")).collect();
        ids.sort();
        Some(Event::default().event(name).id(ids.join(",")).data(text))
    }

    /// What went wrong, and whether asking again may help.
    fn failure(&mut self, error: ClientError) -> (Option<Event>, bool) {
        let is_lasting = matches!(&error, ClientError::Refused(_));
        let detail = HttpError::from(error).detail().to_owned();
        (self.event("trouble", &ErrorAnswer { detail }), is_lasting)
    }

    /// The events of one look, and whether it was the last.
    async fn look(&mut self, what: &What) -> (Vec<Event>, bool) {
        let Ok(_place) = self.coordinators.place().await else { return (Vec::new(), true) };
        let told = match what {
            What::Cluster => self.look_at_cluster().await,
            What::Job(id) => self.look_at_job(id).await,
        };
        match told {
            Ok(told) => {
                // What was wrong is wrong no more: it is told again when it comes again.
                self.heard.remove("trouble");
                told
            }
            Err(error) => {
                let (event, is_last) = self.failure(error);
                (event.into_iter().collect(), is_last)
            }
        }
    }

    async fn look_at_cluster(&mut self) -> Result<(Vec<Event>, bool), ClientError> {
        let status = ClusterState::from(&self.client.status().await?);
        let mut jobs: Vec<JobInfo> = self.client.jobs().await?;
        newest_first(&mut jobs);
        let jobs: Page<Job> = Page::of(&jobs, JOBS_TOLD);
        let events = [self.event("status", &status), self.event("jobs", &jobs)];
        Ok((events.into_iter().flatten().collect(), false))
    }

    async fn look_at_job(&mut self, id: &str) -> Result<(Vec<Event>, bool), ClientError> {
        let job = self.client.job(id).await?;
        let event = self.event("job", &Job::from(&job));
        Ok((event.into_iter().collect(), is_over(&job)))
    }

    /// The events from now on.
    fn events(self, what: What) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
        let start = (self, what, Vec::<Event>::new().into_iter(), false, true);
        futures::stream::unfold(start, |(mut listener, what, mut ready, mut is_last, mut first)| async move {
            loop {
                if let Some(event) = ready.next() {
                    return Some((Ok(event), (listener, what, ready, is_last, first)));
                }
                if is_last || listener.coordinators.stop().is_requested() {
                    return None;
                }
                let stop = listener.coordinators.stop().clone();
                if !first {
                    tokio::select! {
                        biased;
                        () = stop.requested() => return None,
                        () = tokio::time::sleep(LOOK_EVERY) => {}
                    }
                }
                first = false;
                let (events, last) = tokio::select! {
                    biased;
                    () = stop.requested() => return None,
                    seen = listener.look(&what) => seen,
                };
                (ready, is_last) = (events.into_iter(), last);
            }
        })
    }

    fn answer(self, what: What) -> Response {
        Sse::new(self.events(what)).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response()
    }
}

/// An event of a stream.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes what is written in the form of server-sent events")]
struct ToldEvent {
    /// `status`, `jobs`, `job` or `trouble`.
    event: String,
    /// What the client has then, for `Last-Event-ID`.
    id: String,
    /// JSON in one line.
    data: String,
}

/// What a stream is about.
#[derive(Debug)]
enum What {
    Cluster,
    Job(String),
}

/// What changes in the cluster, as server-sent events.
///
/// `status` is a whole state as of `/admin/v1/status`, `jobs` the twenty newest jobs as of
/// `/admin/v1/jobs`, `trouble` a `detail` that says why nothing is heard. Each is sent at once, then when it has changed, looked at every two
/// seconds. With `Last-Event-ID` what the client has is not sent again.
#[utoipa::path(
    get, path = "/admin/v1/events", tag = "admin",
    responses((status = 200, body = ToldEvent, content_type = "text/event-stream"), Refusals),
)]
pub(super) async fn events(listener: Listener, RawQuery(query): RawQuery) -> Result<Response, HttpError> {
    Parameters::none(query.as_deref())?;
    Ok(listener.answer(What::Cluster))
}

/// What becomes of a job, as server-sent events.
///
/// `job` is the whole job as of `/admin/v1/jobs/{job_id}`, at once and when it has changed, until it is over;
/// then the stream ends.
#[utoipa::path(
    get, path = "/admin/v1/jobs/{job_id}/events", tag = "admin",
    params(("job_id" = String, Path, description = "The job's id", example = "train-20261124-101500")),
    responses((status = 200, body = ToldEvent, content_type = "text/event-stream"), Refusals, NotFound),
)]
pub(super) async fn job_events(
    listener: Listener,
    job_id: Name,
    RawQuery(query): RawQuery,
) -> Result<Response, HttpError> {
    Parameters::none(query.as_deref())?;
    let job_id = name_of(job_id)?;
    // A job that is not known is a 404, and no stream.
    listener.client.job(&job_id).await?;
    Ok(listener.answer(What::Job(job_id)))
}
