//! The deadline travels with the call, as gRPC's own `grpc-timeout`.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Request;

/// What is left until `deadline`; zero once it has passed.
#[must_use]
pub fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A request that carries what is left until `deadline`, less `margin` for the way back.
#[must_use]
pub fn with_deadline<T>(message: T, deadline: Instant, margin: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(remaining(deadline).saturating_sub(margin));
    request
}
