//! `shoal recommend`, `similar` and `predict`: queries from the terminal.

use serde_json::Value;

use super::{
    connection::{RouterArgs, ServiceArgs, model_name},
    failure::Exit,
    filter_args::FilterArgs,
    lists::{self, Asked, ListsArgs},
};
use crate::output::{self, Align, Table};

/// Which model is asked.
#[derive(Debug, clap::Args)]
struct ModelArgs {
    /// The model whose live version answers; the default model's if not given
    #[arg(long, value_parser = model_name)]
    model: Option<&'static str>,
}

/// Flags of `shoal recommend`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  shoal recommend 1\n  shoal recommend 1 -n 5 --rank-by rating\n  shoal recommend 1 --model item_cf --diversity 0.3\n  shoal recommend 1 --genre Drama --year-min 1990\n  shoal recommend 1 --json\n  shoal recommend --all -n 100 --out ./lists\n  shoal recommend --all --model hybrid --format csv --users users.txt --out s3://bucket/lists"
)]
pub(super) struct RecommendArgs {
    /// Id of the user
    #[arg(allow_hyphen_values = true, required_unless_present = "all", conflicts_with = "all")]
    user: Option<String>,
    /// How many movies, 1 to 100, or to 1000 with --all
    #[arg(short, long, default_value_t = 10)]
    n: u32,
    /// What the list is ranked by; by default what the version was trained for
    #[arg(long, value_parser = ["ranking", "rating"])]
    rank_by: Option<String>,
    /// How much likeness to the movies before counts against a movie's score, 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", conflicts_with = "all")]
    diversity: f32,
    #[command(flatten)]
    model: ModelArgs,
    /// Fail rather than answer without some shards
    #[arg(long, conflicts_with = "all")]
    complete: bool,
    /// Print the API's JSON, or with --all the job's
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    lists: ListsArgs,
    #[command(flatten)]
    service: ServiceArgs,
}

/// Flags of `shoal similar`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  shoal similar 1\n  shoal similar 1 --model content\n  shoal similar 1 -n 20 --json"
)]
pub(super) struct SimilarArgs {
    /// Id of the movie
    #[arg(allow_hyphen_values = true)]
    movie: String,
    /// How many movies, 1 to 50
    #[arg(short, long, default_value_t = 10)]
    n: u32,
    #[command(flatten)]
    model: ModelArgs,
    /// Fail rather than answer without some shards
    #[arg(long)]
    complete: bool,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: RouterArgs,
}

/// Flags of `shoal predict`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  shoal predict 1 50\n  shoal predict 1 50 --json")]
pub(super) struct PredictArgs {
    /// Id of the user
    #[arg(allow_hyphen_values = true)]
    user: String,
    /// Id of the movie
    #[arg(allow_hyphen_values = true)]
    movie: String,
    #[command(flatten)]
    model: ModelArgs,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: RouterArgs,
}

pub(super) async fn recommend(args: RecommendArgs) -> anyhow::Result<Exit> {
    let Some(user) = args.user else {
        let model = args.model.model.unwrap_or_default().to_owned();
        let RecommendArgs { n, rank_by, filter, json, .. } = args;
        let asked = Asked { n, model, rank_by, filter, json };
        return lists::run(args.lists, asked, &args.service.coordinators()?).await;
    };
    let router = args.service.router()?;
    let mut parameters = list_parameters(args.n, args.model, args.complete);
    parameters.extend(args.rank_by.map(|by| ("rank_by", by)));
    parameters.extend(args.filter.parameters());
    parameters.push(("diversity", args.diversity.to_string()));
    let answer = router.recommend(&user, &parameters).await?;
    if args.json {
        output::print_json(&answer)?;
    } else {
        output::print(&format!("{}{}", heading(&answer), recommendations(&answer)))?;
    }
    Ok(Exit::Done)
}

pub(super) async fn similar(args: SimilarArgs) -> anyhow::Result<Exit> {
    let parameters = list_parameters(args.n, args.model, args.complete);
    let answer = args.router.connect()?.similar(&args.movie, &parameters).await?;
    if args.json {
        output::print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("RANK", Align::Right),
        ("TITLE", Align::Left),
        ("GENRES", Align::Left),
        ("SIMILARITY", Align::Right),
        ("MOVIE", Align::Right),
    ])
    .flexible(&["TITLE", "GENRES"]);
    for movie in list(&answer, "similar_movies") {
        table.row([
            cell(&movie["rank"]),
            cell(&movie["title"]),
            output::genre_list(&movie["genres"]),
            score(&movie["similarity"]),
            cell(&movie["movie_id"]),
        ]);
    }
    output::print(&format!("{}{table}", heading(&answer)))?;
    Ok(Exit::Done)
}

pub(super) async fn predict(args: PredictArgs) -> anyhow::Result<Exit> {
    let parameters: Vec<_> = args.model.model.map(|model| ("model", model.to_owned())).into_iter().collect();
    let answer = args.router.connect()?.predict(&args.user, &args.movie, &parameters).await?;
    if args.json {
        output::print_json(&answer)?;
    } else {
        output::print(&format!(
            "{}{} would give {} {}",
            heading(&answer),
            cell(&answer["user_id"]),
            cell(&answer["title"]),
            answer["predicted_rating"]
                .as_f64()
                .map_or_else(|| "no rating".to_owned(), |rating| format!("{rating:.2}")),
        ))?;
    }
    Ok(Exit::Done)
}

fn list_parameters(n: u32, model: ModelArgs, complete: bool) -> Vec<(&'static str, String)> {
    let mut parameters = vec![("n", n.to_string())];
    parameters.extend(model.model.map(|model| ("model", model.to_owned())));
    parameters.extend(complete.then(|| ("complete", "true".to_owned())));
    parameters
}

/// Which version answered, and whether it knew the user or had every shard.
fn heading(answer: &Value) -> String {
    let mut line = format!("Version {}", cell(&answer["model_version"]));
    if answer["source"].as_str().is_some_and(|source| source.starts_with("fallback")) {
        line.push_str("; it does not know this user, so these are the popular ones");
    }
    if answer["shards"]["failed"].as_u64().is_some_and(|failed| failed > 0) {
        line.push_str("; some shards did not answer");
    }
    let unknown: Vec<String> =
        list(answer, "unknown_genres").iter().map(|name| format!("'{}'", cell(name))).collect();
    if !unknown.is_empty() {
        line.push_str(&format!("; no movie is of the genre {}", unknown.join(" or ")));
    }
    line.push('\n');
    line
}

/// The movies of an answer to `recommend`, as a table.
pub(super) fn recommendations(answer: &Value) -> Table {
    let mut table = Table::new(&[
        ("RANK", Align::Right),
        ("TITLE", Align::Left),
        ("GENRES", Align::Left),
        ("RATING", Align::Right),
        ("SCORE", Align::Right),
        ("MOVIE", Align::Right),
    ])
    .flexible(&["TITLE", "GENRES"]);
    for movie in list(answer, "recommendations") {
        table.row([
            cell(&movie["rank"]),
            cell(&movie["title"]),
            output::genre_list(&movie["genres"]),
            movie["predicted_rating"].as_f64().map(|rating| format!("{rating:.2}")).unwrap_or_default(),
            score(&movie["score"]),
            cell(&movie["movie_id"]),
        ]);
    }
    table
}

fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn score(value: &Value) -> String {
    value.as_f64().map(output::decimal).unwrap_or_default()
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
