//! Finding the cluster that a command talks to: named by a flag or a variable, else the local
//! cluster in the default folder.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use shoal_common::{
    access::Token,
    rpc::Channels,
    store::{Store, StoreError, StoreOptions},
    tls::{Tls, TlsConnect, TlsFiles, Trust},
};
use shoal_proto::v1::{DatasetInfo, ModelVersion};

use super::{
    environment::{environment, remote_options_of_command},
    failure::{Exit, refusal},
    store_options::StoreOptionArgs,
};
use crate::{
    certs::ADMIN,
    client::ClusterClient,
    local::{ClusterFile, Settings, admin_token_file},
    recommender::Recommender,
};

/// Where a local cluster lives unless another folder is named.
pub(super) const DEFAULT_DIR: &str = ".shoal/local";

/// The variable with a token.
const TOKEN_VARIABLE: &str = "SHOAL_TOKEN";

/// The local cluster's folder.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct DirArgs {
    /// Folder of the local cluster
    #[arg(long, value_name = "DIR", env = "SHOAL_DIR", default_value = DEFAULT_DIR)]
    pub(super) dir: PathBuf,
}

/// What whoever types the command shows.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct CredentialsArgs {
    /// Folder of certificates: ca.pem, and admin.pem with admin.key where you have them; by default those of the local
    /// cluster
    #[arg(long, value_name = "DIR", env = "SHOAL_CERTS", hide_short_help = true)]
    certs: Option<PathBuf>,
    /// File with a token; without it the token is in the variable SHOAL_TOKEN, or that of the local cluster
    #[arg(long, value_name = "FILE", env = "SHOAL_TOKEN_FILE", hide_short_help = true)]
    token_file: Option<PathBuf>,
}

/// What a command shows to coordinators and routers.
#[derive(Debug, Clone, Default)]
pub(super) struct Credentials {
    /// The folder of certificates.
    pub(super) certs: Option<PathBuf>,
    /// The token.
    pub(super) token: Option<Token>,
    /// Whether the token was named for this command: then the command may what the token may, and no certificate is shown.
    by_token: bool,
}

/// Which coordinators to ask.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    /// Addresses of the coordinators; by default those of the local cluster
    #[arg(long, value_name = "HOST:PORT", env = "SHOAL_COORDINATORS", value_delimiter = ',')]
    cluster: Vec<String>,
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    credentials: CredentialsArgs,
}

/// Which store to read.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct StoreArgs {
    /// Address of the object store; by default that of the local cluster
    #[arg(long, value_name = "URI")]
    store: Option<String>,
    #[command(flatten)]
    store_options: StoreOptionArgs,
}

impl StoreArgs {
    /// The options that were given.
    pub(super) fn options(&self) -> Result<StoreOptions, StoreError> {
        self.store_options.options()
    }
}

/// Which router to ask.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct RouterArgs {
    /// Address of a router; by default that of the local cluster
    #[arg(long, value_name = "URL", env = "SHOAL_URL")]
    url: Option<String>,
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    credentials: CredentialsArgs,
}

/// A router, or the coordinators of its cluster.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ServiceArgs {
    /// Address of a router; by default that of the local cluster
    #[arg(long, value_name = "URL", env = "SHOAL_URL")]
    url: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl ServiceArgs {
    pub(super) fn router(&self) -> anyhow::Result<Recommender> {
        self.cluster.router(self.url.clone()).connect()
    }

    pub(super) fn coordinators(&self) -> anyhow::Result<ClusterClient> {
        self.cluster.connect()
    }
}

/// A router, and the cluster behind it where that can be reached.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct TargetArgs {
    /// Address of the service; by default that of the local cluster's router
    #[arg(long, value_name = "URL", env = "SHOAL_URL")]
    url: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl TargetArgs {
    pub(super) fn router(&self) -> anyhow::Result<Recommender> {
        self.cluster.router(self.url.clone()).connect()
    }

    /// The coordinators and the store: those named, else those of the local cluster unless another service is named.
    pub(super) fn cluster(&self) -> anyhow::Result<Option<(ClusterClient, Store)>> {
        if self.url.is_some() && self.cluster.cluster.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.cluster.connect()?, self.cluster.open_store(&self.store)?)))
    }
}

impl DirArgs {
    pub(super) fn cluster_file(&self, flag: &str) -> anyhow::Result<ClusterFile> {
        ClusterFile::read(&self.dir)?.ok_or_else(|| {
            let dir = self.dir.display();
            let message = format!(
                "there is no local cluster in '{dir}'; start one with `shoal up`, or name a cluster with {flag}"
            );
            refusal(Exit::Unavailable, message)
        })
    }
}

impl CredentialsArgs {
    /// What was named, else what the local cluster in `dir` has.
    fn read(&self, dir: Option<&DirArgs>) -> anyhow::Result<Credentials> {
        let named = self.named_token()?;
        let (certs, by_token) = (self.certs(dir)?, named.is_some());
        let token = match (named, dir.map(|dir| admin_token_file(&dir.dir))) {
            (Some(token), _) => Some(token),
            (None, Some(file)) if file.exists() => Some(Token::read(&file)?),
            (None, _) => None,
        };
        Ok(Credentials { certs, token, by_token })
    }

    /// The folder of certificates that was named, else that of the local cluster in `dir`.
    pub(super) fn certs(&self, dir: Option<&DirArgs>) -> anyhow::Result<Option<PathBuf>> {
        match (&self.certs, dir) {
            (Some(folder), _) => Ok(Some(folder.clone())),
            (None, Some(dir)) => Ok(Settings::read(&dir.dir)?.certs()),
            (None, None) => Ok(None),
        }
    }

