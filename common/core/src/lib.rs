//! What the models' maths and every role count by: the hashes that decide ([`hash`]), the one order of every list
//! ([`topk`]), how lists spread over a catalogue ([`exposure`]), what ratings weigh in a profile ([`profile`]), and the
//! kinds of models ([`ModelKind`]).
//!
//! Nothing here waits, or knows a file or a socket.

pub mod exposure;
pub mod hash;
mod model_kind;
pub mod profile;
pub mod topk;

pub use model_kind::{Answers, ModelKind, UnknownModel};
