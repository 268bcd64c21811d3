//! Seeded runs on bad networks.