    /// The token of the flag or the variable.
    fn named_token(&self) -> anyhow::Result<Option<Token>> {
        if let Some(file) = &self.token_file {
            return Ok(Some(Token::read(file)?));
        }
        // A flag would stand in the list of processes.
        let named = environment().into_iter().find(|(name, text)| name == TOKEN_VARIABLE && !text.is_empty());
        named
            .map(|(_, text)| Token::parse(&text).with_context(|| format!("{TOKEN_VARIABLE} has no token")))
            .transpose()
    }
}

/// Channels that prove to be the administrator's where there is a certificate of one, and trust the authority where there
/// is only its own.
pub(super) fn channels(certs: Option<&Path>) -> anyhow::Result<Channels> {
    channels_as(certs, true)
}

/// As [`channels`]; where `certified` is false a certificate is not shown, although there is one.
fn channels_as(certs: Option<&Path>, certified: bool) -> anyhow::Result<Channels> {
    Ok(match certs.map(|folder| TlsFiles::in_folder(folder, ADMIN)) {
        Some(files) if (!certified || !files.certificate.exists()) && files.ca.exists() => {
            Channels::new(Arc::new(TlsConnect::uncertified(Trust::load(&files.ca)?)))
        }
        Some(files) => Channels::new(Arc::new(TlsConnect::new(Tls::load(files)?))),
        None => Channels::tcp(),
    })
}

impl ClusterArgs {
    pub(super) fn connect(&self) -> anyhow::Result<ClusterClient> {
        let local = self.cluster.is_empty().then_some(&self.dir);
        let addresses = match local {
            Some(dir) => dir.cluster_file("--cluster")?.coordinator_addresses(),
            None => self.cluster.clone(),
        };
        let credentials = self.credentials.read(local)?;
        let channels = channels_as(credentials.certs.as_deref(), !credentials.by_token)?;
        let client = ClusterClient::new(channels, addresses);
        Ok(client.with_token(credentials.token.as_ref()))
    }

    /// The file with the local cluster's own token, where the command is for the local cluster.
    pub(super) fn own_token_file(&self) -> Option<PathBuf> {
        self.cluster.is_empty().then(|| admin_token_file(&self.dir.dir)).filter(|file| file.exists())
    }

    /// Whether the command has another proof than the local cluster's own token: a token that was named, or the
    /// certificate of an administrator.
    pub(super) fn has_other_proof(&self) -> anyhow::Result<bool> {
        let local = self.cluster.is_empty().then_some(&self.dir);
        let certificate =
            self.credentials.certs(local)?.map(|folder| TlsFiles::in_folder(&folder, ADMIN).certificate);
        Ok(self.credentials.named_token()?.is_some() || certificate.is_some_and(|file| file.exists()))
    }

    fn router(&self, url: Option<String>) -> RouterArgs {
        RouterArgs { url, dir: self.dir.clone(), credentials: self.credentials.clone() }
    }

    /// The store named by the flag, else that of the local cluster.
    pub(super) fn open_store(&self, named: &StoreArgs) -> anyhow::Result<Store> {
        let (uri, kept) = match &named.store {
            Some(uri) => (uri.clone(), StoreOptions::default()),
            None => {
                let store = self.dir.cluster_file("--store")?.store;
                (store, Settings::read(&self.dir.dir)?.store_options())
            }
        };
        let options = remote_options_of_command(named.options()?.over(kept.given()))?;
        Ok(Store::open_existing(&uri, &options)?)
    }
}

impl RouterArgs {
    pub(super) fn connect(&self) -> anyhow::Result<Recommender> {
        let local = self.url.is_none().then_some(&self.dir);
        let Credentials { certs, token, .. } = self.credentials.read(local)?;
        let url = match &self.url {
            Some(url) => url.clone(),
            None => self.dir.cluster_file("--url")?.http_url(certs.is_some()).unwrap_or_default(),
        };
        Ok(Recommender::new(&url, certs.as_deref(), token.as_ref())?)
    }
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it must be of the form key=value".to_owned()),
    }
}

/// The data set called `name`, or `name@version`; the newest version of it by default.
pub(super) fn find_dataset<'a>(datasets: &'a [DatasetInfo], wanted: &str) -> anyhow::Result<&'a DatasetInfo> {
    let (name, version) =
        wanted.split_once('@').map_or((wanted, None), |(name, version)| (name, Some(version)));
    let fits =
        |info: &&DatasetInfo| info.name == name && version.is_none_or(|version| info.version == version);
    newest(datasets.iter().filter(fits)).ok_or_else(|| {
        refusal(
            Exit::NotFound,
            format!("there is no data set '{wanted}'; `shoal dataset list` shows those there are"),
        )
    })
}

/// The one that was made last.
pub(super) fn newest<'a>(datasets: impl Iterator<Item = &'a DatasetInfo>) -> Option<&'a DatasetInfo> {
    datasets.max_by(|a, b| (a.created_unix_ms, &a.version).cmp(&(b.created_unix_ms, &b.version)))
}

/// The model version of this name.
pub(super) fn find_version<'a>(
    versions: &'a [ModelVersion],
    wanted: &str,
) -> anyhow::Result<&'a ModelVersion> {
    versions.iter().find(|version| version.name == wanted).ok_or_else(|| {
        refusal(
            Exit::NotFound,
            format!("there is no model version '{wanted}'; `shoal models list` shows those there are"),
        )
    })
}
