//! `shoal serve`: one process that answers from a store which it only reads.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use shoal_common::{
    config::{RawServe, ServeConfig},
    health::Check,
    net,
    shutdown::Shutdown,
    store::Store,
    tls::{Trust, host_of},
};
use shoal_core::ModelKind;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::{
    environment::remote_options_of_command,
    failure::{Exit, refusal, sentence},
    listen::listen_address,
    role::{Node, RoleArgs, Runs, SETTINGS_HELP, descriptors, quoted, resident, service_manager},
    training_defaults::training_defaults,
};
use crate::{
    health::Door,
    local::{FolderLock, reachable},
    output,
    serve::{Doors, Library, Live, Roles, SaidBy, Wanted},
};

/// How often the links are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same for a store that is no folder of this machine: a look is a request.
const LOOK_FAR_EVERY: Duration = Duration::from_secs(10);
/// How long the router's own doors are waited for once everything is live.
const DOORS_PATIENCE: Duration = Duration::from_secs(60);
/// What the names of temporary folders begin with, and the age from which on one without a process is removed.
const TEMPORARY_PREFIX: &str = "shoal-serve-";
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(60);
const DOORS_POLL: Duration = Duration::from_millis(10);

/// What is said to who calls a coordinator's method here.
const NO_JOBS: &str = "this is `shoal serve`, which answers queries from a store that it only reads; imports, trainings and \
promotions need a cluster (`shoal up`), and what is served here follows the store's live.json or model_latest links";

const EXAMPLES: &str = "\
Examples:
  shoal serve .shoal/local/store                       # what the cluster has live, on http://127.0.0.1:8000
  shoal serve .shoal/local/store --latest              # what was trained last, promoted or not
  shoal serve s3://bucket/shoal --store-option region=eu-west-1
  shoal serve /models --http 0.0.0.0:8000 --insecure   # for other machines, in plain text
  shoal serve /models --http 0.0.0.0:8000 --certs /etc/shoal --name router-1 --cluster-id movies \\
      --set coordinator.first_token_file=/etc/shoal/admin.token    # under TLS, for holders of this token
  shoal serve /models --version als_model_v1_20261124_101500
  shoal serve /models --set router.cache_entries=0 --set worker.serving_threads=2

STORE is what trainings wrote: models/<model>/<version> and datasets/<name>/<version>. Nothing is written to it. Live is what its \
live.json says, which a cluster writes when it promotes or rolls back; of a store without the file, each model's link \
model_latest. A change of either is followed within a second (of a store that is no folder, within ten), and at once on SIGHUP; every answer comes from one version, and the \
version before answers until the new one is loaded and checked. Of a store that is a folder the files are used where they lie: \
replace a version by a new folder and a link, never by writing over its files.";

