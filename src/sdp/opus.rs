//! The `a=fmtp` parameters of Opus (RFC 7587 §6.1).

/// What one side of an Opus stream says about itself. Everything is a statement of its writer: of what it prefers to
/// receive, and with the `sprop-` names of what it will send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpusParameters {
    /// `maxplaybackrate`: the highest sample rate the writer can render, in Hz, 8,000–48,000.
    pub max_playback_rate: u32,
    /// `sprop-maxcapturerate`: the highest sample rate the writer will send, in Hz, 8,000–48,000.
    pub max_capture_rate: u32,
    /// `maxaveragebitrate`: the most the writer wants to receive, in bit/s, 6,000–510,000; `None` leaves it to the sender.
    pub max_average_bitrate: Option<u32>,
    /// `useinbandfec`: the writer can use in-band forward error correction.
    pub in_band_fec: bool,
    /// `usedtx`: the writer prefers that silence is not sent.
    pub dtx: bool,
    /// `cbr`: the writer prefers a constant bit rate.
    pub constant_bitrate: bool,
    /// `minptime`: the shortest packet the writer wants, in milliseconds, 3–120.
    pub min_ptime_ms: u8,
}

impl Default for OpusParameters {
    /// What RFC 7587 §6.1 says holds when nothing is written.
    fn default() -> Self {
        Self {
            max_playback_rate: 48_000,
            max_capture_rate: 48_000,
            max_average_bitrate: None,
            in_band_fec: false,
            dtx: false,
            constant_bitrate: false,
            min_ptime_ms: 3,
        }
    }
}
