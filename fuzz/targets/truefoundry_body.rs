#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| tests::truefoundry_body(text));
