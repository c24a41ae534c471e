//! `shoal health`: how one node is, for orchestrators.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;
use shoal_common::{
    config::{ENVIRONMENT_PREFIX, RawNode, Sources},
    health::Check,
    tls::{RevokedFile, TlsFiles, Trust, host_of},
};

use super::{
    connection::{CredentialsArgs, DirArgs},
    environment::environment,
    failure::{Exit, refusal},
};
use crate::{
    health::{Answer, Door},
    local::{Addresses, ClusterFile, reachable},
    output,
};

const EXAMPLES: &str = "\
Examples:
  shoal health                                       # the node of this container, or the local cluster
  shoal health --config /etc/shoal/worker-1.toml     # the node that was started with these settings
  shoal health --node 10.0.0.11:7001 --for liveness
  shoal health --node http://10.0.0.21:8000

The exit code is 0 when the check has passed, else 1; the line says why. Without --node and --config the node is that of the \
variables SHOAL__NODE__…, and without these every node of the local cluster.";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum For {
    /// It has read its disk, and listens
    Startup,
    /// It can do its work: a coordinator knows a leader, a worker has loaded its shards, a router answers
    Readiness,
    /// Its process does something; asks for no other node
    Liveness,
}

impl From<For> for Check {
    fn from(asked: For) -> Self {
        match asked {
            For::Startup => Self::Startup,
            For::Readiness => Self::Readiness,
            For::Liveness => Self::Liveness,
        }
    }
}

/// Flags of `shoal health`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The node's address: host:port of its gRPC server, or a router's http://host:port
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    node: Option<String>,
    /// The settings that the node was started with; variables go before them, as they do for the node
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to ask
    #[arg(long = "for", value_enum, default_value_t = For::Readiness, value_name = "CHECK")]
    asked: For,
    /// How long to wait for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = patience)]
    timeout: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    credentials: CredentialsArgs,
}

fn patience(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=600.0).contains(seconds));
    seconds.ok_or_else(|| "seconds are a number from 0.01 to 600".to_owned())
}

/// A node, as it is known before it has answered.
struct Known {
    /// `None` where only the address is known.
    name: Option<String>,
    door: Door,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let has_variables =
        environment().iter().any(|(name, _)| name.starts_with(&format!("{ENVIRONMENT_PREFIX}NODE__")));
    let nodes = match (&args.node, &args.config) {
        (Some(address), _) => {
            // A node of the local cluster shows a certificate of the local cluster's own authority.
            let dir = is_local(address, &args.dir)?.then_some(&args.dir);
            vec![Known { name: None, door: named(address, args.credentials.certs(dir)?.as_deref())? }]
        }
        (None, config) if config.is_some() || has_variables => vec![configured(config.clone())?],
        (None, _) => local(&args)?,
    };
    let check = Check::from(args.asked);
    let patience = Duration::from_secs_f64(args.timeout);
    let mut answers = Vec::with_capacity(nodes.len());
    for Known { name, door } in nodes {
        let answer = door.ask(check, patience).await;
        answers.push(Answer { node: answer.node.or(name), ..answer });
    }
    let passed = answers.iter().all(|answer| answer.reason.is_none());
    if args.json {
        output::print_json(&as_json(&answers, check, passed))?;
    } else {
        let lines: Vec<String> = answers.iter().map(|answer| line(answer, check)).collect();
        output::print(&lines.join("\n"))?;
    }
    Ok(if passed { Exit::Done } else { Exit::Failed })
}

fn as_json(answers: &[Answer], check: Check, passed: bool) -> serde_json::Value {
    let nodes = answers.iter().map(|answer| {
        json!({
            "node": answer.node, "role": answer.role, "address": answer.address,
            "ok": answer.reason.is_none(), "reason": answer.reason,
        })
    });
    json!({ "check": check.service(), "ok": passed, "nodes": nodes.collect::<Vec<_>>() })
}

fn line(answer: &Answer, check: Check) -> String {
    let who = match (&answer.node, &answer.role) {
        (Some(node), Some(role)) if !node.starts_with(role.as_str()) => format!("{role} '{node}'"),
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => "the node".to_owned(),
    };
    let (address, passed) = (&answer.address, check.passed());
    // What others say stays in its line.
    output::shown_line(&match &answer.reason {
        None => format!("{who} at {address} is {passed}"),
        Some(reason) => format!("{who} at {address} is not {passed}: {reason}"),
    })
    .into_owned()
}

/// The door of an address that was named.
fn named(address: &str, certs: Option<&Path>) -> anyhow::Result<Door> {
    let wrong = || {
        refusal(
            Exit::Usage,
            format!("--node {address}: a node's address is host:port, or http://host:port of a router"),
        )
    };
    if address.starts_with("http://") || address.starts_with("https://") {
        let url = reqwest::Url::parse(address).map_err(|_| wrong())?;
        return Ok(Door::Http { url, at: None, authority: certs.map(|folder| folder.join("ca.pem")) });
    }
    if address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
        return Err(wrong());
    }
    let tls = match certs {
        Some(folder) => Some((Trust::load(&folder.join("ca.pem"))?, address.to_owned())),
        None => None,
    };
    Ok(Door::Grpc { address: address.to_owned(), tls })
}

