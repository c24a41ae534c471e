//! Recommend and similar over catalogues of several sizes: through the router at a rate, exact, and beside faiss's HNSW and
//! IVF over the same factors, tuned to 0.95 of the exact lists.
//!
//! faiss is called in its own process: no HTTP, no lookup of users, no seen items, no titles, one shard. So two things are
//! compared: the whole service with searches alone that come at the same rate, and searches alone on one core.

mod catalogue;
mod exact;

use std::path::PathBuf;

use serde_json::{Value, json};
use shoal_benches::{
    curves::{Curve, Curves, Spacing},
    flags::Flags,
    peers::Peers,
};

pub(crate) use self::catalogue::Size;
use self::{
    catalogue::{Catalogue, Workshop},
    exact::Search,
};
use crate::{
    load::{Load, Route, Shape, is_borne, number},
    stages::{Times, stages},
};

/// Requests per second.
const RATE: f64 = 300.0;
/// Of the exact lists, that an approximate search finds.
const RECALL: &str = "0.95";
/// Where the search for the most requests per second begins, of a route that does not bear the rate.
const LOW_RATE: f64 = 50.0;
/// How many shards of the catalogue of a million, of 62,500 items each, are searched for items alike.
const SHARDS: [usize; 4] = [1, 2, 4, 8];

/// The measuring of several sizes of catalogue.
pub(crate) struct Sizes<'a> {
    pub(crate) flags: &'a Flags,
    pub(crate) peers: &'a Peers,
    pub(crate) seconds: u32,
    /// Whether HNSW is built of the largest catalogue too.
    pub(crate) large_hnsw: bool,
    /// Whether to make catalogues and indexes only.
    pub(crate) only_prepare: bool,
}

impl Sizes<'_> {
    /// Measures each size in turn, prints a table and writes the figures.
    pub(crate) fn run(&self, sizes: &[Size]) -> anyhow::Result<()> {
        let (shoal, work) = (self.flags.shoal()?, self.flags.work()?);
        let workshop = Workshop { shoal: &shoal, work: &work, flags: self.flags, peers: self.peers };
        let mut measured = Vec::new();
        for &size in sizes {
            println!("== {} items", size.name());
            let catalogue = workshop.open(size)?;
            if self.only_prepare {
                self.prepare(size, &catalogue)?;
            } else {
                measured.push(self.measure(workshop, size, &catalogue)?);
            }
        }
        if self.only_prepare {
            return Ok(());
        }
        println!("\n{}", table(&measured));
        let curves = Curves {
            title: "Microseconds of a core for the best ten, rank 64".to_owned(),
            along: "items",
            spacing: Spacing::Logarithmic,
            curves: curves(&measured),
            about: json!({ "rate": RATE, "recall": RECALL, "sizes": measured }),
        };
        curves.write(&self.flags.out, "serve-sizes")?;
        println!("written to '{}'", self.flags.out.display());
        Ok(())
    }

    /// The indexes that a size is searched by, and for what. HNSW of five million rows takes a quarter of an hour of both cores to
    /// build: it is built of rows as they were trained only, where it is to be beaten.
    fn indexes(&self, size: Size) -> Vec<Vec<&'static str>> {
        match size {
            Size::Thousands | Size::Million => vec![vec!["--indexes", "hnsw", "ivf"]],
            Size::Millions if self.large_hnsw => vec![
                vec!["--indexes", "hnsw", "ivf", "--kinds", "recommend"],
                vec!["--indexes", "ivf", "--kinds", "recommend, norms alike", "similar"],
            ],
            Size::Millions => vec![vec!["--indexes", "ivf"]],
        }
    }

    fn prepare(&self, size: Size, catalogue: &Catalogue) -> anyhow::Result<()> {
        for indexes in self.indexes(size) {
            self.faiss(catalogue, None, &[&["--build-only"][..], &indexes].concat())?;
        }
        for &shards in parts(size) {
            self.faiss(catalogue, Some(shards), &["--build-only", "--kinds", Search::Similar.name()])?;
        }
        Ok(())
    }

    fn measure(&self, workshop: Workshop<'_>, size: Size, catalogue: &Catalogue) -> anyhow::Result<Value> {
        let (users, _) = size.sides(self.flags);
        let load = Load::new(workshop.shoal, workshop.work, users, self.seconds)?;
        // Connections, caches and clocks.
        load.run(&catalogue.url, Shape { seconds: 3, ..load.shape(101.0) }, &[])?;
        let recommend = served(&load, catalogue, Route::Recommend)?;
        let similar = served(&load, catalogue, Route::Similar)?;
        let peaks = catalogue.cluster.peak_memory_of_workers()?;
        println!("    in process, on one core");
        let exact = exact::measure(&catalogue.version, &Search::ALL, None)?;
        let mut faiss = Vec::new();
        let seconds = (2 * self.seconds).to_string();
        for indexes in self.indexes(size) {
            faiss.push(self.faiss(catalogue, None, &[&["--seconds", &seconds][..], &indexes].concat())?);
        }
        let mut of_parts = Vec::new();
        for &shards in parts(size) {
            let exact = exact::measure(&catalogue.version, &[Search::Similar], Some(shards))?;
            let flags = ["--seconds", "0", "--kinds", Search::Similar.name()];
            let faiss = [self.faiss(catalogue, Some(shards), &flags)?];
            let items = exact::trained_items(&catalogue.version, Some(shards))?;
            of_parts.push(json!({ "trained_items": items, "exact": exact, "faiss": faiss }));
        }
        let found = json!({
            "size": size.name(), "catalogue": catalogue.about,
            "trained_items": exact::trained_items(&catalogue.version, None)?,
            "served": { "recommend": recommend, "similar": similar },
            "peak_bytes_of_workers": peaks, "exact": exact, "faiss": faiss, "parts": of_parts,
        });
        println!("    {found}");
        Ok(found)
    }

    /// What faiss's indexes over the catalogue's factors give.
    fn faiss(&self, catalogue: &Catalogue, shards: Option<usize>, flags: &[&str]) -> anyhow::Result<Value> {
        let text = |path: &PathBuf| path.display().to_string();
        let (version, indexes) = (text(&catalogue.version), text(&catalogue.indexes));
        let rate = RATE.to_string();
        let mut arguments = vec![&version[..], &indexes, "--recall", RECALL, "--rate", &rate];
        let shards = shards.map(|shards| shards.to_string());
        arguments.extend(shards.iter().flat_map(|shards| ["--shards", shards]));
        arguments.extend_from_slice(flags);
        self.peers.run("faiss_indexes.py", &arguments)
    }
}

