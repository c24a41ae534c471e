//! Memory that was freed goes back to the system.
//!
//! The allocator gives memory back when some thread allocates a second or more after it was freed. That is late in two
//! ways. A node that has nothing to do allocates next to nothing: it would keep what its last job took until the next one.
//! And a job frees and takes many times what it ever holds: within a second, on threads that do not share what they have
//! freed, that is more than serving and the job need together. So the allocator is told to give back what is free every
//! few seconds, and whenever the process has grown by much.

use std::time::Duration;

use shoal_common::shutdown::Shutdown;

/// How often, when the process has not grown. A job that runs meanwhile takes its pages anew, which costs it little at
/// this interval.
const PURGE_EVERY: Duration = Duration::from_secs(5);

/// How often the process looks at its size.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Growth after which some memory is likely to be free.
const GROWTH_LEAST: u64 = 24 << 20;

/// A large process is looked through after a growth of this part of it: a job that takes gigabytes makes few purges.
const GROWTH_SHARE: u64 = 8;

/// Gives back what is free from time to time until a stop is asked for.
pub(super) fn spawn_purge(shutdown: &Shutdown) {
    let stop = shutdown.clone();
    shutdown.spawn("memory purge", async move {
        let mut growth = Growth::default();
        let mut purged_at = tokio::time::Instant::now();
        loop {
            tokio::select! {
                biased;
                // Leaving gives back everything.
                () = stop.requested() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let is_due = purged_at.elapsed() >= PURGE_EVERY;
            if !is_due && !own_bytes().is_some_and(|own| growth.is_much(own)) {
                continue;
            }
            // Unmapping many pages takes a while, in which no query is to wait.
            if let Err(error) = tokio::task::spawn_blocking(purge).await {
                tracing::warn!(%error, "freed memory was not given back");
            }
            growth = Growth { from: own_bytes() };
            purged_at = tokio::time::Instant::now();
        }
    });
}

/// How far the process has grown since it last gave memory back, or was smallest since.
#[derive(Debug, Default)]
struct Growth {
    from: Option<u64>,
}

impl Growth {
    /// Whether the process, which has so many bytes of its own now, has grown by much.
    fn is_much(&mut self, own: u64) -> bool {
        let from = self.from.map_or(own, |from| from.min(own));
        self.from = Some(from);
        own - from >= GROWTH_LEAST.max(from / GROWTH_SHARE)
    }
}

/// Resident bytes of the process but for those of files; `None` where the system does not say (it is asked in Linux's way).
fn own_bytes() -> Option<u64> {
    Some(resident()?.0)
}

/// Resident bytes of the process's own, and of files that it has mapped.
pub(in crate::cli) fn resident() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let bytes_of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1_024)
    };
    Some((bytes_of("RssAnon:")?, bytes_of("RssFile:")?))
}

fn purge() {
    // SAFETY: the call takes no pointer, moves nothing that is in use, and any thread may make it at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn growth_counts_from_where_the_process_was_smallest() {
        let mut growth = Growth::default();
        assert!(!growth.is_much(100 * MIB), "the first look is where it begins");
        assert!(!growth.is_much(123 * MIB));
        assert!(growth.is_much(124 * MIB));
        // It gave memory back by itself.
        assert!(!growth.is_much(60 * MIB));
        assert!(!growth.is_much(83 * MIB));
        assert!(growth.is_much(84 * MIB));
        let mut large = Growth { from: Some(800 * MIB) };
        assert!(!large.is_much(899 * MIB));
        assert!(large.is_much(900 * MIB));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_sees_what_it_takes() {
        let before = own_bytes().unwrap();
        let taken = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(own_bytes().unwrap() >= before + (32 << 20));
        drop(taken);
    }
}
