//! `shoal models compare`: versions side by side, and as a drawing.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_common::{
    readable::evaluation_json,
    split::{is_alike, of_version, protocol},
};
use shoal_proto::v1::ModelVersion;

use crate::{
    cli::{
        connection::{ClusterArgs, find_version},
        failure::{Exit, refusal},
    },
    output::{self, Align, Baseline, Cell, Panel, Panels, Series, Table, style},
};

/// Flags of `shoal models compare`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CompareArgs {
    /// Names of the versions
    #[arg(required = true, num_args = 2..)]
    versions: Vec<String>,
    /// Draw the comparison into this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A measure: its name for people, where it is in the evaluation and where the baseline's is, which way is better,
/// and whether it is drawn.
struct Measure {
    name: &'static str,
    path: &'static str,
    baseline: Option<(&'static str, &'static str)>,
    lower_is_better: bool,
    drawn: bool,
}

/// Measures of which a version says nothing unless users were held out.
const LONG_LISTS: [&str; 2] = ["recall@50", "ndcg@100"];

/// Where an evaluation has the users that its figures are of, and how many there are.
const MEASURED: &str = "/lists/users";
const IN_ALL: &str = "/lists/users_in_all";

const BIASES: &str = "biases";
const POPULARITY: &str = "popularity";

/// An error of predicted ratings.
const fn error(name: &'static str, path: &'static str, baseline: &'static str, drawn: bool) -> Measure {
    Measure { name, path, baseline: Some((BIASES, baseline)), lower_is_better: true, drawn }
}

/// A score of lists.
const fn score(name: &'static str, path: &'static str, baseline: &'static str, drawn: bool) -> Measure {
    Measure { name, path, baseline: Some((POPULARITY, baseline)), lower_is_better: false, drawn }
}

/// A measure of how lists spread over the catalogue.
const fn spread(name: &'static str, path: &'static str, lower_is_better: bool) -> Measure {
    Measure { name, path, baseline: None, lower_is_better, drawn: true }
}

const MEASURES: [Measure; 20] = [
    error("rmse", "/rating/rmse", "/rating_baseline/rmse", true),
    error("mae", "/rating/mae", "/rating_baseline/mae", false),
    error("mse", "/rating/mse", "/rating_baseline/mse", false),
    Measure { lower_is_better: false, ..error("r2", "/rating/r2", "/rating_baseline/r2", false) },
    score("precision@10", "/lists/precision_at_10", "/popularity/precision_at_10", false),
    score("precision@20", "/lists/precision_at_20", "/popularity/precision_at_20", false),
    score("recall@10", "/lists/recall_at_10", "/popularity/recall_at_10", false),
    score("recall@20", "/lists/recall_at_20", "/popularity/recall_at_20", true),
    // Of users who are held out lists are longer.
    score("recall@50", "/lists/recall_at_50", "/popularity/recall_at_50", false),
    score("ndcg@10", "/lists/ndcg_at_10", "/popularity/ndcg_at_10", true),
    score("ndcg@20", "/lists/ndcg_at_20", "/popularity/ndcg_at_20", true),
    score("ndcg@100", "/lists/ndcg_at_100", "/popularity/ndcg_at_100", false),
    score("map@10", "/lists/map_at_10", "/popularity/map_at_10", false),
    score("map@20", "/lists/map_at_20", "/popularity/map_at_20", true),
    score("mrr@10", "/lists/mrr_at_10", "/popularity/mrr_at_10", false),
    score("mrr@20", "/lists/mrr_at_20", "/popularity/mrr_at_20", true),
    spread("coverage", "/coverage", false),
    Measure { drawn: false, ..score("novelty", "/lists/novelty", "/popularity/novelty", false) },
    score("diversity", "/lists/diversity", "/popularity/diversity", true),
    spread("gini", "/gini", true),
];

