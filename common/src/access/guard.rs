//! Who may call which method. A guard stands before a server's services and reads no message.

use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use http::{HeaderMap, Request, Response};
use rustls::{client::verify_server_name, server::ParsedCertificate};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{AcceptedCredentials, Denied, Holder, Scope};
use crate::{
    audit::TokenId,
    tls::{Identity, Peer, PeerRole, host_of, server_name},
};

/// Of a name that a caller gives itself, what a refusal repeats.
const CLAIM_CHARACTERS_MAX: usize = 64;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Whoever reaches the server.
    Anyone,
    /// Nodes: holders of a certificate of this cluster with one of these roles. Without TLS nobody has one, and whoever
    /// reaches the server may call.
    Roles(&'static [PeerRole]),
    /// People and programs: holders of a token with this scope, or of a certificate of an administrator.
    Scope(Scope),
}

/// The callers of a server's methods. A method that no rule names is refused.
#[derive(Debug, Clone)]
pub struct Guard {
    rule: Option<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    credentials: AcceptedCredentials,
    /// The callers of a method by its path, `/package.Service/Method`.
    callers: fn(&str) -> Option<Callers>,
}

/// Why a caller is not let in, and by which token it tried.
#[derive(Debug)]
struct Refusal {
    status: Status,
    token: Option<TokenId>,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { status, token: None }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let token = denied.token_id();
        Self { status: denied.into(), token }
    }
}

impl Guard {
    /// Lets everybody in: for a server without TLS and tokens, on which nobody can prove anything.
    #[must_use]
    pub fn open() -> Self {
        Self { rule: None }
    }

    /// Lets in those that the rule names.
    #[must_use]
    pub fn new(credentials: AcceptedCredentials, callers: fn(&str) -> Option<Callers>) -> Self {
        Self { rule: Some(Rule { credentials, callers }) }
    }

    /// The holder of the token by which a caller is let in, where it is a token.
    fn check(&self, path: &str, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Option<Holder>, Refusal> {
        let Some(rule) = &self.rule else { return Ok(None) };
        let allowed = match (rule.callers)(path) {
            None => return Err(Status::unimplemented(format!("this node has no method {path}")).into()),
            Some(Callers::Anyone) => return Ok(None),
            Some(Callers::Scope(scope)) => return Ok(rule.credentials.check(scope, headers, peer)?),
            Some(Callers::Roles(roles)) => roles,
        };
        let Some(cluster_id) = &rule.credentials.cluster_id else { return Ok(None) };
        let who = || allowed.iter().map(|role| role.name()).collect::<Vec<_>>().join(" or ");
        if peer.is_some_and(|peer| peer.identity.is_none() && peer.certificate.is_some()) {
            return Err(Status::unauthenticated(format!(
                "{path} is for the roles {}, and the caller's certificate has no name, or several, of the form \
                 spiffe://<cluster id>/<role>/<name>",
                who()
            ))
            .into());
        }
        let Some(identity) = peer.and_then(|peer| peer.identity.as_ref()) else {
            return Err(Status::unauthenticated(format!(
                "{path} is for holders of a certificate of this cluster ({}); name yours with --certs",
                who()
            ))
            .into());
        };
        if *identity.cluster_id() == **cluster_id && allowed.contains(&identity.role()) {
            return Ok(None);
        }
        Err(Status::permission_denied(format!(
            "{path} is for the roles {} of cluster '{}', and the caller is {identity}",
            who(),
            cluster_id
        ))
        .into())
    }
}

/// Who calls, by its certificate; `None` without TLS, when nobody has a certificate.
pub fn certified_caller<T>(request: &tonic::Request<T>) -> Option<&Identity> {
    request.extensions().get::<Peer>()?.identity.as_ref()
}

/// The holder of the token by which a caller was let in; `None` where it was not a token.
pub fn token_holder<T>(request: &tonic::Request<T>) -> Option<&Holder> {
    request.extensions().get::<Holder>()
}

/// Refuses the holder of a token without this scope: for a method of which only some requests need it.
///
/// # Errors
/// `PERMISSION_DENIED`, with the scope.
pub fn needs_scope<T>(request: &tonic::Request<T>, wanted: Scope) -> Result<(), Status> {
    match token_holder(request).map(|holder| holder.needs(wanted)) {
        Some(Err(denied)) => Err(denied.into()),
        _ => Ok(()),
    }
}

/// What a caller is called in records: the name in its certificate, or its token's id; empty for whoever needs neither.
pub fn caller_name<T>(request: &tonic::Request<T>) -> String {
    if let Some(holder) = token_holder(request) {
        return format!("token {}", holder.token_id);
    }
    certified_caller(request).map(ToString::to_string).unwrap_or_default()
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        match self.guard.check(request.uri().path(), request.headers(), peer) {
            Ok(holder) => {
                if let Some(holder) = holder {
                    request.extensions_mut().insert(holder);
                }
                // Whoever is let in has shown it: nothing further on sees the secret.
                request.headers_mut().remove(http::header::AUTHORIZATION);
                Either::Left(self.inner.call(request))
            }
            Err(Refusal { status, token }) => {
                metrics::counter!("shoal_calls_refused_total").increment(1);
                tracing::debug!(path = request.uri().path(), reason = status.message(), "a call is refused");
                let mut response = status.into_http();
                if let Some(token) = token {
                    response.extensions_mut().insert(token);
                }
                Either::Right(ready(Ok(response)))
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
            "/s/People" => Some(Callers::Scope(Scope::Train)),
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
        let certified = AcceptedCredentials { cluster_id: Some("c".into()), tokens: None };
        let guard = Guard::new(certified, callers);
        let check = |path: &str, peer: Option<&Peer>| guard.check(path, &HeaderMap::new(), peer);
        let nobody = Peer { address: None, identity: None, certificate: None };
        for caller in [None, Some(&nobody)] {
            assert!(check("/s/Open", caller).is_ok());
            let refusal = check("/s/Closed", caller).unwrap_err().status;
            assert_eq!(refusal.code(), tonic::Code::Unauthenticated);
        }
        assert!(check("/s/Closed", Some(&peer("c", PeerRole::Worker))).is_ok());
        for stranger in [peer("other", PeerRole::Worker), peer("c", PeerRole::Router)] {
            let refusal = check("/s/Closed", Some(&stranger)).unwrap_err().status;
            assert_eq!(refusal.code(), tonic::Code::PermissionDenied);
        }
        let refusal = check("/s/Unknown", Some(&peer("c", PeerRole::Worker))).unwrap_err().status;
        assert_eq!(refusal.code(), tonic::Code::Unimplemented);
        // Where no tokens are taken, administrators have certificates.
        assert!(check("/s/People", Some(&peer("c", PeerRole::Admin))).is_ok());
        for stranger in [None, Some(&peer("other", PeerRole::Admin)), Some(&peer("c", PeerRole::Worker))] {
            let refusal = check("/s/People", stranger).unwrap_err().status;
            assert_eq!(refusal.code(), tonic::Code::Unauthenticated);
        }
        assert!(Guard::open().check("/s/Closed", &HeaderMap::new(), None).is_ok());
    }
}
