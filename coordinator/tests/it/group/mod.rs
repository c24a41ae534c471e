//! Three members over real sockets: what they agree on, who leads, what becomes of those who wait, and what they
//! do not let themselves be told.

mod agreement;
mod catch_up;
mod hostile;
mod refusal;
mod scripted;
mod waiters;
