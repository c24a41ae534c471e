//! The variables of this process: the only place where they are read.

use std::time::Duration;

use shoal_common::store::{Profile, StoreError, StoreOptions, says_who};

/// Names and values that are text.
#[allow(clippy::disallowed_methods, reason = "the binary is where settings enter from the environment")]
pub(super) fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// For how long a command tries requests to a store again: somebody waits for it.
const COMMAND_PATIENCE: Duration = Duration::from_secs(20);

/// As [`remote_options`], for a command that somebody waits for.
///
/// # Errors
/// As [`remote_options`].
pub(super) fn remote_options_of_command(given: StoreOptions) -> Result<StoreOptions, StoreError> {
    Ok(remote_options(given, "")?.with_patience(COMMAND_PATIENCE))
}

/// Options of remote stores: those that are given, then what the variables say that other programs of S3 read, then what
/// the profile of `~/.aws` says that is meant. Where the store at `uri` is remote, the log says which of them says who calls.
///
/// # Errors
/// When the profile that a variable names cannot be read.
pub(super) fn remote_options(given: StoreOptions, uri: &str) -> Result<StoreOptions, StoreError> {
    let variables = environment();
    let is_given = says_who(&given);
    let options = given.over(StoreOptions::of_environment(&variables));
    let by_variables = says_who(&options);
    let profile = Profile::of_environment(&variables)?;
    let source = match &profile {
        _ if is_given => "the settings".to_owned(),
        _ if by_variables => "variables of the environment".to_owned(),
        Some(profile) if profile.has_credentials() => format!("the profile '{}'", profile.name),
        _ => "none of settings, variables and profile: the machine's own role is asked".to_owned(),
    };
    if uri.starts_with("s3://") {
        tracing::info!(source, "who calls s3:// stores is said by");
    }
    let Some(profile) = profile else { return Ok(options) };
    if !by_variables && !profile.unknown_ways.is_empty() {
        tracing::warn!(
            profile = profile.name,
            ways = profile.unknown_ways.join(", "),
            "the profile names ways to credentials that are not gone here; give keys, or a role with a token file"
        );
    }
    let added: Vec<_> = profile.adds_to(&options).collect();
    Ok(options.over(added))
}
