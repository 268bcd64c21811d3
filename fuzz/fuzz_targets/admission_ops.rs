//! Any bytes as datagrams, strikes and proofs of sources before the parser.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::sip::fuzz::admission_ops(bytes));
