#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| difygate_fuzz::decoder(input));
