//! Any octets as a stream of server-sent events, cut anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::providers::llm::sse::fuzz(bytes));
