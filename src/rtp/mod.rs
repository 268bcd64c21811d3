//! RTP as pure machines: packets, jitter buffer, digits, source lock, send session.
