//! Tells the audit log of calls that a gRPC server refuses because of who calls or how often, whichever part of it refuses.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response, Uri};
use pin_project_lite::pin_project;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use super::{Audit, Entry, Outcome, TokenId, Who};

/// Puts the audit log before the services of a server.
#[derive(Debug, Clone)]
pub struct AuditLayer {
    audit: Audit,
    tells_overload: bool,
}

impl Audit {
    /// A layer that tells this log of calls that are refused because of who calls.
    #[must_use]
    pub fn layer(&self) -> AuditLayer {
        AuditLayer { audit: self.clone(), tells_overload: false }
    }

    /// As [`Audit::layer`], and of calls that are refused because there are too many: for servers of clients, whose calls
    /// nobody makes again elsewhere.
    #[must_use]
    pub fn layer_with_overload(&self) -> AuditLayer {
        AuditLayer { audit: self.clone(), tells_overload: true }
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audited<S>;

    fn layer(&self, inner: S) -> Audited<S> {
        Audited { layer: self.clone(), inner }
    }
}

/// A service whose refusals are told.
#[derive(Debug, Clone)]
pub struct Audited<S> {
    layer: AuditLayer,
    inner: S,
}

impl<S, B> Service<Request<B>> for Audited<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, who) = (request.uri().clone(), Who::of(request.extensions()));
        Answering { answer: self.inner.call(request), layer: self.layer.clone(), method, who }
    }
}

pin_project! {
    /// An answer that is on its way.
    #[derive(Debug)]
    pub struct Answering<F> {
        #[pin]
        answer: F,
        layer: AuditLayer,
        method: Uri,
        who: Who,
    }
}

impl<F, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        if let Ok(response) = &answer
            && let Some(refusal) = refusal(response, this.layer.tells_overload)
        {
            let mut who = std::mem::take(this.who);
            who.token = response.extensions().get::<TokenId>().cloned().or(who.token);
            this.layer.audit.refuse(Entry::new(this.method.path(), who, Outcome::refused(refusal.message())));
        }
        Poll::Ready(answer)
    }
}

/// Why a call is refused, where that is because of who calls or how often. Such an answer has no message, and its status in
/// its headers.
fn refusal(response: &Response<Body>, tells_overload: bool) -> Option<Status> {
    let status = Status::from_header_map(response.headers())?;
    let is_told = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => true,
        Code::ResourceExhausted => tells_overload,
        _ => false,
    };
    is_told.then_some(status)
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::{audit::AuditTarget, clock::SystemClock};

    #[tokio::test]
    async fn refusals_are_told_whichever_part_makes_them_and_other_answers_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let target = AuditTarget::File { path: path.clone(), bytes_max: 1 << 20, files: 1 };
        let audit = Audit::open(target, "router r", Arc::new(SystemClock)).unwrap();
        for (path, status) in [
            ("/s/denied", Status::permission_denied("not for you")),
            ("/s/missing", Status::not_found("user 17")),
            ("/s/unknown", Status::unauthenticated("who?")),
            ("/s/busy", Status::resource_exhausted("later")),
            ("/s/good", Status::ok("")),
        ] {
            let answer = service_fn(move |_: Request<()>| {
                let mut response: Response<Body> = status.clone().into_http();
                response.extensions_mut().insert(TokenId("t1".into()));
                async move { Ok::<_, Infallible>(response) }
            });
            let service = audit.layer().layer(answer);
            service.oneshot(Request::get(path).body(()).unwrap()).await.unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!((&lines[0]["action"], &lines[0]["reason"]), (&"/s/denied".into(), &"not for you".into()));
        assert_eq!((&lines[1]["action"], &lines[1]["token"]), (&"/s/unknown".into(), &"t1".into()));
    }
}