pub(in crate::cli) async fn run(args: CompareArgs) -> anyhow::Result<Exit> {
    let known = args.cluster.connect()?.models().await?;
    let versions = args.versions.iter().map(|name| find_version(&known, name));
    let versions = versions.collect::<anyhow::Result<Vec<&ModelVersion>>>()?;
    let evaluations = versions.iter().map(|version| {
        let evaluation = version.evaluation.as_ref().map(evaluation_json);
        evaluation.ok_or_else(|| {
            refusal(
                Exit::NotFound,
                format!("version '{}' was not measured when it was trained", version.name),
            )
        })
    });
    let evaluations = evaluations.collect::<anyhow::Result<Vec<Value>>>()?;
    let comparison = Comparison { versions: &versions, evaluations: &evaluations };
    if let Some(path) = &args.plot {
        let drawing = comparison.drawing().to_svg();
        std::fs::write(path, drawing).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    if args.json {
        let pairs = versions.iter().zip(&evaluations);
        let documents = pairs.map(|(version, evaluation)| {
            let protocol = protocol(&of_version(version));
            json!({"name": version.name, "protocol": protocol, "evaluation": evaluation})
        });
        let cautions = cautions(&versions, &evaluations);
        output::print_json(&json!({"versions": documents.collect::<Vec<_>>(), "cautions": cautions}))?;
        return Ok(Exit::Done);
    }
    output::print(&format!("{}\n{}", comparison.legend(), comparison.table()))?;
    for line in cautions(&versions, &evaluations) {
        output::print(line)?;
    }
    Ok(Exit::Done)
}

/// What keeps figures from being held against each other, or leaves them to chance.
fn cautions(versions: &[&ModelVersion], evaluations: &[Value]) -> Vec<&'static str> {
    let data = |version: &ModelVersion| (version.dataset_name.clone(), version.dataset_version.clone());
    if versions.iter().any(|version| data(version) != data(versions[0])) {
        return vec![
            "The versions were trained from different data: the figures cannot be held against each other.",
        ];
    }
    if versions.iter().any(|version| !is_alike(&of_version(version), &of_version(versions[0]))) {
        return vec![
            "The versions were measured on different held-out ratings: the figures cannot be held against each other.",
        ];
    }
    let of_some = |evaluation: &Value| figure(evaluation, MEASURED) < figure(evaluation, IN_ALL);
    if !evaluations.iter().any(of_some) {
        return Vec::new();
    }
    let first = figure(&evaluations[0], MEASURED);
    let alike = evaluations.iter().all(|evaluation| figure(evaluation, MEASURED) == first);
    vec![
        "± is the 95 % interval in which the figure of all users is; `shoal train --ranking-users all --force` measures them.",
        if alike {
            "The versions were measured over the same users: less is left to chance of a difference than of a figure."
        } else {
            "The versions were measured over different numbers of users."
        },
    ]
}

fn figure(evaluation: &Value, path: &str) -> Option<f64> {
    evaluation.pointer(path).and_then(Value::as_f64)
}

/// Of how many users the figures are.
fn users(evaluation: &Value) -> String {
    let count = |path| figure(evaluation, path).unwrap_or_default() as u64;
    output::users_measured(count(MEASURED), count(IN_ALL))
}

/// Versions and what each is worth, side by side.
struct Comparison<'a> {
    versions: &'a [&'a ModelVersion],
    evaluations: &'a [Value],
}

