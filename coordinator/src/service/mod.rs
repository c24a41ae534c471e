//! The coordinators' gRPC face: conversions and refusals, nothing that decides.

mod coordinator;

pub use coordinator::CoordinatorService;
