//! Caps on what a peer may make us read, each with the attack it answers.

/// Largest SIP message, start line to body, in bytes. A UDP datagram cannot exceed it; on a stream it bounds
/// what one connection can make us buffer (huge Content-Length, AST-2018-005 style floods).
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// Longest header field with its folded lines, in bytes: an endless line costs buffer on a stream.
pub const HEADER_LINE_BYTES: usize = 8 * 1024;

/// Longest start line in bytes. Long Request-URIs are legal (RFC 4475 §3.1.1.4), endless ones are not served.
pub const START_LINE_BYTES: usize = 8 * 1024;

/// Most header fields in a message: a 64 KiB message of two-byte headers would otherwise make 16,000 entries.
pub const HEADER_FIELDS: usize = 128;

/// Most Via values: as many hops as a request starts with (RFC 3261 §8.1.1.6), above the 34 of the legal message in
/// RFC 4475 §3.1.1.7. Every response carries them all back, so without a cap a stranger chooses its size.
pub const VIA_VALUES: usize = 70;

/// Most elements read out of all comma-joined fields of one name (Via, Route, Record-Route, Contact, Allow …): one
/// 8 KiB line could otherwise hold thousands.
pub const LIST_ELEMENTS: usize = 128;

/// Most parameters, and most headers, of one URI. Comparing two URIs looks each up in the other, so their number must
/// be small for the work to be: 4,000 of them in an 8 KiB URI would cost a tenth of a second.
pub const URI_PARAMETERS: usize = 64;

/// Most challenges read from one response: each costs a parse and a comparison.
pub const CHALLENGES: usize = 8;

/// Most parameters of one challenge or one set of credentials (RFC 7616 defines twelve).
pub const DIGEST_PARAMETERS: usize = 24;
