//! What the three roles share in the foreground: settings from file, environment and flags; logs and
//! metrics; signals; saying where they listen.

mod certificates;
pub(super) mod descriptors;
mod log_rotation;
mod memory;
mod metrics_server;
pub(super) mod service_manager;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use shoal_common::{
    audit::Audit,
    clock::{Clock, SystemClock},
    config::{NodeConfig, Sources},
    net, private_files,
    rpc::Channels,
    shutdown::Shutdown,
    telemetry::{self, Metrics},
    tls::{PeerRole, Tls, TlsConnect},
};
use shoal_proto::v1::{NodeRole, Protection};
use tokio::net::TcpListener;

pub(super) use self::memory::resident;
use super::{
    environment::environment,
    failure::{Exit, refusal},
    listen::listen_address,
    parent::leave_with_parent,
    signals::Signals,
    store_options::{StoreOptionArgs, check_no_secret},
};
use crate::local::{Addresses, FolderLock};

/// How long servers may take to finish what is under way once a stop was asked for.
const SERVERS_DRAIN_MAX: Duration = Duration::from_secs(12);
/// How long background tasks may take to end after the server has drained.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// An orphan that has not drained by then leaves at once.
const ORPHAN_DRAIN_MAX: Duration = Duration::from_secs(15);
/// How long an earlier process of this node may take to leave its folder: longer than it drains.
const FOLDER_PATIENCE: Duration = Duration::from_secs(20);
/// How often histograms are folded up.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Flags of every role; each is also a key of the file and a variable.
#[derive(Debug, clap::Args)]
pub(super) struct RoleArgs {
    /// Settings as TOML
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of the cluster, the same on every node [node.cluster_id]
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,
    /// Name of this node, unique in the cluster [node.name]
    #[arg(long)]
    name: Option<String>,
    /// Where the gRPC server listens [node.listen]
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Address that other nodes call, if it is another [node.advertise]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The node's own folder [node.data_dir]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The object store: a path, file:///… or s3://… [node.store]
    #[arg(long, value_name = "URI")]
    store: Option<String>,
    #[command(flatten)]
    store_options: StoreOptionArgs,
    /// Where Prometheus reads this node's metrics [node.metrics_listen]
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    metrics_listen: Option<SocketAddr>,
    /// A log filter, such as info,shoal_worker=debug [node.log]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How log lines look [node.log_format]
    #[arg(long, value_parser = ["text", "json"])]
    log_format: Option<String>,
    /// Seed of the random choices that do not follow from data [node.seed]
    #[arg(long)]
    seed: Option<u64>,
    /// Folder of certificates: ca.pem, <name>.pem, <name>.key; `shoal certs create` makes it [node.certs]
    #[arg(long, value_name = "DIR")]
    certs: Option<PathBuf>,
    /// Listen beyond this machine without certificates: whoever reaches the node may do anything [node.insecure]
    #[arg(long)]
    insecure: bool,
    /// Any other setting
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Leave when standard input is closed: set by `shoal up`
    #[arg(long, hide = true)]
    supervised: bool,
    /// The file that standard error goes to, put aside when it has grown: set by `shoal up`
    #[arg(long, hide = true, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

/// The help of every role.
pub(super) const SETTINGS_HELP: &str = "\
Settings come from --config, then from variables such as SHOAL__NODE__NAME, then from flags; the later \
wins. Unknown keys are refused. SIGTERM or Ctrl-C drains and leaves; a second one leaves at once.";

/// Puts a text where a setting's value is TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl RoleArgs {
    /// The sources of settings; `own` are the role's own flags, as `section.key` and TOML value.
    pub(super) fn sources(&self, own: Vec<(String, String)>) -> anyhow::Result<Sources> {
        let mut flags = own;
        let mut set = |key: &str, value: Option<String>| {
            flags.extend(value.map(|value| (format!("node.{key}"), quoted(&value))));
        };
        set("cluster_id", self.cluster_id.clone());
        set("name", self.name.clone());
        set("listen", self.listen.map(|address| address.to_string()));
        set("advertise", self.advertise.clone());
        set("data_dir", self.data_dir.as_ref().map(|path| path.display().to_string()));
        set("store", self.store.clone());
        set("metrics_listen", self.metrics_listen.map(|address| address.to_string()));
        set("log", self.log.clone());
        set("log_format", self.log_format.clone());
        set("certs", self.certs.as_ref().map(|path| path.display().to_string()));
        flags.extend(self.insecure.then(|| ("node.insecure".to_owned(), "true".to_owned())));
        flags.extend(self.seed.map(|seed| ("node.seed".to_owned(), seed.to_string())));
        flags.extend(self.store_options.settings()?);
        check_no_secret(&self.set)?;
        for setting in &self.set {
            let (key, value) = setting.split_once('=').ok_or_else(|| {
                refusal(Exit::Usage, format!("--set {setting}: it must be of the form section.key=value"))
            })?;
            flags.push((key.to_owned(), value.to_owned()));
        }
        Ok(Sources { file: self.config.clone(), environment: environment(), flags })
    }
}

