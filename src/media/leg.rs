//! One call leg as the call holds it.

use super::MediaError;
use super::bridge::{BridgePort, ports};
use super::datagram::Datagram;
use super::downlink::{Downlink, RING_FRAMES};
use super::event::Events;
use super::framed::ring;
use super::leg_media::{LegMedia, LegSecurity};
use super::limits::{DOWNLINK_RESERVE, HANDSHAKE_DATAGRAMS, RELAY_DOWNLINK_FRAMES, RELAY_UPLINK_FRAMES, UPLINK_FRAMES};
use super::meter::{self, LegMeter};
use super::player::Player;
use super::setup::{Rings, Setup};
use super::shared::Shared;
use super::tap::{Tap, TapPort, tap};
use super::uplink::Uplink;
use crate::audio::frame::FRAME_MS;
use crate::base::SampleRate;
#[cfg(test)]
use crate::sdp::Codec;
use rtrb::{Consumer, RingBuffer};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::Poll;
use std::time::Duration;

/// What a leg does with the caller's audio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LegMode {
    /// Hands it to the call and plays what the call pushes.
    Agent,
    /// As [`Self::Agent`], for a call that moves audio both ways in every turn ([`Leg::keep_time`]): its rings are shallow.
    Relay,
    /// Sends it back inside the worker, still encoded: the cheapest path, for load tests.
    Echo,
}

impl LegMode {
    /// Frames that the rings to the call and from it hold.
    fn depths(self) -> [usize; 2] {
        match self {
            Self::Agent => [UPLINK_FRAMES, RING_FRAMES],
            Self::Relay => [RELAY_UPLINK_FRAMES, RELAY_DOWNLINK_FRAMES + DOWNLINK_RESERVE],
            // It never leaves its worker.
            Self::Echo => [0, 0],
        }
    }
}

/// How a leg is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LegOptions {
    /// What it does with the caller's audio.
    pub mode: LegMode,
    /// The line rate is the first agreed codec's, but at most this: 8, 16, 24 or 48 kHz.
    pub max_sample_rate: SampleRate,
}

impl From<LegMode> for LegOptions {
    /// 8 kHz, whatever the codec.
    fn from(mode: LegMode) -> Self {
        Self { mode, max_sample_rate: SampleRate::NARROWBAND }
    }
}

/// Counters of a leg since it was opened.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LegStats {
    /// RTP packets sent.
    pub sent: u64,
    /// RTP packets accepted.
    pub received: u64,
    /// Packets missing from the sequence, by RFC 3550 §6.4.1; late ones are not lost.
    pub lost: u64,
    /// Packets that came after their turn and were not played.
    pub late: u64,
    /// Packets that came twice.
    pub duplicated: u64,
    /// Packets dropped by the source lock or as malformed.
    pub rejected: u64,
    /// Audio made up for missing packets.
    pub concealed: Duration,
    /// Frames of 20 ms without agent audio in the middle of a turn.
    pub starved: u64,
    /// Caller frames dropped because the call did not take them.
    pub uplink_dropped: u64,
    /// Events dropped because the call did not take them.
    pub events_dropped: u64,
    /// Packets the system refused to send.
    pub send_errors: u64,
    /// Packets and reports that were not protected with the peer's key, or came before there was one. They are dropped,
    /// never more.
    pub srtp_failures: u64,
    /// Interarrival jitter by RFC 3550 §6.4.1.
    pub jitter: Duration,
    /// From arrival to playout, the jitter buffer's current delay.
    pub delay: Duration,
    /// Round trip by RTCP; zero until the peer has answered a report.
    pub round_trip: Duration,
    /// Share of our packets that the peer says it lost lately, 0.0–1.0 (RTCP).
    pub far_loss: f32,
    /// Interarrival jitter of our packets where the peer receives them (RTCP).
    pub far_jitter: Duration,
    /// The peer said goodbye by RTCP (RFC 3550 §6.6). It ends nothing: signalling does.
    pub peer_left: bool,
    /// Mean opinion score of what we hear, 1.0 to 4.4 by the E-model ([`crate::rtp::quality`]); 0.0 before anything came.
    pub mos: f32,
    /// Frames of 20 ms that came over a bridge too late to be sent.
    pub bridge_dropped: u64,
    /// Where our audio goes; `None` before the first packet left.
    pub sends_to: Option<SocketAddr>,
    /// Where the audio that was accepted comes from; `None` when none ever came.
    pub hears_from: Option<SocketAddr>,
    /// Where the last packet came from that was refused for its sender: a peer whose audio leaves from another address than its
    /// SDP says.
    pub refused_from: Option<SocketAddr>,
}

