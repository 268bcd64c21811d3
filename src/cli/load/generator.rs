//! The generator as a library: two threads, one for SIP and one for RTP.

use super::audio::{Audio, sleep_until};
use super::dialog::Identity;
use super::figures::{Figures, Sound};
use super::pace::Pace;
use super::signalling::{Caller, Plan, Shared};
use super::sounds::{Codec, Kind, Sounds};
use super::target::local_ip;
use crate::sip::Uri;
use crate::sip::digest::Credentials;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What to generate.
#[derive(Clone, Debug)]
pub struct Load {
    /// Whom to call.
    pub to: Uri,
    /// Where SIP goes.
    pub server: SocketAddr,
    /// Our address; `None`: the one on the way to the server.
    pub ip: Option<IpAddr>,
    /// Our SIP port; 0: any.
    pub sip_port: u16,
    /// Who calls; `None`: `load` at our address.
    pub from: Option<Uri>,
    /// What to answer a challenge with.
    pub credentials: Option<Credentials>,
    /// Calls at the same time.
    pub calls: usize,
    /// How fast they are placed.
    pub pace: Pace,
    /// How long each lasts before another takes its place; `None`: until the end.
    pub call_length: Option<Duration>,
    /// The codec, the only one offered.
    pub codec: Codec,
    /// What the calls send.
    pub kind: Kind,
    /// Sockets for the audio; as many as calls for a far side that tells calls apart by our address.
    pub sockets: usize,
}

impl Load {
    /// `calls` calls with marks to `to` at `server`, 50 new ones each second, that last until the end.
    #[must_use]
    pub fn marks(to: Uri, server: SocketAddr, calls: usize) -> Self {
        Self {
            to,
            server,
            ip: None,
            sip_port: 0,
            from: None,
            credentials: None,
            calls,
            pace: Pace::new(50.0, Duration::ZERO),
            call_length: None,
            codec: Codec::Pcmu,
            kind: Kind::Marks,
            sockets: 1,
        }
    }
}

/// Load that runs until [`Self::end`].
pub struct Generator {
    calls: usize,
    shared: Arc<Shared>,
    sound: Arc<Mutex<Sound>>,
    stop_audio: Arc<AtomicBool>,
    signalling: Option<JoinHandle<()>>,
    audio: Option<JoinHandle<()>>,
}

impl Generator {
    /// Opens the sockets and begins to call.
    ///
    /// # Errors
    /// The system's: an address that is not ours, a port in use, no more sockets or threads. A codec that cannot be had.
    pub fn start(load: Load) -> io::Result<Self> {
        let ip = load.ip.map_or_else(|| local_ip(load.server), Ok)?;
        let socket = UdpSocket::bind((ip, load.sip_port))?;
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(super::limits::RECEIVE_BUFFER);
        let sip = socket.local_addr()?;
        let sounds = Arc::new(Sounds::new(load.codec, &load.kind).map_err(io::Error::other)?);
        let (sound, stop_audio) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (commands, orders) = mpsc::channel();
        let audio = Audio::open(
            ip,
            (load.calls, load.sockets),
            load.codec,
            sounds,
            orders,
            (Arc::clone(&sound), Arc::clone(&stop_audio)),
        )?;
        let identity = Identity {
            to: load.to,
            from: load.from.unwrap_or_else(|| Uri::sip_address(sip).with_user("load")),
            sip,
            codec: load.codec,
            credentials: load.credentials,
        };
        let plan = Plan {
            calls: load.calls,
            pace: load.pace,
            call_length: load.call_length,
            must_stay: !matches!(load.kind, Kind::Speech(_)),
        };
        let shared = Arc::new(Shared::default());
        let caller =
            Caller::new((socket, load.server), identity, plan, audio.addresses()?, commands, Arc::clone(&shared));
        let audio = thread::Builder::new().name("load-audio".into()).spawn(move || audio.run())?;
        let signalling = thread::Builder::new().name("load-sip".into()).spawn(move || caller.run())?;
        Ok(Self { calls: load.calls, shared, sound, stop_audio, signalling: Some(signalling), audio: Some(audio) })
    }

    /// Calls that are up.
    #[must_use]
    pub fn up(&self) -> usize {
        self.shared.up.load(Relaxed)
    }

    /// What was seen since this was last called.
    #[must_use]
    pub fn take(&self) -> Figures {
        let mut figures = Figures::default();
        if let Ok(mut sound) = self.sound.lock() {
            figures.sound = std::mem::take(&mut *sound);
        }
        if let Ok(mut seen) = self.shared.seen.lock() {
            figures.signalling = std::mem::take(&mut *seen);
        }
        figures
    }

    /// Waits until every call was answered, and gives what was seen until then.
    ///
    /// # Errors
    /// Why a call was not answered, or that the time is over.
    pub fn all_up(&self, limit: Duration) -> io::Result<Figures> {
        let start = Instant::now();
        while self.shared.settled.load(Relaxed) < self.calls && start.elapsed() < limit {
            sleep_until(Instant::now() + Duration::from_millis(5));
        }
        let figures = self.take();
        if self.up() == self.calls {
            return Ok(figures);
        }
        let why = figures.signalling.failures.keys().next().map(ToString::to_string).unwrap_or_default();
        Err(io::Error::other(format!("{} of {} calls are up: {why}", self.up(), self.calls)))
    }

    /// Lets the calls go on for `time` and gives what was seen in it.
    #[must_use]
    pub fn watch(&self, time: Duration) -> Figures {
        let _ = self.take();
        sleep_until(Instant::now() + time);
        self.take()
    }

    /// Hangs up, waits for the last call's end, and gives what was seen since [`Self::take`].
    #[must_use]
    pub fn end(mut self) -> Figures {
        self.shut_down();
        self.take()
    }

    fn shut_down(&mut self) {
        self.shared.end.store(true, Relaxed);
        if let Some(thread) = self.signalling.take() {
            let _ = thread.join();
        }
        self.stop_audio.store(true, Relaxed);
        if let Some(thread) = self.audio.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.shut_down();
    }
}
