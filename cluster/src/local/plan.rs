//! Which processes make a local cluster, where each listens, and its settings file.
//!
//! `cluster.json` remembers the addresses and `settings.toml` what was set by hand, so that a second start in the
//! same folder is like the first unless it is told otherwise. Addresses between nodes are kept as far as they are
//! still free. Coordinators are all written anew together, because each knows the others' addresses. Their number
//! is fixed when the cluster is founded; workers may come and go between starts.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use shoal_common::{
    access::{Token, TokenFileError},
    clock::{Clock, SystemClock},
    config::{ConfigError, RawCoordinator, RawRouter, RawWorker},
    private_files,
    store::Roots,
};
use shoal_core::hash::{hash_bytes, mix64};
use toml::{Table, Value};

use super::{
    Addresses, LocalError, Settings, Spec,
    certificates::{make_certificates, own_certs},
    cluster_file::{ClusterFile, FORMAT_VERSION, Member, Role, RouterMember},
    ports::{Ports, check_http},
    recover::read_or_recover,
};

/// Where a local cluster whose callers need tokens keeps its first one, for the command line of its owner.
#[must_use]
pub fn admin_token_file(dir: &Path) -> PathBuf {
    dir.join("admin.token")
}

/// One process of the plan.
#[derive(Debug, Clone)]
pub struct RoleProcess {
    /// The role that the process runs.
    pub role: Role,
    /// Name of the node, unique in the cluster.
    pub name: String,
    /// The settings file of the process.
    pub config: PathBuf,
    /// The folder that the process alone writes to.
    pub data_dir: PathBuf,
    /// Where its output goes.
    pub log: PathBuf,
}

/// A cluster ready to be started: everything it needs is on disk.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The cluster's folder, absolute.
    pub dir: PathBuf,
    /// The names and addresses of all nodes.
    pub file: ClusterFile,
    /// What was given by hand, now or at an earlier start.
    pub settings: Settings,
    /// Names of settings that an earlier start was given and this one was not.
    pub kept_settings: Vec<String>,
    /// The token that was drawn for this start: the cluster is new, or its file was lost.
    pub drawn_token: Option<Token>,
    /// What has become of the cluster's certificates and whoever starts it would not expect, a sentence each.
    pub remarks: Vec<String>,
}

impl Plan {
    /// Refuses what makes no cluster, settings that a role would refuse, and an address for HTTP that is
    /// taken. Writes nothing.
    ///
    /// # Errors
    /// The first problem found.
    pub fn check(spec: &Spec) -> Result<(), LocalError> {
        spec.check_shape()?;
        check_http(spec.http.unwrap_or(Spec::HTTP))?;
        let settings = Settings::parse(&spec.settings)?;
        let file = choose(spec, &spec.dir, None, &settings)?;
        let (dir, kept_settings, remarks) = (spec.dir.clone(), Vec::new(), Vec::new());
        Self { dir, file, settings, kept_settings, drawn_token: None, remarks }.check_settings()
    }

    /// Checks the request against what the folder holds, chooses ports and writes the settings of
    /// every process. Hold the folder's lock.
    ///
    /// # Errors
    /// When the cluster in the folder has another shape, the HTTP address is taken, or a file cannot be written.
    pub fn prepare(spec: &Spec) -> Result<Self, LocalError> {
        spec.check_shape()?;
        let mut given = Settings::parse(&spec.settings)?;
        std::fs::create_dir_all(&spec.dir).map_err(LocalError::file("create", &spec.dir))?;
        let dir = spec.dir.canonicalize().map_err(LocalError::file("open", &spec.dir))?;
        if spec.tls {
            given.set_certs(&own_certs(&dir));
        }
        let before = read_or_recover(&dir)?;
        if let (Some(before), Some(asked)) = (&before, spec.coordinators)
            && before.coordinators.len() != asked
        {
            let found = before.coordinators.len();
            return Err(LocalError::Coordinators { dir: spec.dir.clone(), found, asked });
        }
        let mut earlier = Settings::read(&dir)?;
        // A folder that was moved takes its certificates along.
        let is_gone = |certs: PathBuf| certs.ends_with("certs") && !certs.exists();
        if earlier.certs().is_some_and(is_gone) && own_certs(&dir).exists() {
            earlier.set_certs(&own_certs(&dir));
        }
        let had_certificates = earlier.certs().as_deref() == Some(&own_certs(&dir));
        let given_names = given.names();
        let kept_settings = earlier.names().into_iter().filter(|name| !given_names.contains(name)).collect();
        let mut settings = given.over(earlier);
        let file = choose(spec, &dir, before.as_ref(), &settings)?;
        if let Some(router) = file.routers.first() {
            check_http(router.http)?;
            // On the loopback address a router answers to this machine's names alone, and a proxy calls it by another.
            if router.http.ip().is_loopback() {
                settings.add_hosts(&spec.tls_hosts, router.http.ip());
            }
        }
        let mut plan = Self { dir, file, settings, kept_settings, drawn_token: None, remarks: Vec::new() };
        plan.check_settings()?;
        if plan.settings.certs().as_deref() == Some(&own_certs(&plan.dir)) {
            plan.remarks = make_certificates(&plan.dir, &plan.file, &spec.tls_hosts, had_certificates)?;
        }
        plan.draw_token()?;
        plan.write(spec.seed)?;
        Ok(plan)
    }

