//! Who may do what: rules for the methods of a server, and a guard that asks them before a request is read.
//!
//! Nodes prove who they are by certificates ([`crate::tls`]).

mod guard;

pub use guard::{Callers, Guard, GuardLayer, Guarded, certified_caller, certified_for, named_caller};
