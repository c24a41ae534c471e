//! See [`shoal_worker_fuzz::elimination`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_worker_fuzz::elimination(bytes));
