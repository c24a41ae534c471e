//! Configuration: a TOML file, then `SHOAL__SECTION__KEY` variables, then flags; the later wins.
//!
//! The raw form (what people write, everything optional, unknown keys refused) is resolved once
//! into the checked form that a role takes; every problem is reported in one message. Nothing here
//! reads the environment: the binary hands its variables in.

mod coordinator;
mod node;
mod router;
mod serve;
#[cfg(test)]
mod tests;
mod worker;

use std::{fmt, path::PathBuf};

use serde::de::DeserializeOwned;

use crate::plain_text::PlainText;

pub use coordinator::{CoordinatorConfig, RawCoordinator};
pub use node::{NodeConfig, RawNode, RawTls};
pub use router::{AdminListener, RawRouter, RouterConfig};
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
    /// When the file cannot be read or parsed, or a key is unknown or of the wrong type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let mut table = match &self.file {
            None => toml::Table::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|e| ConfigError::one(format!("cannot read {}: {e}", path.display())))?
                .parse()
                .map_err(|e| ConfigError::one(format!("{}: {e}", path.display())))?,
        };
        for (name, value) in &self.environment {
            if let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                let keys: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
                set(&mut table, &keys, value)?;
            }
        }
        for (key, value) in &self.flags {
            let keys: Vec<String> = key.split('.').map(str::to_owned).collect();
            set(&mut table, &keys, value)?;
        }
        T::deserialize(table).map_err(|e| ConfigError::one(e.message().to_owned()))
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
