//! Opus by libopus: one channel, whatever the peer sends.

use super::{CodecError, MAX_PACKET_MS, OpusSettings};
use crate::audio::frame::level_dbfs;
use crate::base::SampleRate;
use ::opus::{Application, Bitrate, Channels, ErrorCode, Signal};

/// Packets of up to this many octets say only that there is nothing to hear (DTX): the peer is sent none.
const DTX_OCTETS: usize = 2;
/// The shortest stretch that libopus makes up is 2.5 ms; there are this many in a second.
const UNITS_PER_SECOND: u32 = 400;
/// Samples that one [`Decoder::conceal`] makes up at most: 20 ms at 48 kHz.
const CONCEALED_MAX: usize = 960;
/// Samples of the longest copy of a packet: 60 ms at 48 kHz.
const COPY_MAX: usize = 2_880;
/// libopus makes up noise for ever. A loss this long begins to fade, since it is an outage …
const FADES_AFTER_MS: u32 = 120;
/// … and is silent after this.
const SILENT_AFTER_MS: u32 = 500;
/// Unless it began in what is a background and no speech: a sender with DTX may be resting.
const BACKGROUND_DBFS: f32 = -40.0;

fn rate_of(sample_rate: SampleRate) -> Result<u32, CodecError> {
    match sample_rate.0 {
        8_000 | 16_000 | 24_000 | 48_000 => Ok(sample_rate.0),
        _ => Err(settings_error("the sample rate is none of 8, 16, 24 and 48 kHz")),
    }
}

const fn settings_error(reason: &'static str) -> CodecError {
    CodecError::Settings { coding: "opus", reason }
}

#[derive(Debug)]
pub(super) struct Encoder {
    encoder: ::opus::Encoder,
    dtx: bool,
}

impl Encoder {
    pub(super) fn new(settings: OpusSettings) -> Result<Self, CodecError> {
        let rate = rate_of(settings.sample_rate)?;
        let refused = |_| settings_error("the bit rate or the complexity is out of range");
        if settings.complexity > 10 || !(6_000..=510_000).contains(&settings.bitrate) {
            return Err(refused(()));
        }
        let failed = |_| settings_error("libopus has no encoder for them");
        let mut encoder = ::opus::Encoder::new(rate, Channels::Mono, Application::Voip).map_err(failed)?;
        encoder.set_signal(Signal::Voice).map_err(failed)?;
        encoder.set_bitrate(Bitrate::Bits(settings.bitrate as i32)).map_err(failed)?;
        encoder.set_complexity(i32::from(settings.complexity)).map_err(failed)?;
        encoder.set_inband_fec(settings.fec).map_err(failed)?;
        encoder.set_dtx(settings.dtx).map_err(failed)?;
        let mut encoder = Self { encoder, dtx: settings.dtx };
        encoder.set_expected_loss(settings.expected_loss_percent);
        Ok(encoder)
    }

    pub(super) fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        if out.is_empty() {
            // libopus blames the samples.
            return Err(CodecError::BufferTooSmall);
        }
        match self.encoder.encode(samples, out) {
            Ok(octets) if self.dtx && octets <= DTX_OCTETS => Ok(0),
            Ok(octets) => Ok(octets),
            Err(error) if error.code() == ErrorCode::BufferTooSmall => Err(CodecError::BufferTooSmall),
            Err(_) => Err(CodecError::PacketLength(samples.len())),
        }
    }

    pub(super) fn set_expected_loss(&mut self, percent: u8) {
        // Only a value above 100 is refused.
        let _ = self.encoder.set_packet_loss_perc(i32::from(percent.min(100)));
    }
}

#[derive(Debug)]
pub(super) struct Decoder {
    decoder: ::opus::Decoder,
    rate: SampleRate,
    /// Samples made up since something was decoded.
    missing: usize,
    /// The last packet said that the sender rests, or held nothing but background.
    resting: bool,
}

impl Decoder {
    pub(super) fn new(sample_rate: SampleRate) -> Result<Self, CodecError> {
        let rate = rate_of(sample_rate)?;
        let failed = |_| settings_error("libopus has no decoder for them");
        let decoder = ::opus::Decoder::new(rate, Channels::Mono).map_err(failed)?;
        Ok(Self { decoder, rate: sample_rate, missing: 0, resting: true })
    }

