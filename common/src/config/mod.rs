//! Configuration: a TOML file, then `SHOAL__SECTION__KEY` variables, then flags; the later wins.
//!
//! The raw form (what people write, everything optional, unknown keys refused) is resolved once
//! into the checked form that a role takes; every problem is reported in one message. Nothing here
//! reads the environment: the binary hands its variables in.

mod coordinator;
mod examples;
mod node;
mod origins;
mod router;
mod serve;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::de::DeTable;

use self::{
    examples::{example, nearest},
    origins::{Origins, joined, line_of},
};
use crate::plain_text::PlainText;

pub use coordinator::{CoordinatorConfig, RawCoordinator};
pub use node::{NodeConfig, RawNode, RawTls};
pub use router::{AdminListener, RawRouter, RouterConfig, names_of_this_machine};
pub use serve::{RawServe, ServeConfig};
pub use worker::{RawWorker, WorkerConfig};

/// Prefix of the environment variables that are settings.
pub const ENVIRONMENT_PREFIX: &str = "SHOAL__";

/// Settings that cannot be used, all of them.
#[derive(Debug)]
pub struct ConfigError {
    /// One sentence for each problem, in the order of the settings.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "the configuration cannot be used: {only}"),
            many => {
                write!(f, "the configuration cannot be used, for {} reasons:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    fn one(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

/// Where settings come from, weakest first.
#[derive(Debug, Default)]
pub struct Sources {
    /// The TOML file, if one was named.
    pub file: Option<PathBuf>,
    /// The process's variables; those without the prefix are passed over.
    pub environment: Vec<(String, String)>,
    /// `section.key` and value, from flags.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// Merges the sources and reads the raw form.
    ///
    /// # Errors
    /// When the file cannot be read or parsed, or a key is unknown or of the wrong type: every problem there is.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let Read { raw, problems, .. } = self.read_what_can_be()?;
        if problems.is_empty() { Ok(raw) } else { Err(ConfigError { problems }) }
    }

    /// Merges the sources, reads the raw form, and has it checked by `resolve`.
    ///
    /// # Errors
    /// Every problem of both, each with the place where the setting was given and an example of the right form.
    pub fn resolve<T: DeserializeOwned, C>(
        &self,
        resolve: impl FnOnce(T) -> Result<C, ConfigError>,
    ) -> Result<C, ConfigError> {
        let Read { raw, mut problems, wrong, origins } = self.read_what_can_be()?;
        let resolved = resolve(raw);
        if let Err(error) = &resolved {
            // What could not be read was given, though not in a form that can be used.
            let is_news = |problem: &&String| key_of(problem).is_none_or(|key| !wrong.contains(key));
            problems.extend(error.problems.iter().filter(is_news).map(|problem| placed(problem, &origins)));
        }
        if problems.is_empty() { resolved } else { Err(ConfigError { problems }) }
    }

    /// Reads every setting that can be read; the others are problems.
    fn read_what_can_be<T: DeserializeOwned>(&self) -> Result<Read<T>, ConfigError> {
        let mut origins = Origins::default();
        let mut table = match &self.file {
            None => toml::Table::new(),
            Some(path) => read_file(path, &mut origins)?,
        };
        for (name, value) in &self.environment {
            if let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                let keys: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
                set(&mut table, &keys, value)?;
                origins.add_variable(name, &keys);
            }
        }
        for (key, value) in &self.flags {
            let keys: Vec<String> = key.split('.').map(str::to_owned).collect();
            set(&mut table, &keys, value)?;
            origins.add_flag(&keys);
        }
        let (mut problems, mut wrong) = (Vec::new(), BTreeSet::new());
        loop {
            let error = match serde_path_to_error::deserialize(toml::Value::Table(table.clone())) {
                Ok(raw) => return Ok(Read { raw, problems, wrong, origins }),
                Err(error) => error,
            };
            let (key, problem) = unreadable(&error, &table, &origins);
            problems.push(problem);
            // Without it the next one is found.
            if !remove(&mut table, &key) {
                return Err(ConfigError { problems });
            }
            wrong.insert(key);
        }
    }
}

/// Settings as far as they can be read.
struct Read<T> {
    raw: T,
    problems: Vec<String>,
    /// The keys that could not be read.
    wrong: BTreeSet<String>,
    origins: Origins,
}

/// Reads a file, and notes where its keys are.
fn read_file(path: &Path, origins: &mut Origins) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::one(format!("cannot read {}: {error}", path.display())))?;
    let (parsed, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        let problem = |error: toml::de::Error| {
            let line = line_of(&text, &error.span().unwrap_or_default());
            format!("{}, line {line}: {}", path.display(), error.message())
        };
        return Err(ConfigError { problems: errors.into_iter().map(problem).collect() });
    }
    origins.add_file(path, &text, parsed.get_ref());
    // What was parsed a moment ago is parsed again.
    text.parse().map_err(|error: toml::de::Error| {
        ConfigError::one(format!("{}: {}", path.display(), error.message()))
    })
}

