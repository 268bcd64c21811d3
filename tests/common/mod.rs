//! What several integration tests need. Each uses its own part.
#![allow(dead_code)]

pub mod score;
pub mod speech;
