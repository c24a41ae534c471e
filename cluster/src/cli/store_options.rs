//! Options of remote stores on a command line.

use shoal_common::store::{StoreError, StoreOptions};

use super::connection::key_value;
use crate::local::Settings;

/// The settings that are options of the store.
const SECTION: &str = "node.store_options";

/// Options of remote stores.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct StoreOptionArgs {
    /// An option of a remote store, such as region=eu-west-1 or secret_access_key_file=FILE; what is missing comes from
    /// AWS_… variables and the profiles of ~/.aws; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    store_option: Vec<(String, String)>,
}

impl StoreOptionArgs {
    /// The options, of which no command line may hold a secret.
    ///
    /// # Errors
    /// [`StoreError::Secret`], or [`StoreError::Options`] for what is no option.
    pub(super) fn options(&self) -> Result<StoreOptions, StoreError> {
        let options = StoreOptions::from_iter(self.store_option.iter().cloned());
        options.check_no_secret()?;
        // What is wrong is refused before anything is asked of a cluster.
        match options.problems() {
            problems if problems.is_empty() => Ok(options),
            problems => Err(StoreError::Options { problems }),
        }
    }

    /// The options as settings of a node: `section.key` and a value as TOML.
    ///
    /// # Errors
    /// As [`StoreOptionArgs::options`].
    pub(super) fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        let as_setting = |(name, value): (String, String)| {
            (format!("{SECTION}.{name}"), toml::Value::String(value).to_string())
        };
        Ok(self.options()?.given().map(as_setting).collect())
    }
}

/// Refuses settings of a command line that are secrets of the store; settings of another form are refused elsewhere.
///
/// # Errors
/// [`StoreError::Secret`] with the remedy.
pub(super) fn check_no_secret(settings: &[String]) -> Result<(), StoreError> {
    let of_store: Vec<String> =
        settings.iter().filter(|setting| setting.starts_with(SECTION)).cloned().collect();
    Settings::parse(&of_store).map_or(Ok(()), |settings| settings.store_options().check_no_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_refused_in_every_form() {
        for secret in [
            "node.store_options.aws_secret_access_key=hush",
            "node.store_options={ region = \"x\", secret_access_key = \"hush\" }",
        ] {
            let refusal = check_no_secret(&[secret.to_owned()]).unwrap_err().to_string();
            assert!(refusal.contains("secret_access_key_file") && !refusal.contains("hush"), "{refusal}");
        }
        check_no_secret(&["node.store_options.region=x".to_owned(), "node.name=y".to_owned()]).unwrap();
    }
}
