//! What this router was asked over the last hour.

use std::collections::BTreeMap;

use axum::{extract::RawQuery, response::Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::views::iso_time;
use crate::{
    http::{
        api::Api,
        error::HttpError,
        openapi::Refusals,
        parameters::Parameters,
        traffic::{QUERY_ROUTES, ROUTES, SLOT, SOURCES, Slot, Tally},
    },
    words::Words,
};

/// Requests by how they ended.
#[derive(Debug, Serialize, ToSchema)]
struct Requests {
    requests: u64,
    /// Milliseconds that half of them took at most, within an eighth; null without any.
    p50_ms: Option<f64>,
    /// Milliseconds that 99 in 100 of them took at most, within an eighth; null without any.
    p99_ms: Option<f64>,
    /// By class: `2xx`, `3xx`, `4xx`, `5xx`.
    statuses: BTreeMap<&'static str, u64>,
    /// Answers by where they came from: `model`, `cache`, `fallback_popular`, `baseline`. Answers of routes without sources
    /// are not among them.
    sources: BTreeMap<&'static str, u64>,
}

impl From<&Tally> for Requests {
    fn from(tally: &Tally) -> Self {
        Self {
            requests: tally.requests(),
            p50_ms: tally.latencies.quantile_ms(0.5),
            p99_ms: tally.latencies.quantile_ms(0.99),
            statuses: ["2xx", "3xx", "4xx", "5xx"].into_iter().zip(tally.classes).collect(),
            sources: SOURCES.iter().map(|source| source.name()).zip(tally.sources).collect(),
        }
    }
}

/// What was asked in a stretch of time.
#[derive(Debug, Serialize, ToSchema)]
struct Stretch {
    /// ISO 8601, UTC.
    began: String,
    seconds: f64,
    per_second: f64,
    #[serde(flatten)]
    requests: Requests,
}

/// What a route was asked.
#[derive(Debug, Serialize, ToSchema)]
struct RouteTraffic {
    /// The route's name in metrics.
    route: &'static str,
    #[serde(flatten)]
    requests: Requests,
}

/// What this router was asked over HTTP, for at most an hour back.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrafficAnswer {
    /// Always `this_router`: each router counts by itself, and forgets when it stops.
    counted_by: &'static str,
    /// When it began to count; ISO 8601, UTC.
    since: Option<String>,
    /// Seconds of a stretch.
    step: u64,
    /// Which routes the stretches are of.
    stretches_of: Vec<&'static str>,
    /// The oldest first. The last few seconds are not in yet.
    stretches: Vec<Stretch>,
    /// Every route that was asked, over all stretches.
    routes: Vec<RouteTraffic>,
}

/// The slots in groups of so many, each as one; the newest group is whole.
fn stretches(slots: &[std::sync::Arc<Slot>], group: usize, is_asked: impl Fn(usize) -> bool) -> Vec<Stretch> {
    let mut groups: Vec<Stretch> = slots
        .rchunks(group)
        .filter_map(|slots| {
            let mut tally = Tally::default();
            let of_slots = slots.iter().flat_map(|slot| &slot.routes);
            of_slots.filter(|(place, _)| is_asked(*place)).for_each(|(_, of_route)| tally.add(of_route));
            let seconds: f64 = slots.iter().map(|slot| slot.seconds).sum();
            Some(Stretch {
                began: iso_time(slots.first()?.began_unix_ms)?,
                seconds,
                per_second: if seconds > 0.0 { tally.requests() as f64 / seconds } else { 0.0 },
                requests: (&tally).into(),
            })
        })
        .collect();
    groups.reverse();
    groups
}

/// What this router alone was asked over the last hour: how much, how fast, with which outcome, from which source.
#[utoipa::path(
    get, path = "/admin/v1/traffic", tag = "admin",
    params(
        ("step" = Option<String>, Query, description = "Seconds of a stretch: `10` or `60`, the default",
            pattern = "^(10|60)$", example = "60"),
        ("route" = Option<String>, Query, description = "The stretches of one route, by its name in metrics; of all routes that \
            answer queries by default", example = "recommend"),
    ),
    responses((status = 200, body = TrafficAnswer), Refusals),
)]
pub(super) async fn traffic(api: Api, RawQuery(query): RawQuery) -> Result<Json<TrafficAnswer>, HttpError> {
    let mut parameters = Parameters::read(query.as_deref(), &Words::OWN)?;
    let (step, route) = (parameters.text("step")?, parameters.text("route")?);
    parameters.finish()?;
    let step = match step.as_deref() {
        None | Some("60") => 60,
        Some("10") => 10,
        Some(other) => {
            return Err(HttpError::invalid("step", &format!("'{other}' is neither '10' nor '60'")));
        }
    };
    let only = match &route {
        None => None,
        Some(name) => Some(ROUTES.iter().position(|known| known == name).ok_or_else(|| {
            HttpError::invalid("route", &format!("there is no '{name}'; there are {}", ROUTES.join(", ")))
        })?),
    };
    let is_asked = |place: usize| only.map_or(place < QUERY_ROUTES, |only| only == place);
    let slots = api.traffic.slots();
    let mut by_route = [(); ROUTES.len()].map(|()| Tally::default());
    for (place, tally) in slots.iter().flat_map(|slot| &slot.routes) {
        by_route[*place].add(tally);
    }
    let asked = ROUTES.into_iter().zip(&by_route).filter(|(_, tally)| tally.requests() > 0);
    Ok(Json(TrafficAnswer {
        counted_by: "this_router",
        since: iso_time(api.traffic.since_unix_ms()),
        step,
        stretches_of: (0..).zip(ROUTES).filter(|(place, _)| is_asked(*place)).map(|(_, name)| name).collect(),
        stretches: stretches(&slots, (step / SLOT.as_secs()) as usize, is_asked),
        routes: asked.map(|(route, tally)| RouteTraffic { route, requests: tally.into() }).collect(),
    }))
}
