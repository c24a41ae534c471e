//! Options of remote stores, some of which are secrets: they come from settings, from files, or from the variables that
//! other programs of S3 read, and nothing prints their values.

use std::{collections::BTreeMap, fmt, fs, time::Duration};

use serde::{Deserialize, Deserializer};

use super::StoreError;

/// An option whose name ends so names a file that holds its value, such as `aws_secret_access_key_file`.
const FILE_ENDING: &str = "_file";

/// What may stand before any option's name.
const PREFIX: &str = "aws_";

/// Options that are names of files as they are, without the prefix.
const FILE_NAMES: [&str; 2] = ["web_identity_token_file", "container_authorization_token_file"];

/// The longest secret that is read from a file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// For how many seconds a request that fails is tried again, unless `retry_seconds` says it. Requests are signed once, and
/// a signature is good for five minutes.
const RETRY_SECONDS: u64 = 240;
const RETRY_SECONDS_MAX: u64 = 280;

/// What a value has to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// A text that nobody else may see.
    Secret,
    /// `true` or `false`.
    Flag,
    Seconds,
}

/// Every option, without the prefix, and what else it may be called.
const KNOWN: [(&str, &[&str], Kind); 28] = [
    ("access_key_id", &[], Kind::Text),
    ("allow_http", &[], Kind::Flag),
    ("ca_bundle", &[], Kind::Text),
    ("checksum_algorithm", &[], Kind::Text),
    ("conditional_put", &[], Kind::Text),
    ("container_authorization_token_file", &[], Kind::Text),
    ("container_credentials_full_uri", &[], Kind::Text),
    ("container_credentials_relative_uri", &[], Kind::Text),
    ("default_region", &[], Kind::Text),
    ("disable_bulk_delete", &[], Kind::Flag),
    ("disable_tagging", &[], Kind::Flag),
    ("endpoint", &["endpoint_url", "endpoint_url_s3"], Kind::Text),
    ("endpoint_url_sts", &[], Kind::Text),
    ("imdsv1_fallback", &[], Kind::Flag),
    ("metadata_endpoint", &[], Kind::Text),
    ("region", &[], Kind::Text),
    ("request_payer", &[], Kind::Text),
    ("retry_seconds", &[], Kind::Seconds),
    ("role_arn", &[], Kind::Text),
    ("role_session_name", &[], Kind::Text),
    ("secret_access_key", &[], Kind::Secret),
    ("server_side_encryption", &[], Kind::Text),
    ("session_token", &["token"], Kind::Secret),
    ("skip_signature", &[], Kind::Flag),
    ("sse_customer_key_base64", &[], Kind::Secret),
    ("sse_kms_key_id", &[], Kind::Text),
    ("virtual_hosted_style_request", &[], Kind::Flag),
    ("web_identity_token_file", &[], Kind::Text),
];

/// The option of a name, which may have the prefix and another name of the option.
fn known(name: &str) -> Option<(&'static str, Kind)> {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let found = KNOWN.iter().find(|(option, others, _)| *option == name || others.contains(&name))?;
    Some((found.0, found.2))
}

/// The option that a setting gives, and whether as the name of a file.
fn parsed(name: &str) -> Option<(&'static str, Kind, bool)> {
    if let Some((option, kind)) = known(name) {
        return Some((option, kind, false));
    }
    let (option, kind) = known(name.strip_suffix(FILE_ENDING)?)?;
    // A file of the name of a file.
    (!FILE_NAMES.contains(&option)).then_some((option, kind, true))
}

/// The name that was probably meant.
fn nearest(name: &str) -> &'static str {
    let bare = name.strip_prefix(PREFIX).unwrap_or(name);
    let bare = bare.strip_suffix(FILE_ENDING).unwrap_or(bare);
    let likeness = |option: &str| strsim::jaro_winkler(bare, option);
    let nearest = KNOWN.iter().max_by(|a, b| likeness(a.0).total_cmp(&likeness(b.0)));
    nearest.map_or("region", |(option, ..)| option)
}

