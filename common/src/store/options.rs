//! Options of remote stores, some of which are secrets: they come from settings, from files, or from the variables that
//! other programs of S3 read, and nothing prints their values.

use std::{collections::BTreeMap, fmt, fs};

use serde::Deserialize;

use super::StoreError;

/// An option whose name ends so names a file that holds its value, such as `aws_secret_access_key_file`.
const FILE_ENDING: &str = "_file";

/// Options that are names of files as they are.
const FILE_NAMES: [&str; 3] =
    ["aws_web_identity_token_file", "web_identity_token_file", "aws_container_authorization_token_file"];

/// The longest secret that is read from a file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Options of remote stores and sources, by their names in `object_store`, such as `aws_region`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct StoreOptions(BTreeMap<String, String>);

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for StoreOptions {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(options: I) -> Self {
        Self(options.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl StoreOptions {
    /// Whether an option is given, as a value or as a file.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name) || self.0.contains_key(&format!("{name}{FILE_ENDING}"))
    }

    /// The value of an option that is given as such.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// These options over others: what both have keeps the value that it has here.
    #[must_use]
    pub fn over(mut self, others: impl IntoIterator<Item = (String, String)>) -> Self {
        for (name, value) in others {
            if !self.has(&name) {
                self.0.insert(name, value);
            }
        }
        self
    }

    /// Names and values as they were given.
    pub fn given(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter()
    }

    /// The variables of a process that are options: `AWS_REGION` is `aws_region`, and so on for all that begin so. Those
    /// that a store does not know are passed over by it.
    pub fn of_environment(variables: &[(String, String)]) -> impl Iterator<Item = (String, String)> {
        let options = variables.iter().filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty());
        options.map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
    }

    /// Names and values, with the contents of files that are named.
    ///
    /// # Errors
    /// [`StoreError::Option`] when a file cannot be read.
    pub fn resolved(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.0.iter().map(|(name, value)| resolve(name, value)).collect()
    }
}

fn resolve(name: &str, value: &str) -> Result<(String, String), StoreError> {
    let Some(plain) = name.strip_suffix(FILE_ENDING).filter(|_| !FILE_NAMES.contains(&name)) else {
        return Ok((name.to_owned(), value.to_owned()));
    };
    let failed =
        |reason: String| StoreError::Option { name: name.to_owned(), path: value.to_owned(), reason };
    let length = fs::metadata(value).map_err(|error| failed(error.to_string()))?.len();
    if length > SECRET_BYTES_MAX {
        return Err(failed(format!("it has {length} bytes, more than a secret has")));
    }
    let text = fs::read_to_string(value).map_err(|error| failed(error.to_string()))?;
    // Editors end a file with a line end, and no secret has one.
    Ok((plain.to_owned(), text.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_its_file_and_is_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, "hush hush\n").unwrap();
        let options = StoreOptions::from_iter([
            ("aws_region", "eu-west-1"),
            ("aws_secret_access_key_file", file.to_str().unwrap()),
            ("aws_web_identity_token_file", "/var/run/token"),
            ("aws_session_token", "whispered"),
        ]);
        let resolved = options.resolved().unwrap();
        let value =
            |name: &str| resolved.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("aws_secret_access_key"), Some("hush hush"));
        assert_eq!(value("aws_web_identity_token_file"), Some("/var/run/token"));
        assert_eq!(value("aws_region"), Some("eu-west-1"));
        let printed = format!("{options:?}");
        assert!(printed.contains("aws_session_token") && !printed.contains("whispered"), "{printed}");

        let missing = StoreOptions::from_iter([("aws_secret_access_key_file", "/nowhere/key")]);
        let error = missing.resolved().unwrap_err().to_string();
        assert!(error.contains("aws_secret_access_key_file") && error.contains("/nowhere/key"), "{error}");
    }

    #[test]
    fn variables_give_what_settings_do_not() {
        let variables = [
            ("AWS_REGION", "variable"),
            ("AWS_SECRET_ACCESS_KEY", "variable"),
            ("AWS_ACCESS_KEY_ID", ""),
            ("HOME", "/root"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let given =
            StoreOptions::from_iter([("aws_region", "given"), ("aws_secret_access_key_file", "/key")]);
        let both = given.over(StoreOptions::of_environment(&variables));
        let names: Vec<&String> = both.0.keys().collect();
        assert_eq!(names, ["aws_region", "aws_secret_access_key_file"]);
        assert_eq!(both.get("aws_region"), Some("given"));
        let none = StoreOptions::default();
        let all = none.over(StoreOptions::of_environment(&variables));
        assert_eq!(all.0.len(), 2);
    }
}
