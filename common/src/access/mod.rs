//! Who may do what: rules for the methods of a server, and a guard that asks them before a request is read.
//!
//! Nodes prove who they are by certificates ([`crate::tls`]), people and programs by a certificate of the role `admin` or by a
//! [`Token`], whose [`Scope`]s say what its holder may do. The registry owns the tokens that are good; a server knows them
//! through [`KnownTokens`].

mod grants;
mod guard;
mod scope;
mod token;
mod uses;

pub use grants::{AcceptedCredentials, Denied, Grant, Grants, Holder, KnownTokens, TokenCheck, has_expired};
pub use scope::{Scope, UnknownScope};
pub use token::{NoRandomness, NotAToken, Token, TokenDigest, TokenFileError, is_token_id};
pub use uses::{TokenUse, TokenUses};

pub use guard::{
    Callers, Guard, GuardLayer, Guarded, caller_name, certified_caller, certified_for, named_caller,
    needs_scope, token_holder,
};