    /// The router's address for HTTP, as a client on this machine calls it.
    #[must_use]
    pub fn http_url(&self) -> String {
        self.file.http_url(self.settings.certs().is_some()).unwrap_or_default()
    }

    /// `curl`, with what it needs to ask the cluster's router.
    #[must_use]
    pub fn curl(&self) -> String {
        let quoted = |path: PathBuf| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
        let mut curl = "curl".to_owned();
        if let Some(certs) = self.settings.certs() {
            curl.push_str(&format!(" --cacert {}", quoted(certs.join("ca.pem"))));
        }
        if self.needs_tokens() {
            let file = quoted(admin_token_file(&self.dir));
            curl.push_str(&format!(" -H \"Authorization: Bearer $(cat {file})\""));
        }
        curl
    }

    /// Whether people and programs need a token.
    #[must_use]
    pub fn needs_tokens(&self) -> bool {
        self.settings.tokens().unwrap_or(self.settings.certs().is_some())
    }

    /// The token of the cluster's owner, where callers need one.
    ///
    /// # Errors
    /// When the file holds something else.
    pub fn admin_token(&self) -> Result<Option<Token>, TokenFileError> {
        let file = admin_token_file(&self.dir);
        if self.needs_tokens() && file.exists() { Token::read(&file).map(Some) } else { Ok(None) }
    }

    fn draw_token(&mut self) -> Result<(), LocalError> {
        let file = admin_token_file(&self.dir);
        if !self.needs_tokens() || file.exists() {
            return Ok(());
        }
        let failed = |error: std::io::Error| LocalError::file("write", &file)(error);
        let token = Token::draw().map_err(|error| failed(std::io::Error::other(error)))?;
        private_files::replace(&file, format!("{}\n", token.expose()).as_bytes()).map_err(failed)?;
        self.drawn_token = Some(token);
        Ok(())
    }

