//! The settings every gRPC server of Shoal shares.

use std::time::Duration;

use http::Response;
use tonic::{body::Body, transport::Server};
use tower::{
    layer::util::{Identity, Stack},
    util::MapResponseLayer,
};

use super::{
    reason::{BoundedBody, bounded},
    timely::TimelyLayer,
};
use crate::{
    access::{Guard, GuardLayer},
    audit::AuditLayer,
};

/// The largest message that is parsed. Bulk data travels in chunks of about 1 MiB; metadata and
/// job messages stay far below; anything larger is a mistake or an attack.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The largest request of a router or a leader that a worker parses. A router sends at most about 4 MiB of queries at a
/// time; one query's largest parts are 4 bytes for each item that its user has seen and 8 for each that was rated, so the
/// rest is for a user with half a million ratings. A leader's largest step names 10,000 files.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A server that asks a guard about each call, tells the audit log of refusals, and cuts the messages of its statuses to what travels.
pub type TunedServer = Server<
    Stack<
        TimelyLayer,
        Stack<
            GuardLayer,
            Stack<AuditLayer, Stack<MapResponseLayer<fn(Response<Body>) -> Response<BoundedBody>>, Identity>>,
        >,
    >,
>;

/// A server with windows sized for factor rows, dead peers noticed within seconds, no reason lost on its way, no
/// call that its guard does not let in or that never sends its message, and no refusal that `audit` is not told of.
#[must_use]
pub fn tuned_server(guard: Guard, audit: AuditLayer) -> TunedServer {
    Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(8 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024)
        .max_frame_size(1024 * 1024)
        .http2_keepalive_interval(Some(Duration::from_secs(2)))
        .http2_keepalive_timeout(Some(Duration::from_secs(2)))
        .layer(MapResponseLayer::new(bounded as fn(Response<Body>) -> Response<BoundedBody>))
        .layer(audit)
        .layer(GuardLayer::new(guard))
        .layer(TimelyLayer)
}
