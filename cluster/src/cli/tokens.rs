//! `shoal tokens`: create, list, revoke, and draw one without a cluster.

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Value, json};
use shoal_common::{
    access::{Scope, Token},
    clock::{Clock as _, SystemClock},
};
use shoal_proto::v1::TokenInfo;

use super::{
    connection::ClusterArgs,
    failure::{Exit, refusal},
    listing::ListArgs,
};
use crate::output::{self, Align, Cell, Table};

const CREATE_EXAMPLE: &str = "\
Examples:
  shoal tokens create --label 'web shop'                        # to ask routers, for a year
  shoal tokens create --scope train --expires 90d --to nightly.token
  shoal tokens create --scope admin --to admin.token
  curl -H \"Authorization: Bearer $(shoal tokens create)\" https://shoal.example.org:8000/v1/popular

The token is printed this once: the cluster keeps its hash. A cluster's first token is made by whoever has a certificate \
of an administrator (--certs), or is the one of coordinator.first_token_file.";

/// Commands on tokens.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a token for a person or a program, and print it once
    #[command(after_help = CREATE_EXAMPLE)]
    Create(CreateArgs),
    /// Every token that is good: what for, until when, and when it was last used
    #[command(after_help = "Examples:\n  shoal tokens list\n  shoal tokens list --json")]
    List(ListArgs),
    /// Make a token good for nothing: every router refuses it within a second
    #[command(after_help = "Example:\n  shoal tokens revoke 0123456789abcdef")]
    Revoke(RevokeArgs),
    /// Draw a token into a file without asking a cluster, for coordinator.first_token_file
    #[command(after_help = "Example:\n  shoal tokens draw admin.token")]
    Draw(DrawArgs),
}

/// Flags of `shoal tokens create`.
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// What the token is for, for whoever reads the list
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
    /// What its holder may do: read (ask, and look), train (also import and train), admin (everything)
    #[arg(long, value_name = "SCOPE", default_value = "read")]
    scope: Scope,
    /// For how long it is good: so many m, h or d, or never
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = lifetime)]
    expires: Lifetime,
    /// What its queries may cost in a second at each router; a list of a few items costs 1 [default: no limit]
    #[arg(long, value_name = "COST", value_parser = cost)]
    cost_per_second: Option<f64>,
    /// Write the token to a new file that only you may read, rather than print it
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Flags of `shoal tokens revoke`.
#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// Id of the token, the 16 digits after shoal_
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Flags of `shoal tokens draw`.
#[derive(Debug, clap::Args)]
pub(super) struct DrawArgs {
    /// The file to make; only you may read it
    file: PathBuf,
}

/// For how long a token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    For(Duration),
    Ever,
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "never" {
        return Ok(Lifetime::Ever);
    }
    let wrong = || format!("'{text}' is no time such as 30m, 12h or 90d, or never");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    // A hundred years.
    match number.checked_mul(seconds) {
        Some(time @ 1..=3_155_760_000) => Ok(Lifetime::For(Duration::from_secs(time))),
        _ => Err(wrong()),
    }
}

fn cost(text: &str) -> Result<f64, String> {
    let cost: f64 = text.parse().map_err(|_| "it must be a number".to_owned())?;
    if (0.001..=1e9).contains(&cost) { Ok(cost) } else { Err("it must be from 0.001 to 1e9".to_owned()) }
}

pub(super) async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Revoke(args) => revoke(args).await,
        Command::Draw(args) => {
            let token = Token::draw()?;
            write_new(&args.file, &token)?;
            output::say(&format!("shoal: '{}' has the token {}", args.file.display(), token.id()));
            Ok(Exit::Done)
        }
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<Exit> {
    let token = Token::draw()?;
    let expires_unix_ms = match args.expires {
        Lifetime::Ever => 0,
        Lifetime::For(time) => {
            SystemClock.now_unix_ms().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
        }
    };
    let mut info = TokenInfo {
        id: token.id().to_owned(),
        label: args.label,
        sha256: token.digest().as_bytes().to_vec().into(),
        expires_unix_ms,
        cost_per_second: args.cost_per_second.unwrap_or_default(),
        ..TokenInfo::default()
    };
    info.push_scopes(args.scope.to_wire());
    let client = args.cluster.connect()?;
    if let Some(file) = &args.to {
        // Before the cluster is asked: a token that nobody can keep is not made.
        write_new(file, &token)?;
    }
    let made = match client.create_token(info).await {
        Ok(made) => made,
        Err(error) => {
            if let Some(file) = &args.to {
                let removed = std::fs::remove_file(file);
                removed.with_context(|| format!("'{}' has a token that was not made", file.display()))?;
            }
            return Err(error.into());
        }
    };
    let mut json = output::token(&made);
    let until = match json["expires"].as_str() {
        Some(until) => format!("good until {}", output::to_the_second(until)),
        None => "good until it is revoked".to_owned(),
    };
    let kept = match &args.to {
        Some(file) => {
            json["file"] = file.display().to_string().into();
            format!("it is in '{}'", file.display())
        }
        None => {
            json["token"] = token.expose().into();
            "keep it, it is shown this once".to_owned()
        }
    };
    if args.json {
        output::print_json(&json)?;
        return Ok(Exit::Done);
    }
    output::say(&format!("shoal: the token {} has the scope {} and is {until}; {kept}", made.id, args.scope));
    if args.to.is_none() {
        output::print(token.expose())?;
    }
    Ok(Exit::Done)
}

