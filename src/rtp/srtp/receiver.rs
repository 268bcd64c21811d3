//! Authenticating and decrypting what one source sends us.

use super::cipher::{Cipher, ENCRYPTED, Stream};
use super::index::{ReplayWindow, estimate};
use super::sender::{MAX_RTCP_PACKETS, MAX_RTP_PACKETS};
use super::{SrtpError, read_rtp, rtcp_source};
use crate::base::SrtpKey;
use crate::rtp::source_lock::Claim;

/// Rollover counters that a source may start with: its first packets may be lost just before its numbers wrap.
const FIRST_ROLLOVERS: u64 = 2;

/// The context of what one peer sends: its keys, and the numbers of **one** source. Which source that is, the source lock
/// decides; hand its [`Claim`] to [`Self::open`].
#[derive(Debug)]
pub struct SrtpReceiver {
    master: SrtpKey,
    rtp: Cipher,
    rtcp: Cipher,
    stream: Option<Receiving>,
    reports: Option<Reports>,
    /// The source and highest number under the key before, which a peer may go on counting from.
    before: Option<(u32, u64)>,
    packets: u64,
    rtcp_packets: u64,
}

#[derive(Clone, Copy, Debug)]
struct Receiving {
    ssrc: u32,
    window: ReplayWindow,
}

#[derive(Clone, Copy, Debug)]
struct Reports {
    ssrc: u32,
    window: ReplayWindow,
}

impl SrtpReceiver {
    /// A context that has heard nothing. Derives the session keys: some microseconds.
    #[must_use]
    pub fn new(master: &SrtpKey) -> Self {
        Self {
            rtp: Cipher::new(master, Stream::Rtp),
            rtcp: Cipher::new(master, Stream::Rtcp),
            master: master.clone(),
            stream: None,
            reports: None,
            before: None,
            packets: 0,
            rtcp_packets: 0,
        }
    }

    /// Takes the keys of `fresh` after a further offer or answer. With the same master key nothing changes: rollover
    /// counter and replay window stay. What is given up lies in `fresh` then, to be dropped where dropping is cheap.
    pub fn rekey(&mut self, fresh: &mut Self) {
        if self.master.octets() == fresh.master.octets() && self.master.suite() == fresh.master.suite() {
            return;
        }
        fresh.before = self.stream.and_then(|stream| Some((stream.ssrc, stream.window.highest()?)));
        std::mem::swap(self, fresh);
    }

