//! The offline engines: in process, no keys, no network. Models are loaded once and shared by all calls.
pub mod hibari;
