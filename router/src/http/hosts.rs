//! By which names clients may call: a page of a stranger that has its own name resolved to this router's address is
//! let nothing read (DNS rebinding).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::error::HttpError;

/// The routes that orchestrators and Prometheus call by whatever address a node has. They tell of no user and no item.
const FOR_ANY_HOST: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Of a refused name, what the refusal repeats.
const SHOWN_MAX: usize = 80;

/// Names that a request may be addressed to, without ports; with none of them every name is taken.
pub(super) type Hosts = Arc<[String]>;

/// Refuses a request that is addressed to another name.
pub(super) async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    if hosts.is_empty() || FOR_ANY_HOST.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 has the name in the request's address.
    let named = named.or(request.uri().authority().map(|authority| authority.as_str()));
    let host = named.and_then(without_port).unwrap_or_default();
    if hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host)) {
        return next.run(request).await;
    }
    let shown: String = host.chars().take(SHOWN_MAX).collect();
    HttpError::wrong_host(format!(
        "the request is addressed to '{shown}', and this router answers to {}; its setting router.hosts lists the names",
        hosts.join(", ")
    ))
    .into_response()
}

/// The host of `host:port`; an IPv6 address keeps its brackets.
fn without_port(named: &str) -> Option<String> {
    let uri = named.parse::<Uri>().ok()?;
    uri.host().map(|host| host.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_part_of_a_name() {
        for (named, host) in [
            ("localhost", "localhost"),
            ("localhost:8000", "localhost"),
            ("shoal.example.org.:443", "shoal.example.org"),
            ("127.0.0.1:8000", "127.0.0.1"),
            ("[::1]:8000", "[::1]"),
        ] {
            assert_eq!(without_port(named).as_deref(), Some(host), "{named}");
        }
        for wrong in ["", "a b", "http://"] {
            assert_eq!(without_port(wrong), None, "{wrong}");
        }
    }
}
