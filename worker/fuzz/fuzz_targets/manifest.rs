//! See [`shoal_worker_fuzz::manifest`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_worker_fuzz::manifest(bytes));
