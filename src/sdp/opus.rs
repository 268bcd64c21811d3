//! The `a=fmtp` parameters of Opus (RFC 7587 §6.1).

use std::ops::RangeInclusive;

/// Sample rates that mean something to Opus, in Hz.
const RATES: RangeInclusive<u32> = 8_000..=48_000;
/// Bit rates that Opus can be asked for, in bit/s.
const BITRATES: RangeInclusive<u32> = 6_000..=510_000;
/// Lengths of a packet, in milliseconds.
const PTIMES: RangeInclusive<u32> = 3..=120;

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

impl OpusParameters {
    /// What we say unless a setting says otherwise: error correction used, silence wanted as sound,
    /// packets of 10 ms and more.
    #[must_use]
    pub fn ours() -> Self {
        Self {
            // Not `maxplaybackrate`: pjsip runs its codec at that rate and then cannot start the stream.
            in_band_fec: true,
            min_ptime_ms: 10,
            ..Self::default()
        }
    }

    /// Reads the parameters of an `a=fmtp` line, without its payload type. What is unknown or out of range counts as not
    /// written, as RFC 7587 §7 wants; rates are taken as their nearest end.
    #[must_use]
    pub fn parse(parameters: &str) -> Self {
        let mut read = Self::default();
        for parameter in parameters.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            let number = value.parse::<u32>().ok();
            let within = |range: RangeInclusive<u32>| number.filter(|n| range.contains(n));
            let rate = number.map(|rate| rate.clamp(*RATES.start(), *RATES.end()));
            match name.as_str() {
                "maxplaybackrate" => read.max_playback_rate = rate.unwrap_or(read.max_playback_rate),
                "sprop-maxcapturerate" => read.max_capture_rate = rate.unwrap_or(read.max_capture_rate),
                "maxaveragebitrate" => read.max_average_bitrate = within(BITRATES),
                "useinbandfec" => read.in_band_fec = number == Some(1),
                "usedtx" => read.dtx = number == Some(1),
                "cbr" => read.constant_bitrate = number == Some(1),
                "minptime" => {
                    read.min_ptime_ms =
                        within(PTIMES).and_then(|ms| u8::try_from(ms).ok()).unwrap_or(read.min_ptime_ms);
                }
                _ => {}
            }
        }
        read
    }

    /// The parameters of an `a=fmtp` line. What holds anyway is left out, except that the stream is mono and whether
    /// error correction is used: some phones assume otherwise.
    #[must_use]
    pub fn format(&self) -> String {
        let default = Self::default();
        let mut parts =
            vec![format!("useinbandfec={}", u8::from(self.in_band_fec)), "stereo=0;sprop-stereo=0".to_owned()];
        if self.min_ptime_ms != default.min_ptime_ms {
            parts.push(format!("minptime={}", self.min_ptime_ms));
        }
        if self.max_playback_rate != default.max_playback_rate {
            parts.push(format!("maxplaybackrate={}", self.max_playback_rate));
        }
        if self.max_capture_rate != default.max_capture_rate {
            parts.push(format!("sprop-maxcapturerate={}", self.max_capture_rate));
        }
        parts.extend(self.max_average_bitrate.map(|rate| format!("maxaveragebitrate={rate}")));
        if self.dtx {
            parts.push("usedtx=1".to_owned());
        }
        if self.constant_bitrate {
            parts.push("cbr=1".to_owned());
        }
        parts.join(";")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let all = OpusParameters {
            max_playback_rate: 8_000,
            max_capture_rate: 24_000,
            max_average_bitrate: Some(20_000),
            in_band_fec: true,
            dtx: true,
            constant_bitrate: true,
            min_ptime_ms: 20,
        };
        for parameters in [OpusParameters::default(), OpusParameters::ours(), all] {
            assert_eq!(OpusParameters::parse(&parameters.format()), parameters, "{}", parameters.format());
        }
    }

    #[test]
    fn a_browser_s_line_is_read_and_what_it_leaves_out_has_the_defaults_of_the_rfc() {
        let read = OpusParameters::parse("minptime=10; UseInbandFec=1;stereo=1;x-google-start-bitrate=40");
        assert_eq!(read, OpusParameters { min_ptime_ms: 10, in_band_fec: true, ..OpusParameters::default() });
    }

    #[test]
    fn nonsense_counts_as_not_written() {
        for line in
            ["maxaveragebitrate=5999", "maxaveragebitrate=-1", "minptime=2", "minptime=999", "usedtx=2", "=;;=", "cbr"]
        {
            assert_eq!(OpusParameters::parse(line), OpusParameters::default(), "{line}");
        }
        assert_eq!(OpusParameters::parse("maxplaybackrate=0").max_playback_rate, 8_000);
        assert_eq!(OpusParameters::parse("maxplaybackrate=96000").max_playback_rate, 48_000);
    }
}
