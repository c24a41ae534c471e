//! Settings of the nodes that were given by hand, kept from one start to the next in `settings.toml`.
//!
//! The file has a table for each section, as a node's own settings file has, and may be edited by hand. It can hold
//! the secrets of a store, so only its owner reads it, and only names of settings are ever printed.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use shoal_common::{config::names_of_this_machine, private_files, store::StoreOptions};
use toml::{Table, Value};

use super::LocalError;

/// The sections of a node's settings.
const SECTIONS: [&str; 4] = ["node", "coordinator", "worker", "router"];

/// What was given with `--set`, now or at an earlier start: a table for each section.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings(Table);

impl Settings {
    fn path(dir: &Path) -> PathBuf {
        dir.join("settings.toml")
    }

    /// What earlier starts of the cluster in `dir` were given.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn read(dir: &Path) -> Result<Self, LocalError> {
        let path = Self::path(dir);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(LocalError::File { action: "read", path, source }),
        };
        let table: Table = text
            .parse()
            .map_err(|source| LocalError::SettingsFile { path: path.clone(), source: Box::new(source) })?;
        match table.iter().find(|(section, value)| !SECTIONS.contains(&section.as_str()) || !value.is_table())
        {
            Some((section, _)) => Err(LocalError::SettingsSection { path, section: section.clone() }),
            None => Ok(Self(table)),
        }
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), LocalError> {
        let path = Self::path(dir);
        if self.0.is_empty() && !path.exists() {
            return Ok(());
        }
        private_files::replace(&path, self.0.to_string().as_bytes()).map_err(LocalError::file("write", &path))
    }

    /// Reads settings of the form `section.key=value`; the value is TOML, or else a text.
    ///
    /// # Errors
    /// Names the setting that has another form.
    pub fn parse(given: &[String]) -> Result<Self, LocalError> {
        let mut settings = Self::default();
        for text in given {
            let refused = || LocalError::Setting(text.clone());
            let (path, value) = text.split_once('=').ok_or_else(refused)?;
            let keys: Vec<&str> = path.split('.').collect();
            let (Some((last, parents)), [section, _, ..]) = (keys.split_last(), &keys[..]) else {
                return Err(refused());
            };
            if !SECTIONS.contains(section) || keys.iter().any(|key| key.is_empty()) {
                return Err(refused());
            }
            let mut table = &mut settings.0;
            for parent in parents {
                let entry = table.entry(*parent).or_insert_with(|| Value::Table(Table::new()));
                table = entry.as_table_mut().ok_or_else(refused)?;
            }
            table.insert((*last).to_owned(), value_of(value));
        }
        Ok(settings)
    }

    /// These settings over earlier ones: a table's keys are merged, any other value is replaced.
    #[must_use]
    pub fn over(self, mut earlier: Self) -> Self {
        merge(&mut earlier.0, self.0);
        earlier
    }

    /// Names of all settings, as `section.key`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let keys = |(section, value): (&String, &Value)| {
            let keys = value.as_table().into_iter().flat_map(Table::keys);
            keys.map(|key| format!("{section}.{key}")).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(keys).collect()
    }

    /// Keys and values of one section.
    pub(super) fn section(&self, section: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.0.get(section).and_then(Value::as_table).into_iter().flatten()
    }

    /// The object store's address, where one was given.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        self.0.get("node")?.get("store")?.as_str()
    }

    /// The folder of certificates, where the nodes have one.
    #[must_use]
    pub fn certs(&self) -> Option<PathBuf> {
        self.0.get("node")?.get("certs")?.as_str().map(PathBuf::from)
    }

    /// Whether people and programs need tokens, where it was said.
    #[must_use]
    pub fn tokens(&self) -> Option<bool> {
        self.0.get("node")?.get("tokens")?.as_bool()
    }

    /// Names the folder of certificates.
    pub(super) fn set_certs(&mut self, folder: &Path) {
        let node = self.0.entry("node").or_insert_with(|| Value::Table(Table::new()));
        if let Some(node) = node.as_table_mut() {
            node.insert("certs".to_owned(), folder.display().to_string().into());
        }
    }

    /// Has routers on a loopback address answer requests to further hosts, beside what they answer to by now.
    pub(super) fn add_hosts(&mut self, further: &[String], listens_at: IpAddr) {
        if further.is_empty() {
            return;
        }
        let router = self.0.entry("router").or_insert_with(|| Value::Table(Table::new()));
        let Some(router) = router.as_table_mut() else { return };
        let of_machine =
            || names_of_this_machine(listens_at).into_iter().map(Value::from).collect::<Vec<_>>();
        let hosts = router.entry("hosts").or_insert_with(|| of_machine().into());
        if let Some(hosts) = hosts.as_array_mut() {
            for host in further {
                if !hosts.iter().any(|known| known.as_str() == Some(host)) {
                    hosts.push(host.as_str().into());
                }
            }
        }
    }

    /// The object store's options.
    #[must_use]
    pub fn store_options(&self) -> StoreOptions {
        let options = self.0.get("node").and_then(|node| node.get("store_options")).and_then(Value::as_table);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        options.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
    }
}

fn value_of(text: &str) -> Value {
    let line = format!("value = {text}").parse::<Table>().ok();
    line.and_then(|mut line| line.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(before)), Value::Table(now)) => merge(before, now),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(given: &[&str]) -> Settings {
        Settings::parse(&given.iter().map(|&text| text.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_is_given_now_stands_over_what_was_given_before() {
        let before = parsed(&[
            "node.store=s3://a/b",
            "node.store_options={region=\"x\", access_key_id=\"k\"}",
            "worker.a=1",
        ]);
        let now = parsed(&["node.store_options.region=y", "worker.a=2"]);
        let both = now.over(before);
        assert_eq!(both.store(), Some("s3://a/b"));
        let options = both.store_options();
        assert_eq!((options.get("region"), options.get("access_key_id")), (Some("y"), Some("k")));
        assert_eq!(both.names(), ["node.store", "node.store_options", "worker.a"]);
        assert_eq!(both.section("worker").map(|(_, value)| value.clone()).collect::<Vec<_>>(), [2.into()]);
    }

    #[test]
    fn settings_are_kept_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let settings = parsed(&["node.store_options.secret=hush"]);
        settings.write(folder.path()).unwrap();
        assert_eq!(Settings::read(folder.path()).unwrap(), settings);
        let mode = std::fs::metadata(Settings::path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn settings_of_another_form_are_named() {
        for wrong in ["worker", "worker.=1", "stranger.a=1", "worker=1", "node..a=1"] {
            let refusal = Settings::parse(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(refusal.contains(&format!("'{wrong}'")), "{refusal}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(Settings::path(folder.path()), "[stranger]\na = 1\n").unwrap();
        let refusal = Settings::read(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains("stranger") && refusal.contains("settings.toml"), "{refusal}");
    }
}
