//! Where the microseconds of a request go, from the metrics of the processes that it passes through.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::load::Route;

/// The sums and counts of the histograms that are looked at, by name and label.
#[derive(Debug, Default)]
pub(crate) struct Times(BTreeMap<String, (f64, f64)>);

impl Times {
    /// What the processes have counted so far.
    pub(crate) fn read(addresses: &[SocketAddr]) -> anyhow::Result<Self> {
        let mut times = Self::default();
        for address in addresses {
            let text = get(*address, "/metrics").with_context(|| format!("no metrics at {address}"))?;
            for line in text.lines() {
                times.take(line);
            }
        }
        Ok(times)
    }

    /// Adds a line such as `name_sum{kind="x"} 1.5`.
    fn take(&mut self, line: &str) {
        let Some((name, value)) = line.rsplit_once(' ') else { return };
        let Ok(value) = value.parse::<f64>() else { return };
        for (ending, is_sum) in [("_sum", true), ("_count", false)] {
            if let Some((histogram, labels)) = name.split_once(ending) {
                let label = labels.split('"').nth(1).unwrap_or_default();
                let entry = self.0.entry(format!("{histogram}/{label}")).or_default();
                if is_sum {
                    entry.0 += value;
                } else {
                    entry.1 += value;
                }
            }
        }
    }

    /// Microseconds of one on average, since `before`.
    fn mean_us(&self, before: &Self, name: &str) -> f64 {
        let of = |times: &Self| times.0.get(name).copied().unwrap_or_default();
        let ((sum, count), (sum_before, count_before)) = (of(self), of(before));
        (sum - sum_before) / (count - count_before) * 1e6
    }
}

/// The stages of a request between two readings, in microseconds; `client_us` is what clients saw on average.
pub(crate) fn stages(before: &Times, after: &Times, route: Route, client_us: f64) -> Value {
    let mean = |name: &str| after.mean_us(before, name);
    let router = mean(&format!("shoal_router_request_seconds/{}", route.name()));
    let (lookup, top_items) =
        (mean("shoal_router_call_seconds/lookup"), mean("shoal_router_call_seconds/top_items"));
    let worker = |kind: &str| mean(&format!("shoal_worker_query_seconds/{kind}"));
    let (worker_lookup, worker_top_items) = (worker("lookup"), worker("score"));
    let parts = [
        ("client, its connection and waiting for its own turn", client_us - router),
        ("router: HTTP, merge and JSON", router - lookup - top_items),
        ("between router and the worker of who or what is asked about", lookup - worker_lookup),
        ("worker: looking that up", worker_lookup),
        ("between router and three workers, the slowest of them", top_items - worker_top_items),
        ("worker: scoring and titles, on average", worker_top_items),
    ];
    println!("    where the {client_us:.0} µs of a request go:");
    for (name, us) in parts {
        println!("    {us:>7.0} µs  {name}");
    }
    json!(parts.into_iter().map(|(name, us)| (name.to_owned(), us)).collect::<BTreeMap<_, _>>())
}

fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
