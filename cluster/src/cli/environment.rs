//! The variables of this process: the only place where they are read.

use shoal_common::store::StoreOptions;

/// Names and values that are text.
#[allow(clippy::disallowed_methods, reason = "the binary is where settings enter from the environment")]
pub(super) fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Options of remote stores by the variables that other programs of S3 read.
pub(super) fn remote_options() -> StoreOptions {
    StoreOptions::default().over(StoreOptions::of_environment(&environment()))
}
