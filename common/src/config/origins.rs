//! Where each setting was given: the line of a file, a variable, or a flag.

use std::{collections::BTreeMap, fmt, ops::Range, path::Path};

use toml::de::{DeTable, DeValue};

/// Where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    File { path: String, line: usize },
    Variable(String),
    Flag,
}

/// The places of settings, by their keys as `section.key`.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Notes every key of a file.
    pub(super) fn add_file(&mut self, path: &Path, text: &str, table: &DeTable<'_>) {
        self.add_table(&path.display().to_string(), text, table, "");
    }

    fn add_table(&mut self, path: &str, text: &str, table: &DeTable<'_>, parent: &str) {
        for (name, value) in table {
            let key = joined(parent, name.get_ref());
            self.0.insert(
                key.clone(),
                Origin::File { path: path.to_owned(), line: line_of(text, &name.span()) },
            );
            if let DeValue::Table(inner) = value.get_ref() {
                self.add_table(path, text, inner, &key);
            }
        }
    }

    /// Notes a variable, which goes before what a file says.
    pub(super) fn add_variable(&mut self, name: &str, keys: &[String]) {
        self.0.insert(keys.join("."), Origin::Variable(name.to_owned()));
    }

    /// Notes a flag, which goes before all else.
    pub(super) fn add_flag(&mut self, keys: &[String]) {
        self.0.insert(keys.join("."), Origin::Flag);
    }

    /// Where a key itself was given.
    pub(super) fn exact(&self, key: &str) -> Option<impl fmt::Display> {
        self.0.get(key).map(ToString::to_string)
    }

    /// Where a key was given, or the value or section that it is a part of.
    pub(super) fn find(&self, key: &str) -> Option<impl fmt::Display> {
        let mut key = key;
        loop {
            if let Some(origin) = self.0.get(key) {
                return Some(origin.to_string());
            }
            key = key.rsplit_once(['.', '[']).map(|(parent, _)| parent)?;
        }
    }
}

/// `parent.name`; without a parent the name alone.
pub(super) fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// The number of the line where a place in a text is, from 1.
pub(super) fn line_of(text: &str, place: &Range<usize>) -> usize {
    text.bytes().take(place.start).filter(|&byte| byte == b'\n').count() + 1
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}, line {line}"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::Flag => f.write_str("a flag"),
        }
    }
}