/// Writes a token to a file that was not there and that only its owner may read.
fn write_new(file: &Path, token: &Token) -> anyhow::Result<()> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let written = opened.and_then(|mut opened| writeln!(opened, "{}", token.expose()));
    written.map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                "there is one already; name another, or remove it".to_owned()
            }
            _ => error.to_string(),
        };
        refusal(Exit::Usage, format!("cannot write the token to '{}': {reason}", file.display()))
    })
}

async fn list(args: ListArgs) -> anyhow::Result<Exit> {
    let tokens = args.connect()?.tokens().await?;
    args.print(&tokens, output::token, "There is no token. `shoal tokens create` makes one.", table)
}

fn table(tokens: Vec<(&TokenInfo, &Value)>) -> Table {
    let mut table = Table::new(&[
        ("ID", Align::Left),
        ("SCOPES", Align::Left),
        ("LABEL", Align::Left),
        ("EXPIRES", Align::Left),
        ("LAST USED", Align::Left),
        ("COST/S", Align::Right),
        ("MADE BY", Align::Left),
    ]);
    let now = SystemClock.now_unix_ms();
    for (token, json) in tokens {
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        let scopes: Vec<&str> = token.scopes().filter_map(Scope::of_wire).map(|scope| scope.name()).collect();
        let expires = match token.expires_unix_ms {
            0 => "never".to_owned(),
            at if at <= now => "expired".to_owned(),
            _ => output::to_the_second(&text("expires")),
        };
        let limit =
            if token.cost_per_second > 0.0 { token.cost_per_second.to_string() } else { "–".to_owned() };
        table.row([
            Cell::from(token.id.clone()),
            scopes.join(", ").into(),
            text("label").into(),
            expires.into(),
            json["last_used"].as_str().unwrap_or("never").to_owned().into(),
            limit.into(),
            text("created_by").into(),
        ]);
    }
    table
}

async fn revoke(args: RevokeArgs) -> anyhow::Result<Exit> {
    // The id is what a person may paste of a token; the secret is not sent.
    let given = Token::parse(&args.id).map_or(args.id, |token| token.id().to_owned());
    let id =
        given.strip_prefix("shoal_").map_or(given.as_str(), |id| id.trim_end_matches(['_', '…'])).to_owned();
    let own = args.cluster.own_token_file().filter(|file| is_token_of(file, &id));
    if own.is_some() && !args.cluster.has_other_proof()? {
        return Err(refusal(
            Exit::Failed,
            "this token is the only proof of this cluster's owner, and nobody could revoke or make tokens after it; make \
             another with `shoal tokens create --scope admin --to FILE`, and revoke this one with --token-file FILE",
        ));
    }
    args.cluster.connect()?.revoke_token(&id).await?;
    if let Some(file) = &own {
        // Every later command would show it and be refused, although the administrator's certificate is there.
        std::fs::remove_file(file).with_context(|| {
            format!("the token is revoked; remove '{}', which still has it", file.display())
        })?;
    }
    if args.json {
        output::print_json(&json!({ "revoked": id }))?;
        return Ok(Exit::Done);
    }
    output::print(&format!("The token {id} is revoked."))?;
    if let Some(file) = own {
        let file = file.display();
        output::say(&format!(
            "shoal: it was this cluster's own token, so '{file}' is removed; put another of the scope admin there, or let \
             the next `shoal up` make one by the administrator's certificate"
        ));
    }
    Ok(Exit::Done)
}

/// Whether a file holds the token of this id. A file that holds nothing readable holds another one.
fn is_token_of(file: &Path, id: &str) -> bool {
    Token::read(file).is_ok_and(|token| token.id() == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_minutes_hours_and_days() {
        let seconds = |seconds| Ok(Lifetime::For(Duration::from_secs(seconds)));
        assert_eq!(lifetime("30m"), seconds(1_800));
        assert_eq!(lifetime("12h"), seconds(43_200));
        assert_eq!(lifetime("90d"), seconds(7_776_000));
        assert_eq!(lifetime("never"), Ok(Lifetime::Ever));
        for wrong in ["", "d", "0d", "-1d", "5", "5w", "99999999999999999999d", "9999999d", "é"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
