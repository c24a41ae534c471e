//! The `shoal` binary; everything it does is in the library of the same crate.

use std::process::ExitCode;

/// The sweeps' and queries' buffers come and go by the thousand: mimalloc keeps them off the locks
/// of the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    shoal_cluster::cli::main()
}
