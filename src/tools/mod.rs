//! Actions during a call: HTTP tools behind a gate and an egress guard.
