//! From payloads to packets: digits, silence, headers.

use super::leg_media::LegMedia;
use super::mouth::{Mouth, Payload};
use super::player::AUDIBLE;
use crate::audio::codec::MAX_ENCODED;
use crate::audio::comfort_noise::{NoiseDescription, SilenceSender, SilenceTurn};
use crate::base::Random;
use crate::rtp::dtmf::{DigitTurn, EVENT_LEN};
use crate::rtp::packet::HEADER_LEN;
use crate::rtp::{DigitSender, Header, SendSession};

/// Octets kept behind a packet for the tag of SRTP: AES-GCM takes 16 (RFC 7714 §14.2).
const TAG_ROOM: usize = 16;
/// Octets of the buffer for one packet.
pub(super) const PACKET: usize = HEADER_LEN + MAX_ENCODED + TAG_ROOM;
/// Samples of 20 ms at 8 kHz, the clock of comfort noise (RFC 3389 §4).
const NOISE_FRAME: usize = 160;

/// The sending half of a leg. Pure: give it 20 ms, then take packets until there is none.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) session: SendSession,
    digits: DigitSender,
    event: Option<(Header, [u8; EVENT_LEN])>,
    /// Says what is sent of a pause, while silence may be suppressed.
    silence: SilenceSender,
    noise_due: Option<NoiseDescription>,
}

impl Sender {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            session: SendSession::new(random),
            digits: DigitSender::default(),
            event: None,
            silence: SilenceSender::default(),
            noise_due: None,
        }
    }

    /// Queues a digit; false when it is no key or too many wait.
    pub(super) fn push_digit(&mut self, digit: char) -> bool {
        self.digits.push(digit)
    }

    /// Whether the next 20 ms belong to a digit, so that audio has to wait.
    pub(super) fn digit_turn(&mut self, media: &LegMedia, mouth: &Mouth) -> Option<DigitTurn> {
        let payload_type = media.telephone_event?;
        if !self.digits.is_busy() || mouth.is_waiting() {
            return None;
        }
        let turn = self.digits.next_packet(
            &mut self.session,
            payload_type,
            media.telephone_event_rate,
            mouth.ticks_per_turn(),
        );
        if let DigitTurn::Event(header, payload) = turn {
            self.event = Some((header, payload));
        }
        Some(turn)
    }

    /// Takes 20 ms at the line rate. `may_rest`: a pause in it may be left unsaid, and its noise described instead.
    pub(super) fn push(&mut self, media: &LegMedia, mouth: &mut Mouth, frame: &[i16], may_rest: bool) {
        if media.suppress_silence && media.comfort_noise.is_some() {
            let is_audible = frame.iter().any(|sample| sample.unsigned_abs() > AUDIBLE);
            let turn = self.silence.push(frame, is_audible || !may_rest);
            // A packet that was begun is ended first.
            if turn != SilenceTurn::Audio && !mouth.is_waiting() {
                match turn {
                    SilenceTurn::Describe(noise) => self.noise_due = Some(as_heard(noise, frame.len())),
                    SilenceTurn::Audio | SilenceTurn::Nothing => self.session.skip(mouth.ticks_per_turn()),
                }
                self.session.pause();
                return;
            }
        }
        mouth.push(frame);
    }

    /// Writes the next packet that is due and says how long it is.
    pub(super) fn next_packet(
        &mut self,
        media: &LegMedia,
        mouth: &mut Mouth,
        packet: &mut [u8; PACKET],
    ) -> Option<usize> {
        let (head, body) = packet.split_at_mut(HEADER_LEN);
        if let Some((header, payload)) = self.event.take() {
            head.copy_from_slice(&header.to_octets());
            body.get_mut(..payload.len())?.copy_from_slice(&payload);
            return Some(HEADER_LEN + payload.len());
        }
        if let Some(noise) = self.noise_due.take()
            && let Some(payload_type) = media.comfort_noise
        {
            // The marker belongs to the audio after the pause (RFC 3551 §4.1), not to the noise in it.
            let header = self.session.event_header(payload_type, self.session.timestamp(), false, 1);
            self.session.skip(mouth.ticks_per_turn());
            head.copy_from_slice(&header.to_octets());
            return Some(HEADER_LEN + noise.write(body.get_mut(..body.len() - TAG_ROOM)?));
        }
        let room = body.len() - TAG_ROOM;
        while let Some(Payload { octets, ticks }) = mouth.next_payload(body.get_mut(..room)?) {
            if octets == 0 {
                // The codec is silent: its time passes, and what comes next starts a talk spurt.
                self.session.skip(ticks);
                self.session.pause();
                continue;
            }
            let header = self.session.next_header(media.payload_type, ticks, octets);
            head.copy_from_slice(&header.to_octets());
            return Some(HEADER_LEN + octets);
        }
        None
    }

    /// Lets `turns` of 20 ms pass in which nothing is sent; the next packet starts a talk spurt.
    pub(super) fn pause(&mut self, mouth: &mut Mouth, turns: u32) {
        self.session.skip(turns * mouth.ticks_per_turn() + mouth.drop_pending());
        self.session.pause();
        self.silence = SilenceSender::default();
    }
}

/// The noise of a frame of so many samples at the clock of comfort noise: of another rate its level is known and the shape
/// of its spectrum is not.
fn as_heard(noise: NoiseDescription, samples: usize) -> NoiseDescription {
    if samples == NOISE_FRAME { noise } else { NoiseDescription::white(noise.level) }
}

#[cfg(test)]
mod tests;
