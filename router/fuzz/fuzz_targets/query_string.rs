//! See [`shoal_router_fuzz::query_string`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shoal_router_fuzz::query_string(bytes));
