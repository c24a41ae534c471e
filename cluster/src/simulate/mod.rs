//! A traffic simulator for the HTTP API: an open loop of requests as users would make them, whose answers
//! are checked.
//!
//! What is asked and when is drawn beforehand ([`plan`], [`arrivals`], [`users`]) and follows from the seed. The
//! times do not wait for answers: a latency counts from when the request was due, so a service that stalls is
//! charged for everybody who would have come meanwhile. [`run`] does it, [`client`] asks, [`checks`] judges, [`tally`]
//! adds up, [`summary`] has the figures under their names, [`logs`] and [`report`] write them. [`sources`] finds out who is
//! a known user.

pub mod arrivals;
pub mod checks;
pub mod client;
pub mod logs;
pub mod plan;
mod random;
pub mod report;
pub mod run;
pub mod sources;
pub mod summary;
pub mod tally;
pub mod users;
