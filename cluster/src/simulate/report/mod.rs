//! The report: one HTML page that needs nothing else, with the figures and their plots. Pure.

mod plot;

use std::{collections::BTreeMap, fmt::Write as _};

use self::plot::{Axis, Line, bars, lines};
use super::{
    summary::Summary,
    tally::{Latencies, Tally},
};
use crate::output::{self, scale::escaped};

const STYLE: &str = include_str!("page.css");
/// Points of the curve of percentiles.
const CURVE_POINTS: u32 = 120;

/// The page. `about` says in a line what was asked.
#[must_use]
pub fn page(summary: &Summary, tally: &Tally, about: &str) -> String {
    let configuration = &summary.configuration;
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Traffic simulation {start}</title>\n<style>\n{STYLE}</style></head>\n<body>\n<h1>Traffic simulation</h1>\n\
         <p>{url} · {start} · {duration} · {about}</p>\n",
        start = escaped(&summary.execution.start_time),
        url = escaped(&configuration.api_base_url),
        duration = output::seconds(summary.execution.actual_duration),
        about = escaped(about),
    );
    html.push_str("<div class=\"cards\">\n");
    for objective in summary.objectives() {
        let (class, verdict) = if objective.met { ("card", "met") } else { ("card missed", "missed") };
        let _ = writeln!(
            html,
            "<div class=\"{class}\"><em>{verdict}</em><span>{}</span><b>{:.2} {}</b></div>",
            escaped(objective.name),
            objective.value,
            objective.unit
        );
    }
    html.push_str("</div>\n<h2>Latency and rate</h2>\n<div class=\"plots\">\n");
    html.push_str(&percentiles(&tally.latencies));
    html.push_str(&latency_over_time(tally));
    html.push_str(&rate(tally, configuration.rate));
    html.push_str(&answers(tally));
    html.push_str("</div>\n<h2>Figures</h2>\n<div class=\"tables\">\n");
    html.push_str(&figures(summary));
    html.push_str(&counts("Answers by source", &tally.sources));
    html.push_str(&counts("Answers by version", &tally.versions));
    html.push_str("</div>\n</body></html>\n");
    html
}

fn milliseconds(seconds: f64) -> f64 {
    seconds * 1e3
}

/// Latency by percentile. Each 9 takes as much room as the one before.
fn percentiles(latencies: &Latencies) -> String {
    // Beyond one request there is nothing to be told.
    let nines = (latencies.count().max(10) as f64).log10();
    let point = |step: u32| {
        let x = nines * f64::from(step) / f64::from(CURVE_POINTS);
        (x, milliseconds(latencies.quantile(1.0 - 10_f64.powf(-x))))
    };
    let ticks = ["0", "90", "99", "99.9", "99.99", "99.999"];
    let ticks = ticks.into_iter().enumerate().map(|(at, text)| (at as f64, text.to_owned()));
    let x = Axis::ticked("percentile", nines, ticks.filter(|(at, _)| *at <= nines).collect());
    let y = Axis::log("ms", milliseconds(latencies.min()), milliseconds(latencies.max()));
    let curve = Line { name: "all requests", class: "a", points: (0..=CURVE_POINTS).map(point).collect() };
    lines("Latency by percentile", &x, &y, &[curve])
}

fn time_axis(tally: &Tally) -> Axis {
    Axis::linear("seconds", tally.spans.len() as f64 * tally.span_seconds)
}

fn latency_over_time(tally: &Tally) -> String {
    let shares = [("p50", "a", 0.5), ("p95", "b", 0.95), ("p99", "c", 0.99)];
    let curves = shares.map(|(name, class, share)| {
        let spans = tally.spans.iter().enumerate().filter(|(_, span)| span.due > 0);
        let point = |(at, span): (usize, &super::tally::Span)| {
            ((at as f64 + 0.5) * tally.span_seconds, milliseconds(span.latencies.quantile(share)))
        };
        Line { name, class, points: spans.map(point).collect() }
    });
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|(_, value)| *value));
    let y = Axis::log("ms", values().fold(f64::INFINITY, f64::min).min(1e6), values().fold(0.0, f64::max));
    lines("Latency by the time at which requests were due", &time_axis(tally), &y, &curves)
}

