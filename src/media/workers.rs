//! The worker threads as the server holds them.

use super::downlink::Downlink;
use super::engine::{Ends, Engine, Settings};
use super::event::Events;
use super::limits::{COMMANDS, EVENTS, LEGS_PER_WORKER};
use super::ports::{PortPool, Ports};
use super::setup::Retired;
use super::shared::Shared;
use super::sys::enable_timestamps;
use super::uplink::Uplink;
use super::worker::{Gauges, Worker, run_bell};
use super::{Leg, LegOptions, MediaConfig, MediaError};
use crate::base::Random;
use rtrb::{Producer, RingBuffer};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// What a worker may have given back and the bell not freed yet: every leg, and a reconfiguration of each.
const RETIRED: usize = 4 * LEGS_PER_WORKER;
/// New legs a worker may not have taken in yet.
const INBOX: usize = 256;
/// Receive buffer of the RTCP socket in octets, about 16 reports.
const RTCP_BUFFER: usize = 8 * 1024;
/// Ports tried for one leg before giving up: others on this machine may hold some of the range.
const BIND_TRIES: usize = 64;

/// What the workers have done since they were started.
#[derive(Clone, Debug, Default)]
pub struct WorkerStats {
    /// Legs served at this moment, per worker.
    pub legs: Vec<usize>,
    /// The priority each worker got: `realtime 5`, `nice -11`, `normal`.
    pub priority: Vec<&'static str>,
    /// Slots run with at least one leg.
    pub slots: u64,
    /// Of those, begun more than 2 ms late.
    pub late_slots: u64,
    /// Turns of 20 ms that legs lost because a worker was held up for longer.
    pub missed_turns: u64,
    /// The worst lateness of a slot.
    pub worst_late: Duration,
    /// Workers that take no further legs because they are late ([`super::Admission`]).
    pub overloaded: usize,
    /// CPU time of the worker threads, some 100 ms old.
    pub cpu: Duration,
    /// RTP ports in use.
    pub ports_in_use: usize,
    /// RTP ports in quarantine.
    pub ports_quarantined: usize,
}

#[derive(Debug)]
struct Handle {
    gauges: Arc<Gauges>,
    inbox: Mutex<Producer<Box<Engine>>>,
    worker: Option<JoinHandle<()>>,
    bell: Option<JoinHandle<()>>,
}

/// The media threads. Dropping it stops them, after which no leg sends or receives any more.
#[derive(Debug)]
pub struct Workers {
    config: MediaConfig,
    ports: Ports,
    random: Mutex<Random>,
    handles: Vec<Handle>,
}

