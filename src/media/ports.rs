//! RTP ports: random, even, and not given away again at once.

/// A port of a living call. Dropping it starts the quarantine.
#[derive(Debug)]
pub struct PortLease {}