/// Options of remote stores and sources, such as `aws_region`; the prefix may be left out.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StoreOptions(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for StoreOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// `true` and `5` are meant as texts here.
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "an option of a store has to be a text, a number, true or false")]
        enum Value {
            Text(String),
            Flag(bool),
            Whole(i64),
        }
        let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let text = |value: Value| match value {
            Value::Text(text) => text,
            Value::Flag(flag) => flag.to_string(),
            Value::Whole(number) => number.to_string(),
        };
        Ok(values.into_iter().map(|(name, value)| (name, text(value))).collect())
    }
}

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
    /// Whether an option is given, as a value or as a file, by any of its names.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let wanted = parsed(name).map(|(option, ..)| option);
        self.0
            .keys()
            .any(|given| given == name || wanted.is_some() && parsed(given).map(|found| found.0) == wanted)
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

    /// The variables of a process that are options: `AWS_REGION` is `aws_region`, and so on for all that begin so and name
    /// an option.
    pub fn of_environment(variables: &[(String, String)]) -> impl Iterator<Item = (String, String)> {
        let given = variables.iter().filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty());
        let named = given.map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        named.filter(|(name, _)| known(name).is_some())
    }

    /// What is wrong with the options, a sentence for each: names that no option has, values that cannot be.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            self.0.iter().filter_map(|(name, value)| problem(name, value)).collect();
        let mut named: BTreeMap<&str, &str> = BTreeMap::new();
        for name in self.0.keys() {
            let Some((option, ..)) = parsed(name) else { continue };
            if let Some(before) = named.insert(option, name) {
                problems.push(format!("'{before}' and '{name}' are the same option; give one of them"));
            }
        }
        problems
    }

    /// Refuses options that are written where other users of the machine can read them, if they are secrets.
    ///
    /// # Errors
    /// [`StoreError::Secret`] with the remedy.
    pub fn check_no_secret(&self) -> Result<(), StoreError> {
        let is_secret = |(name, _): &(&String, &String)| {
            parsed(name).is_some_and(|(_, kind, is_file)| kind == Kind::Secret && !is_file)
        };
        match self.0.iter().find(is_secret) {
            None => Ok(()),
            Some((name, _)) => {
                let option = parsed(name).map_or("", |(option, ..)| option);
                Err(StoreError::Secret {
                    name: name.clone(),
                    variable: format!("{PREFIX}{option}").to_uppercase(),
                })
            }
        }
    }

    /// Tries failed requests again for at most so long, unless the options say for how long.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        self.over([("retry_seconds".to_owned(), patience.as_secs().to_string())])
    }

    /// For how long failed requests are tried again.
    pub(super) fn patience(&self) -> Duration {
        let named = |name: &&String| parsed(name).is_some_and(|(option, ..)| option == "retry_seconds");
        let seconds = self.0.keys().find(named).and_then(|name| self.0[name].parse().ok());
        Duration::from_secs(seconds.unwrap_or(RETRY_SECONDS))
    }

    /// Options by their names without the prefix, and their values, with the contents of files that are named.
    ///
    /// # Errors
    /// [`StoreError::Options`] for what is no option, [`StoreError::Option`] when a file cannot be read.
    pub fn resolved(&self) -> Result<Vec<(&'static str, String)>, StoreError> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(StoreError::Options { problems });
        }
        let options = self.0.iter().filter_map(|(name, value)| {
            let (option, _, is_file) = parsed(name)?;
            Some(if is_file { read(name, value) } else { Ok(value.clone()) }.map(|value| (option, value)))
        });
        options.collect()
    }
}

fn problem(name: &str, value: &str) -> Option<String> {
    let Some((option, kind, is_file)) = parsed(name) else {
        let prefix = if name.starts_with(PREFIX) { PREFIX } else { "" };
        return Some(format!("'{name}' is no option of a store; did you mean '{prefix}{}'?", nearest(name)));
    };
    match kind {
        _ if is_file => None,
        Kind::Flag if !matches!(value, "true" | "false") => {
            Some(format!("'{name}' is '{value}'; it must be true or false"))
        }
        Kind::Seconds if !value.parse().is_ok_and(|seconds: u64| seconds <= RETRY_SECONDS_MAX) => {
            Some(format!("'{name}' is '{value}'; it must be whole seconds, from 0 to {RETRY_SECONDS_MAX}"))
        }
        _ if option == "endpoint" && !value.starts_with("http://") && !value.starts_with("https://") => {
            Some(format!("'{name}' is '{value}'; it must be an address such as https://s3.example.org"))
        }
        _ => None,
    }
}