/// What a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    Coordinator,
    Worker,
    Router,
    /// All three; the router is what others see.
    Every,
}

impl Runs {
    /// Whose metrics the process has.
    fn roles(self) -> &'static [NodeRole] {
        match self {
            Self::Coordinator => &[NodeRole::Coordinator],
            Self::Worker => &[NodeRole::Worker],
            Self::Router => &[NodeRole::Router],
            Self::Every => &[NodeRole::Coordinator, NodeRole::Worker, NodeRole::Router],
        }
    }

    /// What the process's certificate names.
    fn identity(self) -> PeerRole {
        match self {
            Self::Coordinator => PeerRole::Coordinator,
            Self::Worker => PeerRole::Worker,
            Self::Router | Self::Every => PeerRole::Router,
        }
    }
}

/// The seams handed to a role, and its listener.
pub(super) struct Node {
    pub(super) shutdown: Shutdown,
    pub(super) channels: Channels,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    pub(super) grpc: TcpListener,
    /// The node's certificates, kept up to date.
    pub(super) tls: Option<Tls>,
    /// Where changes and refusals are told.
    pub(super) audit: Audit,
    /// What other nodes call.
    pub(super) advertise: String,
    addresses: Addresses,
    data_dir: PathBuf,
}

impl Node {
    /// Sets up logs, metrics, certificates and signals, and binds the gRPC listener. The node's certificate has to name
    /// its role and `name`; `others` is where the role listens for clients beside `node.listen`.
    pub(super) async fn start(
        args: &RoleArgs,
        config: &NodeConfig,
        runs: Runs,
        name: &str,
        others: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        telemetry::install_logs(config.log_format, &config.log)
            .map_err(|error| refusal(Exit::Usage, error.to_string()))?;
        if !config.data_dir.as_os_str().is_empty() {
            let dir = &config.data_dir;
            if private_files::create_folder(dir)
                .with_context(|| format!("cannot prepare '{}'", dir.display()))?
            {
                tracing::warn!(dir = %dir.display(), "others of this machine could look into the node's folder; now only its owner can");
            }
            let wait = || tracing::warn!(dir = %config.data_dir.display(), "another process still holds the folder, waiting for it to leave");
            FolderLock::wait(&config.data_dir, FOLDER_PATIENCE, wait).await?.keep();
        }
        let metrics = telemetry::install_metrics(runs.roles(), env!("CARGO_PKG_VERSION"))?;
        let metrics = metrics.with_folder(config.data_dir.clone());
        let shutdown = Shutdown::new();
        spawn_signals(&shutdown)?;
        service_manager::feed_watchdog();
        memory::spawn_purge(&shutdown);
        if let Some(log) = args.log_file.clone() {
            log_rotation::spawn(log, &shutdown);
        }
        if args.supervised {
            leave_with_parent(shutdown.clone(), ORPHAN_DRAIN_MAX)
                .context("cannot watch the parent process")?;
        }
        let grpc = net::bind(config.listen).await?;
        let bound = grpc.local_addr().context("cannot tell where the listener is")?;
        let scraped = metrics_server::spawn(config.metrics_listen, metrics.clone(), &shutdown).await?;
        spawn_upkeep(metrics.clone(), &shutdown);
        let advertise = match &config.advertise {
            Some(address) => address.clone(),
            None if bound.ip().is_unspecified() => {
                let message = format!(
                    "'node.advertise' is needed because 'node.listen' is {bound}: the address that other nodes call"
                );
                return Err(refusal(Exit::Usage, message));
            }
            None => bound.to_string(),
        };
        let role = runs.identity();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let audit = Audit::open(config.audit.clone(), &format!("{role} {name}"), Arc::clone(&clock))?;
        audit.settle_until(&shutdown);
        warn_of_exposure(config, others);
        let tls = certificates::start(config, role, name, &advertise, &shutdown)?;
        Ok(Self {
            shutdown,
            channels: match &tls {
                Some(tls) => Channels::new(Arc::new(TlsConnect::new(tls.clone()))),
                None => Channels::tcp(),
            },
            tls,
            audit,
            clock,
            metrics,
            grpc,
            advertise,
            addresses: Addresses {
                pid: std::process::id(),
                grpc: bound,
                http: None,
                admin: None,
                metrics: scraped,
            },
            data_dir: config.data_dir.clone(),
        })
    }

