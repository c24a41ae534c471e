//! Finding the leading coordinator and staying with it.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shoal_proto::v1::coordinator_client::CoordinatorClient;
use tokio::time::Instant;
use tonic::{Status, service::interceptor::InterceptedService, transport::Channel};

use super::{CallCredentials, Channels, MESSAGE_BYTES_MAX, is_lost_on_the_way};
use crate::{access::Token, tls::PeerRole};

/// Metadata key of a refusal by a coordinator that does not lead: the leader's address, or empty.
pub const LEADER_KEY: &str = "shoal-leader";

/// The refusal of a member that does not lead.
#[must_use]
pub fn not_leader(leader_address: Option<&str>) -> Status {
    let mut status = Status::failed_precondition(match leader_address {
        Some(address) => format!("this coordinator does not lead; the leader is at {address}"),
        None => "this coordinator does not lead and no leader is known yet; try again".to_owned(),
    });
    let value = leader_address.unwrap_or_default().parse();
    status
        .metadata_mut()
        // An address is visible ASCII; one that is not is as good as unknown.
        .insert(LEADER_KEY, value.unwrap_or_else(|_| tonic::metadata::MetadataValue::from_static("")));
    status
}

/// The refusal of a call from another cluster.
#[must_use]
pub fn wrong_cluster(expected: &str, got: &str) -> Status {
    Status::permission_denied(format!(
        "the caller belongs to cluster '{got}', this node to '{expected}'; check cluster_id in the configuration"
    ))
}

/// A channel to a coordinator, with what its caller shows.
pub type LeaderChannel = InterceptedService<Channel, CallCredentials>;

/// Calls whichever coordinator leads: follows hints, tries the others, gives up at a deadline.
/// Clones share what was learnt.
#[derive(Debug, Clone)]
pub struct LeaderClient {
    channels: Channels,
    credentials: CallCredentials,
    addresses: Arc<[String]>,
    current: Arc<Mutex<Guess>>,
}

#[derive(Debug, Default)]
struct Guess {
    /// Position in `addresses` to try next when there is no hint.
    next: usize,
    hint: Option<String>,
}

impl LeaderClient {
    /// Knows these coordinators (`host:port`), at least one.
    #[must_use]
    pub fn new(channels: Channels, addresses: Vec<String>) -> Self {
        let credentials = CallCredentials::default();
        Self { channels, credentials, addresses: addresses.into(), current: Arc::default() }
    }

    /// Shows a token with each call.
    #[must_use]
    pub fn with_token(self, token: Option<&Token>) -> Self {
        self.with_credentials(CallCredentials::new(token))
    }

    /// Shows this with each call.
    #[must_use]
    pub fn with_credentials(self, credentials: CallCredentials) -> Self {
        Self { credentials, ..self }
    }

    /// Runs `call` against the leader, trying again on "not the leader" and on unreachable members
    /// until `patience` has passed. Any other status is the answer.
    ///
    /// A call whose connection broke after it was sent may have been carried out: make `call` safe
    /// to repeat.
    ///
    /// # Errors
    /// The status of the last try.
    pub async fn call<T, F, Fut>(&self, patience: Duration, mut call: F) -> Result<T, Status>
    where
        F: FnMut(CoordinatorClient<LeaderChannel>) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let give_up_at = Instant::now() + patience;
        let mut pause = Duration::from_millis(20);
        loop {
            let address = self.address();
            let channel = self.channels.get(&address, PeerRole::Coordinator)?;
            let client = CoordinatorClient::with_interceptor(channel, self.credentials.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            let status = match call(client).await {
                Ok(reply) => return Ok(reply),
                Err(status) => status,
            };
            let Some(followed_hint) = self.learn(&status) else { return Err(status) };
            if Instant::now() + pause >= give_up_at {
                return Err(status);
            }
            if !followed_hint {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(250));
            }
        }
    }

    /// Where the next call goes.
    #[must_use]
    pub fn address(&self) -> String {
        let guess = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &guess.hint {
            Some(address) => address.clone(),
            None => self.addresses[guess.next % self.addresses.len()].clone(),
        }
    }

    /// Notes what a failed call says about the leader: `None` when the failure is the answer,
    /// else whether a new hint was given (then trying at once makes sense).
    fn learn(&self, status: &Status) -> Option<bool> {
        let hint = status.metadata().get(LEADER_KEY).map(|value| value.to_str().unwrap_or_default());
        if hint.is_none() && !is_lost_on_the_way(status) {
            return None;
        }
        let mut guess = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match hint {
            Some(address) if !address.is_empty() && guess.hint.as_deref() != Some(address) => {
                guess.hint = Some(address.to_owned());
                Some(true)
            }
            _ => {
                guess.hint = None;
                guess.next = (guess.next + 1) % self.addresses.len();
                Some(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hint_is_followed_at_once_and_not_for_ever() {
        let addresses = ["a:1", "b:1"].map(str::to_owned).to_vec();
        let client = LeaderClient::new(Channels::tcp(), addresses);
        assert_eq!(client.address(), "a:1");
        assert_eq!(client.learn(&not_leader(Some("c:1"))), Some(true));
        assert_eq!(client.address(), "c:1");
        // Whoever is said to lead says so of itself: the others are asked, after a pause.
        assert_eq!(client.learn(&not_leader(Some("c:1"))), Some(false));
        assert_eq!(client.address(), "b:1");
        assert_eq!(client.learn(&not_leader(None)), Some(false));
        assert_eq!(client.address(), "a:1");
        // A channel that is not ready says so of itself, not the coordinator.
        assert_eq!(client.learn(&Status::unknown("Service was not ready: transport error")), Some(false));
        assert_eq!(client.address(), "b:1");
        assert_eq!(client.learn(&not_leader(None)), Some(false));
        // Any other status is the answer.
        assert_eq!(client.learn(&Status::not_found("nothing")), None);
        assert_eq!(client.address(), "a:1");
    }
}
