//! Offer and answer (RFC 3264) on top of `sdp-types`.
