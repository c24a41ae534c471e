//! Tokens of those who ask: which are good, and how much each may ask for.
//!
//! Each router counts by itself: a token asks two routers for twice as much.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shoal_common::access::{Grant, Holder, KnownTokens};
use tokio::{sync::watch, time::Instant};
use tonic::Status;

use crate::{admission::Cost, snapshot::Snapshot};

/// For how long a token may save up what it does not ask for.
const SAVED_SECONDS: f64 = 2.0;

/// Balances that are kept. More than there are tokens stand for tokens that were revoked.
const BALANCES_MAX: usize = 2_000;

/// The tokens of the metadata that was heard last.
#[derive(Debug)]
pub(crate) struct HeardTokens(pub(crate) watch::Receiver<Arc<Snapshot>>);

impl KnownTokens for HeardTokens {
    fn find(&self, id: &str) -> Result<Option<Grant>, Status> {
        let snapshot = self.0.borrow();
        let tokens = snapshot.tokens.as_ref().ok_or_else(|| {
            Status::unavailable(
                "this router has not heard from a coordinator yet, and knows no token; try again in a moment",
            )
        })?;
        Ok(tokens.find(id))
    }
}

/// What tokens with a limit may still ask for. Clones share it.
///
/// A query is let in while its token's balance is positive and may make it negative, so a token can ask for one query
/// that costs more than it saves up, and waits the longer after.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenBalances(Arc<Mutex<HashMap<Arc<str>, Balance>>>);

#[derive(Debug)]
struct Balance {
    cost: f64,
    at: Instant,
}

/// A token has asked for more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// When its balance is positive again.
    pub(crate) retry_after: Duration,
}

impl TokenBalances {
    /// Takes a query's cost from its token's balance.
    pub(crate) fn charge(&self, holder: &Holder, cost: Cost) -> Result<(), Exhausted> {
        let per_second = holder.cost_per_second;
        if per_second <= 0.0 {
            return Ok(());
        }
        let (saved_max, now) = (per_second * SAVED_SECONDS, Instant::now());
        let mut balances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if balances.len() >= BALANCES_MAX && !balances.contains_key(&holder.token_id) {
            // Whoever owes nothing and has asked for nothing of late has saved up all that it may.
            balances.retain(|_, balance| {
                balance.cost < 0.0 || now.duration_since(balance.at).as_secs_f64() < SAVED_SECONDS
            });
        }
        let balance = balances
            .entry(Arc::clone(&holder.token_id))
            .or_insert_with(|| Balance { cost: saved_max, at: now });
        let earned = now.duration_since(balance.at).as_secs_f64() * per_second;
        balance.cost = (balance.cost + earned).min(saved_max);
        balance.at = now;
        if balance.cost <= 0.0 {
            let retry_after = Duration::try_from_secs_f64(-balance.cost / per_second);
            return Err(Exhausted { retry_after: retry_after.unwrap_or(Duration::from_secs(3_600)) });
        }
        balance.cost -= cost.in_lists();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use shoal_common::access::{AcceptedCredentials, Grants, Scope, Token, TokenCheck, TokenUses};
    use shoal_common::clock::SystemClock;
    use shoal_proto::v1::{Metadata, TokenInfo};

    use super::*;
    use crate::replicas::Replicas;

    fn holder(cost_per_second: f64) -> Holder {
        let token = Token::draw().unwrap();
        let mut info = TokenInfo {
            id: token.id().to_owned(),
            sha256: token.digest().as_bytes().to_vec().into(),
            cost_per_second,
            ..TokenInfo::default()
        };
        info.push_scopes(Scope::Read.to_wire());
        let metadata = Metadata { tokens: vec![info], ..Metadata::default() };
        let snapshot = Snapshot::new(&metadata, &Snapshot::default(), &Replicas::default());
        let (_sender, heard) = watch::channel(Arc::new(snapshot));
        let check =
            TokenCheck::new(Arc::new(HeardTokens(heard)), Arc::new(SystemClock), TokenUses::default());
        let credentials = AcceptedCredentials { cluster_id: None, tokens: Some(check) };
        let headers = http::HeaderMap::from_iter([(http::header::AUTHORIZATION, token.header())]);
        credentials.check(Scope::Read, &headers, None).unwrap().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_asks_for_as_much_as_it_may_and_no_more() {
        let (balances, holder) = (TokenBalances::default(), holder(10.0));
        for _ in 0..20 {
            balances.charge(&holder, Cost::ONE).unwrap();
        }
        let Exhausted { retry_after } = balances.charge(&holder, Cost::ONE).unwrap_err();
        assert!(retry_after <= Duration::from_millis(100), "{retry_after:?}");
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..10 {
            balances.charge(&holder, Cost::ONE).unwrap();
        }
        assert!(balances.charge(&holder, Cost::ONE).is_err());
        // What is not asked for is saved up for two seconds.
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!((0..100).take_while(|_| balances.charge(&holder, Cost::ONE).is_ok()).count(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_larger_than_what_is_saved_is_let_in_and_paid_for() {
        let (balances, holder) = (TokenBalances::default(), holder(10.0));
        balances.charge(&holder, Cost::of_lists(1_000, 100)).unwrap();
        let Exhausted { retry_after } = balances.charge(&holder, Cost::ONE).unwrap_err();
        assert_eq!(retry_after.as_secs(), 98, "1,000 less the 20 that were saved, at 10 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_without_a_limit_is_not_counted() {
        let (balances, holder) = (TokenBalances::default(), holder(0.0));
        for _ in 0..10_000 {
            balances.charge(&holder, Cost::of_lists(1_000, 100)).unwrap();
        }
        assert!(balances.0.lock().unwrap().is_empty());
    }

    #[test]
    fn before_a_coordinator_was_heard_no_token_is_known() {
        let (_sender, nothing) = watch::channel(Arc::new(Snapshot::default()));
        assert_eq!(HeardTokens(nothing).find("0").unwrap_err().code(), tonic::Code::Unavailable);
        assert!(Grants::default().find("0").is_none());
    }
}
