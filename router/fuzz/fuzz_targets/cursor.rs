//! See [`shoal_router_fuzz::cursor`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_router_fuzz::cursor(bytes));
