//! The tokens that are good, and whether the one that a request carries is among them.

use std::{collections::HashMap, fmt, sync::Arc};

use http::{HeaderMap, header};
use shoal_proto::v1::TokenInfo;
use tonic::Status;

use super::{
    scope::Scope,
    token::{NotAToken, Token, TokenDigest},
    uses::TokenUses,
};
use crate::{
    audit::TokenId,
    clock::Clock,
    tls::{Peer, PeerRole},
};

/// What a good token is good for.
#[derive(Debug, Clone)]
pub struct Grant {
    digest: TokenDigest,
    scopes: Vec<Scope>,
    expires_unix_ms: i64,
    cost_per_second: f64,
}

/// Whether the time of a token is over.
#[must_use]
pub fn has_expired(token: &TokenInfo, now_unix_ms: i64) -> bool {
    is_over(token.expires_unix_ms, now_unix_ms)
}

fn is_over(expires_unix_ms: i64, now_unix_ms: i64) -> bool {
    expires_unix_ms != 0 && expires_unix_ms <= now_unix_ms
}

impl Grant {
    /// What is told of a token. One without a hash is good for nobody.
    #[must_use]
    pub fn of(token: &TokenInfo) -> Option<Self> {
        Some(Self {
            digest: TokenDigest::of_bytes(&token.sha256)?,
            scopes: token.scopes().filter_map(Scope::of_wire).collect(),
            expires_unix_ms: token.expires_unix_ms,
            cost_per_second: token.cost_per_second,
        })
    }
}

/// Tokens that are good, by id.
#[derive(Debug, Clone, Default)]
pub struct Grants(HashMap<String, Grant>);

impl Grants {
    /// Those that are told of.
    pub fn of<'a>(tokens: impl IntoIterator<Item = &'a TokenInfo>) -> Self {
        Self(tokens.into_iter().filter_map(|token| Some((token.id.clone(), Grant::of(token)?))).collect())
    }

    /// The token with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Grant> {
        self.0.get(id).cloned()
    }
}

/// Where the tokens that are good now are known.
pub trait KnownTokens: Send + Sync + fmt::Debug + 'static {
    /// The good token with this id.
    ///
    /// # Errors
    /// The answer for a caller where tokens are not known: whom to ask, or that it is too early.
    fn find(&self, id: &str) -> Result<Option<Grant>, Status>;
}

/// Whoever holds a token that is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    /// Which token.
    pub token_id: Arc<str>,
    /// What queries may cost in a second; 0 for no limit of its own.
    pub cost_per_second: f64,
    scopes: Vec<Scope>,
}

impl Holder {
    /// Whether the holder may do what `wanted` stands for.
    #[must_use]
    pub fn may(&self, wanted: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.includes(wanted))
    }

    /// Refuses a holder that lacks a scope.
    ///
    /// # Errors
    /// [`Denied::Scope`].
    pub fn needs(&self, wanted: Scope) -> Result<(), Denied> {
        if self.may(wanted) {
            return Ok(());
        }
        let has = self.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ");
        Err(Denied::Scope { id: Arc::clone(&self.token_id), wanted, has })
    }
}

/// Why a caller is not let in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Denied {
    /// Tokens are not known here, or not yet.
    #[error("{}", .0.message())]
    NotHere(Status),
    /// No token came, and no certificate of an administrator.
    #[error(
        "a token is needed, sent as 'Authorization: Bearer shoal_…', or a certificate of an administrator; \
         `shoal tokens create` makes a token, and the command line takes one with --token-file or from its environment, \
         certificates with --certs"
    )]
    NoToken,
    /// Where no tokens are taken a certificate is needed.
    #[error("a certificate of an administrator of this cluster is needed; name yours with --certs")]
    NoCertificate,
    /// The header is none, or there are several.
    #[error("the header Authorization has to be given once, as 'Bearer shoal_<id>_<secret>'")]
    Header,
    /// The token is not known, or its secret is another.
    #[error("the token shoal_{0}_… is not known: it was revoked, or is of another cluster")]
    Unknown(String),
    /// The token's time is over.
    #[error("the token shoal_{0}_… has expired; `shoal tokens create` makes another")]
    Expired(String),
    /// The token is good for other things.
    #[error("the token shoal_{id}_… has the scope {has}, and this needs {wanted}")]
    Scope {
        /// Which token.
        id: Arc<str>,
        /// What it would take.
        wanted: Scope,
        /// What the token has.
        has: String,
    },
}

