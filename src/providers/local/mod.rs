//! The offline engines: in process, no keys, no network. Models are loaded once and shared by all calls.

pub mod fetch;
pub mod hibari;
pub mod manifest;
pub mod models;
pub mod moonshine;
pub mod pieces;
pub mod pool;
pub mod queue;
pub mod resample;
pub mod runtime;
pub mod stt;
pub mod tokens;