    pub(super) fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        if payload.is_empty() {
            // libopus would take it for a loss.
            return Err(CodecError::Payload("opus"));
        }
        let decoded = self.decoder.decode(payload, out, false).map_err(|error| match error.code() {
            ErrorCode::BufferTooSmall => CodecError::BufferTooSmall,
            _ => CodecError::Payload("opus"),
        })?;
        self.missing = 0;
        self.resting = payload.len() <= DTX_OCTETS
            || out.get(..decoded).is_some_and(|samples| level_dbfs(samples) < BACKGROUND_DBFS);
        Ok(decoded)
    }

    pub(super) fn recover(&mut self, following: &[u8], out: &mut [i16]) -> usize {
        let frame = frame_ms_tenths(following).map_or(usize::MAX, |t| self.rate.samples_in_ms(u32::from(t)) / 10);
        let whole = out.len() - out.len() % self.unit();
        let Some(out) = out.get_mut(..whole).filter(|out| !out.is_empty() && carries_copy(following)) else {
            return 0;
        };
        let missing = std::mem::take(&mut self.missing);
        if out.len() >= frame {
            // What lies before the copy is made up.
            return self.decoder.decode(following, out, true).unwrap_or(0);
        }
        // The copy lasts as long as the packet that carries it, or as the one that was lost where that was shorter: then it
        // stands first. Of its time a part may have passed.
        let mut copy = [0; COPY_MAX];
        let Some(copy) = copy.get_mut(..frame) else { return 0 };
        if self.decoder.decode(following, copy, true).unwrap_or(0) != frame {
            return 0;
        }
        let passed = missing.min(frame - out.len());
        for (sample, copied) in out.iter_mut().zip(copy.iter().skip(passed)) {
            *sample = *copied;
        }
        out.len()
    }

    pub(super) fn conceal(&mut self, out: &mut [i16]) {
        let mut made_up = [0; CONCEALED_MAX];
        for out in out.chunks_mut(self.rate.samples_in_ms(20)) {
            let wanted = out.len().next_multiple_of(self.unit());
            let made_up = made_up.get_mut(..wanted).unwrap_or_default();
            if self.decoder.decode(&[], made_up, false).is_err() {
                made_up.fill(0);
            }
            for (sample, made_up) in out.iter_mut().zip(made_up) {
                *sample = *made_up;
            }
            self.missing = self.missing.saturating_add(out.len());
            if !self.resting {
                self.fade(out);
            }
        }
    }

    /// As [`Decoder::conceal`] while the sender rests: the noise of the background goes on.
    pub(super) fn silence(&mut self, out: &mut [i16]) {
        self.resting = true;
        self.conceal(out);
    }

    pub(super) fn duration(&self, payload: &[u8]) -> usize {
        let samples = ::opus::packet::get_nb_samples(payload, self.rate.0).unwrap_or(0);
        if samples <= self.rate.samples_in_ms(MAX_PACKET_MS) { samples } else { 0 }
    }

    pub(super) fn reset(&mut self) {
        // Refused by no decoder that was made.
        let _ = self.decoder.reset_state();
        self.missing = 0;
        self.resting = true;
    }

    /// Lowers samples that were made up last by how long the loss has gone on.
    fn fade(&self, samples: &mut [i16]) {
        let (whole, silent) = (self.rate.samples_in_ms(FADES_AFTER_MS), self.rate.samples_in_ms(SILENT_AFTER_MS));
        if self.missing <= whole {
            return;
        }
        let first = self.missing - samples.len();
        for (n, sample) in samples.iter_mut().enumerate() {
            let left = silent.saturating_sub((first + n).max(whole)) as i64;
            *sample = (i64::from(*sample) * left / (silent - whole) as i64) as i16;
        }
    }

    /// Samples in 2.5 ms.
    fn unit(&self) -> usize {
        (self.rate.0 / UNITS_PER_SECOND) as usize
    }
}

/// Tenths of a millisecond of one frame of a packet (RFC 6716, section 3.1, table 2).
fn frame_ms_tenths(packet: &[u8]) -> Option<u16> {
    let config = packet.first()? >> 3;
    Some(match config {
        0..12 => [100, 200, 400, 600],
        12..16 => [100, 200, 100, 200],
        _ => [25, 50, 100, 200],
    })
    .and_then(|times| times.get(usize::from(config & 3)).copied())
}

/// Whether a packet carries an in-band copy of the audio before it: the LBRR flag of its first SILK frame (RFC 6716,
/// section 4.2.4). Packets of the CELT layer alone never do.
fn carries_copy(packet: &[u8]) -> bool {
    first_frame(packet).is_some_and(|(toc, frame)| {
        let config = toc >> 3;
        // Flags of voice activity come first, one for each 20 ms, then the flag of the copy; a second channel repeats that.
        let silk_frames = match frame_ms_tenths(packet) {
            Some(400) => 2,
            Some(600) => 3,
            _ => 1,
        };
        let is_stereo = toc & 4 != 0;
        let Some(flags) = frame.first().filter(|_| config < 16) else { return false };
        let copy = |bit: u32| (flags << bit) & 0x80 != 0;
        copy(silk_frames) || is_stereo && copy(2 * silk_frames + 1)
    })
}

/// The table-of-contents octet and the first compressed frame of a packet (RFC 6716, section 3.2).
fn first_frame(packet: &[u8]) -> Option<(u8, &[u8])> {
    let (toc, rest) = packet.split_first()?;
    let frame = match toc & 3 {
        0 => rest,
        1 => rest.get(..rest.len() / 2)?,
        2 => sized(rest)?,
        _ => {
            let (count, mut rest) = rest.split_first()?;
            let mut padding = count & 0x40 != 0;
            while padding {
                let (octets, after) = rest.split_first()?;
                rest = after;
                padding = *octets == 255;
            }
            let frames = usize::from(count & 0x3F);
            if count & 0x80 == 0 || frames == 1 {
                rest
            } else {
                // The sizes of all frames but the last come before the first frame; its flags are in its first octet.
                let mut first = None;
                for _ in 1..frames {
                    let (size, after) = size_of(rest)?;
                    first = first.or(Some(size));
                    rest = after;
                }
                rest.get(..first?)?
            }
        }
    };
    Some((*toc, frame))
}

fn sized(octets: &[u8]) -> Option<&[u8]> {
    let (size, rest) = size_of(octets)?;
    rest.get(..size)
}

/// A frame length of one or two octets (RFC 6716, section 3.2.1).
fn size_of(octets: &[u8]) -> Option<(usize, &[u8])> {
    match octets {
        [short @ 0..252, rest @ ..] => Some((usize::from(*short), rest)),
        [long, high, rest @ ..] => Some((usize::from(*high) * 4 + usize::from(*long), rest)),
        _ => None,
    }
}
