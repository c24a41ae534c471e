//! See [`shoal_coordinator_fuzz::registration`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_coordinator_fuzz::registration(bytes));