impl Comparison<'_> {
    /// The letter by which a version goes in the table: A, B, …, Z, A1, B1, ….
    fn letter(place: usize) -> String {
        let letter = char::from(b'A' + (place % 26) as u8);
        if place < 26 { letter.to_string() } else { format!("{letter}{}", place / 26) }
    }

    /// Which version each letter stands for.
    fn legend(&self) -> Table {
        let mut table = Table::new(&[
            ("", Align::Left),
            ("VERSION", Align::Left),
            ("MODEL", Align::Left),
            ("STATE", Align::Left),
            ("DATA SET", Align::Left),
        ])
        .flexible(&["DATA SET"]);
        for (place, version) in self.versions.iter().enumerate() {
            let state = state_of(version);
            table.row([
                Self::letter(place).into(),
                version.name.clone().into(),
                version.model.clone().into(),
                Cell::styled(state.clone(), style::of_state(&state)),
                format!("{}@{}", version.dataset_name, version.dataset_version).into(),
            ]);
        }
        table
    }

    /// A line for each measure, the best figure marked; baselines at its end.
    fn table(&self) -> Table {
        let letters: Vec<String> = (0..self.versions.len()).map(Self::letter).collect();
        let names = letters.iter().map(|letter| (letter.as_str(), Align::Right));
        let columns: Vec<(&str, Align)> = std::iter::once(("MEASURE", Align::Left))
            .chain(names)
            .chain([("BASELINE", Align::Left)])
            .collect();
        let mut table = Table::new(&columns);
        for measure in &MEASURES {
            let panel = self.panel(measure);
            let is_of_long_lists = LONG_LISTS.contains(&measure.name);
            if is_of_long_lists && panel.values.iter().all(Option::is_none) {
                continue;
            }
            let best = panel.best();
            let half_width = format!("{}_half_width", measure.path);
            let cell = |(value, evaluation): (&Option<f64>, &Value)| {
                let Some(value) = *value else { return Cell::default() };
                let text = output::unsure(value, figure(evaluation, &half_width).unwrap_or_default());
                // The mark is there for whoever sees no colours.
                if best == Some(value) { Cell::styled(format!("*{text}"), style::BEST) } else { text.into() }
            };
            let baseline = panel.baseline.as_ref();
            let baseline = baseline.map(|of| format!("{} {}", output::decimal(of.value), of.name));
            let name = if measure.lower_is_better {
                format!("{} ↓", measure.name)
            } else {
                measure.name.to_owned()
            };
            let cells = panel.values.iter().zip(self.evaluations).map(cell);
            table.row(
                std::iter::once(Cell::from(name))
                    .chain(cells)
                    .chain([Cell::from(baseline.unwrap_or_default())]),
            );
        }
        let of = self.evaluations.iter().map(|evaluation| Cell::from(users(evaluation)));
        table.row(std::iter::once(Cell::from("measured")).chain(of).chain([Cell::default()]));
        table
    }

    fn panel(&self, measure: &Measure) -> Panel {
        let baseline = measure.baseline.and_then(|(name, path)| {
            // Baselines are the same for all that were measured on the same ratings.
            let value = self.evaluations.iter().find_map(|evaluation| figure(evaluation, path))?;
            Some(Baseline { name, value })
        });
        Panel {
            title: measure.name.to_owned(),
            lower_is_better: measure.lower_is_better,
            values: self.evaluations.iter().map(|evaluation| figure(evaluation, measure.path)).collect(),
            baseline,
        }
    }

    fn drawing(&self) -> Panels {
        let series = self.versions.iter().enumerate().map(|(place, version)| {
            let state = state_of(version);
            let state = if state == "live" { " (live)" } else { "" };
            Series { short: Self::letter(place), name: format!("{}{state}", version.name) }
        });
        let mut datasets: Vec<String> = self
            .versions
            .iter()
            .map(|version| format!("{}@{}", version.dataset_name, version.dataset_version))
            .collect();
        datasets.dedup();
        Panels {
            title: "Model versions on held-out ratings".to_owned(),
            subtitle: format!("{}; dashed: the baseline on the same ratings", datasets.join(", ")),
            series: series.collect(),
            panels: MEASURES
                .iter()
                .filter(|measure| measure.drawn)
                .map(|measure| self.panel(measure))
                .collect(),
        }
    }
}

fn state_of(version: &ModelVersion) -> String {
    output::model(version)["state"].as_str().unwrap_or_default().to_owned()
}
