//! Whose packets are heard, and where ours go.
//!
//! Symmetric RTP without RTP bleed. Where we send never follows a received packet, with one exception: at
//! most once per offer or answer, within two seconds of it, towards an address whose IP the signalling
//! vouches for, after four consecutive packets of one source with a negotiated payload type. A packet from
//! the exact address of the SDP always wins and closes that window. What does not come from the address we
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
/// How far a timestamp may lie from where the clock says it should be, in ticks of 8 kHz: 5 s.
pub const MAX_TIMESTAMP_ERROR: i64 = 5 * 8_000;

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
#[derive(Debug)]
pub struct SourceLock {
    advertised: SocketAddr,
    signalling_ip: IpAddr,
    destination: SocketAddr,
    window_until: Option<Instant>,
    stream: Option<Stream>,
    candidate: Option<Candidate>,
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
        }
    }

    /// A further offer or answer was exchanged. The window opens again; when the SDP address is a new one
    /// we send there, and what was heard before counts no more.
    pub fn renegotiated(&mut self, now: Instant, advertised: SocketAddr, signalling_ip: IpAddr) {
        let advertised = canonical(advertised);
        if advertised != self.advertised {
            *self = Self::new(now, advertised, signalling_ip);
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

    /// When the last packet of the stream came.
    #[must_use]
    pub fn last_heard(&self) -> Option<Instant> {
        self.stream.map(|s| s.last)
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

    /// Judges a packet. `payload_types` are those negotiated for receiving.
    pub fn admit(&mut self, now: Instant, from: SocketAddr, header: &Header, payload_types: &[u8]) -> Admission {
        let from = canonical(from);
        if !payload_types.contains(&header.payload_type) {
            return Admission::Refused(Refusal::PayloadType);
        }
        let exact = from == self.advertised;
        match self.stream.as_mut() {
            Some(stream) if stream.from == from => {
                if stream.continues(now, header) {
                    if exact {
                        self.window_until = None;
                    }
                    return Admission::Accepted;
                }
                let quiet = now.saturating_duration_since(stream.last) >= SILENCE_BEFORE_CHANGE;
                if self.proven(from, header) && quiet {
                    return self.begin(now, from, header);
                }
                Admission::Refused(Refusal::Stream)
            }
            // The address of the SDP wins over one that was learned.
            _ if exact => self.begin(now, from, header),
            _ => {
                if self.window_until.is_none_or(|until| now > until) || !self.vouched_for(from.ip()) {
                    return Admission::Refused(Refusal::Stranger);
                }
                if self.proven(from, header) {
                    return self.begin(now, from, header);
                }
                Admission::Refused(Refusal::Probation)
            }
        }
    }

    /// Whether signalling vouches for an IP: the SDP's, or the signalling source's where the SDP's cannot
    /// be reached from here.
    fn vouched_for(&self, ip: IpAddr) -> bool {
        ip == self.advertised.ip() || (is_unroutable(self.advertised.ip()) && ip == self.signalling_ip)
    }

    /// Counts consecutive packets of one candidate; true at the fourth.
    fn proven(&mut self, from: SocketAddr, header: &Header) -> bool {
        let run = match self.candidate {
            Some(c) if c.from == from && c.ssrc == header.ssrc && c.sequence.wrapping_add(1) == header.sequence => {
                c.run.saturating_add(1)
            }
            _ => 1,
        };
        self.candidate = Some(Candidate { from, ssrc: header.ssrc, sequence: header.sequence, run });
        run >= PROBATION
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
    /// Whether a packet fits the numbers of this stream; if so they move on.
    fn continues(&mut self, now: Instant, header: &Header) -> bool {
        if header.ssrc != self.ssrc {
            return false;
        }
        let ahead = header.sequence.wrapping_sub(self.sequence);
        let behind = self.sequence.wrapping_sub(header.sequence);
        if ahead > MAX_DROPOUT && behind > MAX_MISORDER {
            return false;
        }
        let elapsed_ticks = now.saturating_duration_since(self.stamped).as_millis() as i64 * 8;
        let moved_ticks = i64::from(header.timestamp.wrapping_sub(self.timestamp) as i32);
        // Silence may stop the sender's clock, so a timestamp may lag by as much as has passed.
        if moved_ticks > elapsed_ticks + MAX_TIMESTAMP_ERROR || moved_ticks < -MAX_TIMESTAMP_ERROR {
            return false;
        }
        self.last = now;
        if ahead <= MAX_DROPOUT {
            self.sequence = header.sequence;
            self.timestamp = header.timestamp;
            self.stamped = now;
        }
        true
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
