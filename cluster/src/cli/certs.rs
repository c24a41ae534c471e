//! `shoal certs`: certificates for nodes and administrators, for those without a PKI of their own.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use shoal_common::{
    clock::{Clock as _, SystemClock},
    tls::PeerRole,
};

use super::failure::{Exit, refusal};
use crate::{
    certs::{self, Certificate, Holder, Order},
    output::{self, Align, Table},
};

const CREATE_EXAMPLE: &str = "\
Examples:
  shoal certs create --cluster-id movies --hosts 10.0.0.1,10.0.0.2,10.0.0.3,shoal.example.org
  shoal certs create --cluster-id movies --hosts 10.0.0.1 --workers 5     later, for two more workers
  shoal certs create --cluster-id movies --hosts 10.0.0.1 --renew         new ones; nodes take them up while they run

Each node gets ca.pem, <name>.pem and <name>.key in a folder that `node.certs` (--certs) names, and never ca.key: \
whoever has it makes certificates of any node.";

/// Subcommands of `shoal certs`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make an authority and the certificates of a cluster's nodes; those that are there are kept
    #[command(after_help = CREATE_EXAMPLE)]
    Create(CreateArgs),
    /// Show whose certificates a folder holds, and until when they are valid
    Show(ShowArgs),
}

/// Flags of `shoal certs create`.
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Name of the cluster, as in node.cluster_id
    #[arg(long, value_name = "ID")]
    cluster_id: String,
    /// Names and IP addresses by which nodes and clients call nodes
    #[arg(long, value_name = "HOST", value_delimiter = ',', required = true)]
    hosts: Vec<String>,
    /// Folder of the certificates
    #[arg(long, value_name = "DIR", default_value = "certs")]
    out: PathBuf,
    /// Coordinators, from coordinator-1 on; the number is coordinator.raft_id
    #[arg(long, value_name = "NODES", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=5))]
    coordinators: u16,
    /// Workers, from worker-1 on
    #[arg(long, value_name = "NODES", default_value_t = 3)]
    workers: u16,
    /// Routers, from router-1 on
    #[arg(long, value_name = "NODES", default_value_t = 1)]
    routers: u16,
    /// Days for which certificates are valid
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Make new certificates for holders that have one
    #[arg(long)]
    renew: bool,
    /// Give the files of nodes and administrators, but not ca.key, to this user: that of the containers which read them
    #[arg(long, value_name = "UID[:GID]", value_parser = owner)]
    owner: Option<(u32, Option<u32>)>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn owner(text: &str) -> Result<(u32, Option<u32>), String> {
    let (uid, gid) = text.split_once(':').map_or((text, None), |(uid, gid)| (uid, Some(gid)));
    let number =
        |text: &str| text.parse().map_err(|_| "an owner is a number, or two as in 65532:65532".to_owned());
    Ok((number(uid)?, gid.map(number).transpose()?))
}

/// Gives a file to a user.
fn give(path: &Path, (uid, gid): (u32, Option<u32>)) -> anyhow::Result<()> {
    std::os::unix::fs::chown(path, Some(uid), gid).map_err(|error| {
        let message = format!("cannot give '{}' to the user {uid}: {error}; only root may", path.display());
        refusal(Exit::Failed, message)
    })
}

/// Flags of `shoal certs show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Folder of the certificates
    #[arg(value_name = "DIR", default_value = "certs")]
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Create(args) => create(args),
        Command::Show(args) => {
            let found = certs::list(&args.folder)?;
            if found.is_empty() {
                let message = format!(
                    "'{}' holds no certificates; `shoal certs create` makes them",
                    args.folder.display()
                );
                return Err(refusal(Exit::NotFound, message));
            }
            print(&found, args.json)
        }
    }
}

fn create(args: CreateArgs) -> anyhow::Result<Exit> {
    let holders = Holder::of_cluster(args.coordinators.into(), args.workers.into(), args.routers.into());
    let order =
        Order { cluster_id: args.cluster_id, hosts: args.hosts, holders, days: args.days, renew: args.renew };
    let made = certs::create(&args.out, &order)?;
    if let Some(owner) = args.owner {
        // Of the folder too, so that its owner can put a token beside them.
        give(&args.out, owner)?;
        give(&args.out.join("ca.pem"), owner)?;
        for certificate in &made {
            give(&certificate.path, owner)?;
            give(&certificate.path.with_extension("key"), owner)?;
        }
    }
    print(&made, args.json)?;
    let lacks = |one: &&Certificate| {
        one.facts.identity.role() != PeerRole::Admin
            && order.hosts.iter().any(|host| !one.facts.hosts.contains(host))
    };
    let without = made.iter().filter(|one| one.kept).filter(lacks).count();
    if without > 0 {
        eprintln!(
            "shoal: {without} certificates that were there do not name all of these hosts; --renew makes new ones"
        );
    }
    if !args.json {
        let dir = args.out.display();
        output::say(&format!(
            "shoal: keep {dir}/ca.key away from every node: whoever has it makes certificates of any node"
        ));
    }
    Ok(Exit::Done)
}

fn print(certificates: &[Certificate], as_json: bool) -> anyhow::Result<Exit> {
    let until = |one: &Certificate| output::iso_time(one.facts.not_after * 1_000);
    let now = SystemClock.now_unix_ms() / 1_000;
    let is_over = |one: &Certificate| one.facts.not_after < now;
    if as_json {
        let rows = certificates.iter().map(|one| {
            json!({
                "file": one.path.display().to_string(),
                "identity": one.facts.identity.uri(),
                "role": one.facts.identity.role().name(),
                "name": one.facts.identity.name(),
                "hosts": one.facts.hosts,
                "valid_until": until(one),
                "expired": is_over(one),
                "kept": one.kept,
            })
        });
        output::print_json(&Value::Array(rows.collect()))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("FILE", Align::Left),
        ("HOLDER", Align::Left),
        ("VALID UNTIL", Align::Left),
        ("HOSTS", Align::Left),
        ("", Align::Left),
    ]);
    for one in certificates {
        let until = until(one).as_str().unwrap_or_default().to_owned();
        let state = match (is_over(one), one.kept) {
            (true, _) => "expired",
            (false, true) => "",
            (false, false) => "new",
        };
        let (file, holder) = (one.path.display().to_string(), one.facts.identity.uri());
        table.row([file, holder, until, one.facts.hosts.join(", "), state.to_owned()]);
    }
    output::print(&table.to_string())?;
    Ok(Exit::Done)
}
