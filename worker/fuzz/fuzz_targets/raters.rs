//! See [`shoal_worker_fuzz::raters`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_worker_fuzz::raters(bytes));
