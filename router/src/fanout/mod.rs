//! Asking shards: a pure machine that decides ([`machine`]) and a driver that carries it out.

mod driver;
pub mod machine;

pub(crate) use driver::DEADLINE_MARGIN;
pub use driver::{Answers, FanOut, ShardAnswer};
