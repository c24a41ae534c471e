//! Who may call which method. A guard stands before a server's services and reads no message.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{Either, Ready, ready};
use http::{Request, Response};
use rustls::{client::verify_server_name, server::ParsedCertificate};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use crate::tls::{Identity, Peer, PeerRole, host_of, server_name};

/// Of a name that a caller gives itself, what a refusal repeats.
const CLAIM_CHARACTERS_MAX: usize = 64;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Whoever reaches the server.
    Anyone,
    /// Holders of a certificate of this cluster with one of these roles.
    Roles(&'static [PeerRole]),
}

/// The callers of a server's methods. A method that no rule names is refused.
#[derive(Debug, Clone)]
pub struct Guard {
    rule: Option<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    cluster_id: Arc<str>,
    /// The callers of a method by its path, `/package.Service/Method`.
    callers: fn(&str) -> Option<Callers>,
}

impl Guard {
    /// Lets everybody in: for a server without TLS, on which nobody can prove anything.
    #[must_use]
    pub fn open() -> Self {
        Self { rule: None }
    }

    /// Lets in those that the rule names.
    #[must_use]
    pub fn new(cluster_id: &str, callers: fn(&str) -> Option<Callers>) -> Self {
        Self { rule: Some(Rule { cluster_id: cluster_id.into(), callers }) }
    }

    fn check(&self, path: &str, peer: Option<&Peer>) -> Result<(), Status> {
        let Some(rule) = &self.rule else { return Ok(()) };
        let allowed = match (rule.callers)(path) {
            None => return Err(Status::unimplemented(format!("this node has no method {path}"))),
            Some(Callers::Anyone) => return Ok(()),
            Some(Callers::Roles(roles)) => roles,
        };
        let who = || allowed.iter().map(|role| role.name()).collect::<Vec<_>>().join(" or ");
        if peer.is_some_and(|peer| peer.identity.is_none() && peer.certificate.is_some()) {
            return Err(Status::unauthenticated(format!(
                "{path} is for the roles {}, and the caller's certificate has no name, or several, of the form \
                 spiffe://<cluster id>/<role>/<name>",
                who()
            )));
        }
        let Some(identity) = peer.and_then(|peer| peer.identity.as_ref()) else {
            return Err(Status::unauthenticated(format!(
                "{path} is for holders of a certificate of this cluster ({}); name yours with --certs",
                who()
            )));
        };
        if *identity.cluster_id() == *rule.cluster_id && allowed.contains(&identity.role()) {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "{path} is for the roles {} of cluster '{}', and the caller is {identity}",
            who(),
            rule.cluster_id
        )))
    }
}

/// Who calls, by its certificate; `None` without TLS, when nobody has a certificate.
pub fn certified_caller<T>(request: &tonic::Request<T>) -> Option<&Identity> {
    request.extensions().get::<Peer>()?.identity.as_ref()
}

/// Refuses a node that says it is called at an address (`host:port`) that its certificate does not name: others would be sent
/// there. Without TLS any address is taken.
///
/// # Errors
/// `PERMISSION_DENIED`, with the host.
pub fn certified_for<T>(request: &tonic::Request<T>, address: &str) -> Result<(), Status> {
    let Some(certificate) = request.extensions().get::<Peer>().and_then(|peer| peer.certificate.as_ref())
    else {
        return Ok(());
    };
    let host = host_of(address);
    let named = server_name(host).ok().zip(ParsedCertificate::try_from(certificate).ok());
    match named.map(|(name, certificate)| verify_server_name(&certificate, &name)) {
        Some(Ok(())) => Ok(()),
        _ => {
            let host: String = host.chars().take(CLAIM_CHARACTERS_MAX).collect();
            Err(Status::permission_denied(format!(
                "the caller says that it is called at '{host}', which its certificate does not name"
            )))
        }
    }
}

/// Refuses a caller that says it is another than its certificate names. Without TLS nobody has a certificate, and
/// any name is taken.
///
/// # Errors
/// `PERMISSION_DENIED`, with both names.
pub fn named_caller<T>(request: &tonic::Request<T>, role: PeerRole, claimed: &str) -> Result<(), Status> {
    match certified_caller(request) {
        Some(identity) if identity.role() != role || identity.name() != claimed => {
            let claimed: String = claimed.chars().take(CLAIM_CHARACTERS_MAX).collect();
            Err(Status::permission_denied(format!(
                "the caller calls itself {role} '{claimed}', and its certificate is that of {identity}"
            )))
        }
        _ => Ok(()),
    }
}

/// Puts a [`Guard`] before services.
#[derive(Debug, Clone)]
pub struct GuardLayer(Guard);

impl GuardLayer {
    /// A layer of this guard.
    #[must_use]
    pub fn new(guard: Guard) -> Self {
        Self(guard)
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.0.clone(), inner }
    }
}

/// A service behind a [`Guard`].
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.guard.check(request.uri().path(), request.extensions().get::<Peer>()) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(status) => {
                metrics::counter!("shoal_calls_refused_total").increment(1);
                tracing::debug!(path = request.uri().path(), reason = status.message(), "a call is refused");
                Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers(path: &str) -> Option<Callers> {
        match path {
            "/s/Open" => Some(Callers::Anyone),
            "/s/Closed" => Some(Callers::Roles(&[PeerRole::Worker])),
            _ => None,
        }
    }

    fn peer(cluster_id: &str, role: PeerRole) -> Peer {
        Peer {
            address: None,
            identity: Some(Identity::new(cluster_id, role, "name").unwrap()),
            certificate: None,
        }
    }

    #[test]
    fn a_method_is_called_by_the_roles_that_its_rule_names() {
        let guard = Guard::new("c", callers);
        let nobody = Peer { address: None, identity: None, certificate: None };
        for caller in [None, Some(&nobody)] {
            assert!(guard.check("/s/Open", caller).is_ok());
            let refusal = guard.check("/s/Closed", caller).unwrap_err();
            assert_eq!(refusal.code(), tonic::Code::Unauthenticated);
        }
        assert!(guard.check("/s/Closed", Some(&peer("c", PeerRole::Worker))).is_ok());
        for stranger in [peer("other", PeerRole::Worker), peer("c", PeerRole::Router)] {
            let refusal = guard.check("/s/Closed", Some(&stranger)).unwrap_err();
            assert_eq!(refusal.code(), tonic::Code::PermissionDenied);
        }
        let refusal = guard.check("/s/Unknown", Some(&peer("c", PeerRole::Worker))).unwrap_err();
        assert_eq!(refusal.code(), tonic::Code::Unimplemented);
        assert!(Guard::open().check("/s/Closed", None).is_ok());
    }
}
