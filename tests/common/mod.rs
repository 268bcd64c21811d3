//! What several integration tests need.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod score;
pub mod speech;