/// A command on its way to the worker.
#[derive(Debug)]
pub(super) enum Command {
    Background(Option<Arc<[i16]>>),
    Bridge(Box<BridgePort>),
    Configure(Box<Setup>),
    Digit(char),
    Tap(Box<TapPort>),
    Tone(char),
    Unbridge,
    #[cfg(test)]
    Panic,
}

/// One call leg: an RTP port served by a media worker. Dropping it closes the socket and puts the port into
/// quarantine.
#[derive(Debug)]
pub struct Leg {
    /// Audio from the peer.
    pub uplink: Uplink,
    /// Audio to the peer.
    pub downlink: Downlink,
    /// What happened.
    pub events: Events,
    pub(super) local_addr: SocketAddr,
    pub(super) options: LegOptions,
    /// It was encrypted, or was to be.
    pub(super) is_secured: bool,
    /// It has had keys.
    pub(super) is_keyed: bool,
    /// Of a handshake, where one takes place.
    pub(super) handshake: Option<Consumer<Datagram>>,
    pub(super) socket: Arc<UdpSocket>,
    /// The line rate, once it is fixed.
    pub(super) sample_rate: Option<SampleRate>,
    pub(super) commands: rtrb::Producer<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) worker: std::thread::Thread,
    pub(super) _port: super::ports::PortLease,
}

impl Leg {
    /// The address of the RTP socket. The IP is unspecified when [`super::MediaConfig::bind_ip`] is: the
    /// call knows which address to advertise.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Samples per second of [`Self::uplink`] and [`Self::downlink`], the **line rate**: the first agreed codec's,
    /// within [`LegOptions::max_sample_rate`], for the whole life of the leg. 8 kHz before the first
    /// [`Self::configure`].
    #[must_use]
    pub fn sample_rate(&self) -> SampleRate {
        self.sample_rate.unwrap_or(SampleRate::NARROWBAND)
    }

    /// Applies what was agreed. Call it after **every** offer and answer: each call opens the two seconds
    /// in which a peer behind NAT may turn out to send from elsewhere. The first packet leaves within 20 ms.
    ///
    /// # Errors
    /// [`MediaError::Busy`] when the worker has not taken earlier commands; a codec that cannot be run;
    /// [`MediaError::Downgrade`] when the leg was encrypted and would be no more. The leg stays as it was then.
    pub fn configure(&mut self, media: LegMedia) -> Result<(), MediaError> {
        let is_secured = media.security != LegSecurity::Plain;
        let is_keyed = matches!(media.security, LegSecurity::Srtp { .. });
        if self.is_secured && !is_secured {
            return Err(MediaError::Downgrade);
        }
        let (to_call, handshake) = match media.dtls && self.handshake.is_none() {
            true => Some(RingBuffer::new(HANDSHAKE_DATAGRAMS)).unzip(),
            false => (None, None),
        };
        let line = self.sample_rate.unwrap_or_else(|| media.line_rate(self.options.max_sample_rate));
        let frame = line.samples_in_ms(FRAME_MS);
        let [up, down] = self.options.mode.depths();
        let first = self.uplink.ring.is_none().then(|| (ring(up, frame), ring(down, frame)));
        let (rings, ends) = match first {
            Some(((worker_uplink, uplink), (downlink, worker_downlink))) => {
                let player = Player::new(worker_downlink, line);
                (Some(Rings { sample_rate: line, uplink: worker_uplink, player }), Some((uplink, downlink)))
            }
            None => (None, None),
        };
        let mut setup = Setup::new(media, line, rings)?;
        setup.handshake = to_call;
        self.command(Command::Configure(setup))?;
        self.sample_rate = Some(line);
        self.is_secured = is_secured;
        self.is_keyed |= is_keyed;
        self.handshake = handshake.or_else(|| self.handshake.take());
        if let Some((uplink, downlink)) = ends {
            self.uplink.ring = Some(uplink);
            self.downlink.start(downlink, line);
        }
        Ok(())
    }

