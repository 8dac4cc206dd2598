#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| tests::target_id(text));