impl Workers {
    /// Starts the threads and logs the priority they got. `random` decides ports, sources and sequence
    /// numbers: the system's in production.
    ///
    /// # Errors
    /// The port range is unusable, or the system refuses a thread.
    pub fn start(config: MediaConfig, random: Random) -> Result<Self, MediaError> {
        let pool = PortPool::new(config.ports.clone(), config.quarantine)?;
        let count = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1),
            count => count,
        };
        let mut workers =
            Self { ports: Ports::new(pool), random: Mutex::new(random), handles: Vec::with_capacity(count), config };
        for n in 0..count {
            let handle = start_worker(n, &workers.config).map_err(MediaError::Thread)?;
            workers.handles.push(handle);
        }
        Ok(workers)
    }

    /// How many threads serve legs: [`MediaConfig::workers`], or what stands for 0 there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// Opens a leg on the least busy worker: binds a random free port. Nothing is sent before
    /// [`Leg::configure`].
    ///
    /// # Errors
    /// No port is free, the system refuses a socket, or every worker is full or late ([`super::Admission`]).
    pub fn open(&self, options: impl Into<LegOptions>) -> Result<Leg, MediaError> {
        let handle = self.handles.iter().min_by_key(|h| (self.refuses(h), legs(h))).ok_or(MediaError::TooManyLegs)?;
        if self.refuses(handle) {
            let late_percent = handle.gauges.late_share.load(Ordering::Relaxed) as f32 / 1e4;
            return Err(MediaError::Overloaded { late_percent, window: self.config.admission.window });
        }
        let thread = handle.worker.as_ref().map(|w| w.thread().clone()).ok_or(MediaError::TooManyLegs)?;
        if handle.gauges.legs.fetch_add(1, Ordering::Relaxed) >= LEGS_PER_WORKER {
            handle.gauges.legs.fetch_sub(1, Ordering::Relaxed);
            return Err(MediaError::TooManyLegs);
        }
        let opened = self.open_on(handle, thread, options.into());
        if opened.is_err() {
            handle.gauges.legs.fetch_sub(1, Ordering::Relaxed);
        }
        opened
    }

    /// Whether a worker is too late to take further legs.
    fn refuses(&self, handle: &Handle) -> bool {
        handle.gauges.is_overloaded.load(Ordering::Relaxed) && legs(handle) >= self.config.admission.fewest_legs
    }

    fn open_on(&self, handle: &Handle, thread: std::thread::Thread, options: LegOptions) -> Result<Leg, MediaError> {
        let now = Instant::now();
        let (lease, socket, rtcp) = self.bind(now)?;
        let socket = Arc::new(socket);
        let local_addr = socket.local_addr().map_err(|source| MediaError::Bind { address: self.address(0), source })?;
        let shared = Arc::new(Shared::default());
        let (commands, worker_commands) = RingBuffer::new(COMMANDS);
        let (worker_events, events) = RingBuffer::new(EVENTS);
        let ends = Ends {
            shared: Arc::clone(&shared),
            socket: Arc::clone(&socket),
            rtcp,
            commands: worker_commands,
            events: worker_events,
        };
        let settings = Settings { media_timeout: self.config.media_timeout, rtcp_interval: self.config.rtcp_interval };
        let engine = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            Box::new(Engine::new(now, options.mode, settings, ends, &mut random))
        };
        let mut inbox = handle.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.push(engine).map_err(|_| MediaError::Busy(INBOX))?;
        drop(inbox);
        thread.unpark();
        Ok(Leg {
            uplink: Uplink::default(),
            downlink: Downlink::new(Arc::clone(&shared)),
            events: Events { ring: events },
            local_addr,
            options,
            sample_rate: None,
            is_secured: false,
            is_keyed: false,
            handshake: None,
            socket,
            commands,
            shared,
            worker: thread,
            _port: lease,
        })
    }

    /// Binds a free pair of ports.
    fn bind(&self, now: Instant) -> Result<(super::ports::PortLease, UdpSocket, UdpSocket), MediaError> {
        let mut taken = 0;
        let mut refusal = None;
        while taken < BIND_TRIES {
            let port = {
                let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
                self.ports.with(|pool| pool.take(now, &mut random))
            };
            let Some(port) = port else { break };
            let lease = self.ports.lease(port);
            match self.bind_pair(port) {
                Ok((rtp, rtcp)) => return Ok((lease, rtp, rtcp)),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => taken += 1,
                Err(source) => {
                    refusal = Some(MediaError::Bind { address: self.address(port), source });
                    break;
                }
            }
        }
        Err(refusal.unwrap_or_else(|| {
            let (in_use, quarantined) = self.ports.with(|pool| pool.counts());
            let (quarantined, quarantine) = (quarantined.saturating_sub(taken), self.config.quarantine);
            MediaError::NoFreePort { in_use, quarantined, taken, quarantine }
        }))
    }

    fn bind_pair(&self, port: u16) -> std::io::Result<(UdpSocket, UdpSocket)> {
        let rtp = UdpSocket::bind(self.address(port))?;
        let rtcp = UdpSocket::bind(self.address(port + 1))?;
        rtp.set_nonblocking(true)?;
        rtcp.set_nonblocking(true)?;
        enable_timestamps(&rtp)?;
        enable_timestamps(&rtcp)?;
        // Reports are few and short; a flood of them finds little room.
        socket2::SockRef::from(&rtcp).set_recv_buffer_size(RTCP_BUFFER)?;
        Ok((rtp, rtcp))
    }

    fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.config.bind_ip, port)
    }

    /// The counters so far.
    #[must_use]
    pub fn stats(&self) -> WorkerStats {
        let (ports_in_use, ports_quarantined) = self.ports.with(|pool| pool.counts());
        let mut stats = WorkerStats { ports_in_use, ports_quarantined, ..WorkerStats::default() };
        for Handle { gauges, .. } in &self.handles {
            stats.legs.push(gauges.legs.load(Ordering::Relaxed));
            stats.priority.push(gauges.priority.get().copied().unwrap_or("not started"));
            stats.slots += gauges.slots.load(Ordering::Relaxed);
            stats.late_slots += gauges.late_slots.load(Ordering::Relaxed);
            stats.missed_turns += gauges.missed_turns.load(Ordering::Relaxed);
            let late = Duration::from_micros(gauges.worst_late_us.load(Ordering::Relaxed));
            stats.worst_late = stats.worst_late.max(late);
            stats.overloaded += usize::from(gauges.is_overloaded.load(Ordering::Relaxed));
            stats.cpu += Duration::from_micros(gauges.cpu_us.load(Ordering::Relaxed));
        }
        stats
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for handle in &self.handles {
            handle.gauges.stop.store(true, Ordering::Release);
        }
        for handle in &mut self.handles {
            for thread in [handle.worker.take(), handle.bell.take()].into_iter().flatten() {
                thread.thread().unpark();
                // A thread that panicked has nothing left to stop.
                let _ = thread.join();
            }
        }
    }
}

fn legs(handle: &Handle) -> usize {
    handle.gauges.legs.load(Ordering::Relaxed)
}

fn start_worker(n: usize, config: &MediaConfig) -> std::io::Result<Handle> {
    let gauges = Arc::new(Gauges::default());
    let (inbox, worker_inbox) = RingBuffer::new(INBOX);
    let (worker_ready, ready) = RingBuffer::new(LEGS_PER_WORKER);
    let (mut worker_retired, mut retired) = RingBuffer::new(RETIRED);
    // Memory is the process's from when it is first written to: a ring that is walked through call by call would grow for a
    // quarter of an hour.
    let nothing: Arc<[i16]> = Arc::default();
    for _ in 0..RETIRED {
        let _ = worker_retired.push(Retired::Background(Arc::clone(&nothing)));
        let _ = retired.pop();
    }
    let bell = {
        let gauges = Arc::clone(&gauges);
        Builder::new().name(format!("media-bell-{n}")).spawn(move || run_bell(&gauges, ready, retired))?
    };
    let worker = Worker {
        gauges: Arc::clone(&gauges),
        inbox: worker_inbox,
        ready: worker_ready,
        retired: worker_retired,
        bell: bell.thread().clone(),
        vad: config.vad,
        admission: config.admission,
        raise_priority: config.raise_priority,
    };
    let started = Instant::now();
    let thread = Builder::new().name(format!("media-{n}")).spawn(move || worker.run())?;
    while gauges.priority.get().is_none() && started.elapsed() < Duration::from_secs(1) {
        std::thread::yield_now();
    }
    tracing::info!(worker = n, priority = gauges.priority.get().copied().unwrap_or("unknown"), "media worker started");
    Ok(Handle { gauges, inbox: Mutex::new(inbox), worker: Some(thread), bell: Some(bell) })
}