/// The parts of a catalogue that are searched beside the whole.
fn parts(size: Size) -> &'static [usize] {
    if size == Size::Million { &SHARDS } else { &[] }
}

/// A route at the rate, and where it does not bear that, the most requests per second that it bears.
fn served(load: &Load, catalogue: &Catalogue, route: Route) -> anyhow::Result<Value> {
    let before = Times::read(&catalogue.metrics)?;
    let shape = load.shape(RATE);
    let found = load.run(&catalogue.url, Shape { route, seconds: 3 * shape.seconds, ..shape }, &[])?;
    let after = Times::read(&catalogue.metrics)?;
    println!("    {}: {}", route.name(), found["latency"]);
    let stages = stages(&before, &after, route, number(&found, "/latency/mean") * 1e6);
    let mut measured = json!({
        "requests": found["requests"], "latency": found["latency"], "errors": found["errors"],
        "answers": found["answers"], "stages_us": stages,
    });
    if !is_borne(&found) {
        let (most, tried) = load.most(&catalogue.url, route, LOW_RATE, &[])?;
        measured["most"] = json!({ "per_second": most, "tried": tried });
    }
    Ok(measured)
}

/// The figures for people, as Markdown.
fn table(measured: &[Value]) -> String {
    let mut text = "| items | route | served: p50 / p99, ms | faiss alone, HNSW | IVF | on one core, exact: searches/s | HNSW | IVF |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    let latency = |found: &Value, p50: &str, p99: &str, to_ms: f64| {
        format!("{:.2} / {:.2}", number(found, p50) * to_ms, number(found, p99) * to_ms)
    };
    for found in measured {
        for search in Search::ALL {
            let name = search.name();
            let served = found.pointer(&format!("/served/{name}"));
            let served = served
                .map_or_else(String::new, |served| latency(served, "/latency/p50", "/latency/p99", 1e3));
            let exact = &found["exact"][name];
            let [hnsw, ivf] = ["hnsw", "ivf"].map(|way| by_faiss(found, search, way));
            let [by_hnsw, by_ivf] =
                [hnsw, ivf].map(|peer| latency(peer, "/open_loop/p50_ms", "/open_loop/p99_ms", 1.0));
            let [exact, hnsw, ivf] =
                [exact, hnsw, ivf].map(|one| format!("{:.0}", number(one, "/per_second_on_one_core")));
            let size = found["size"].as_str().unwrap_or_default();
            text += &format!(
                "| {size} | {name} | {served} | {by_hnsw} | {by_ivf} | {exact} | {hnsw} | {ivf} |\n"
            );
        }
    }
    text
}

/// What an index of faiss gave for a search; nothing where it was not built.
fn by_faiss<'a>(found: &'a Value, search: Search, way: &str) -> &'a Value {
    let answers = found["faiss"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_way = answers.iter().map(|answer| &answer["cases"][search.name()][way]);
    of_way.fold(&Value::Null, |found, one| if one.is_null() { found } else { one })
}

/// Microseconds of a search on one core over the number of items, of each way to search.
fn curves(measured: &[Value]) -> Vec<Curve> {
    let parts = || measured.iter().flat_map(|found| found["parts"].as_array().into_iter().flatten());
    let mut curves = Vec::new();
    for search in [Search::Recommend, Search::Similar] {
        for (name, way) in [("exact", None), ("HNSW", Some("hnsw")), ("IVF", Some("ivf"))] {
            let point = |found: &Value| {
                let figures = match way {
                    None => &found["exact"][search.name()],
                    Some(way) => by_faiss(found, search, way),
                };
                let per_second = figures["per_second_on_one_core"].as_f64()?;
                Some((found["trained_items"].as_f64()?, 1e6 / per_second))
            };
            let mut points: Vec<(f64, f64)> = measured.iter().chain(parts()).filter_map(point).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            curves.push(Curve { name: format!("{}, {name}", search.name()), points });
        }
    }
    curves.retain(|curve| !curve.points.is_empty());
    curves
}
