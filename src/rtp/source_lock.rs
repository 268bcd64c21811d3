//! Whose packets are heard, and where ours go.
//!
//! Symmetric RTP without RTP bleed. Where we send never follows a received packet, with one exception: at
//! most once per offer or answer, within two seconds of it, towards an address whose IP the signalling
//! vouches for, after four consecutive packets of one source with a negotiated payload type. A packet from
//! the exact address of the SDP wins and closes that window; with another source than the one that talks it takes four.
//! Where media is encrypted, nothing of this moves before a packet is authenticated. What does not come from the address we
//! settled on, with the source (SSRC) we settled on, near its sequence and timestamp, is not heard.

use super::Header;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// How long after an offer or answer the peer may turn out to send from elsewhere.
pub const WINDOW: Duration = Duration::from_secs(2);
/// Consecutive packets that prove a new address or source: a guesser cannot place four.
pub const PROBATION: u8 = 4;
/// A new source on the same address must find the old one silent for this long, or two would alternate.
pub const SILENCE_BEFORE_CHANGE: Duration = Duration::from_millis(100);
/// A packet further ahead than this belongs to a restarted stream (RFC 3550 appendix A.1, MAX_DROPOUT).
pub const MAX_DROPOUT: u16 = 3_000;
/// A packet further behind than this belongs to a restarted stream (RFC 3550 appendix A.1, MAX_MISORDER).
pub const MAX_MISORDER: u16 = 100;
/// How far a timestamp may lie from where the clock says it should be.
pub const MAX_TIMESTAMP_ERROR: Duration = Duration::from_secs(5);
/// Longest silence that is reckoned with: timestamps of 32 bits say no more.
const MAX_ELAPSED: Duration = Duration::from_secs(24 * 3_600);
/// Clock rate of every codec but Opus, in Hz (RFC 3551 §6).
const DEFAULT_CLOCK_RATE: u32 = 8_000;

/// What to do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It continues the stream.
    Accepted,
    /// It is the first of a new stream (new source, new address, or restarted numbers): forget the jitter
    /// buffer, the digits and the statistics, then take it.
    AcceptedNew {
        /// Where it came from; our packets go there too.
        from: SocketAddr,
        /// The address differs from the one before.
        moved: bool,
    },
    /// Drop it.
    Refused(Refusal),
}

/// What a packet wants to be, for whoever authenticates it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// The first of a stream that will be followed from then on.
    Begins,
    /// One of the packets by which a source proves itself; it is not heard.
    Candidate,
    /// The next of the stream.
    Continues,
}

/// Why a packet was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Its payload type was not negotiated.
    PayloadType,
    /// It may be the peer; further packets will show.
    Probation,
    /// Its source, sequence or timestamp is not the stream's.
    Stream,
    /// It comes from an address that is not the peer's.
    Stranger,
    /// It is not authenticated with the key of the peer, or was seen before.
    Unauthentic,
}

#[derive(Clone, Copy, Debug)]
enum Verdict {
    Begins,
    Candidate { run: u8, why: Refusal },
    Continues,
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// When `timestamp` was recorded.
    stamped: Instant,
    last: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
    run: u8,
}

/// The rule, for one leg.
#[derive(Clone, Debug)]
pub struct SourceLock {
    advertised: SocketAddr,
    signalling_ip: IpAddr,
    destination: SocketAddr,
    window_until: Option<Instant>,
    stream: Option<Stream>,
    candidate: Option<Candidate>,
    clock_rate: u32,
}

impl SourceLock {
    /// A lock for a peer whose SDP says `advertised` and whose signalling comes from `signalling_ip`. The
    /// window opens at `now`.
    #[must_use]
    pub fn new(now: Instant, advertised: SocketAddr, signalling_ip: IpAddr) -> Self {
        let advertised = canonical(advertised);
        Self {
            advertised,
            signalling_ip: signalling_ip.to_canonical(),
            destination: advertised,
            window_until: Some(now + WINDOW),
            stream: None,
            candidate: None,
            clock_rate: DEFAULT_CLOCK_RATE,
        }
    }

