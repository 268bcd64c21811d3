//! `offhook.toml` and the SIP profiles, read into checked types with positions in every error.
