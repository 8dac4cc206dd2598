#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| tests::api_key(text));
