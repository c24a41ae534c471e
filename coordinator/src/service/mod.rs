//! The coordinators' gRPC face: conversions and refusals, nothing that decides.

mod coordinator;
mod promotion;

pub use coordinator::CoordinatorService;
