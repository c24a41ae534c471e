//! See [`shoal_router_fuzz::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_router_fuzz::body(bytes));
