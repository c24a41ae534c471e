//! How many connections a node may have with the descriptors that the system gives it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shoal_common::config::NodeConfig;

/// Descriptors that are not for clients' connections: a quarter, but no fewer and no more than that. They are for files,
/// for calls to other nodes and for whoever reads the metrics.
const KEPT: std::ops::RangeInclusive<u64> = 64..=1_024;

/// Takes as many descriptors as the system allows, and lets the node have no more connections than there are
/// descriptors for.
pub(in crate::cli) fn fit(config: &mut NodeConfig) {
    let descriptors = raise();
    let fitting = connections(descriptors);
    if config.connections > fitting {
        tracing::info!(
            wanted = config.connections,
            connections = fitting,
            descriptors,
            "fewer connections than node.connections, because of the limit of open files"
        );
        config.connections = fitting;
    }
}

fn connections(descriptors: u64) -> usize {
    let kept = (descriptors / 4).clamp(*KEPT.start(), *KEPT.end());
    usize::try_from(descriptors.saturating_sub(kept).max(2)).unwrap_or(usize::MAX)
}

/// Raises this process's limit of open files to what it may have; the limit.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let now = if raised.is_ok() { maximum } else { current };
    now.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_whatever_there_are() {
        assert_eq!([256, 1_024, 1_048_576, 10].map(connections), [192, 768, 1_047_552, 2]);
    }
}
