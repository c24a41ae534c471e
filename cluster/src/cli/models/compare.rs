//! `shoal models compare`: versions side by side, and as a drawing.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_common::{
    readable::evaluation_json,
    split::{is_alike, of_version},
};
use shoal_proto::v1::ModelVersion;

use crate::{
    cli::{
        connection::{ClusterArgs, find_version},
        failure::{Exit, refusal},
    },
    output::{self, Align, Bars, Group, Table},
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

/// A measure: its name for people, where it is in the evaluation, and whether it is drawn.
struct Measure {
    name: &'static str,
    path: &'static str,
    drawn: bool,
}

const fn measure(name: &'static str, path: &'static str, drawn: bool) -> Measure {
    Measure { name, path, drawn }
}

const MEASURES: [Measure; 18] = [
    measure("rmse", "/rating/rmse", false),
    measure("mae", "/rating/mae", false),
    measure("mse", "/rating/mse", false),
    measure("r2", "/rating/r2", false),
    measure("precision@10", "/lists/precision_at_10", true),
    measure("precision@20", "/lists/precision_at_20", false),
    measure("recall@10", "/lists/recall_at_10", true),
    measure("recall@20", "/lists/recall_at_20", true),
    measure("ndcg@10", "/lists/ndcg_at_10", true),
    measure("ndcg@20", "/lists/ndcg_at_20", true),
    measure("map@10", "/lists/map_at_10", false),
    measure("map@20", "/lists/map_at_20", true),
    measure("mrr@10", "/lists/mrr_at_10", false),
    measure("mrr@20", "/lists/mrr_at_20", true),
    measure("coverage", "/coverage", true),
    measure("novelty", "/lists/novelty", false),
    measure("diversity", "/lists/diversity", true),
    measure("gini", "/gini", true),
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
    if let Some(path) = &args.plot {
        let drawing = bars(&versions, &evaluations).to_svg();
        std::fs::write(path, drawing).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    if args.json {
        let pairs = versions.iter().zip(&evaluations);
        let documents =
            pairs.map(|(version, evaluation)| json!({"name": version.name, "evaluation": evaluation}));
        output::print_json(&json!({"versions": documents.collect::<Vec<_>>()}))?;
        return Ok(Exit::Done);
    }
    output::print(&table(&versions, &evaluations).to_string())?;
    let data = |version: &ModelVersion| (version.dataset_name.clone(), version.dataset_version.clone());
    if versions.iter().any(|version| data(version) != data(versions[0])) {
        output::print(
            "The versions were trained from different data: the figures cannot be held against each other.",
        )?;
    } else if versions.iter().any(|version| !is_alike(&of_version(version), &of_version(versions[0]))) {
        output::print(
            "The versions were measured on different held-out ratings: the figures cannot be held against each other.",
        )?;
    }
    Ok(Exit::Done)
}

fn value(evaluation: &Value, measure: &Measure) -> Option<f64> {
    evaluation.pointer(measure.path).and_then(Value::as_f64)
}

fn table(versions: &[&ModelVersion], evaluations: &[Value]) -> Table {
    let names = versions.iter().map(|version| (version.name.as_str(), Align::Right));
    let columns: Vec<(&str, Align)> = std::iter::once(("MEASURE", Align::Left)).chain(names).collect();
    let mut table = Table::new(&columns);
    for measure in &MEASURES {
        let cells = evaluations
            .iter()
            .map(|evaluation| value(evaluation, measure).map(output::decimal).unwrap_or_default());
        table.row(std::iter::once(measure.name.to_owned()).chain(cells));
    }
    table
}

fn bars(versions: &[&ModelVersion], evaluations: &[Value]) -> Bars {
    let group = |measure: &Measure| Group {
        label: measure.name.to_owned(),
        values: evaluations.iter().map(|evaluation| value(evaluation, measure).unwrap_or_default()).collect(),
    };
    Bars {
        title: "Held-out measures of lists".to_owned(),
        series: versions.iter().map(|version| version.name.clone()).collect(),
        groups: MEASURES.iter().filter(|measure| measure.drawn).map(group).collect(),
    }
}
