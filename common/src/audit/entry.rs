//! One line of an audit log.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use http::Extensions;
use serde::Serialize;
use tonic::{Code, Status};

use crate::{
    access::Holder,
    clock::UtcTime,
    rpc::shortened,
    tls::{Identity, Peer},
};

/// Bytes of a name in a line: names are the callers', and may be anything.
const NAME_BYTES_MAX: usize = 256;

/// Bytes of a reason in a line.
const REASON_BYTES_MAX: usize = 512;

/// The id of the token that a caller proved to have, which is no secret. Whoever checks the token puts it into the request's
/// extensions, and with a refusal into the response's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenId(pub Arc<str>);

/// Who wants something, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Who {
    /// From where; none for what a node does by itself.
    pub address: Option<SocketAddr>,
    /// By the certificate that the caller proved to hold.
    pub certificate: Option<Identity>,
    /// The token's id.
    pub token: Option<TokenId>,
}

impl Who {
    /// The caller of a request, by its extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        let peer = extensions.get::<Peer>();
        Self {
            address: peer.and_then(|peer| peer.address),
            certificate: peer.and_then(|peer| peer.identity.clone()),
            token: extensions.get::<Holder>().map(|holder| TokenId(holder.token_id.as_ref().into())),
        }
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was refused, and nothing has changed.
    Refused(String),
    /// Whether it is done is not known here.
    Unconfirmed(String),
}

impl Outcome {
    /// A refusal with its reason.
    #[must_use]
    pub fn refused(reason: &str) -> Self {
        Self::Refused(shortened(reason, REASON_BYTES_MAX).into_owned())
    }

    /// An end of which nothing is known but why not.
    #[must_use]
    pub fn unconfirmed(reason: &str) -> Self {
        Self::Unconfirmed(shortened(reason, REASON_BYTES_MAX).into_owned())
    }

    /// What an answer says became of what was asked.
    #[must_use]
    pub fn of<T>(answer: &Result<T, Status>) -> Self {
        match answer {
            Ok(_) => Self::Done,
            Err(status) => match status.code() {
                Code::Unavailable
                | Code::Aborted
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::Unknown
                | Code::Internal => Self::unconfirmed(status.message()),
                _ => Self::refused(status.message()),
            },
        }
    }
}

/// What one line says, but for the time and the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was asked for: the name of a change, or the path of a method.
    action: String,
    /// Of what: a version, a job, a node, …, each with its name.
    subject: BTreeMap<&'static str, String>,
    /// By whom.
    who: Who,
    /// And what became of it.
    pub outcome: Outcome,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    node: &'a str,
    action: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    subject: &'a BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands in a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Entry {
    /// An entry of no subject yet.
    #[must_use]
    pub fn new(action: &str, who: Who, outcome: Outcome) -> Self {
        let action = shortened(action, NAME_BYTES_MAX).into_owned();
        Self { action, subject: BTreeMap::new(), who, outcome }
    }

    /// Says of what; nothing where the name is empty.
    pub fn add(&mut self, what: &'static str, name: &str) {
        if !name.is_empty() {
            self.subject.insert(what, shortened(name, NAME_BYTES_MAX).into_owned());
        }
    }

    /// What tells it from other entries, as far as a flood of them goes: ports of one caller are all alike.
    pub(super) fn key(&self) -> Key {
        let Who { address, certificate, token } = self.who.clone();
        Key { action: self.action.clone(), address: address.map(|address| address.ip()), certificate, token }
    }

    /// An entry of refusals that were counted and not told apart.
    pub(super) fn of_others() -> Self {
        Self::new("several", Who::default(), Outcome::refused("too many different refusals to name them"))
    }

    /// The line, with its end. It is ASCII: nothing in it turns round or moves what a terminal shows.
    pub(super) fn line(&self, node: &str, unix_ms: i64, left_out: u64) -> String {
        let (outcome, reason) = match &self.outcome {
            Outcome::Done => ("done", None),
            Outcome::Refused(reason) => ("refused", Some(reason.as_str())),
            Outcome::Unconfirmed(reason) => ("unconfirmed", Some(reason.as_str())),
        };
        let line = Line {
            time: UtcTime::from_unix_ms(unix_ms).iso_8601(),
            node,
            action: &self.action,
            outcome,
            subject: &self.subject,
            from: self.who.address.map(|address| address.to_string()),
            certificate: self.who.certificate.as_ref().map(Identity::uri),
            token: self.who.token.as_ref().map(|token| &*token.0),
            reason,
            left_out,
        };
        // Texts and numbers always have a JSON.
        let json = serde_json::to_string(&line).unwrap_or_default();
        let mut ascii = String::with_capacity(json.len() + 1);
        for letter in json.chars() {
            if letter.is_ascii() && letter != '\x7f' {
                ascii.push(letter);
            } else {
                // Only texts have other letters, and in them an escape stands for its letter.
                letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii += &format!("\\u{unit:04x}"));
            }
        }
        ascii.push('\n');
        ascii
    }
}

/// Refusals with the same key are summed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    action: String,
    pub(super) address: Option<std::net::IpAddr>,
    certificate: Option<Identity>,
    token: Option<TokenId>,
}
