//! A process started with `--supervised` never outlives its parent: the parent holds the other end of
//! its standard input, and the system closes it however the parent ends, `kill -9` included.

use std::{
    io::{self, Read as _},
    thread,
    time::{Duration, Instant},
};

use shoal_common::shutdown::Shutdown;

use super::failure::Exit;

/// Asks for a stop once standard input is closed. A process that has not left `drain_max` later is ended.
pub(super) fn leave_with_parent(shutdown: Shutdown, drain_max: Duration) -> io::Result<()> {
    // A thread, because standard input can only be waited for by blocking.
    thread::Builder::new().name("parent watch".to_owned()).spawn(move || {
        let mut input = io::stdin().lock();
        let mut buffer = [0_u8; 64];
        // Nothing is ever written; an error is as good as the end.
        while input.read(&mut buffer).is_ok_and(|length| length > 0) {}
        tracing::info!("the parent process is gone, draining");
        shutdown.request();
        let give_up_at = Instant::now() + drain_max;
        while let Some(left) = give_up_at.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        std::process::exit(Exit::Failed as i32);
    })?;
    Ok(())
}
