//! Profiles of S3's own programs: `~/.aws/credentials` and `~/.aws/config`, which the object store's library does not read.
//!
//! What a profile gives stands behind settings and variables. Its credentials are taken as a whole or not at all: a key of
//! one source never meets the secret of another.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{StoreError, StoreOptions};

/// The profile that is meant when none is named.
const DEFAULT: &str = "default";

/// The largest such file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Keys of a profile that say who calls, and the options that they are.
const CREDENTIALS: [(&str, &str); 3] = [
    ("aws_access_key_id", "aws_access_key_id"),
    ("aws_secret_access_key", "aws_secret_access_key"),
    ("aws_session_token", "aws_session_token"),
];

/// The same for a role that is taken by the token of a workload.
const WEB_IDENTITY: [(&str, &str); 3] = [
    ("role_arn", "aws_role_arn"),
    ("web_identity_token_file", "aws_web_identity_token_file"),
    ("role_session_name", "aws_role_session_name"),
];

/// Keys that say where to call.
const PLACES: [(&str, &str); 2] = [("region", "aws_region"), ("endpoint_url", "aws_endpoint")];

/// Ways to credentials that are not gone here.
const UNKNOWN_WAYS: [&str; 5] =
    ["credential_process", "source_profile", "credential_source", "sso_session", "sso_start_url"];

/// Options that say who calls; each has a name without `aws_` too.
const GIVEN_CREDENTIALS: [&str; 5] = [
    "access_key_id",
    "secret_access_key",
    "web_identity_token_file",
    "container_credentials_relative_uri",
    "container_credentials_full_uri",
];

/// What a profile gives, and where from.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// The files that have it.
    pub files: Vec<PathBuf>,
    /// Ways to credentials that it names and that are not gone.
    pub unknown_ways: Vec<&'static str>,
    keys: BTreeMap<String, String>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.keys.keys().collect();
        f.debug_struct("Profile").field("name", &self.name).field("keys", &keys).finish_non_exhaustive()
    }
}

impl Profile {
    /// The profile that the variables of a process name, or the one called `default`; none where there is none of that name.
    ///
    /// # Errors
    /// When a file cannot be read, or has no profile of the name that a variable names.
    pub fn of_environment(variables: &[(String, String)]) -> Result<Option<Self>, StoreError> {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, value)| known == name && !value.is_empty());
            found.map(|(_, value)| value.as_str())
        };
        let home = value("HOME").map(|home| Path::new(home).join(".aws"));
        let file = |variable: &str, name: &str| {
            value(variable).map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(name)))
        };
        let named = value("AWS_PROFILE").or_else(|| value("AWS_DEFAULT_PROFILE"));
        let name = named.unwrap_or(DEFAULT);
        let files = [
            (file("AWS_CONFIG_FILE", "config"), true),
            (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), false),
        ];
        let mut profile = Self { name: name.to_owned(), ..Self::default() };
        for (path, is_config) in files {
            let Some(path) = path else { continue };
            let Some(text) = read(name, &path)? else { continue };
            // What both files have counts as the credentials file says, which comes last.
            if let Some(keys) = section(&text, name, is_config) {
                profile.keys.extend(keys);
                profile.files.push(path);
            }
        }
        profile.unknown_ways =
            UNKNOWN_WAYS.into_iter().filter(|way| profile.keys.contains_key(*way)).collect();
        match (profile.files.is_empty(), named) {
            (false, _) => Ok(Some(profile)),
            (true, None) => Ok(None),
            (true, Some(name)) => Err(StoreError::Profile {
                name: name.to_owned(),
                reason: "no file of profiles has it; AWS_PROFILE names another".to_owned(),
            }),
        }
    }

    /// What the profile adds to options that are given: where to call, and who calls if the options do not say it.
    pub fn adds_to(&self, given: &StoreOptions) -> impl Iterator<Item = (String, String)> {
        let says_who = says_who(given);
        let has = |key: &str| self.keys.contains_key(key);
        let who: &[_] = match (says_who, has("aws_access_key_id"), has("web_identity_token_file")) {
            (true, ..) => &[],
            (false, true, _) => &CREDENTIALS,
            (false, false, true) => &WEB_IDENTITY,
            (false, false, false) => &[],
        };
        let option = |(key, option): &(&str, &str)| {
            self.keys.get(*key).map(|value| ((*option).to_owned(), value.clone()))
        };
        PLACES.iter().chain(who).filter_map(option).collect::<Vec<_>>().into_iter()
    }

    /// Whether the profile says who calls.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        ["aws_access_key_id", "web_identity_token_file"].iter().any(|key| self.keys.contains_key(*key))
    }
}

/// Whether options say who calls.
#[must_use]
pub fn says_who(given: &StoreOptions) -> bool {
    GIVEN_CREDENTIALS.iter().any(|name| given.has(name) || given.has(&format!("aws_{name}")))
}