impl Denied {
    /// The id of the token that the caller has and that is not good for this. What a caller only claims is nobody's.
    #[must_use]
    pub fn token_id(&self) -> Option<TokenId> {
        match self {
            Self::Expired(id) => Some(TokenId(id.as_str().into())),
            Self::Scope { id, .. } => Some(TokenId(Arc::clone(id))),
            Self::Unknown(_) | Self::NotHere(_) | Self::NoToken | Self::NoCertificate | Self::Header => None,
        }
    }
}

impl From<NotAToken> for Denied {
    fn from(_: NotAToken) -> Self {
        Self::Header
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let text = denied.to_string();
        match denied {
            Denied::NotHere(status) => status,
            Denied::Scope { .. } => Self::permission_denied(text),
            _ => Self::unauthenticated(text),
        }
    }
}

/// Looks at the tokens of requests. Clones share what is known.
#[derive(Debug, Clone)]
pub struct TokenCheck {
    known: Arc<dyn KnownTokens>,
    clock: Arc<dyn Clock>,
    uses: TokenUses,
}

impl TokenCheck {
    /// Takes the tokens that are known there, and notes in `uses` that they were used.
    #[must_use]
    pub fn new(known: Arc<dyn KnownTokens>, clock: Arc<dyn Clock>, uses: TokenUses) -> Self {
        Self { known, clock, uses }
    }

    fn holder(&self, headers: &HeaderMap) -> Result<Holder, Denied> {
        // A caller without a token is told so even where none is known yet: it is not the time that it lacks.
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let token = match (given.next(), given.next()) {
            (None, _) => return Err(Denied::NoToken),
            (Some(header), None) => Token::of_header(header)?,
            (Some(_), Some(_)) => return Err(Denied::Header),
        };
        let grant = self.known.find(token.id()).map_err(Denied::NotHere)?;
        let Some(grant) = grant.filter(|grant| grant.digest.is_that_of(&token)) else {
            return Err(Denied::Unknown(token.id().to_owned()));
        };
        let now = self.clock.now_unix_ms();
        if is_over(grant.expires_unix_ms, now) {
            return Err(Denied::Expired(token.id().to_owned()));
        }
        self.uses.note(token.id(), now);
        Ok(Holder {
            token_id: token.id().into(),
            cost_per_second: grant.cost_per_second,
            scopes: grant.scopes,
        })
    }
}

/// What lets people and programs in: a certificate of an administrator of this cluster, or a token.
#[derive(Debug, Clone, Default)]
pub struct AcceptedCredentials {
    /// Under TLS: the cluster whose certificates count.
    pub cluster_id: Option<Arc<str>>,
    /// Where tokens are taken.
    pub tokens: Option<TokenCheck>,
}