/// The key that cannot be read, and what is wrong with it.
fn unreadable(
    error: &serde_path_to_error::Error<toml::de::Error>,
    table: &toml::Table,
    origins: &Origins,
) -> (String, String) {
    let (path, message) = (error.path().to_string(), error.inner().message().trim());
    let path = if path == "." { String::new() } else { path };
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    if let Some(name) = unknown {
        let is_whole = path == name || path.ends_with(&format!(".{name}"));
        let key = if is_whole { path } else { joined(&path, name) };
        let known = match nearest(&key) {
            Some(near) => format!("; did you mean '{near}'?"),
            None => message
                .split_once("expected ")
                .map(|(_, known)| known.trim_start_matches("one of "))
                .map_or_else(String::new, |known| format!("; there are {known}")),
        };
        let problem = format!("{}there is no key '{key}'{known}", place_of(&key, origins));
        return (key, problem);
    }
    // Of an element of a list the list is the setting.
    let key = path.split('[').next().unwrap_or_default().to_owned();
    let value = value_at(table, &key).map(|value| format!(" is {value}")).unwrap_or_default();
    let example = example(&key).map(|example| format!("; write for example {example}")).unwrap_or_default();
    let problem = format!("{}'{key}'{value}: {message}{example}", place_of(&key, origins));
    (key, problem)
}

/// `place: `, where the place of a key is known.
fn place_of(key: &str, origins: &Origins) -> String {
    origins.find(key).map(|place| format!("{place}: ")).unwrap_or_default()
}

/// The setting that a problem begins with.
fn key_of(problem: &str) -> Option<&str> {
    problem.strip_prefix('\'')?.split('\'').next().filter(|key| key.contains('.'))
}

/// A problem with the place of its setting, or with an example where the setting was not given.
fn placed(problem: &str, origins: &Origins) -> String {
    let Some(key) = key_of(problem) else { return problem.to_owned() };
    let example = example(key);
    match (origins.exact(key), example) {
        (Some(place), _) => format!("{place}: {problem}"),
        (None, Some(example)) => format!("{problem}; write for example {example}"),
        (None, None) => problem.to_owned(),
    }
}

fn value_at<'a>(table: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    match (table.get(first)?, rest) {
        (value, None) => Some(value),
        (toml::Value::Table(inner), Some(rest)) => value_at(inner, rest),
        _ => None,
    }
}

/// Removes a setting; false where it is not there.
fn remove(table: &mut toml::Table, key: &str) -> bool {
    match key.split_once('.') {
        None => table.remove(key).is_some(),
        Some((section, rest)) => match table.get_mut(section) {
            Some(toml::Value::Table(inner)) => remove(inner, rest),
            // The section itself is a value.
            Some(_) => table.remove(section).is_some(),
            None => false,
        },
    }
}

/// Puts a value given as text under nested keys. It is read as TOML where it is TOML (numbers,
/// booleans, lists), else taken as a string.
fn set(table: &mut toml::Table, keys: &[String], value: &str) -> Result<(), ConfigError> {
    let Some((last, sections)) = keys.split_last() else { return Ok(()) };
    let mut at = table;
    for section in sections {
        at = at
            .entry(section.clone())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| {
                ConfigError::one(format!("'{section}' is a value, not a section (in '{}')", keys.join(".")))
            })?;
    }
    let parsed = format!("value = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut line| line.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    at.insert(last.clone(), parsed);
    Ok(())
}

/// Collects every problem of a configuration before giving up.
#[derive(Debug, Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// The value, or a problem saying the key is needed.
    fn required<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(format!("'{key}' is needed"));
        }
        value
    }

    /// Notes the names or addresses that are not plain.
    fn check_plain<'a, const CHARACTERS_MAX: usize>(
        &mut self,
        key: &str,
        texts: impl IntoIterator<Item = &'a String>,
    ) {
        for text in texts {
            if let Err(error) = PlainText::<CHARACTERS_MAX>::new(text.as_str()) {
                self.add(format!("'{key}': {error}"));
            }
        }
    }

    fn in_range(&mut self, key: &str, value: u64, range: std::ops::RangeInclusive<u64>) -> u64 {
        if !range.contains(&value) {
            self.add(format!("'{key}' is {value}; it must be from {} to {}", range.start(), range.end()));
        }
        value
    }

    fn into_error(self) -> ConfigError {
        ConfigError { problems: self.0 }
    }
}