fn read(name: &str, path: &Path) -> Result<Option<String>, StoreError> {
    let refused = |reason: String| StoreError::Profile { name: name.to_owned(), reason };
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(format!("'{}' cannot be read: {error}", path.display()))),
        Ok(file) if !file.is_file() || file.len() > FILE_BYTES_MAX => {
            return Err(refused(format!("'{}' is no file of profiles", path.display())));
        }
        Ok(_) => {}
    }
    let text = fs::read_to_string(path);
    text.map(Some).map_err(|error| refused(format!("'{}' cannot be read: {error}", path.display())))
}

/// The keys of a profile, in lower case. In the file of settings the head of a profile is `[profile NAME]`, but for the default's;
/// lines that are indented belong to the key above them, and are passed over.
fn section(text: &str, name: &str, is_config: bool) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_here = false;
    for line in text.lines() {
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(head) = line.strip_prefix('[').and_then(|head| head.split(']').next()) {
            let head = head.trim();
            let bare = if is_config {
                let prefixed = head.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t']));
                prefixed.or((head == DEFAULT).then_some(head))
            } else {
                Some(head)
            };
            is_here = bare.is_some_and(|bare| bare.trim() == name);
            if is_here {
                found.get_or_insert_default();
            }
            continue;
        }
        if let (true, false, Some((key, value))) = (is_here, is_nested, line.split_once('=')) {
            // A comment may stand behind a value, after a blank.
            let value = value.split(" #").next().unwrap_or_default().split(" ;").next().unwrap_or_default();
            let keys = found.get_or_insert_default();
            keys.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
[default]
region = eu-west-1
[profile films]
region=eu-central-1 # of the films
endpoint_url = https://s3.example.org
s3 =
  max_concurrent_requests = 20
  region = nested
[profile other]
credential_process = /bin/secret
[sso-session films]
region = of-a-session
";

    const CREDENTIALS: &str = "\
; keys
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key = default/secret=
[films]
AWS_ACCESS_KEY_ID = AKFILMS
aws_secret_access_key = films secret
aws_session_token=token
";

    fn environment(folder: &Path, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let aws = folder.join(".aws");
        fs::create_dir_all(&aws).unwrap();
        fs::write(aws.join("config"), CONFIG).unwrap();
        fs::write(aws.join("credentials"), CREDENTIALS).unwrap();
        let home = [("HOME", folder.to_str().unwrap())];
        home.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn added(profile: &Profile, given: &StoreOptions) -> Vec<String> {
        let mut added: Vec<String> =
            profile.adds_to(given).map(|(name, value)| format!("{name}={value}")).collect();
        added.sort();
        added
    }

    #[test]
    fn a_profile_gives_what_neither_settings_nor_variables_do() {
        let folder = tempfile::tempdir().unwrap();
        let none = StoreOptions::default();
        let default = Profile::of_environment(&environment(folder.path(), &[])).unwrap().unwrap();
        assert_eq!(default.files.len(), 2);
        assert_eq!(
            added(&default, &none),
            ["aws_access_key_id=AKDEFAULT", "aws_region=eu-west-1", "aws_secret_access_key=default/secret="]
        );
        let named = environment(folder.path(), &[("AWS_PROFILE", "films")]);
        let films = Profile::of_environment(&named).unwrap().unwrap();
        assert_eq!(
            added(&films, &none),
            [
                "aws_access_key_id=AKFILMS",
                "aws_endpoint=https://s3.example.org",
                "aws_region=eu-central-1",
                "aws_secret_access_key=films secret",
                "aws_session_token=token",
            ]
        );
        // A key that is given elsewhere, also in a file, never meets this secret.
        let given = StoreOptions::from_iter([("aws_access_key_id_file", "/key")]);
        assert_eq!(added(&films, &given), ["aws_endpoint=https://s3.example.org", "aws_region=eu-central-1"]);
        assert!(!format!("{films:?}").contains("films secret"), "{films:?}");
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let variables = environment(folder.path(), &[("AWS_PROFILE", "other")]);
        let other = Profile::of_environment(&variables).unwrap().unwrap();
        assert_eq!(
            (other.unknown_ways.as_slice(), other.has_credentials()),
            (&["credential_process"][..], false)
        );
        let variables = environment(folder.path(), &[("AWS_PROFILE", "nobody")]);
        let refusal = Profile::of_environment(&variables).unwrap_err().to_string();
        assert!(refusal.contains("'nobody'") && refusal.contains("AWS_PROFILE"), "{refusal}");
        let elsewhere = folder.path().join("elsewhere");
        let variables = [("AWS_SHARED_CREDENTIALS_FILE", folder.path().to_str().unwrap())]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert!(Profile::of_environment(&variables).is_err(), "a folder is no file");
        let variables = [("HOME".to_owned(), elsewhere.display().to_string())];
        assert_eq!(Profile::of_environment(&variables).unwrap(), None);
    }

    #[test]
    fn a_role_is_taken_by_the_token_of_a_workload() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        fs::write(&file, "[profile w]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /token\n")
            .unwrap();
        let variables = [("AWS_CONFIG_FILE", file.to_str().unwrap()), ("AWS_PROFILE", "w")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let profile = Profile::of_environment(&variables).unwrap().unwrap();
        assert_eq!(
            added(&profile, &StoreOptions::default()),
            ["aws_role_arn=arn:aws:iam::1:role/r", "aws_web_identity_token_file=/token"]
        );
    }
}
