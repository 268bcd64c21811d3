//! Any bytes as a script of messages, timeouts and commands for two SIP endpoints.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    offhook::sip::fuzz_ops::transaction_ops(bytes);
});
