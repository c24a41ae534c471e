//! Tokens of people and programs: made, listed and revoked, and known to the guard before the services.

use shoal_common::access::{Grant, KnownTokens, Scope, TokenDigest, is_token_id};
use shoal_proto::v1::{
    AddToken, CreateTokenReply, CreateTokenRequest, RevokeToken, TokenInfo, metadata_command::Command,
};
use tonic::Status;

use super::member::{CoordinatorService, invalid};
use crate::leader::Leader;

/// Characters of the words that say what a token is for.
const LABEL_CHARACTERS_MAX: usize = 64;

/// The most that a token's queries may be told to cost in a second.
const COST_PER_SECOND_MAX: f64 = 1e9;

/// The least: a list in a quarter of an hour.
const COST_PER_SECOND_MIN: f64 = 0.001;

/// For how long a token may be good, where it is not for ever.
const LIFETIME_MS_MAX: i64 = 100 * 366 * 86_400_000;

impl CoordinatorService {
    pub(super) async fn make_token(
        &self,
        request: CreateTokenRequest,
        caller: String,
    ) -> Result<CreateTokenReply, Status> {
        self.check_leads()?;
        let CreateTokenRequest { token, request_id } = request;
        let asked = token.ok_or_else(|| Status::invalid_argument("the token to make is missing"))?;
        let now = self.leader.clock.now_unix_ms();
        invalid(&token_problems(&asked, now))?;
        let token = TokenInfo { created_unix_ms: now, created_by: caller, last_used_unix_day: 0, ..asked };
        let add = AddToken { token: Some(token.clone()), first: false };
        self.command_once(request_id, Command::AddToken(add)).await?;
        // A request that comes again is answered as before, whatever it asks for now.
        if !self.read().await?.tokens.contains_key(&token.id) {
            return Err(Status::already_exists(
                "another token was made by a request of this id, or this one was revoked since",
            ));
        }
        Ok(CreateTokenReply { token: Some(shown(token)) })
    }

    pub(super) async fn known_tokens(&self) -> Result<Vec<TokenInfo>, Status> {
        Ok(self.read().await?.tokens.values().cloned().map(shown).collect())
    }

    pub(super) async fn end_token(&self, id: String) -> Result<(), Status> {
        if !is_token_id(&id) {
            return Err(Status::invalid_argument(
                "the id of a token has 16 digits; `shoal tokens list` shows the ids",
            ));
        }
        self.command(Command::RevokeToken(RevokeToken { id })).await.map(drop)
    }
}

/// A token as it is listed: nobody needs its hash.
fn shown(mut token: TokenInfo) -> TokenInfo {
    token.sha256.clear();
    token
}

/// Everything that is wrong with a token that is to be made.
fn token_problems(token: &TokenInfo, now_unix_ms: i64) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_token_id(&token.id) {
        problems.push("the id of a token has 16 lowercase hexadecimal digits".to_owned());
    }
    if TokenDigest::of_bytes(&token.sha256).is_none() {
        problems.push(format!("the hash of a token has 32 bytes, and this one {}", token.sha256.len()));
    }
    let is_shown = |character: char| !character.is_control();
    if token.label.chars().count() > LABEL_CHARACTERS_MAX || !token.label.chars().all(is_shown) {
        problems.push(format!(
            "what a token is for is said in at most {LABEL_CHARACTERS_MAX} characters of one line"
        ));
    }
    if token.scopes.is_empty() || token.scopes.len() > Scope::ALL.len() {
        problems.push("a token has one to three of the scopes read, train and admin".to_owned());
    } else if token.scopes().any(|scope| Scope::of_wire(scope).is_none()) {
        problems.push("a scope of the token is not given".to_owned());
    }
    if token.expires_unix_ms > now_unix_ms.saturating_add(LIFETIME_MS_MAX) {
        problems.push("a token is good for at most 100 years, or for ever".to_owned());
    }
    if token.expires_unix_ms != 0 && token.expires_unix_ms <= now_unix_ms {
        problems.push("the token would have expired already; give it a later time".to_owned());
    }
    let is_limit = (COST_PER_SECOND_MIN..=COST_PER_SECOND_MAX).contains(&token.cost_per_second);
    if !is_limit && token.cost_per_second != 0.0 {
        problems.push(format!(
            "the cost per second of a token is 0, for no limit, or from {COST_PER_SECOND_MIN} to {COST_PER_SECOND_MAX}"
        ));
    }
    problems
}

/// The registry's tokens, as the leader knows them.
#[derive(Debug)]
pub struct LeaderTokens(pub Leader);

impl KnownTokens for LeaderTokens {
    /// A member that does not lead may not have heard of a new token: it says who leads, as it does to everybody.
    fn find(&self, id: &str) -> Result<Option<Grant>, Status> {
        self.0.check_leads()?;
        Ok(self.0.raft.view().borrow().tokens.get(id).and_then(Grant::of))
    }
}