    /// Whether other machines reach a router that speaks no TLS.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.settings.certs().is_none()
            && self.file.routers.iter().any(|router| !router.http.ip().is_loopback())
    }

    /// The processes in the order in which they are started.
    #[must_use]
    pub fn processes(&self) -> Vec<RoleProcess> {
        let coordinators = self.file.coordinators.iter().map(|member| (Role::Coordinator, &member.name));
        let workers = self.file.workers.iter().map(|member| (Role::Worker, &member.name));
        let routers = self.file.routers.iter().map(|router| (Role::Router, &router.name));
        coordinators.chain(workers).chain(routers).map(|(role, name)| self.process(role, name)).collect()
    }

    /// Where the logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    fn process(&self, role: Role, name: &str) -> RoleProcess {
        RoleProcess {
            role,
            name: name.to_owned(),
            config: self.dir.join("config").join(format!("{name}.toml")),
            data_dir: self.dir.join(name),
            log: self.logs().join(format!("{name}.log")),
        }
    }

    fn write(&self, seed: Option<u64>) -> Result<(), LocalError> {
        for folder in [self.dir.join("config"), self.logs()] {
            private_files::create_folder(&folder).map_err(LocalError::file("create", folder))?;
        }
        for (place, process) in self.processes().into_iter().enumerate() {
            // What an earlier start wrote must not be taken for this one's.
            let addresses = Addresses::path(&process.data_dir);
            match std::fs::remove_file(&addresses) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LocalError::file("remove", addresses)(error));
                }
                _ => {}
            }
            let text = self.config_of(&process, seed.map(|seed| mix64(seed ^ place as u64))).to_string();
            // The options of a store may be secrets.
            private_files::replace(&process.config, text.as_bytes())
                .map_err(LocalError::file("write", &process.config))?;
        }
        self.settings.write(&self.dir)?;
        self.file.write(&self.dir)
    }

    /// Reads the settings of every process as the process will.
    fn check_settings(&self) -> Result<(), LocalError> {
        for process in self.processes() {
            let table = self.config_of(&process, None);
            match process.role {
                Role::Coordinator => read::<RawCoordinator>(table)?.resolve().map(drop),
                Role::Worker => read::<RawWorker>(table)?.resolve(1).map(drop),
                Role::Router => read::<RawRouter>(table)?.resolve().map(drop),
            }?;
        }
        Ok(())
    }

    fn config_of(&self, process: &RoleProcess, seed: Option<u64>) -> Table {
        let file = &self.file;
        let mut node = Table::new();
        node.insert("cluster_id".into(), file.cluster_id.clone().into());
        node.insert("name".into(), process.name.clone().into());
        node.insert("data_dir".into(), process.data_dir.display().to_string().into());
        if let Some(seed) = seed {
            // TOML integers are signed; the top bit is not worth a string.
            node.insert("seed".into(), ((seed >> 1).cast_signed()).into());
        }
        let mut own = Table::new();
        let listen = match process.role {
            Role::Coordinator => {
                let numbered = file.coordinators.iter().enumerate().map(|(at, member)| (at + 1, member));
                let peers: Table = numbered
                    .clone()
                    .map(|(number, member)| (number.to_string(), member.address.to_string().into()))
                    .collect();
                own.insert("peers".into(), peers.into());
                let mine = numbered.clone().find(|(_, member)| member.name == process.name);
                let number = mine.as_ref().map_or(0, |(number, _)| *number);
                own.insert("raft_id".into(), Value::Integer(number as i64));
                if self.needs_tokens() {
                    let token = admin_token_file(&self.dir).display().to_string();
                    own.insert("first_token_file".into(), token.into());
                }
                mine.map(|(_, member)| member.address)
            }
            Role::Worker => {
                let threads = threads_each(file.workers.len());
                own.insert("training_threads".into(), Value::Integer(threads));
                own.insert("serving_threads".into(), Value::Integer(threads));
                // The workers are the user's own processes: what the user may read, they may.
                for key in ["import_roots", "export_roots"] {
                    own.insert(key.into(), Roots::anywhere_listed().into());
                }
                file.workers.iter().find(|member| member.name == process.name).map(|member| member.address)
            }
            Role::Router => file.routers.iter().find(|router| router.name == process.name).map(|router| {
                own.insert("http_listen".into(), router.http.to_string().into());
                router.grpc
            }),
        };
        if let Some(listen) = listen {
            node.insert("listen".into(), listen.to_string().into());
        }
        if process.role != Role::Router {
            node.insert("store".into(), file.store.clone().into());
        }
        if process.role != Role::Coordinator {
            node.insert("coordinators".into(), file.coordinator_addresses().into());
        }
        let section = process.role.to_string();
        own.extend(self.settings.section(&section).map(|(key, value)| (key.clone(), value.clone())));
        node.extend(self.settings.section("node").map(|(key, value)| (key.clone(), value.clone())));
        Table::from_iter([("node".to_owned(), node.into()), (section, own.into())])
    }
}

fn read<T: DeserializeOwned>(table: Table) -> Result<T, ConfigError> {
    T::deserialize(table).map_err(|error| ConfigError { problems: vec![error.message().to_owned()] })
}

/// Threads per worker so that all workers together use the machine's cores once.
fn threads_each(workers: usize) -> i64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    cores.div_ceil(workers.max(1)) as i64
}