    /// The line rate, which is fixed from here on.
    fn fix_sample_rate(&mut self) -> SampleRate {
        *self.sample_rate.get_or_insert(SampleRate::NARROWBAND)
    }

    /// The handshake for keys has failed: what [`Self::configure`] is given next may be in clear. Only for a peer with
    /// whom the policy allows that. False, and nothing is changed, where there have been keys.
    pub fn give_up_handshake(&mut self) -> bool {
        self.is_secured &= self.is_keyed;
        !self.is_keyed
    }

    /// The oldest datagram of a DTLS handshake not yet taken. There are some only after [`LegMedia::dtls`] was
    /// configured, and only from addresses that may take part. [`Self::ready`] resolves for them too.
    pub fn next_datagram(&mut self) -> Option<Datagram> {
        self.handshake.as_mut()?.pop().ok()
    }

    /// Sends a datagram of a handshake from the RTP port. `to` is where the peer's came from, or
    /// [`LegMedia::remote`].
    ///
    /// # Errors
    /// The system refused it; what is lost is sent again by the handshake's own timer.
    pub fn send_datagram(&self, to: SocketAddr, octets: &[u8]) -> std::io::Result<()> {
        self.socket.send_to(octets, to).map(|_| ())
    }

    /// Both directions from here on, for a recording or a guard against echoes. There may be two; a third ends the first. A leg
    /// that was not configured yet has a line rate of 8 kHz after it.
    ///
    /// # Errors
    /// [`MediaError::Busy`] when the worker has not taken earlier commands.
    pub fn tap(&mut self) -> Result<Tap, MediaError> {
        let (port, tap) = tap(self.fix_sample_rate());
        self.command(Command::Tap(Box::new(port)))?;
        Ok(tap)
    }

    /// Couples two legs: what one hears, the other sends, from worker to worker, until [`Self::unbridge`] or until
    /// one is bridged anew. With `keys`, keys pass as keys; otherwise the call passes on what [`super::LegEvent::Digit`]
    /// reports. Audio pushed into a downlink is heard over the other leg; the uplinks
    /// stay empty. Both should have been configured: one that was not has a line rate of 8 kHz after it. Their codecs and
    /// rates may differ. A leg that is dropped falls silent.
    ///
    /// # Errors
    /// [`MediaError::Busy`] when a worker has not taken earlier commands; the legs may be half coupled then: end both.
    pub fn bridge(&mut self, other: &mut Self, keys: bool) -> Result<(), MediaError> {
        let (near, far) = ports(keys, self.fix_sample_rate(), other.fix_sample_rate())?;
        self.command(Command::Bridge(Box::new(near)))?;
        other.command(Command::Bridge(Box::new(far)))
    }

    /// Ends the coupling on this side: the uplink has frames again.
    ///
    /// # Errors
    /// [`MediaError::Busy`] when the worker has not taken earlier commands.
    pub fn unbridge(&mut self) -> Result<(), MediaError> {
        self.command(Command::Unbridge)
    }

