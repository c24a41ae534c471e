//! What a router is told.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;

use super::{
    ConfigError, Problems,
    node::{Needs, NodeConfig, RawNode},
};

/// The settings file of a router, before it is checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRouter {
    /// Shared settings. `node.listen` is where gRPC clients call.
    pub node: RawNode,
    /// The section `[router]`.
    pub router: RawRouterSection,
}

/// The section `[router]`, before it is checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRouterSection {
    /// Where HTTP clients call.
    pub http_listen: Option<SocketAddr>,
    /// Where `/metrics`, `/docs` and `/openapi.json` are served, beside every other route; by default where clients call.
    pub admin_listen: Option<SocketAddr>,
    /// How long a query may take in all.
    pub timeout_ms: Option<u64>,
    /// Queries under way at once; one more gets 429.
    pub concurrency: Option<u64>,
    /// The shortest wait before a slow call gets a twin.
    pub hedge_after_ms: Option<u64>,
    /// Twins per hundred calls at most; 0 turns hedging off.
    pub hedge_percent: Option<u64>,
    /// Answers kept at most; 0 turns the cache off.
    pub cache_entries: Option<u64>,
    /// Bytes of kept answers at most.
    pub cache_bytes: Option<u64>,
    /// How long an answer may be kept.
    pub cache_ttl_s: Option<u64>,
    /// Origins whose pages may call from a browser, or `*` for any; none by default.
    pub cors_origins: Vec<String>,
    /// Names and addresses that a request may be addressed to, or `*` for any. By default any, but those of this machine
    /// where the router listens on the loopback address.
    pub hosts: Option<Vec<String>>,
}

/// A router's settings, checked.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Shared settings. `node.listen` is where gRPC clients call.
    pub node: NodeConfig,
    /// Where HTTP clients call.
    pub http_listen: SocketAddr,
    /// Where metrics and the page of the routes are served, when not where clients call.
    pub admin: Option<AdminListener>,
    /// How long a query may take in all.
    pub timeout: Duration,
    /// Queries under way at once.
    pub concurrency: usize,
    /// The shortest wait before a slow call gets a twin.
    pub hedge_after: Duration,
    /// Twins per hundred calls at most.
    pub hedge_percent: u32,
    /// Answers kept at most; 0 for no cache.
    pub cache_entries: u64,
    /// Bytes of kept answers at most.
    pub cache_bytes: u64,
    /// How long an answer may be kept.
    pub cache_ttl: Duration,
    /// Origins whose pages may call from a browser; `*` for any.
    pub cors_origins: Vec<String>,
    /// Names that a request may be addressed to; none of them for any.
    pub hosts: Vec<String>,
}

/// A listener of those who look after the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminListener {
    /// Where it is.
    pub listen: SocketAddr,
    /// Names that a request there may be addressed to; none of them for any.
    pub hosts: Vec<String>,
}

impl AdminListener {
    /// `given` is what the router answers to where clients call: it may be called so here too.
    fn new(listen: SocketAddr, given: Option<&Vec<String>>) -> Self {
        let mut hosts = answered_names(None, listen);
        match given {
            None => {}
            Some(given) if given.iter().any(|name| name == "*") => hosts.clear(),
            Some(given) if listen.ip().is_loopback() => hosts.extend(given.iter().cloned()),
            Some(given) => {
                hosts.clone_from(given);
                hosts.push(listen.ip().to_string());
            }
        }
        Self { listen, hosts }
    }
}

impl RouterConfig {
    /// Where the router listens for clients beside `node.listen`.
    #[must_use]
    pub fn client_listeners(&self) -> Vec<SocketAddr> {
        let admin = self.admin.iter().map(|admin| admin.listen);
        admin.chain([self.http_listen]).collect()
    }
}