fn choose(
    spec: &Spec,
    dir: &Path,
    before: Option<&ClusterFile>,
    settings: &Settings,
) -> Result<ClusterFile, LocalError> {
    let mut ports = Ports::new();
    let mut members = |role: Role, asked: Option<usize>, known: &[Member]| {
        let count = asked.unwrap_or(if known.is_empty() { Spec::PROCESSES } else { known.len() });
        (1..=count)
            .map(|number| {
                let name = format!("{role}-{number}");
                let remembered = known.iter().find(|member| member.name == name);
                let address = ports.keep_or_choose(remembered.map(|member| member.address))?;
                Ok(Member { name, address })
            })
            .collect::<Result<Vec<_>, LocalError>>()
    };
    let known = |of: fn(&ClusterFile) -> &Vec<Member>| before.map_or(&[][..], |file| of(file).as_slice());
    let coordinators = members(Role::Coordinator, spec.coordinators, known(|file| &file.coordinators))?;
    let workers = members(Role::Worker, spec.workers, known(|file| &file.workers))?;
    let remembered = before.and_then(|file| file.routers.first());
    let router = RouterMember {
        name: "router-1".to_owned(),
        grpc: ports.keep_or_choose(remembered.map(|router| router.grpc))?,
        http: match spec.http {
            // Chosen here, so that a router that is started again is found where it was.
            Some(any) if any.port() == 0 => {
                let before = remembered.map(|router| router.http).filter(|http| http.ip() == any.ip());
                ports.keep_or_choose_on(any.ip(), before)?
            }
            Some(chosen) => chosen,
            None => remembered.map_or(Spec::HTTP, |router| router.http),
        },
    };
    let cluster_id = before.map_or_else(|| draw_cluster_id(dir), |file| file.cluster_id.clone());
    Ok(ClusterFile {
        format_version: FORMAT_VERSION,
        cluster_id,
        store: settings.store().map_or_else(|| dir.join("store").display().to_string(), str::to_owned),
        coordinators,
        workers,
        routers: vec![router],
    })
}

