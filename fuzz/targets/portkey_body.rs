#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| tests::portkey_body(text));
