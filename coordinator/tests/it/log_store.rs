//! The raft log on disk: what a restart finds, whatever moment the member stopped at.

mod crash;
mod refusal;
mod restart;