impl RawRouter {
    /// Checks everything and fills in defaults.
    ///
    /// # Errors
    /// Every problem found.
    pub fn resolve(self) -> Result<RouterConfig, ConfigError> {
        let mut problems = Problems::default();
        let node =
            self.node.resolve(&Needs { store: false, coordinators: true, data_dir: false }, &mut problems);
        let section = self.router;
        let http_listen = problems.required("router.http_listen", section.http_listen);
        let timeout_ms =
            problems.in_range("router.timeout_ms", section.timeout_ms.unwrap_or(1_000), 1..=600_000);
        let concurrency =
            problems.in_range("router.concurrency", section.concurrency.unwrap_or(512), 1..=65_536);
        let hedge_after_ms =
            problems.in_range("router.hedge_after_ms", section.hedge_after_ms.unwrap_or(5), 1..=600_000);
        let hedge_percent =
            problems.in_range("router.hedge_percent", section.hedge_percent.unwrap_or(5), 0..=100);
        let cache_entries = problems.in_range(
            "router.cache_entries",
            section.cache_entries.unwrap_or(1_000),
            0..=100_000_000,
        );
        let cache_bytes = problems.in_range(
            "router.cache_bytes",
            section.cache_bytes.unwrap_or(64 * 1024 * 1024),
            1_024..=1 << 40,
        );
        let cache_ttl_s =
            problems.in_range("router.cache_ttl_s", section.cache_ttl_s.unwrap_or(3_600), 1..=31_536_000);
        for origin in section.cors_origins.iter().filter(|origin| !is_origin(origin)) {
            problems.add(format!(
                "'router.cors_origins' has '{origin}'; an origin is '*' or like https://example.org"
            ));
        }
        if let (Some(node), Some(http_listen)) = (&node, http_listen) {
            node.check_exposure("router.http_listen", http_listen, &mut problems);
            node.check_tokens("router.http_listen", http_listen, &mut problems);
            node.check_tokens("node.listen", node.listen, &mut problems);
            if let Some(admin_listen) = section.admin_listen {
                node.check_exposure("router.admin_listen", admin_listen, &mut problems);
                node.check_tokens("router.admin_listen", admin_listen, &mut problems);
                if admin_listen == http_listen && admin_listen.port() != 0 {
                    problems.add(format!(
                        "'router.admin_listen' and 'router.http_listen' are both {admin_listen}; leave one out, or give each a port of its own"
                    ));
                }
            }
        }
        match (node, http_listen) {
            (Some(node), Some(http_listen)) if problems.0.is_empty() => Ok(RouterConfig {
                node,
                http_listen,
                admin: section.admin_listen.map(|listen| AdminListener::new(listen, section.hosts.as_ref())),
                timeout: Duration::from_millis(timeout_ms),
                concurrency: concurrency as usize,
                hedge_after: Duration::from_millis(hedge_after_ms),
                hedge_percent: hedge_percent as u32,
                cache_entries,
                cache_bytes,
                cache_ttl: Duration::from_secs(cache_ttl_s),
                cors_origins: section.cors_origins,
                hosts: answered_names(section.hosts, http_listen),
            }),
            _ => Err(problems.into_error()),
        }
    }
}

/// The names that requests may be addressed to; none of them for any. A router that only this machine reaches is called
/// by names of this machine, so a page that has another name is not let in.
fn answered_names(given: Option<Vec<String>>, http_listen: SocketAddr) -> Vec<String> {
    match given {
        Some(names) if names.iter().any(|name| name == "*") => Vec::new(),
        Some(names) => names,
        None if http_listen.ip().is_loopback() => names_of_this_machine(http_listen.ip()),
        None => Vec::new(),
    }
}

/// By which names programs of this machine call what listens at a loopback address.
#[must_use]
pub fn names_of_this_machine(loopback: IpAddr) -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
    if !names.contains(&loopback.to_string()) {
        names.push(loopback.to_string());
    }
    names
}

/// Scheme, host and port without a path, as browsers send it.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_host = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte))
    };
    text == "*" || host.is_some_and(is_host)
}
