//! Bounds on a session description, each with the attack it answers.

/// Longest description read, in octets: a larger one is a flood, not an offer.
pub const MAX_DESCRIPTION: usize = 64 * 1024;
/// Most `m=` lines: each one is answered, so an offer could make us write without end.
pub const MAX_MEDIA: usize = 16;
/// Most attributes of one `m=` line, and of the session level.
pub const MAX_ATTRIBUTES: usize = 64;
/// Most payload types of one `m=` line; RTP has 128.
pub const MAX_FORMATS: usize = 128;
/// Longest `a=fmtp` value in octets.
pub const MAX_FMTP: usize = 8 * 1024;
/// Longest host name in `c=`, in octets (RFC 1035 §2.3.4).
pub const MAX_HOST: usize = 255;
/// Most `a=crypto` lines read of one `m=` line: each costs a decoding.
pub const MAX_CRYPTO: usize = 16;
/// Most `a=fingerprint` lines read of one `m=` line.
pub const MAX_FINGERPRINTS: usize = 8;
