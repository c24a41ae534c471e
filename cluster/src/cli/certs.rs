//! `shoal certs`: certificates for nodes and administrators, for those without a PKI of their own.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use shoal_common::{
    clock::{Clock as _, SystemClock},
    tls::{Identity, PeerRole},
};

use super::failure::{Exit, refusal};
use crate::{
    certs::{self, Certificate, Holder, Order, Target},
    output::{self, Align, Table},
};

const CREATE_EXAMPLE: &str = "\
Examples:
  shoal certs create --cluster-id movies --hosts 10.0.0.1,10.0.0.2,10.0.0.3,shoal.example.org
  shoal certs create --cluster-id movies --hosts 10.0.0.1 --workers 5     # later, for two more workers
  shoal certs create --cluster-id movies --hosts 10.0.0.1 --renew         # new ones; nodes take them up while they run

Each node gets ca.pem, <name>.pem and <name>.key in a folder that `node.certs` (--certs) names, and never ca.key: \
whoever has it makes certificates of any node.";

const REVOKE_EXAMPLE: &str = "\
Examples:
  shoal certs revoke worker-3
  shoal certs revoke worker-2 --dir .shoal/local/certs     # of a local cluster
  shoal certs revoke --file ./of-a-laptop.pem --dir /safe/certs
  shoal certs revoke --serial 3f:0a:…            # of a certificate whose file is lost

The list is revoked.pem in the folder. Copy it to the folder of every node: nodes take it up within seconds, refuse who shows a \
certificate that is on it, and end connections that are open. `shoal certs create` makes its holder a new one.";

const SHOW_EXAMPLE: &str = "\
Examples:
  shoal certs show
  shoal certs show --dir .shoal/local/certs      # of a local cluster
  shoal certs show --json";

/// The folder that all of the commands are about.
#[derive(Debug, clap::Args)]
pub(super) struct FolderArgs {
    /// Folder of the authority, the certificates and the list of revoked ones
    #[arg(long, visible_alias = "out", value_name = "DIR", default_value = "certs")]
    dir: PathBuf,
}

/// Subcommands of `shoal certs`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make an authority and the certificates of a cluster's nodes; those that are there are kept
    #[command(after_help = CREATE_EXAMPLE)]
    Create(CreateArgs),
    /// Show whose certificates a folder holds, and until when they are valid
    #[command(after_help = SHOW_EXAMPLE)]
    Show(ShowArgs),
    /// Have nodes refuse a certificate from now on, by a list that the authority signs
    #[command(after_help = REVOKE_EXAMPLE)]
    Revoke(RevokeArgs),
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
    #[command(flatten)]
    folder: FolderArgs,
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
    #[command(flatten)]
    folder: FolderArgs,
    /// The same folder
    #[arg(value_name = "DIR", conflicts_with = "dir", hide = true)]
    named: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Flags of `shoal certs revoke`.
#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// Whose certificate: the name of its files in the folder
    #[arg(value_name = "NAME", required_unless_present_any = ["file", "serial"])]
    name: Option<String>,
    /// The certificate, where it is not in the folder
    #[arg(long, value_name = "PEM", conflicts_with_all = ["name", "serial"])]
    file: Option<PathBuf>,
    /// The certificate's number, in hexadecimal digits
    #[arg(long, value_name = "HEX", conflicts_with = "name", value_parser = serial)]
    serial: Option<Serial>,
    #[command(flatten)]
    folder: FolderArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A certificate's number.
#[derive(Debug, Clone)]
struct Serial(Vec<u8>);

fn serial(text: &str) -> Result<Serial, String> {
    let digits: String = text.chars().filter(|letter| *letter != ':').collect();
    let wrong =
        || "it must be an even number of hexadecimal digits, at most 40; ':' may stand between".to_owned();
    if digits.is_empty() || digits.len() > 40 || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return Err(wrong());
    }
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong());
    (0..digits.len()).step_by(2).map(byte).collect::<Result<_, _>>().map(Serial)
}

fn hexadecimal(serial: &[u8]) -> String {
    serial.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn revoke(args: RevokeArgs) -> anyhow::Result<Exit> {
    let target = match (args.name, args.file, args.serial) {
        (_, Some(file), _) => Target::File(file),
        (_, None, Some(serial)) => Target::Serial(serial.0),
        (name, None, None) => Target::Holder(name.unwrap_or_default()),
    };
    let revoked = certs::revoke(&args.folder.dir, &target)?;
    let serial = hexadecimal(&revoked.serial);
    if args.json {
        output::print_json(&json!({
            "list": revoked.list.display().to_string(),
            "identity": revoked.identity.as_ref().map(Identity::uri),
            "serial": serial,
            "revoked_before": revoked.before,
            "revoked_in_all": revoked.count,
        }))?;
        return Ok(Exit::Done);
    }
    let whose = revoked.identity.map_or_else(String::new, |identity| format!(" of {}", identity.uri()));
    let list = revoked.list.display();
    output::print(&if revoked.before {
        format!("The certificate{whose} ({serial}) was revoked before: it is in {list}.")
    } else {
        format!(
            "The certificate{whose} ({serial}) is revoked. Copy {list} to the folder of every node; they refuse it within seconds."
        )
    })?;
    Ok(Exit::Done)
}

pub(super) fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Create(args) => create(args),
        Command::Revoke(args) => revoke(args),
        Command::Show(args) => {
            let folder = args.named.unwrap_or(args.folder.dir);
            let found = certs::list(&folder)?;
            if found.is_empty() {
                let message = format!(
                    "'{}' holds no certificates; `shoal certs create --cluster-id ID --hosts HOST,…` makes them, and --dir \
                     names another folder",
                    folder.display()
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
    let made = certs::create(&args.folder.dir, &order)?;
    if let Some(owner) = args.owner {
        // Of the folder too, so that its owner can put a token beside them.
        give(&args.folder.dir, owner)?;
        give(&args.folder.dir.join("ca.pem"), owner)?;
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
        output::say(&format!(
            "shoal: {without} certificates that were there do not name all of these hosts; --renew makes new ones"
        ));
    }
    if !args.json {
        let dir = args.folder.dir.display();
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
                "revoked": one.revoked,
                "serial": hexadecimal(&one.facts.serial),
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
        let state = match (one.revoked, is_over(one), one.kept) {
            (true, ..) => "revoked",
            (false, true, _) => "expired",
            (false, false, true) => "",
            (false, false, false) => "new",
        };
        let (file, holder) = (one.path.display().to_string(), one.facts.identity.uri());
        table.row([file, holder, until, one.facts.hosts.join(", "), state.to_owned()]);
    }
    output::print(&table.to_string())?;
    Ok(Exit::Done)
}