impl AcceptedCredentials {
    /// Lets in whoever may do what `wanted` stands for: `None` for the holder of a certificate.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(
        &self,
        wanted: Scope,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<Option<Holder>, Denied> {
        let identity = peer.and_then(|peer| peer.identity.as_ref());
        let is_admin = identity.is_some_and(|identity| {
            identity.role() == PeerRole::Admin && self.cluster_id.as_deref() == Some(identity.cluster_id())
        });
        if is_admin {
            return Ok(None);
        }
        let Some(tokens) = &self.tokens else { return Err(Denied::NoCertificate) };
        let holder = tokens.holder(headers)?;
        holder.needs(wanted)?;
        Ok(Some(holder))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::tls::Identity;

    #[derive(Debug)]
    struct Fixed(Option<Grants>);

    impl KnownTokens for Fixed {
        fn find(&self, id: &str) -> Result<Option<Grant>, Status> {
            let grants = self.0.as_ref().ok_or_else(|| Status::unavailable("not yet"))?;
            Ok(grants.find(id))
        }
    }

    #[derive(Debug)]
    struct At(i64);

    impl Clock for At {
        fn now_unix_ms(&self) -> i64 {
            self.0
        }
    }

    const NOW: i64 = 1_000_000;

    fn info(token: &Token, scopes: &[Scope], expires_unix_ms: i64) -> TokenInfo {
        let mut info = TokenInfo {
            id: token.id().to_owned(),
            sha256: token.digest().as_bytes().to_vec().into(),
            expires_unix_ms,
            ..TokenInfo::default()
        };
        scopes.iter().for_each(|scope| info.push_scopes(scope.to_wire()));
        info
    }

    fn credentials(grants: Option<Grants>) -> AcceptedCredentials {
        let uses = TokenUses::default();
        let tokens = TokenCheck::new(Arc::new(Fixed(grants)), Arc::new(At(NOW)), uses);
        AcceptedCredentials { cluster_id: Some("c".into()), tokens: Some(tokens) }
    }

    fn with(token: &Token) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, token.header())])
    }

    #[test]
    fn a_token_opens_what_its_scopes_include_until_it_expires() {
        let [read, train, over, stranger] = [(); 4].map(|()| Token::draw().unwrap());
        let infos = [
            info(&read, &[Scope::Read], 0),
            info(&train, &[Scope::Train], NOW + 1),
            info(&over, &[Scope::Admin], NOW),
        ];
        let credentials = credentials(Some(Grants::of(&infos)));
        let check = |token: &Token, wanted| credentials.check(wanted, &with(token), None);
        assert_eq!(*check(&read, Scope::Read).unwrap().unwrap().token_id, *read.id());
        assert!(matches!(check(&read, Scope::Train), Err(Denied::Scope { .. })));
        assert!(check(&train, Scope::Read).is_ok() && check(&train, Scope::Train).is_ok());
        assert!(matches!(check(&train, Scope::Admin), Err(Denied::Scope { .. })));
        assert!(matches!(check(&over, Scope::Read), Err(Denied::Expired(_))));
        assert!(matches!(check(&stranger, Scope::Read), Err(Denied::Unknown(_))));
    }

    #[test]
    fn a_secret_of_another_token_is_refused_and_shown_by_nobody() {
        let [known, other] = [(); 2].map(|()| Token::draw().unwrap());
        let credentials = credentials(Some(Grants::of([&info(&known, &[Scope::Admin], 0)])));
        let secret = other.expose().rsplit('_').next().unwrap();
        let forged = Token::parse(&format!("shoal_{}_{secret}", known.id())).unwrap();
        let denied = credentials.check(Scope::Read, &with(&forged), None).unwrap_err();
        assert!(matches!(denied, Denied::Unknown(_)));
        let status = Status::from(denied.clone());
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
        for shown in [denied.to_string(), format!("{denied:?}"), format!("{status:?}")] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn one_header_of_the_right_form_is_needed() {
        let token = Token::draw().unwrap();
        let credentials = credentials(Some(Grants::of([&info(&token, &[Scope::Read], 0)])));
        let check = |headers: &HeaderMap| credentials.check(Scope::Read, headers, None);
        assert!(matches!(check(&HeaderMap::new()), Err(Denied::NoToken)));
        let mut twice = with(&token);
        twice.append(header::AUTHORIZATION, token.header());
        assert!(matches!(check(&twice), Err(Denied::Header)));
        for wrong in [token.expose().to_owned(), format!("Basic {}", token.expose()), "Bearer ".to_owned()] {
            let header = HeaderValue::from_str(&wrong).unwrap();
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, header)]);
            assert!(matches!(check(&headers), Err(Denied::Header)), "{wrong}");
        }
    }

    #[test]
    fn before_tokens_are_known_a_caller_is_told_to_come_back() {
        let token = Token::draw().unwrap();
        let denied = credentials(None).check(Scope::Read, &with(&token), None).unwrap_err();
        assert_eq!(Status::from(denied).code(), tonic::Code::Unavailable);
    }

    #[test]
    fn an_administrator_of_this_cluster_needs_no_token() {
        let peer = |cluster_id: &str, role| Peer {
            address: None,
            identity: Some(Identity::new(cluster_id, role, "name").unwrap()),
            certificate: None,
        };
        let credentials = credentials(Some(Grants::default()));
        let check = |peer: &Peer| credentials.check(Scope::Admin, &HeaderMap::new(), Some(peer));
        assert_eq!(check(&peer("c", PeerRole::Admin)).unwrap(), None);
        assert!(check(&peer("other", PeerRole::Admin)).is_err());
        assert!(check(&peer("c", PeerRole::Router)).is_err());
    }
}
