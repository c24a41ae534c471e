//! Asks one node how it is, by the doors that it has: HTTP where it answers people's programs, else gRPC.
//!
//! Nothing of the cluster behind the node is asked: whoever runs the node wants to know about this node alone.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::Value;
use shoal_common::{
    causes::innermost,
    health::{Check, Told},
    rpc::shortened,
    tls::{TlsConnect, Trust},
};
use tonic::{Code, Status, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Of what a node says, what is repeated.
const SENTENCE_BYTES_MAX: usize = 512;
/// The longest answer that is read.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// What a node answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The node's name, where it said it.
    pub node: Option<String>,
    /// Its role, where it said it.
    pub role: Option<String>,
    /// Where it was asked.
    pub address: String,
    /// Why the check has failed; `None` when it has passed.
    pub reason: Option<String>,
}

/// Where a node listens, and who it has to be.
#[derive(Debug, Clone)]
pub enum Door {
    /// Its gRPC server.
    Grpc {
        /// `host:port` to connect to.
        address: String,
        /// The authorities that the node's certificate is to be of, and the host that it has to name.
        tls: Option<(Trust, String)>,
    },
    /// Its HTTP server.
    Http {
        /// Address without a path.
        url: reqwest::Url,
        /// Where the URL's host is, if not where the resolver says.
        at: Option<SocketAddr>,
        /// The file of the authority that its certificate is of.
        authority: Option<PathBuf>,
    },
}

impl Door {
    /// The address as people write it.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Grpc { address, .. } => address.clone(),
            Self::Http { url, .. } => url.as_str().trim_end_matches('/').to_owned(),
        }
    }

    /// Asks, and waits for the answer at most so long.
    pub async fn ask(&self, check: Check, patience: Duration) -> Answer {
        let asked = async {
            match self {
                Self::Grpc { address, tls } => by_grpc(address, tls.as_ref(), check).await,
                Self::Http { url, at, authority } => by_http(url, *at, authority.as_ref(), check).await,
            }
        };
        let late = || Err(format!("it did not answer within {} s", patience.as_secs_f64()));
        let outcome = tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| late());
        let (told, reason) = match outcome {
            Ok((told, reason)) => (told, reason),
            Err(reason) => (Told::default(), Some(reason)),
        };
        let reason = reason.map(|reason| shortened(&reason, SENTENCE_BYTES_MAX).into_owned());
        Answer { node: told.node, role: told.role, address: self.address(), reason }
    }
}

/// What the node says of itself, and why the check has failed.
type Outcome = Result<(Told, Option<String>), String>;

async fn by_grpc(address: &str, tls: Option<&(Trust, String)>, check: Check) -> Outcome {
    let host = tls.map_or(address, |(_, host)| host);
    let endpoint = Endpoint::from_shared(format!("http://{host}"))
        .map_err(|_| format!("'{host}' is not a host:port address"))?;
    let channel = match tls {
        Some((trust, _)) => TlsConnect::uncertified(trust.clone()).to_any_node(&endpoint, address.to_owned()),
        None => endpoint.connect_lazy(),
    };
    let request = HealthCheckRequest { service: check.service().to_owned() };
    let response = HealthClient::new(channel).check(request).await.map_err(|status| refused(&status))?;
    let mut told = Told::of(response.metadata());
    let reason = match response.get_ref().status() {
        ServingStatus::Serving => None,
        _ => Some(told.waits_for.take().unwrap_or_else(|| "it does not say why".to_owned())),
    };
    Ok((told, reason))
}

/// Why there is no answer of the health protocol.
fn refused(status: &Status) -> String {
    match status.code() {
        Code::NotFound => {
            "it is of an earlier release, which does not know this check; `--for liveness` of HTTP still works"
                .to_owned()
        }
        Code::Unimplemented => "what listens there is no node of Shoal".to_owned(),
        _ => {
            let cause = std::error::Error::source(status).map(innermost);
            format!("no node answers ({})", cause.unwrap_or_else(|| status.message().to_owned()))
        }
    }
}

async fn by_http(
    url: &reqwest::Url,
    at: Option<SocketAddr>,
    authority: Option<&PathBuf>,
    check: Check,
) -> Outcome {
    let mut client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    if let (Some(host), Some(at)) = (url.host_str(), at) {
        client = client.resolve(host, at);
    }
    if let Some(path) = authority {
        let unusable = |reason: String| format!("cannot use '{}': {reason}", path.display());
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let certificate =
            reqwest::Certificate::from_pem(&pem).map_err(|error| unusable(innermost(&error)))?;
        client = client.add_root_certificate(certificate);
    }
    let client = client.build().map_err(|error| innermost(&error))?;
    let path = if check == Check::Readiness { "/readyz" } else { "/healthz" };
    let mut address = url.clone();
    address.set_path(path);
    let unreachable = |error: reqwest::Error| format!("no node answers ({})", innermost(&error));
    let reply = client.get(address).send().await.map_err(unreachable)?;
    let status = reply.status();
    let stranger = || format!("what answers there is no router of Shoal ({path} gave {status})");
    if reply.content_length().is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(stranger());
    }
    let body = reply.bytes().await.map_err(unreachable)?;
    let body: Value = serde_json::from_slice(&body).map_err(|_| stranger())?;
    if body.get("model_loaded").is_none() {
        // A port that speaks TLS says so to whoever does not.
        let says = body.get("detail").and_then(Value::as_str);
        return Err(says.map_or_else(stranger, |says| format!("{}; it says: {says}", stranger())));
    }
    let told = Told { role: Some("router".to_owned()), ..Told::default() };
    if status.is_success() {
        return Ok((told, None));
    }
    let waits_for = body.get("waits_for").and_then(Value::as_str);
    Ok((told, Some(waits_for.map_or_else(|| format!("{path} answered {status}"), str::to_owned))))
}
