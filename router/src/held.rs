//! Places among the queries under way, held until the client has taken the answer.
//!
//! An answer that nobody reads takes as much memory as one that is being made. So a query's place goes into the body of
//! its response, and is free when the body has been sent, or when the client has gone. A body goes out in pieces: a
//! server that has room for one takes no more, and the rest counts as not taken.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;
use tower::{BoxError, Layer, Service};

use crate::admission::Admitted;

/// Bytes that are handed to the server at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// How long a client may take for an answer that has a place of the large ones.
const TAKING_MAX: Duration = Duration::from_secs(60);

tokio::task_local! {
    /// The places of the queries that the request under way has made.
    static PLACES: RefCell<Vec<Admitted>>;
}

/// Holds a place until the response to the request under way has been taken. Without one it is free at once.
pub(crate) fn hold(place: Admitted) {
    let _no_request = PLACES.try_with(|places| places.borrow_mut().push(place));
}

/// Lets responses hold the places of their queries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HoldLayer;

impl<S> Layer<S> for HoldLayer {
    type Service = Hold<S>;

    fn layer(&self, inner: S) -> Hold<S> {
        Hold(inner)
    }
}

/// A service whose responses hold the places of their queries.
#[derive(Debug, Clone)]
pub(crate) struct Hold<S>(S);

impl<S, R, B> Service<Request<R>> for Hold<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
{
    type Response = Response<Held<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(PLACES.scope(RefCell::default(), async move {
            let response = response.await?;
            let places = PLACES.with(RefCell::take);
            Ok(response.map(|body| Held::new(body, places)))
        }))
    }
}

/// A body that holds places until it has been sent.
#[derive(Debug)]
pub(crate) struct Held<B> {
    content: Arc<Mutex<Option<Content<B>>>>,
    /// Ends the wait for a slow client.
    waiting: Option<AbortHandle>,
}

#[derive(Debug)]
struct Content<B> {
    body: Pin<Box<B>>,
    /// What is left of the body's last piece.
    rest: Bytes,
    _places: Vec<Admitted>,
}

/// The client took too long.
#[derive(Debug, thiserror::Error)]
#[error("the answer was not taken within {} s", TAKING_MAX.as_secs())]
struct NotTaken;

impl<B: Send + 'static> Held<B> {
    fn new(body: B, places: Vec<Admitted>) -> Self {
        let is_large = places.iter().any(Admitted::is_large);
        let content =
            Arc::new(Mutex::new(Some(Content { body: Box::pin(body), rest: Bytes::new(), _places: places })));
        let waiting = is_large.then(|| {
            let content = Arc::clone(&content);
            let wait = async move {
                tokio::time::sleep(TAKING_MAX).await;
                drop(lock(&content).take());
            };
            tokio::spawn(wait).abort_handle()
        });
        Self { content, waiting }
    }
}

fn lock<B>(content: &Mutex<Option<Content<B>>>) -> MutexGuard<'_, Option<Content<B>>> {
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Drop for Held<B> {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.abort();
        }
    }
}

impl<B> Body for Held<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut held = lock(&self.content);
        let Some(content) = held.as_mut() else { return Poll::Ready(Some(Err(NotTaken.into()))) };
        if content.rest.is_empty() {
            let frame = match ready!(content.body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(frame) => frame.map_err(Into::into)?,
            };
            match frame.into_data() {
                Ok(data) => content.rest = data,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let piece = content.rest.split_to(PIECE_BYTES.min(content.rest.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.content)
            .as_ref()
            .is_some_and(|content| content.rest.is_empty() && content.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let held = lock(&self.content);
        let Some(content) = held.as_ref() else { return SizeHint::default() };
        let (inner, rest) = (content.body.size_hint(), content.rest.len() as u64);
        let mut hint = SizeHint::default();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