    /// What is heard while nobody speaks on this leg, again and again: a ringing tone, hold music; at
    /// [`Self::sample_rate`]. `None` is silence. The worker plays it by itself.
    ///
    /// # Errors
    /// [`MediaError::Busy`] when the worker has not taken earlier commands.
    pub fn set_background(&mut self, samples: Option<Arc<[i16]>>) -> Result<(), MediaError> {
        self.command(Command::Background(samples))
    }

    /// Sends a keypad digit (`0`–`9`, `*`, `#`, `A`–`D`) after those still waiting: 100 ms of tone, 60 ms of pause.
    /// By RFC 4733 where telephone-event was agreed, otherwise as tones. Agent audio waits meanwhile.
    ///
    /// # Errors
    /// [`MediaError::Busy`] when the worker has not taken earlier commands.
    pub fn send_digit(&mut self, digit: char) -> Result<(), MediaError> {
        self.command(Command::Digit(digit))
    }

    /// Sends a keypad digit as tones in the audio, whatever was agreed. As [`Self::send_digit`] otherwise.
    ///
    /// # Errors
    /// [`MediaError::Busy`] when the worker has not taken earlier commands.
    pub fn send_tone(&mut self, digit: char) -> Result<(), MediaError> {
        self.command(Command::Tone(digit))
    }

    fn command(&mut self, command: Command) -> Result<(), MediaError> {
        let waiting = super::limits::COMMANDS;
        self.commands.push(command).map_err(|_| MediaError::Busy(waiting))?;
        self.worker.unpark();
        Ok(())
    }

    /// Whether [`Self::ready`] is to resolve once in every 20 ms, 4 ms before the leg speaks ([`Self::take_beat`]): for a
    /// call whose agent is another process, which is asked then whether it has said something. Begins within 20 ms.
    pub fn keep_time(&self, on: bool) {
        self.shared.keeps_time.store(on, Ordering::Relaxed);
    }

    /// Whether the worker asks its voice detector about each frame, and [`super::UplinkFrame::voiced`] means something: it
    /// does unless it was told otherwise. Begins within 20 ms.
    pub fn detect_voice(&self, on: bool) {
        self.shared.voice_is_idle.store(!on, Ordering::Relaxed);
    }

    /// Whether a beat ([`Self::keep_time`]) has come since this was asked last. [`Self::ready`] resolves until it is.
    pub fn take_beat(&self) -> bool {
        self.shared.beat.swap(false, Ordering::AcqRel)
    }

    /// Resolves when [`Self::uplink`], [`Self::events`] or [`Self::next_datagram`] has something, or a beat has come. Only
    /// one task may wait.
    pub async fn ready(&mut self) {
        std::future::poll_fn(move |cx| {
            if self.has_something() {
                return Poll::Ready(());
            }
            self.shared.waker.register(cx.waker());
            self.shared.waiting.store(true, Ordering::Release);
            // Pairs with the fence of the worker: it sees us waiting, or we see what it pushed.
            fence(Ordering::SeqCst);
            if self.has_something() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether [`Self::ready`] resolves.
    fn has_something(&self) -> bool {
        let has_datagram = self.handshake.as_ref().is_some_and(|datagrams| !datagrams.is_empty());
        let has_beat = self.shared.beat.load(Ordering::Acquire);
        !self.uplink.is_empty() || !self.events.ring.is_empty() || has_datagram || has_beat
    }

    /// The counters so far.
    #[must_use]
    pub fn stats(&self) -> LegStats {
        meter::read(&self.shared.stats)
    }

    /// Reads the counters from elsewhere.
    #[must_use]
    pub fn meter(&self) -> LegMeter {
        LegMeter::new(&self.shared)
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.worker.unpark();
    }
}

#[cfg(test)]
pub(super) fn example() -> LegMedia {
    LegMedia { telephone_event: Some(101), ..LegMedia::bare(SocketAddr::from(([127, 0, 0, 1], 4_000)), Codec::Pcmu) }
}