    /// Tells whoever started this node that it has, and where it listens.
    pub(super) fn announce(
        &mut self,
        http: Option<SocketAddr>,
        admin: Option<SocketAddr>,
    ) -> anyhow::Result<()> {
        self.write_addresses(http, admin)?;
        service_manager::started(&format!("listening at {}", self.addresses.grpc));
        Ok(())
    }

    /// Writes down where this node listens; a router without a folder keeps it to its log.
    pub(super) fn write_addresses(
        &mut self,
        http: Option<SocketAddr>,
        admin: Option<SocketAddr>,
    ) -> anyhow::Result<()> {
        self.addresses.http = http;
        self.addresses.admin = admin;
        let Addresses { grpc, metrics, .. } = &self.addresses;
        tracing::info!(
            %grpc,
            http = http.map(tracing::field::display),
            admin = admin.map(tracing::field::display),
            metrics = metrics.map(tracing::field::display),
            advertise = self.advertise,
            "listening"
        );
        if self.data_dir.as_os_str().is_empty() {
            return Ok(());
        }
        let path = Addresses::path(&self.data_dir);
        self.addresses.write(&self.data_dir).with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Runs the role to its end: its own outcome, once the tasks in the background are gone too.
    pub(super) async fn finish<E: Into<anyhow::Error>>(
        shutdown: Shutdown,
        role: impl Future<Output = Result<(), E>>,
    ) -> anyhow::Result<Exit> {
        let overdue = async {
            shutdown.requested().await;
            tokio::time::sleep(SERVERS_DRAIN_MAX).await;
        };
        let outcome = tokio::select! {
            biased;
            // The role's own end is the outcome, even at the last moment.
            ended = role => ended.map_err(Into::into),
            () = overdue => {
                tracing::warn!("calls were still under way at the end of the drain, leaving them");
                Ok(())
            }
        };
        if !shutdown.drain(DRAIN_MAX).await {
            tracing::warn!("tasks were still running at the end of the drain, leaving them");
        }
        outcome.map(|()| Exit::Done)
    }
}

/// Says loudly that nothing stands between the node and other machines.
fn warn_of_exposure(config: &NodeConfig, others: &[SocketAddr]) {
    let what = match config.protection(others) {
        Protection::None => "nothing is encrypted and nobody has to say who it is",
        Protection::Encryption => "nobody who asks has to say who it is",
        _ => return,
    };
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    tracing::warn!(listen = %config.listen, others = others.join(", "), "INSECURE: other machines reach this node, {what}");
}

fn spawn_signals(shutdown: &Shutdown) -> anyhow::Result<()> {
    let mut signals = Signals::install()?;
    let asked = shutdown.clone();
    // Not tracked: it waits for a second signal while the tracked tasks are drained.
    tokio::spawn(async move {
        signals.received().await;
        tracing::info!("asked to stop, draining");
        service_manager::stopping();
        asked.request();
        signals.received().await;
        tracing::warn!("asked to stop again, leaving at once");
        std::process::exit(Exit::Interrupted as i32);
    });
    Ok(())
}

fn spawn_upkeep(metrics: Metrics, shutdown: &Shutdown) {
    let stop = shutdown.clone();
    shutdown.spawn("metrics upkeep", async move {
        loop {
            tokio::select! {
                biased;
                // Leaving matters more than one more fold.
                () = stop.requested() => return,
                () = tokio::time::sleep(UPKEEP_EVERY) => metrics.run_upkeep(),
            }
        }
    });
}
