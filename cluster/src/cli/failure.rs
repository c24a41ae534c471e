//! Exit codes, and errors as one sentence.

use std::{iter, process::ExitCode};

use shoal_common::{
    access::{NotAToken, TokenFileError},
    config::ConfigError,
    store::StoreError,
    tls::TlsError,
};
use tonic::Code;

use crate::{client::ClientError, local::LocalError, recommender::RecommenderError, serve::WantedError};

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unavailable = 4,
    Cancelled = 5,
    Denied = 6,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refusal {
    exit: Exit,
    message: String,
}

/// An error with an exit code and a sentence.
pub(super) fn refusal(exit: Exit, message: impl Into<String>) -> anyhow::Error {
    Refusal { exit, message: message.into() }.into()
}

/// The exit code of an error: that of the outermost cause that has one.
pub(super) fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(known_exit).unwrap_or(Exit::Failed)
}

fn known_exit(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(refusal) = cause.downcast_ref::<Refusal>() {
        return Some(refusal.exit);
    }
    if let Some(error) = cause.downcast_ref::<ClientError>() {
        return Some(match error.code() {
            Code::InvalidArgument => Exit::Usage,
            Code::NotFound => Exit::NotFound,
            Code::Unauthenticated | Code::PermissionDenied => Exit::Denied,
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => Exit::Unavailable,
            _ => Exit::Failed,
        });
    }
    if let Some(error) = cause.downcast_ref::<RecommenderError>() {
        return Some(match error {
            RecommenderError::Address(_) | RecommenderError::Authority { .. } => Exit::Usage,
            RecommenderError::Unreachable { .. }
            | RecommenderError::Late { .. }
            | RecommenderError::NoRouter { .. } => Exit::Unavailable,
            RecommenderError::Refused { status, .. } => match status.as_u16() {
                400 | 422 => Exit::Usage,
                401 | 403 => Exit::Denied,
                404 => Exit::NotFound,
                429 | 503 | 504 => Exit::Unavailable,
                _ => Exit::Failed,
            },
        });
    }
    if let Some(LocalError::Shape(_) | LocalError::Setting(_) | LocalError::Settings(_)) =
        cause.downcast_ref()
    {
        return Some(Exit::Usage);
    }
    let is_credential =
        cause.downcast_ref::<TokenFileError>().is_some() || cause.downcast_ref::<NotAToken>().is_some();
    if is_credential
        || cause.downcast_ref::<ConfigError>().is_some()
        || cause.downcast_ref::<TlsError>().is_some()
    {
        return Some(Exit::Usage);
    }
    if matches!(cause.downcast_ref::<WantedError>(), Some(WantedError::Unknown { .. })) {
        return Some(Exit::NotFound);
    }
    match cause.downcast_ref::<StoreError>() {
        Some(StoreError::NotFound(_)) => Some(Exit::NotFound),
        Some(
            StoreError::Address { .. }
            | StoreError::Option { .. }
            | StoreError::Options { .. }
            | StoreError::Secret { .. }
            | StoreError::Path { .. }
            | StoreError::Outside { .. },
        ) => Some(Exit::Usage),
        _ => None,
    }
}

/// The error and its causes, leaving out what an outer one has said already.
pub(super) fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let said = cause.to_string();
        if text.contains(&said) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&said);
    }
    text
}

/// What is told of an error, line by line: a sentence, and below it each problem of settings, or the end of a log.
pub(super) fn lines(error: &anyhow::Error) -> Vec<String> {
    let of_nodes = error.downcast_ref::<LocalError>();
    let settings = match of_nodes {
        Some(LocalError::Settings(settings)) => Some(settings),
        _ => error.downcast_ref::<ConfigError>(),
    };
    let below: Vec<&str> = match (settings, of_nodes) {
        (Some(ConfigError { problems }), _) if problems.len() > 1 => {
            problems.iter().map(String::as_str).collect()
        }
        (_, Some(LocalError::Child { tail, .. })) => tail.lines().collect(),
        _ => return vec![format!("shoal: {}", sentence(error))],
    };
    // Their own text ends with the first line; what stands in the others may have line breaks of somebody else's.
    let text = sentence(error);
    let head = text.split('\n').next().unwrap_or_default();
    iter::once(format!("shoal: {head}")).chain(below.into_iter().map(|line| format!("  - {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn each_problem_of_settings_has_a_line() {
        let problems = vec!["'node.name' is needed".to_owned(), "'node.store' is\nneeded".to_owned()];
        let told = lines(&ConfigError { problems: problems.clone() }.into());
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].ends_with("for 2 reasons:") && told[1] == "  - 'node.name' is needed", "{told:?}");
        let of_a_local_cluster = LocalError::Settings(ConfigError { problems: problems.clone() });
        assert_eq!(lines(&of_a_local_cluster.into()), told);
        let problems = vec!["'node.name' is needed".to_owned()];
        assert_eq!(
            lines(&ConfigError { problems }.into()),
            ["shoal: the configuration cannot be used: 'node.name' is needed"]
        );
    }

    #[test]
    fn the_exit_code_survives_context_and_causes_are_said_once() {
        let error: anyhow::Error = refusal(Exit::NotFound, "there is no job 'x'");
        let error = Err::<(), _>(error).context("cannot show the job").unwrap_err();
        assert_eq!(exit_of(&error), Exit::NotFound);
        assert_eq!(sentence(&error), "cannot show the job: there is no job 'x'");

        let taken = std::io::Error::other("address in use");
        let error = anyhow::Error::from(taken).context("cannot listen: address in use; choose another");
        assert_eq!(sentence(&error), "cannot listen: address in use; choose another");
        assert_eq!(exit_of(&error), Exit::Failed);
    }
}
