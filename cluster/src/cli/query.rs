//! `shoal recommend`, `similar`, `predict` and `items`: queries from the terminal.

use shoal_core::ModelKind;

use super::{
    by_title::item_meant,
    connection::{RouterArgs, ServiceArgs},
    failure::Exit,
    filter_args::FilterArgs,
    lists::{self, Asked, ListsArgs},
    model_kind::ModelKindParser,
};
use crate::output::{
    self,
    answers::{cell, found_items, heading, list, recommendations, similar_items},
};

/// Which model is asked.
#[derive(Debug, clap::Args)]
struct ModelArgs {
    /// The model whose live version answers; the default model's if not given
    #[arg(long, value_parser = ModelKindParser)]
    model: Option<ModelKind>,
}

/// Flags of `shoal recommend`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  shoal recommend 1\n  shoal recommend 1 -n 5 --rank-by rating\n  shoal recommend 1 --model item_cf --diversity 0.3\n  shoal recommend 1 --category Drama --year-min 1990\n  shoal recommend 1 --json\n  shoal recommend --all -n 100 --out ./lists\n  shoal recommend --all --model hybrid --format csv --users users.txt --out s3://bucket/lists"
)]
pub(super) struct RecommendArgs {
    /// Id of the user
    #[arg(allow_hyphen_values = true, required_unless_present = "all", conflicts_with = "all")]
    user: Option<String>,
    /// How many items, 1 to 100, or to 1000 with --all
    #[arg(short, long, default_value_t = 10)]
    n: u32,
    /// What the list is ranked by; by default what the version was trained for
    #[arg(long, value_parser = ["ranking", "rating"])]
    rank_by: Option<String>,
    /// How much likeness to the items before counts against an item's score, 0 to 1
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
    after_help = "Examples:\n  shoal similar 1\n  shoal similar \"Toy Story\"\n  shoal similar --title 300\n  shoal similar 1 --model content\n  shoal similar 1 -n 20 --json\n\nWhat is no item's id is taken for words of its title. The item is then the one that alone has the words, or the one whose title they are; several that fit are listed."
)]
pub(super) struct SimilarArgs {
    /// Id of the item, or words of its title
    #[arg(allow_hyphen_values = true)]
    item: String,
    /// How many items, 1 to 50
    #[arg(short, long, default_value_t = 10)]
    n: u32,
    /// Take the text for a title, even if it is an id
    #[arg(long)]
    title: bool,
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

/// Flags of `shoal items`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  shoal items \"toy story\"\n  shoal items amelie\n  shoal items star -n 50 --json\n\nEach word has to be a word of the title, or to begin one; letter case, accents and apostrophes do not matter."
)]
pub(super) struct ItemsArgs {
    /// Words of titles
    #[arg(required = true, num_args = 1..)]
    query: Vec<String>,
    /// How many items, 1 to 50
    #[arg(short, long, default_value_t = 10)]
    n: u32,
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
#[command(
    after_help = "Examples:\n  shoal predict 1 50\n  shoal predict 1 \"Toy Story\"\n  shoal predict 1 50 --json"
)]
pub(super) struct PredictArgs {
    /// Id of the user
    #[arg(allow_hyphen_values = true)]
    user: String,
    /// Id of the item, or words of its title
    #[arg(allow_hyphen_values = true)]
    item: String,
    /// Take the text for a title, even if it is an id
    #[arg(long)]
    title: bool,
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
        let model = args.model.model.map(ModelKind::folder).unwrap_or_default().to_owned();
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
    let router = args.router.connect()?;
    let item = item_meant(&router, &args.item, args.title).await?;
    let answer = router.similar(&item, &parameters).await?;
    if args.json {
        output::print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let found = match answer["remark"].as_str() {
        Some(remark) => remark.to_owned(),
        None => similar_items(&answer).to_string(),
    };
    output::print(&format!("{}{found}", heading(&answer)))?;
    Ok(Exit::Done)
}

pub(super) async fn items(args: ItemsArgs) -> anyhow::Result<Exit> {
    let mut parameters = vec![("n", args.n.to_string())];
    parameters.extend(args.complete.then(|| ("complete", "true".to_owned())));
    let answer = args.router.connect()?.items(&args.query.join(" "), &parameters).await?;
    if args.json {
        output::print_json(&answer)?;
    } else {
        let matched = answer["matched"].as_u64().unwrap_or_default();
        let listed = list(&answer, "items").len() as u64;
        let count = match matched {
            0 => "No title has these words\n".to_owned(),
            _ if listed == matched => format!("{} found\n", output::count(matched)),
            _ => format!("{} found, the first {listed} of them\n", output::count(matched)),
        };
        let table = if matched == 0 { String::new() } else { found_items(&answer).to_string() };
        output::print(&format!("{}{count}{table}", heading(&answer)))?;
    }
    Ok(if list(&answer, "items").is_empty() { Exit::NotFound } else { Exit::Done })
}

pub(super) async fn predict(args: PredictArgs) -> anyhow::Result<Exit> {
    let parameters: Vec<_> =
        args.model.model.map(|model| ("model", model.name().to_owned())).into_iter().collect();
    let router = args.router.connect()?;
    let item = item_meant(&router, &args.item, args.title).await?;
    let answer = router.predict(&args.user, &item, &parameters).await?;
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
    parameters.extend(model.model.map(|model| ("model", model.name().to_owned())));
    parameters.extend(complete.then(|| ("complete", "true".to_owned())));
    parameters
}
