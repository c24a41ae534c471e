//! `shoal router`: one router in the foreground.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use shoal_common::{config::RawRouter, net};
use shoal_router::node::{self, Doors};
use tokio::net::TcpListener;

use super::{
    failure::Exit,
    listen::listen_address,
    role::{Node, RoleArgs, Runs, SETTINGS_HELP, descriptors, quoted},
    training_defaults::training_defaults,
    worker::coordinators_flag,
};

const EXAMPLE: &str = "\
Examples:
  shoal router --config router-1.toml
  shoal router --cluster-id movies --name router-1 --listen 10.0.0.21:7002 --http 10.0.0.21:8000 \\
      --coordinators 10.0.0.1:7000,10.0.0.2:7000,10.0.0.3:7000";

/// What is said to who takes a router for a coordinator.
const ASK_COORDINATORS: &str = "this is a router, which answers queries; name the addresses of the cluster's coordinators with \
--cluster or SHOAL_COORDINATORS";

/// Flags of `shoal router`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLE}\n\n{SETTINGS_HELP}"))]
pub(super) struct Args {
    #[command(flatten)]
    role: RoleArgs,
    /// The coordinators' addresses [node.coordinators]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    coordinators: Vec<String>,
    /// Where HTTP clients call [router.http_listen]
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    http: Option<SocketAddr>,
    /// Where /metrics, /docs and /openapi.json are served, and no longer where HTTP clients call [router.admin_listen]
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    admin_listen: Option<SocketAddr>,
    /// How long a query may take in all [router.timeout_ms]
    #[arg(long, value_name = "MILLISECONDS")]
    timeout_ms: Option<u64>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let mut own: Vec<(String, String)> = coordinators_flag(&args.coordinators).into_iter().collect();
    own.extend(args.http.map(|http| ("router.http_listen".to_owned(), quoted(&http.to_string()))));
    own.extend(args.admin_listen.map(|admin| ("router.admin_listen".to_owned(), quoted(&admin.to_string()))));
    own.extend(args.timeout_ms.map(|timeout| ("router.timeout_ms".to_owned(), timeout.to_string())));
    let mut config = args.role.sources(own)?.resolve(RawRouter::resolve)?;
    let mut node =
        Node::start(&args.role, &config.node, Runs::Router, &config.node.name, &config.client_listeners())
            .await?;
    descriptors::fit(&mut config.node);
    let http = net::bind(config.http_listen).await?;
    let admin = match &config.admin {
        Some(admin) => Some(net::bind(admin.listen).await?),
        None => None,
    };
    let address = |listener: &TcpListener| listener.local_addr().context("cannot tell where the listener is");
    node.announce(Some(address(&http)?), admin.as_ref().map(address).transpose()?)?;
    let shutdown = node.shutdown.clone();
    let metrics = node.metrics;
    let role = node::run(
        config,
        Doors {
            http,
            admin,
            grpc: node.grpc,
            tls: node.tls,
            elsewhere: ASK_COORDINATORS,
            takes_changes: true,
            training_defaults,
        },
        node.channels,
        node.clock,
        Arc::new(move || metrics.render()),
        node.audit,
        node.shutdown,
    );
    Node::finish(shutdown, role).await
}
