//! Three members over real sockets: what they agree on, who leads, and what becomes of those who wait.

mod agreement;
mod catch_up;
mod refusal;
mod scripted;
mod waiters;