fn read(name: &str, path: &str) -> Result<String, StoreError> {
    let failed = |reason: String| StoreError::Option { name: name.to_owned(), path: path.to_owned(), reason };
    let length = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > SECRET_BYTES_MAX {
        return Err(failed(format!("it has {length} bytes, more than a secret has")));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    // Editors end a file with a line end, and no secret has one.
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
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
            ("region", "eu-west-1"),
            ("aws_secret_access_key_file", file.to_str().unwrap()),
            ("aws_web_identity_token_file", "/var/run/token"),
            ("aws_token", "whispered"),
        ]);
        let resolved = options.resolved().unwrap();
        let value =
            |name: &str| resolved.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("secret_access_key"), Some("hush hush"));
        assert_eq!(value("web_identity_token_file"), Some("/var/run/token"));
        assert_eq!(value("region"), Some("eu-west-1"));
        assert_eq!(value("session_token"), Some("whispered"));
        let printed = format!("{options:?}");
        assert!(printed.contains("aws_token") && !printed.contains("whispered"), "{printed}");

        let missing = StoreOptions::from_iter([("aws_secret_access_key_file", "/nowhere/key")]);
        let error = missing.resolved().unwrap_err().to_string();
        assert!(error.contains("aws_secret_access_key_file") && error.contains("/nowhere/key"), "{error}");
    }

    #[test]
    fn variables_give_what_settings_do_not() {
        let variables = [
            ("AWS_REGION", "variable"),
            ("AWS_SECRET_ACCESS_KEY", "variable"),
            ("AWS_ENDPOINT_URL_S3", "https://variable"),
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_PAGER", "less"),
            ("HOME", "/root"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let given = StoreOptions::from_iter([("region", "given"), ("aws_secret_access_key_file", "/key")]);
        let both = given.over(StoreOptions::of_environment(&variables));
        let names: Vec<&String> = both.0.keys().collect();
        assert_eq!(names, ["aws_endpoint_url_s3", "aws_secret_access_key_file", "region"]);
        assert_eq!(both.get("region"), Some("given"));
        let none = StoreOptions::default();
        let all = none.over(StoreOptions::of_environment(&variables));
        assert_eq!((all.0.len(), all.problems()), (3, Vec::new()));
    }

    #[test]
    fn what_is_no_option_is_refused_with_the_one_that_was_meant() {
        for (wrong, meant) in [
            ("aws_regoin", "'aws_region'"),
            ("aws_acces_key_id", "'aws_access_key_id'"),
            ("endpont", "'endpoint'"),
            ("aws_secret_acess_key_file", "'aws_secret_access_key'"),
            ("aws_web_identity_token_file_file", "'aws_web_identity_token_file'"),
        ] {
            let refusal = StoreOptions::from_iter([(wrong, "hush")]).resolved().unwrap_err().to_string();
            assert!(refusal.contains(&format!("'{wrong}'")) && refusal.contains(meant), "{refusal}");
            assert!(!refusal.contains("hush"), "{refusal}");
        }
        let wrong =
            [("allow_http", "yes"), ("retry_seconds", "600"), ("endpoint", "localhost:9000"), ("regio", "x")];
        assert_eq!(StoreOptions::from_iter(wrong).problems().len(), 4);
        assert_eq!(
            StoreOptions::from_iter([("aws_token", "a"), ("session_token_file", "b")]).problems().len(),
            1
        );
        let right =
            [("allow_http", "true"), ("aws_retry_seconds", "5"), ("aws_endpoint", "http://localhost:9000")];
        let right = StoreOptions::from_iter(right);
        assert_eq!((right.problems(), right.patience()), (Vec::new(), Duration::from_secs(5)));
        assert_eq!(right.with_patience(Duration::from_secs(9)).patience(), Duration::from_secs(5));
    }

    #[test]
    fn a_secret_on_a_command_line_is_refused_with_the_remedy() {
        for secret in ["aws_secret_access_key", "session_token", "token", "sse_customer_key_base64"] {
            let refusal =
                StoreOptions::from_iter([(secret, "hush")]).check_no_secret().unwrap_err().to_string();
            let file = format!("{secret}_file");
            assert!(
                refusal.contains(&file) && refusal.contains("AWS_") && !refusal.contains("hush"),
                "{refusal}"
            );
            StoreOptions::from_iter([(file, "/key")]).check_no_secret().unwrap();
        }
        StoreOptions::from_iter([("region", "x"), ("access_key_id", "k")]).check_no_secret().unwrap();
    }

    #[test]
    fn numbers_and_flags_of_a_file_are_options_too() {
        let options: StoreOptions =
            toml::from_str("region = \"x\"\nallow_http = true\nretry_seconds = 5\n").unwrap();
        assert_eq!((options.get("allow_http"), options.get("retry_seconds")), (Some("true"), Some("5")));
        assert!(toml::from_str::<StoreOptions>("region = [1]").is_err());
    }
}
