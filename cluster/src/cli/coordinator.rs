//! `shoal coordinator`: one member of the metadata group in the foreground.

use std::time::Duration;

use shoal_common::{
    config::RawCoordinator,
    net::ConnectionLimits,
    store::Store,
    tls::{self, Protocol},
};

use super::{
    environment::remote_options,
    failure::Exit,
    role::{Node, RoleArgs, Runs, SETTINGS_HELP, descriptors, quoted},
};

const EXAMPLE: &str = "\
Examples:
  shoal coordinator --config coordinator-1.toml
  shoal coordinator --cluster-id movies --name coordinator-1 --listen 10.0.0.1:7000 --data-dir /var/lib/shoal \\
      --store /mnt/shoal --raft-id 1 --peers 1=10.0.0.1:7000,2=10.0.0.2:7000,3=10.0.0.3:7000";

/// Flags of `shoal coordinator`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLE}\n\n{SETTINGS_HELP}"))]
pub(super) struct Args {
    #[command(flatten)]
    role: RoleArgs,
    /// This member's number in the group, from 1 [coordinator.raft_id]
    #[arg(long, value_name = "NUMBER")]
    raft_id: Option<u64>,
    /// Every member of the group: number and address [coordinator.peers]
    #[arg(long, value_name = "NUMBER=HOST:PORT", value_delimiter = ',', value_parser = peer)]
    peers: Vec<(u64, String)>,
    /// Workers that serve each shard [coordinator.replicas]
    #[arg(long)]
    replicas: Option<u64>,
    /// A node not heard of for this long is down [coordinator.lease_ms]
    #[arg(long, value_name = "MILLISECONDS", value_parser = milliseconds)]
    lease_ms: Option<Duration>,
}

fn peer(text: &str) -> Result<(u64, String), String> {
    let (number, address) = text.split_once('=').ok_or("it must be of the form number=host:port")?;
    let number = number.parse().map_err(|_| format!("'{number}' is not a number"))?;
    Ok((number, address.to_owned()))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_millis).map_err(|_| "it must be a whole number".to_owned())
}

impl Args {
    fn own_flags(&self) -> Vec<(String, String)> {
        let mut flags: Vec<(String, String)> = self
            .peers
            .iter()
            .map(|(number, address)| (format!("coordinator.peers.{number}"), quoted(address)))
            .collect();
        let mut set = |key: &str, value: Option<u128>| {
            flags.extend(value.map(|value| (format!("coordinator.{key}"), value.to_string())));
        };
        set("raft_id", self.raft_id.map(u128::from));
        set("replicas", self.replicas.map(u128::from));
        set("lease_ms", self.lease_ms.map(|lease| lease.as_millis()));
        flags
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let mut config = args.role.sources(args.own_flags())?.resolve(RawCoordinator::resolve)?;
    // A member of the group is called by its number.
    let name = config.raft_id.to_string();
    let mut node = Node::start(&args.role, &config.node, Runs::Coordinator, &name, &[]).await?;
    descriptors::fit(&mut config.node);
    config.node.store_options = remote_options(config.node.store_options, &config.node.store)?;
    let store = Store::open_with(&config.node.store, &config.node.store_options)?;
    node.announce(None, None)?;
    let shutdown = node.shutdown.clone();
    let limits = ConnectionLimits::of(config.node.connections);
    let role = shoal_coordinator::node::run(
        config,
        tls::incoming(node.grpc, limits, node.tls, Protocol::Grpc, node.audit.clone()),
        store,
        node.channels,
        node.clock,
        node.audit,
        node.shutdown,
    );
    Node::finish(shutdown, role).await
}