/// Flags of `shoal serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{SETTINGS_HELP}"))]
pub(super) struct Args {
    /// The store to serve from: a folder, which may be read-only, or s3://… [node.store]
    #[arg(value_name = "STORE", conflicts_with = "store")]
    from: Option<String>,
    /// Where HTTP clients call; 127.0.0.1:8000 by default [router.http_listen]
    #[arg(long, value_name = "IP:PORT", value_parser = listen_address)]
    http: Option<SocketAddr>,
    /// Serve this version, and no model whose version is not named; may be given once for each model
    #[arg(long, value_name = "NAME")]
    version: Vec<String>,
    /// Serve the version that was trained last of each model, which model_latest names, also where a cluster has another one
    /// live
    #[arg(long, conflicts_with = "version")]
    latest: bool,
    /// The model that answers queries which name none; by default that of live.json, or the first of als, item_cf, content, ease, hybrid that is
    /// served
    #[arg(long, value_name = "MODEL")]
    default_model: Option<ModelKind>,
    #[command(flatten)]
    role: RoleArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let mut own: Vec<(String, String)> = Vec::new();
    own.extend(args.from.as_ref().map(|store| ("node.store".to_owned(), quoted(store))));
    own.extend(args.http.map(|http| ("router.http_listen".to_owned(), quoted(&http.to_string()))));
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut config = args.role.sources(own)?.resolve(|raw: RawServe| raw.resolve(cores))?;
    // Removed at the end, with everything in it.
    let _temporary = own_folder(&mut config)?;
    let clients = config.router.client_listeners();
    let (own, name) = (&config.router.node, config.router.node.name.clone());
    let mut node = Node::start(&args.role, own, Runs::Every, &name, &clients).await?;
    descriptors::fit(&mut config.router.node);
    let options = remote_options_of_command(config.worker.node.store_options.clone())?;
    let store = Store::open_existing(&config.worker.node.store, &options)?.read_only();
    let wanted = match args.version.as_slice() {
        [] if args.latest => Wanted::Latest,
        [] => Wanted::Live,
        named => Wanted::Named(named.to_vec()),
    };
    let found = wanted.find(&store).await?;
    if let Some(default) =
        args.default_model.filter(|default| !found.versions.iter().any(|(kind, _)| kind == default))
    {
        let message = format!("--default-model {default}: no version of this model is served");
        return Err(refusal(Exit::Usage, message));
    }
    let http = net::bind(config.router.http_listen).await?;
    let addresses = Listening {
        http: http.local_addr().context("cannot tell where the listener is")?,
        grpc: node.grpc.local_addr().context("cannot tell where the listener is")?,
    };
    let admin = match &config.router.admin {
        Some(admin) => Some(net::bind(admin.listen).await?),
        None => None,
    };
    let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose();
    let admin_address = admin_address.context("cannot tell where the listener is")?;
    node.write_addresses(Some(addresses.http), admin_address)?;
    let roles = Roles::start(&config, &store, &node.clock);
    let (failed, failure) = oneshot::channel();
    let serving = Serving {
        library: Library::new(store.clone(), wanted, roles.client(), args.default_model),
        look_every: if store.file_path("")?.is_some() { LOOK_EVERY } else { LOOK_FAR_EVERY },
        addresses,
        tls: match &config.router.node.tls {
            Some(files) => Some((Trust::load(&files.ca)?, node.advertise.clone())),
            None => None,
        },
        started,
        hangups: signal(SignalKind::hangup()).context("cannot listen for signals")?,
        shutdown: node.shutdown.clone(),
    };
    node.shutdown.spawn("served versions", async move {
        let shutdown = serving.shutdown.clone();
        let outcome = shutdown.token().run_until_cancelled(serving.run()).await;
        if let Some(Err(error)) = outcome {
            // Whoever waits for it may be gone, and then the process ends anyhow.
            let _ = failed.send(error);
            shutdown.request();
        }
    });
    let shutdown = node.shutdown.clone();
    let metrics = node.metrics;
    let doors = Doors {
        http,
        admin,
        grpc: node.grpc,
        tls: node.tls,
        elsewhere: NO_JOBS,
        takes_changes: false,
        training_defaults,
    };
    let role =
        roles.run(&config, doors, node.clock, Arc::new(move || metrics.render()), node.audit, node.shutdown);
    let outcome = Node::finish(shutdown, role).await?;
    // Dropped without an error where everything went well.
    failure.await.map_or(Ok(outcome), Err)
}

/// A folder for the registry's log and the lock, unless one is configured.
fn own_folder(config: &mut ServeConfig) -> anyhow::Result<Option<tempfile::TempDir>> {
    if config.router.node.data_dir != Path::new("") {
        return Ok(None);
    }
    remove_left_behind(&std::env::temp_dir());
    let own_only = std::fs::Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).permissions(own_only).tempdir();
    let made = made.map_err(|error| {
        let message = format!(
            "cannot make a folder in '{}' for a few small files: {error}; name another with --data-dir or TMPDIR",
            std::env::temp_dir().display()
        );
        refusal(Exit::Usage, message)
    })?;
    config.keep_files_in(made.path());
    Ok(Some(made))
}

/// Removes the folders of processes like this one that were killed. A folder whose lock is held belongs to one that runs, and
/// one that was just made may not have its lock yet.
fn remove_left_behind(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_named = entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX);
        // Another user's folder cannot be locked, and a link is none of ours.
        let is_old = entry.metadata().is_ok_and(|found| {
            found.is_dir()
                && found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= LEFT_BEHIND_AFTER))
        });
        let folder = entry.path();
        if is_named && is_old && folder.join("lock").is_file() && FolderLock::take(&folder).is_ok() {
            // What cannot be removed now is tried again at the next start.
            let _ = std::fs::remove_dir_all(&folder);
        }
    }
}

/// Where clients call.
#[derive(Debug, Clone, Copy)]
struct Listening {
    http: SocketAddr,
    grpc: SocketAddr,
}

/// The task that keeps what is served in line with the store.
struct Serving {
    library: Library,
    look_every: Duration,
    addresses: Listening,
    /// With certificates: the authorities, and the address that the own one names.
    tls: Option<(Trust, String)>,
    started: Instant,
    hangups: Signal,
    shutdown: Shutdown,
}

