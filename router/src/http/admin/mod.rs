//! The admin API: what `shoal status`, `shoal jobs` and their like say, over HTTP. It is answered by the coordinator that
//! leads, in the caller's name; the router keeps nothing of it but its own traffic.
//!
//! `coordinators` asks. `reads`, `changes`, `events` and `traffic` are the routes; `origin` keeps the pages of strangers from
//! changing anything. [`views`] is the JSON.

mod changes;
mod coordinators;
mod events;
mod origin;
mod reads;
mod traffic;
pub mod views;

use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::coordinators::{ADMIN_PATH, ShownToken};
pub use self::coordinators::{Coordinators, Proof, TrainingDefaults};
use super::api::Api;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(reads::status))
        .routes(routes!(reads::troubles))
        .routes(routes!(reads::nodes))
        .routes(routes!(reads::shards))
        .routes(routes!(reads::models))
        .routes(routes!(reads::model))
        .routes(routes!(reads::datasets))
        .routes(routes!(reads::dataset))
        .routes(routes!(reads::jobs))
        .routes(routes!(reads::job))
        .routes(routes!(traffic::traffic))
        .routes(routes!(changes::rollback))
        .routes(routes!(changes::promote))
        .routes(routes!(changes::train))
        .routes(routes!(changes::import))
        .routes(routes!(changes::cancel))
        .routes(routes!(events::events))
        .routes(routes!(events::job_events))
}
