//! What the system says of a process: memory and processor time (Linux).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;

/// How often a peak is looked at. What is taken and given back between two looks is not seen.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process that runs, by its number.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    pid: u32,
}

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resident {
    /// Of the process's own: heap, stacks, factors.
    pub anonymous: u64,
    /// Of files that are mapped, which the system takes back when it needs the room.
    pub mapped: u64,
}

impl Process {
    /// The process of this id.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// The system's id of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has resident.
    ///
    /// # Errors
    /// When it is gone or the system does not say.
    pub fn resident(&self) -> anyhow::Result<Resident> {
        let status = self.file("status")?;
        Ok(Resident { anonymous: field(&status, "RssAnon:")?, mapped: field(&status, "RssFile:")? })
    }

    /// The most that it has had resident so far, in bytes.
    ///
    /// # Errors
    /// When it is gone or the system does not say.
    pub fn peak_bytes(&self) -> anyhow::Result<u64> {
        field(&self.file("status")?, "VmHWM:")
    }

    /// How many threads the process has now.
    ///
    /// # Errors
    /// When it is gone or the system does not say.
    pub fn threads(&self) -> anyhow::Result<u64> {
        let status = self.file("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).context("no Threads")?;
        Ok(line.trim().parse()?)
    }

    /// Seconds of processor time so far, its own and the system's for it.
    ///
    /// # Errors
    /// When it is gone or the system does not say.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        // Linux counts hundredths here on every machine (USER_HZ).
        const PER_SECOND: f64 = 100.0;
        let stat = self.file("stat")?;
        // The name in parentheses may have spaces; the fields follow it.
        let fields: Vec<&str> =
            stat.rsplit_once(')').context("no name in stat")?.1.split_whitespace().collect();
        let ticks = |place: usize| -> anyhow::Result<u64> {
            Ok(fields.get(place).context("too few fields in stat")?.parse()?)
        };
        Ok((ticks(11)? + ticks(12)?) as f64 / PER_SECOND)
    }

    /// Looks at the memory until the watch is stopped.
    #[must_use]
    pub fn watch(&self) -> PeakWatch {
        let (stop, peaks) = (Arc::new(AtomicBool::new(false)), Arc::new(Peaks::default()));
        let looking = {
            let (process, stop, peaks) = (*self, Arc::clone(&stop), Arc::clone(&peaks));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(Resident { anonymous, mapped }) = process.resident() else { return };
                    peaks.anonymous.fetch_max(anonymous, Ordering::Relaxed);
                    peaks.mapped.fetch_max(mapped, Ordering::Relaxed);
                    pause();
                }
            })
        };
        PeakWatch { stop, peaks, looking }
    }

    fn file(&self, name: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{name}", self.pid);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read '{path}'"))
    }
}

#[derive(Debug, Default)]
struct Peaks {
    anonymous: AtomicU64,
    mapped: AtomicU64,
}

/// A look at a process's memory that goes on. See [`Process::watch`].
#[derive(Debug)]
pub struct PeakWatch {
    stop: Arc<AtomicBool>,
    peaks: Arc<Peaks>,
    looking: JoinHandle<()>,
}

impl PeakWatch {
    /// The most of each kind that was seen, not necessarily at one time.
    ///
    /// # Errors
    /// When the process was gone before anything was seen.
    pub fn stop(self) -> anyhow::Result<Resident> {
        self.stop.store(true, Ordering::Relaxed);
        anyhow::ensure!(self.looking.join().is_ok(), "the watch of a process's memory failed");
        let peak = Resident {
            anonymous: self.peaks.anonymous.load(Ordering::Relaxed),
            mapped: self.peaks.mapped.load(Ordering::Relaxed),
        };
        anyhow::ensure!(peak != Resident::default(), "the process was gone");
        Ok(peak)
    }
}

fn field(status: &str, name: &str) -> anyhow::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name} in the process's status"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

#[allow(clippy::disallowed_methods, reason = "no async runtime here")]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_seen_and_this_process_has_used_the_processor() {
        let process = Process::new(std::process::id());
        let before = process.resident().unwrap();
        let watch = process.watch();
        let mut taken = vec![0_u8; 64 << 20];
        // Written, or no page of it would be resident.
        taken.iter_mut().step_by(4_096).for_each(|byte| *byte = 1);
        while process.resident().unwrap().anonymous < before.anonymous + (32 << 20) {}
        pause();
        pause();
        std::hint::black_box(&taken);
        drop(taken);
        let peak = watch.stop().unwrap();
        assert!(peak.anonymous >= before.anonymous + (32 << 20), "{before:?} {peak:?}");
        assert!(process.peak_bytes().unwrap() >= peak.anonymous);
        assert!(process.threads().unwrap() >= 1);
        assert!(process.cpu_seconds().unwrap() >= 0.0);
    }
}