    /// The source that is followed.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.stream.map(|stream| stream.ssrc)
    }

    /// Authenticates, and decrypts in place where the packet is to be taken, as the source lock's claim demands: a packet
    /// that continues the stream is decrypted; a candidate is only checked, and nothing is kept of it; the packet with
    /// which a stream begins makes its source the one that is followed. Returns the length without the tag, for a
    /// candidate with it.
    ///
    /// # Errors
    /// The packet is not the peer's, or too short. It is left as it came, and so is the context.
    pub fn open(&mut self, claim: Claim, packet: &mut [u8]) -> Result<usize, SrtpError> {
        match claim {
            Claim::Candidate => self.check(packet).map(|()| packet.len()),
            Claim::Begins => self.adopt(packet),
            Claim::Continues => self.unprotect(packet),
        }
    }

    /// Whether a packet of any source is authentic and not a repetition. Keeps nothing, so that forged sources cost no
    /// memory; costs one or two authentications.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, packet: &[u8]) -> Result<(), SrtpError> {
        let (header, sequence, ssrc) = read_rtp(packet)?;
        let mut failure = SrtpError::Unauthentic;
        for index in self.possible(sequence, ssrc).into_iter().flatten() {
            if !self.is_fresh(ssrc, index) {
                failure = SrtpError::Replayed;
                continue;
            }
            match self.rtp.check_rtp(packet, header, ssrc, index) {
                Ok(()) => return Ok(()),
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }

    /// Authenticates a packet of the followed source and decrypts it in place; returns its length without the tag. The
    /// first packet of all makes its source the followed one.
    ///
    /// # Errors
    /// It is of another source, a repetition, forged, or too short. It is left as it came, and so is the context.
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let Some(stream) = self.stream else { return self.adopt(packet) };
        let (header, sequence, ssrc) = read_rtp(packet)?;
        if ssrc != stream.ssrc {
            return Err(SrtpError::OtherSource);
        }
        if self.packets >= self.master.lifetime().unwrap_or(MAX_RTP_PACKETS).min(MAX_RTP_PACKETS) {
            return Err(SrtpError::KeyExhausted);
        }
        let index = match stream.window.highest() {
            Some(highest) => estimate(highest, sequence),
            None => Some(u64::from(sequence)),
        };
        let index = index.filter(|index| stream.window.is_fresh(*index)).ok_or(SrtpError::Replayed)?;
        let len = self.rtp.open_rtp(packet, header, ssrc, index)?;
        if let Some(stream) = &mut self.stream {
            stream.window.record(index);
        }
        self.packets += 1;
        Ok(len)
    }

    /// Authenticates and decrypts a packet of any source, and follows that source from then on. The followed source itself
    /// goes on with its rollover counter.
    fn adopt(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let (header, sequence, ssrc) = read_rtp(packet)?;
        if self.ssrc() == Some(ssrc) {
            return self.unprotect(packet);
        }
        let mut failure = SrtpError::Unauthentic;
        for index in self.possible(sequence, ssrc).into_iter().flatten() {
            match self.rtp.open_rtp(packet, header, ssrc, index) {
                Ok(len) => {
                    let mut window = ReplayWindow::default();
                    window.record(index);
                    self.stream = Some(Receiving { ssrc, window });
                    self.before = None;
                    self.packets += 1;
                    return Ok(len);
                }
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }

    /// The packet numbers that a packet may have.
    fn possible(&self, sequence: u16, ssrc: u32) -> [Option<u64>; FIRST_ROLLOVERS as usize + 1] {
        if let Some(stream) = self.stream.filter(|stream| stream.ssrc == ssrc) {
            return [stream.window.highest().and_then(|highest| estimate(highest, sequence)), None, None];
        }
        let [first, second] = [u64::from(sequence), 1 << 16 | u64::from(sequence)];
        let before = self.before.filter(|(before, _)| *before == ssrc);
        let carried = before.and_then(|(_, highest)| estimate(highest, sequence));
        [Some(first), Some(second), carried.filter(|index| *index > second)]
    }

    fn is_fresh(&self, ssrc: u32, index: u64) -> bool {
        self.stream.is_none_or(|stream| stream.ssrc != ssrc || stream.window.is_fresh(index))
    }

    /// Authenticates a compound RTCP packet of the followed source and decrypts it in place; returns its length without
    /// index and tag. Before any RTP packet came, the first authentic report tells whose reports count.
    ///
    /// # Errors
    /// It is of another source, a repetition, forged, not encrypted, or too short.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_source(packet)?;
        let word = self.rtcp.rtcp_index(packet).ok_or(SrtpError::Truncated)?;
        let followed = self.ssrc().or_else(|| self.reports.map(|reports| reports.ssrc));
        if followed.is_some_and(|followed| followed != ssrc) {
            return Err(SrtpError::OtherSource);
        }
        if word & ENCRYPTED == 0 {
            return Err(SrtpError::Unencrypted);
        }
        if self.rtcp_packets >= self.master.lifetime().unwrap_or(MAX_RTCP_PACKETS).min(MAX_RTCP_PACKETS) {
            return Err(SrtpError::KeyExhausted);
        }
        let index = word & !ENCRYPTED;
        let mut window =
            self.reports.filter(|reports| reports.ssrc == ssrc).map_or_else(ReplayWindow::default, |r| r.window);
        if !window.is_fresh(u64::from(index)) {
            return Err(SrtpError::Replayed);
        }
        let len = self.rtcp.open_rtcp(packet, ssrc, index)?;
        window.record(u64::from(index));
        self.reports = Some(Reports { ssrc, window });
        self.rtcp_packets += 1;
        Ok(len)
    }
}