fn rate(tally: &Tally, planned: f64) -> String {
    let curve = |name, class, of: fn(&super::tally::Span) -> u64| {
        let point = |(at, span): (usize, &super::tally::Span)| {
            ((at as f64 + 0.5) * tally.span_seconds, of(span) as f64 / tally.span_seconds)
        };
        Line { name, class, points: tally.spans.iter().enumerate().map(point).collect() }
    };
    let curves = [
        curve("due", "b", |span| span.due),
        curve("answered well", "a", |span| span.succeeded),
        curve("failed", "c", |span| span.failed),
    ];
    let values = curves.iter().flat_map(|curve| curve.points.iter().map(|(_, value)| *value));
    let y = Axis::linear("requests per second", values.fold(planned, f64::max) * 1.05);
    lines("Rate", &time_axis(tally), &y, &curves)
}

fn answers(tally: &Tally) -> String {
    let status = |(status, count): (&String, &u64)| {
        let class = if status.starts_with('2') { "good" } else { "bad" };
        let name = if status == "none" { "no answer".to_owned() } else { format!("status {status}") };
        (name, *count, class)
    };
    let error = |(error, count): (&String, &u64)| (format!("failed: {error}"), *count, "bad");
    let rows: Vec<_> = tally.statuses.iter().map(status).chain(tally.errors.iter().map(error)).collect();
    bars("Answers by status, failures by kind", &rows)
}

fn figures(summary: &Summary) -> String {
    let (requests, latency) = (&summary.requests, &summary.latency);
    let seconds = |value: f64| format!("{:.2} ms", milliseconds(value));
    let rows = [
        ("Requests", output::count(requests.total)),
        ("Successful", output::count(requests.successful)),
        ("Failed", output::count(requests.failed)),
        ("Rate asked for", format!("{:.1} /s", summary.configuration.rate)),
        ("Rate", format!("{:.1} /s", requests.actual_rate)),
        ("Least latency", seconds(latency.min)),
        ("Mean", seconds(latency.mean)),
        ("p50", seconds(latency.p50)),
        ("p95", seconds(latency.p95)),
        ("p99", seconds(latency.p99)),
        ("Most", seconds(latency.max)),
        ("Standard deviation", seconds(latency.stdev)),
    ];
    table(rows.map(|(name, value)| (name.to_owned(), value)))
}

fn counts(title: &str, counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let rows = counts.iter().map(|(name, count)| (name.clone(), output::count(*count)));
    table([(title.to_owned(), String::new())].into_iter().chain(rows))
}

fn table(rows: impl IntoIterator<Item = (String, String)>) -> String {
    let row = |(name, value): (String, String)| {
        format!("<tr><td>{}</td><td>{}</td></tr>\n", escaped(&name), escaped(&value))
    };
    format!("<table>\n{}</table>\n", rows.into_iter().map(row).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shoal_common::ids::EntityId;

    use super::*;
    use crate::simulate::{
        checks::Facts,
        client::{Failure, Outcome},
        plan::Question,
        summary::Configuration,
        tally::Record,
    };

    fn page_of(requests: u64) -> String {
        let mut tally = Tally::new(Duration::from_secs(10));
        for at in 0..requests {
            let due = Duration::from_millis(at * 10);
            let result = match at % 10 {
                0 => Err(Failure::Status(503)),
                _ => Ok(Facts { version: "v<1>".into(), source: "model".into(), incomplete: false }),
            };
            let status = Some(if result.is_ok() { 200 } else { 503 });
            tally.add(&Record {
                due,
                sent: due,
                latency: Duration::from_micros(900 + at * 13 % 4_000),
                question: Question::Similar { item: EntityId::Integer(1) },
                outcome: Outcome { status, result },
            });
        }
        let configuration =
            Configuration { rate: 100.0, duration: 10.0, api_base_url: "http://a/?x=<y>".into() };
        page(&Summary::new(configuration, 0, true, &tally), &tally, "n = 10")
    }

    #[test]
    fn the_page_has_every_plot_and_asks_for_nothing_else() {
        let page = page_of(1_000);
        assert_eq!(page.matches("<svg").count(), 4);
        for part in ["Latency by percentile", "Latency by the time", "Rate", "status 503", "p99", "missed"] {
            assert!(page.contains(part), "'{part}' is missing");
        }
        for part in ["<script", "src=", "href=", "@import", "url(", "NaN", "inf", "<y>", "<1>"] {
            assert!(!page.contains(part), "'{part}' is there");
        }
    }

    #[test]
    fn a_page_of_nothing_is_whole() {
        let page = page_of(0);
        assert_eq!(page.matches("<svg").count(), 4);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