/// Of a node's settings what tells where it is; the sections of all roles may be there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    node: RawNode,
    router: RouterSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RouterSection {
    http_listen: Option<SocketAddr>,
}

/// The node that was started with a file, and with the variables of this process.
fn configured(file: Option<PathBuf>) -> anyhow::Result<Known> {
    let sources = Sources { file, environment: environment(), flags: Vec::new() };
    let Settings { node, router } = sources.read()?;
    // A node says in its folder where it listens in truth, which may have been given by flags.
    let written = match &node.data_dir {
        Some(folder) => Addresses::read(folder)
            .with_context(|| format!("cannot read '{}'", Addresses::path(folder).display()))?,
        None => None,
    };
    let grpc = written.as_ref().map(|written| written.grpc).or(node.listen);
    let http = written.as_ref().map_or(router.http_listen, |written| written.http);
    let files = match (node.tls, &node.certs, &node.name) {
        (Some(tls), ..) => match (tls.ca, tls.certificate, tls.key) {
            (Some(ca), Some(certificate), Some(key)) => {
                let revoked = tls.revoked.map(|path| RevokedFile { path, is_needed: true });
                Some(TlsFiles { ca, certificate, key, revoked })
            }
            _ => None,
        },
        (None, Some(folder), Some(name)) => Some(TlsFiles::in_folder(folder, name)),
        _ => None,
    };
    let advertised = node.advertise.as_deref().map(|address| host_of(address).to_owned());
    let door = match (http, grpc) {
        (Some(http), _) => http_door(reachable(http), advertised.as_deref(), files.map(|files| files.ca))?,
        (None, Some(grpc)) => {
            let at = reachable(grpc);
            let host = advertised.map_or_else(|| at.to_string(), |host| authority(&host, at.port()));
            let tls = match files {
                Some(files) => Some((Trust::load(&files.ca)?, host)),
                None => None,
            };
            Door::Grpc { address: at.to_string(), tls }
        }
        (None, None) => {
            let message = "the settings do not say where the node listens, and it has written no addresses.json; \
                           name 'node.data_dir' or 'node.listen' (SHOAL__NODE__DATA_DIR, SHOAL__NODE__LISTEN), or --node";
            return Err(refusal(Exit::Usage, message));
        }
    };
    Ok(Known { name: node.name, door })
}

/// The HTTP door of a node of this machine. Under TLS the request is addressed to the host that its certificate names.
fn http_door(at: SocketAddr, host: Option<&str>, ca: Option<PathBuf>) -> anyhow::Result<Door> {
    let scheme = if ca.is_some() { "https" } else { "http" };
    let called =
        host.filter(|_| ca.is_some()).map_or_else(|| at.to_string(), |host| authority(host, at.port()));
    let url =
        reqwest::Url::parse(&format!("{scheme}://{called}")).context("the router's address is not one")?;
    // The name may lead elsewhere from here, or nowhere.
    let is_name = url.domain().is_some();
    Ok(Door::Http { url, at: is_name.then_some(at), authority: ca })
}

/// `host:port`, with the brackets that IPv6 needs.
fn authority(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// Whether the address is of a node of the local cluster.
fn is_local(address: &str, dir: &DirArgs) -> anyhow::Result<bool> {
    let Some(file) = ClusterFile::read(&dir.dir)? else { return Ok(false) };
    let host_and_port = address.split_once("://").map_or(address, |(_, rest)| rest.trim_end_matches('/'));
    let grpc = file.coordinators.iter().chain(&file.workers).map(|member| member.address);
    let mut all = grpc.chain(file.routers.iter().map(|router| router.http));
    Ok(all.any(|known| reachable(known).to_string() == host_and_port))
}

/// Every node of the local cluster.
fn local(args: &Args) -> anyhow::Result<Vec<Known>> {
    let file: ClusterFile = args.dir.cluster_file("--node")?;
    let certs = args.credentials.certs(Some(&args.dir))?;
    let grpc = file.coordinators.iter().chain(&file.workers).map(|member| {
        let door = named(&reachable(member.address).to_string(), certs.as_deref())?;
        Ok(Known { name: Some(member.name.clone()), door })
    });
    let scheme = if certs.is_some() { "https" } else { "http" };
    let http = file.routers.iter().map(|router| {
        let door = named(&format!("{scheme}://{}", reachable(router.http)), certs.as_deref())?;
        Ok(Known { name: Some(router.name.clone()), door })
    });
    grpc.chain(http).collect()
}