    /// A further offer or answer was exchanged. The window opens again; when the SDP address is a new one
    /// we send there, and what was heard before counts no more.
    pub fn renegotiated(&mut self, now: Instant, advertised: SocketAddr, signalling_ip: IpAddr) {
        let advertised = canonical(advertised);
        if advertised != self.advertised {
            *self = Self { clock_rate: self.clock_rate, ..Self::new(now, advertised, signalling_ip) };
            return;
        }
        self.signalling_ip = signalling_ip.to_canonical();
        self.window_until = Some(now + WINDOW);
        self.candidate = None;
    }

    /// Where to send; `None` when the SDP names no usable address and the peer was not heard yet.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        (!self.destination.ip().is_unspecified() && self.destination.port() != 0).then_some(self.destination)
    }

    /// The address packets are accepted from, once one was.
    #[must_use]
    pub fn heard_from(&self) -> Option<SocketAddr> {
        self.stream.map(|s| s.from)
    }

    /// The source of the stream, once there is one.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.stream.map(|s| s.ssrc)
    }

    /// The clock rate of the negotiated codec in Hz, by which timestamps are judged; 8,000 until set.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        self.clock_rate = clock_rate;
    }

    /// Judges a packet that needs no authentication. `payload_types` are those negotiated for receiving.
    pub fn admit(&mut self, now: Instant, from: SocketAddr, header: &Header, payload_types: &[u8]) -> Admission {
        self.admit_with(now, from, header, payload_types, |_| true)
    }

    /// Judges a packet of an encrypted stream. After all other checks, `authenticate` is asked once whether the packet is the
    /// peer's; where it says no, nothing changes here. It is told what the packet wants to be, so that it may decrypt what
    /// continues or begins the stream and keep nothing of a candidate: hand the claim to
    /// [`SrtpReceiver::open`](super::SrtpReceiver::open).
    pub fn admit_with(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &Header,
        payload_types: &[u8],
        authenticate: impl FnOnce(Claim) -> bool,
    ) -> Admission {
        let from = canonical(from);
        if !payload_types.contains(&header.payload_type) {
            return Admission::Refused(Refusal::PayloadType);
        }
        let verdict = self.judge(now, from, header);
        let claim = match verdict {
            Verdict::Begins => Claim::Begins,
            Verdict::Candidate { .. } => Claim::Candidate,
            Verdict::Continues => Claim::Continues,
            Verdict::Refused(why) => return Admission::Refused(why),
        };
        if !authenticate(claim) {
            return Admission::Refused(Refusal::Unauthentic);
        }
        match verdict {
            Verdict::Begins => self.begin(now, from, header),
            Verdict::Candidate { run, why } => {
                self.candidate = Some(Candidate { from, ssrc: header.ssrc, sequence: header.sequence, run });
                Admission::Refused(why)
            }
            Verdict::Continues => {
                if let Some(stream) = &mut self.stream {
                    stream.advance(now, header);
                }
                if from == self.advertised {
                    self.window_until = None;
                }
                Admission::Accepted
            }
            Verdict::Refused(why) => Admission::Refused(why),
        }
    }

    /// What a packet would be, were it authentic.
    fn judge(&self, now: Instant, from: SocketAddr, header: &Header) -> Verdict {
        let run = self.run_with(from, header);
        let proven = run >= PROBATION;
        // A stream that still talks is replaced by its own source only: whoever guesses an address does not know it.
        let replaceable = self.stream.is_none_or(|stream| stream.ssrc == header.ssrc || stream.is_silent(now));
        match &self.stream {
            Some(stream) if stream.from == from => {
                if stream.continues_with(now, header, self.clock_rate) {
                    Verdict::Continues
                } else if proven && stream.is_silent(now) {
                    Verdict::Begins
                } else {
                    Verdict::Candidate { run, why: Refusal::Stream }
                }
            }
            // The address of the SDP wins over one that was learned.
            _ if from == self.advertised => {
                if replaceable || proven {
                    Verdict::Begins
                } else {
                    Verdict::Candidate { run, why: Refusal::Probation }
                }
            }
            _ => {
                if self.window_until.is_none_or(|until| now > until) || !self.vouched_for(from.ip()) {
                    Verdict::Refused(Refusal::Stranger)
                } else if proven && replaceable {
                    Verdict::Begins
                } else {
                    Verdict::Candidate { run, why: Refusal::Probation }
                }
            }
        }
    }

    /// Whether a DTLS datagram may be shown to the handshake (class of CVE-2023-49786): it comes from the address of the
    /// SDP, from the one packets are accepted from, or from an IP that signalling vouches for.
    #[must_use]
    pub fn admits_handshake(&self, from: SocketAddr) -> bool {
        let from = canonical(from);
        from == self.advertised || self.heard_from() == Some(from) || self.vouched_for(from.ip())
    }

    /// Whether an RTCP packet may be believed: it comes from the IP packets are accepted from and speaks as their source.
    #[must_use]
    pub fn admits_report(&self, from: SocketAddr, ssrc: u32) -> bool {
        self.stream.is_some_and(|stream| stream.from.ip() == from.ip().to_canonical() && stream.ssrc == ssrc)
    }

    /// Whether signalling vouches for an IP: the SDP's, or the signalling source's where the SDP's cannot
    /// be reached from here.
    fn vouched_for(&self, ip: IpAddr) -> bool {
        ip == self.advertised.ip() || (is_unroutable(self.advertised.ip()) && ip == self.signalling_ip)
    }

    /// How many consecutive packets of one candidate there are with this one.
    fn run_with(&self, from: SocketAddr, header: &Header) -> u8 {
        match self.candidate {
            Some(c) if c.from == from && c.ssrc == header.ssrc && c.sequence.wrapping_add(1) == header.sequence => {
                c.run.saturating_add(1)
            }
            _ => 1,
        }
    }

    fn begin(&mut self, now: Instant, from: SocketAddr, header: &Header) -> Admission {
        let moved = self.stream.is_none_or(|s| s.from != from);
        self.stream = Some(Stream {
            from,
            ssrc: header.ssrc,
            sequence: header.sequence,
            timestamp: header.timestamp,
            stamped: now,
            last: now,
        });
        self.candidate = None;
        if moved || from == self.advertised {
            // The one change of this window, or the SDP's own address: either way no further one.
            self.window_until = None;
        }
        self.destination = from;
        Admission::AcceptedNew { from, moved }
    }
}

