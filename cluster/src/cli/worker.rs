//! `shoal worker`: one worker in the foreground.

use std::num::NonZeroUsize;

use shoal_common::{
    config::RawWorker,
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
  shoal worker --config worker-1.toml
  shoal worker --cluster-id movies --name worker-1 --listen 10.0.0.11:7001 --data-dir /var/lib/shoal \\
      --store /mnt/shoal --coordinators 10.0.0.1:7000,10.0.0.2:7000,10.0.0.3:7000";

/// Flags of `shoal worker`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLE}\n\n{SETTINGS_HELP}"))]
pub(super) struct Args {
    #[command(flatten)]
    role: RoleArgs,
    /// The coordinators' addresses [node.coordinators]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    coordinators: Vec<String>,
    /// Threads for imports and training; every core by default [worker.training_threads]
    #[arg(long, value_name = "THREADS")]
    training_threads: Option<u64>,
    /// Threads for queries; every core by default [worker.serving_threads]
    #[arg(long, value_name = "THREADS")]
    serving_threads: Option<u64>,
}

/// `node.coordinators` as a setting, unless no address was given.
pub(super) fn coordinators_flag(addresses: &[String]) -> Option<(String, String)> {
    let list: Vec<String> = addresses.iter().map(|address| quoted(address)).collect();
    (!list.is_empty()).then(|| ("node.coordinators".to_owned(), format!("[{}]", list.join(", "))))
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let mut own: Vec<(String, String)> = coordinators_flag(&args.coordinators).into_iter().collect();
    let threads = [("training_threads", args.training_threads), ("serving_threads", args.serving_threads)];
    for (key, value) in threads {
        own.extend(value.map(|value| (format!("worker.{key}"), value.to_string())));
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut config = args.role.sources(own)?.resolve(|raw: RawWorker| raw.resolve(cores))?;
    let mut node = Node::start(&args.role, &config.node, Runs::Worker, &config.node.name, &[]).await?;
    descriptors::fit(&mut config.node);
    config.node.store_options = remote_options(config.node.store_options, &config.node.store)?;
    let store = Store::open_with(&config.node.store, &config.node.store_options)?;
    node.announce(None, None)?;
    config.node.advertise = Some(node.advertise);
    let shutdown = node.shutdown.clone();
    let limits = ConnectionLimits::of(config.node.connections);
    let role = shoal_worker::node::run(
        config,
        tls::incoming(node.grpc, limits, node.tls, Protocol::Grpc, node.audit.clone()),
        node.channels,
        store,
        node.clock,
        node.audit,
        node.shutdown,
    );
    Node::finish(shutdown, role).await
}