/// Another one for each founding, so that a process of a removed cluster is refused by its successor.
fn draw_cluster_id(dir: &Path) -> String {
    let now = SystemClock.now_unix_ms().cast_unsigned();
    let mixed = mix64(hash_bytes(dir.as_os_str().as_encoded_bytes()) ^ mix64(now));
    format!("local-{:08x}", mixed >> 32)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use shoal_common::config::Sources;

    use super::*;

    fn spec(dir: &Path) -> Spec {
        Spec {
            dir: dir.to_owned(),
            coordinators: Some(3),
            workers: Some(2),
            http: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            seed: Some(7),
            settings: vec!["coordinator.lease_ms=500".to_owned(), "node.log=debug".to_owned()],
            tls: false,
            tls_hosts: Vec::new(),
        }
    }

    fn sources(process: &RoleProcess) -> Sources {
        Sources { file: Some(process.config.clone()), ..Sources::default() }
    }

    #[test]
    fn every_process_gets_settings_that_its_role_accepts() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::prepare(&spec(folder.path())).unwrap();
        let mut names = Vec::new();
        for process in plan.processes() {
            names.push(process.name.clone());
            match process.role {
                Role::Coordinator => {
                    let config = sources(&process).read::<RawCoordinator>().unwrap().resolve().unwrap();
                    assert_eq!(config.lease.as_millis(), 500);
                    assert_eq!(config.peers[&config.raft_id], config.node.listen.to_string());
                    assert_eq!(config.peers.len(), 3);
                }
                Role::Worker => {
                    let config = sources(&process).read::<RawWorker>().unwrap().resolve(2).unwrap();
                    assert_eq!(config.node.coordinators, plan.file.coordinator_addresses());
                    assert_eq!((config.node.name, config.node.log.as_str()), (process.name, "debug"));
                }
                Role::Router => {
                    let config = sources(&process).read::<RawRouter>().unwrap().resolve().unwrap();
                    assert_eq!(config.http_listen, plan.file.routers[0].http);
                    assert_ne!(config.http_listen.port(), 0, "a router started again is found where it was");
                }
            }
        }
        let expected =
            ["coordinator-1", "coordinator-2", "coordinator-3", "worker-1", "worker-2", "router-1"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_second_start_finds_its_addresses_and_moves_what_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let first = Plan::prepare(&spec(folder.path())).unwrap().file;
        let taken = std::net::TcpListener::bind(first.workers[0].address).unwrap();
        let second = Plan::prepare(&Spec { workers: Some(3), ..spec(folder.path()) }).unwrap().file;
        assert_eq!(second.coordinators, first.coordinators);
        assert_eq!(second.cluster_id, first.cluster_id);
        assert_eq!(second.workers[1], first.workers[1]);
        assert_ne!(second.workers[0].address, taken.local_addr().unwrap());
        assert_eq!(second.workers.len(), 3);
    }

    #[test]
    fn another_number_of_coordinators_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        Plan::prepare(&spec(folder.path())).unwrap();
        let refusal = Plan::prepare(&Spec { coordinators: Some(1), ..spec(folder.path()) }).unwrap_err();
        assert!(refusal.to_string().contains("--coordinators 3"), "{refusal}");
    }

    #[test]
    fn a_taken_http_address_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let http = taken.local_addr().unwrap();
        let refusal =
            Plan::prepare(&Spec { http: Some(http), ..spec(folder.path()) }).unwrap_err().to_string();
        assert!(refusal.contains("--http") && refusal.contains(&http.to_string()), "{refusal}");
        assert!(!folder.path().join("cluster.json").exists());
    }

    /// What `shoal up --dir DIR` asks for.
    fn open(dir: &Path) -> Spec {
        Spec {
            dir: dir.to_owned(),
            coordinators: None,
            workers: None,
            http: None,
            seed: None,
            settings: Vec::new(),
            tls: false,
            tls_hosts: Vec::new(),
        }
    }

    #[test]
    fn a_start_that_asks_for_nothing_is_as_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let given = |settings: &[&str]| settings.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let settings = given(&["node.store=s3://bucket/models", "node.store_options.region=here"]);
        let first = Plan::prepare(&Spec { settings, ..spec(folder.path()) }).unwrap();
        let second = Plan::prepare(&open(folder.path())).unwrap();
        assert_eq!(second.file, first.file);
        assert_eq!(second.file.store, "s3://bucket/models");
        assert_eq!(second.kept_settings, ["node.store", "node.store_options"]);
        let config = sources(&second.processes()[4]).read::<RawWorker>().unwrap().resolve(2).unwrap();
        assert_eq!(config.node.store_options.get("region"), Some("here"));
        let settings = given(&["node.store=/elsewhere"]);
        let third = Plan::prepare(&Spec { settings, ..open(folder.path()) }).unwrap();
        assert_eq!((third.file.store.as_str(), third.kept_settings.len()), ("/elsewhere", 1));
    }

    #[test]
    fn a_cluster_file_that_is_lost_or_cut_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let first = Plan::prepare(&spec(folder.path())).unwrap().file;
        for damage in [None, Some("{\"format"), Some("")] {
            match damage {
                None => std::fs::remove_file(ClusterFile::path(folder.path())).unwrap(),
                Some(text) => std::fs::write(ClusterFile::path(folder.path()), text).unwrap(),
            }
            assert_eq!(Plan::prepare(&open(folder.path())).unwrap().file, first, "{damage:?}");
        }
    }

    fn with_hosts(hosts: &[&str], spec: Spec) -> Spec {
        Spec { tls: true, tls_hosts: hosts.iter().map(|&host| host.to_owned()).collect(), ..spec }
    }

    #[test]
    fn certificates_that_are_lost_or_name_other_hosts_are_spoken_of() {
        let folder = tempfile::tempdir().unwrap();
        let remarks = |spec: &Spec| Plan::prepare(spec).unwrap().remarks;
        assert!(remarks(&with_hosts(&["a.example"], spec(folder.path()))).is_empty());
        assert!(remarks(&with_hosts(&["a.example", "b.example"], open(folder.path()))).is_empty());
        let replaced = remarks(&with_hosts(&["c.example"], open(folder.path()))).join("\n");
        for part in ["c.example", "no longer a.example, b.example", "--tls-host"] {
            assert!(replaced.contains(part), "{replaced}");
        }
        std::fs::remove_dir_all(own_certs(&folder.path().canonicalize().unwrap())).unwrap();
        let lost = remarks(&open(folder.path())).join("\n");
        assert!(lost.contains("ca.pem") && lost.contains("a new one"), "{lost}");
        assert!(remarks(&open(folder.path())).is_empty());
    }

    #[test]
    fn a_router_answers_to_the_further_hosts_of_its_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let answered = |spec: &Spec| {
            let plan = Plan::prepare(spec).unwrap();
            let router = plan.processes().pop().unwrap();
            sources(&router).read::<RawRouter>().unwrap().resolve().unwrap().hosts
        };
        let of_machine = answered(&with_hosts(&[], spec(folder.path())));
        let named = answered(&with_hosts(&["shop.example"], open(folder.path())));
        assert_eq!(named, [&of_machine[..], &["shop.example".to_owned()]].concat());
        assert_eq!(answered(&with_hosts(&["shop.example"], open(folder.path()))), named);
    }

    #[test]
    fn data_of_an_unknown_cluster_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("store/models")).unwrap();
        let refusal = Plan::prepare(&open(folder.path())).unwrap_err().to_string();
        assert!(refusal.contains("cluster.json") && !refusal.contains("remove"), "{refusal}");
        assert!(!folder.path().join("config").exists());
    }
}