impl Stream {
    /// Whether a packet fits the numbers of this stream.
    fn continues_with(&self, now: Instant, header: &Header, clock_rate: u32) -> bool {
        if header.ssrc != self.ssrc {
            return false;
        }
        let ahead = header.sequence.wrapping_sub(self.sequence);
        let behind = self.sequence.wrapping_sub(header.sequence);
        if ahead > MAX_DROPOUT && behind > MAX_MISORDER {
            return false;
        }
        let ticks = |time: Duration| time.as_micros() as i64 * i64::from(clock_rate) / 1_000_000;
        let elapsed = ticks(now.saturating_duration_since(self.stamped).min(MAX_ELAPSED));
        let moved = i64::from(header.timestamp.wrapping_sub(self.timestamp) as i32);
        // Silence may stop the sender's clock, so a timestamp may lag by as much as has passed.
        moved <= elapsed + ticks(MAX_TIMESTAMP_ERROR) && moved >= -ticks(MAX_TIMESTAMP_ERROR)
    }

    /// Moves on to the numbers of a packet that continues the stream.
    fn advance(&mut self, now: Instant, header: &Header) {
        self.last = now;
        if header.sequence.wrapping_sub(self.sequence) <= MAX_DROPOUT {
            self.sequence = header.sequence;
            self.timestamp = header.timestamp;
            self.stamped = now;
        }
    }

    fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= SILENCE_BEFORE_CHANGE
    }
}

/// An IPv4 address that arrived on an IPv6 socket is that IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Addresses that mean nothing outside their own network (RFC 6890): a peer that writes one into its SDP is
/// behind NAT, or close.
#[must_use]
pub fn is_unroutable(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_broadcast()
                || ip.is_documentation()
                || ip.is_multicast()
                || ip == Ipv4Addr::UNSPECIFIED
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19))
        }
        IpAddr::V6(ip) => {
            let first = ip.segments().first().copied().unwrap_or(0);
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || first & 0xFE00 == 0xFC00
                || first & 0xFFC0 == 0xFE80
                || ip.segments().get(..2) == Some(&[0x2001, 0xDB8])
        }
    }
}

#[cfg(test)]
mod tests;
