//! Any bytes as one SIP datagram.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offhook::sip::fuzz::sip_message(bytes));
