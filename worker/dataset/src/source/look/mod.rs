//! A look at the first bytes of a file: what its columns are, and how its values are read. Pure.
//!
//! What was not said is found out here, once for a file: delimiter, header, columns, the kind of ids, the unit of times.
//! The rows are then read by these rules alone, wherever and by whomever. `docs/files.md` states them for users.

mod columns;
mod header;
mod ids;
mod sample;
mod text;
mod times;

pub(super) use columns::Columns;
pub(super) use ids::IdLook;
pub(super) use text::{TextHead, look_at_text, value_rules};
pub(super) use times::numbers_text;