impl Serving {
    /// Makes everything live, says so, and follows the store until the process stops. A version that cannot be served at
    /// the start ends the process; later ones are told to the log, and what was served before is served on.
    async fn run(mut self) -> anyhow::Result<()> {
        self.library.update().await?;
        self.doors_answer().await?;
        output::print(&self.report())?;
        service_manager::started(&format!("answering at {}", self.addresses.http));
        let mut said = String::new();
        loop {
            let asked = tokio::select! {
                hangup = self.hangups.recv() => hangup.is_some(),
                () = tokio::time::sleep(self.look_every) => false,
            };
            match self.library.update().await {
                Ok(changed) => {
                    for live in self.library.live() {
                        let is_new = |kind: &ModelKind| kind.folder() == live.version.model;
                        if changed.iter().any(is_new) {
                            tracing::info!(
                                model = live.version.model,
                                version = live.version.name,
                                "a new version answers"
                            );
                        }
                    }
                    if asked && changed.is_empty() {
                        tracing::info!("every version that is wanted is served already");
                    }
                    said.clear();
                }
                // The same trouble every second is said once.
                Err(error) => {
                    let reason = sentence(&error.into());
                    if asked || reason != said {
                        tracing::error!(
                            reason,
                            "a new version is not served, going on with what was served before"
                        );
                    }
                    said = reason;
                }
            }
        }
    }

    /// Waits until the router itself says that it answers.
    async fn doors_answer(&self) -> anyhow::Result<()> {
        let at = reachable(self.addresses.grpc);
        let tls = self
            .tls
            .as_ref()
            .map(|(tls, advertise)| (tls.clone(), format!("{}:{}", host_of(advertise), at.port())));
        let door = Door::Grpc { address: at.to_string(), tls };
        let give_up_at = Instant::now() + DOORS_PATIENCE;
        loop {
            let answer = door.ask(Check::Readiness, DOORS_PATIENCE).await;
            match answer.reason {
                None => return Ok(()),
                Some(reason) if Instant::now() >= give_up_at => {
                    return Err(refusal(
                        Exit::Failed,
                        format!("the versions are loaded, but the router at {at} is not ready: {reason}"),
                    ));
                }
                Some(_) => tokio::time::sleep(DOORS_POLL).await,
            }
        }
    }

    fn report(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut lines = vec![match self.library.said_by() {
            Some(SaidBy::LiveFile) => {
                "Live is what the cluster of this store has promoted (live.json).".to_owned()
            }
            Some(SaidBy::Links) => "Live is what was trained last (model_latest).".to_owned(),
            Some(SaidBy::Names) | None => "Live are the versions that were named.".to_owned(),
        }];
        lines.extend(self.library.live().iter().map(describe));
        lines.push(format!(
            "HTTP at {scheme}://{} (/docs to try it), gRPC at {}",
            reachable(self.addresses.http),
            reachable(self.addresses.grpc)
        ));
        let memory = resident().map_or_else(String::new, |(own, of_files)| {
            format!(", with {} of memory and {} of files mapped", output::bytes(own), output::bytes(of_files))
        });
        lines.push(format!(
            "Ready after {}{memory}; Ctrl-C stops it",
            output::seconds(self.started.elapsed().as_secs_f64())
        ));
        lines.join("\n")
    }
}

fn describe(live: &Live) -> String {
    let Live { version, dataset, is_default } = live;
    let default = if *is_default { "; answers where no model is named" } else { "" };
    format!(
        "{}: {} ({} users, {} items of '{}'{default})",
        version.model,
        version.name,
        output::count(dataset.users),
        output::count(dataset.items),
        dataset.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_processes_that_were_killed_are_removed_and_no_others() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, age: u64| {
            let folder = parent.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("lock"), "1").unwrap();
            let made_at = folder.metadata().unwrap().modified().unwrap();
            let folder_file = std::fs::File::open(&folder).unwrap();
            folder_file.set_modified(made_at - Duration::from_secs(age)).unwrap();
            folder
        };
        let (dead, young) = (make("shoal-serve-dead", 3_600), make("shoal-serve-young", 0));
        let (held, other) = (make("shoal-serve-held", 3_600), make("else-dead", 3_600));
        let lock = FolderLock::take(&held).unwrap();
        remove_left_behind(parent.path());
        assert!(!dead.exists() && young.exists() && held.exists() && other.exists());
        drop(lock);
    }
}
