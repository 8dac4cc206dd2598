#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| tests::query(text));
