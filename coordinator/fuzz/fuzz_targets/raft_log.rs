//! See [`shoal_coordinator_fuzz::raft_log`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_coordinator_fuzz::raft_log(bytes));
