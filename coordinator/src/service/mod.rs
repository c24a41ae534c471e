//! The coordinators' gRPC face: conversions and refusals, nothing that decides.

mod audited;
mod coordinator;
mod jobs;
mod member;
mod member_reports;
mod nodes;
mod places;
mod promotion;
mod registry;
mod tokens;
mod watches;

pub use member::CoordinatorService;
pub use tokens::LeaderTokens;
