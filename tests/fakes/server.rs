//! The server: a thread of its own, a port on the loopback interface, a task for each connection.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use super::{
    http,
    misbehaviour::{Active, Misbehaviour, Plan},
    tls::{self, Certificate},
    vendor::{Context, Request, Vendor},
    wire::{Tcp, Wire},
};

/// The connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How long the port may take to open or close.
const PORT_LIMIT: Duration = Duration::from_secs(10);

/// A vendor on a port of the loopback interface. It stops, and drops its connections, when dropped.
///
/// It runs in a thread of its own, named `fake-vendor`, so it answers whatever the test's own runtime does, and its
/// processor time can be told from the client's.
pub struct FakeServer {
    state: Arc<State>,
    address: SocketAddr,
    encrypted: bool,
    stop: watch::Sender<bool>,
    /// Where the system tells of its thread.
    about: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// Starts a vendor behind TLS.
    ///
    /// # Panics
    /// When the loopback interface has no port left or no thread can be started.
    pub fn start(vendor: impl Vendor) -> Self {
        Self::start_with(Certificate::Good, vendor)
    }

    /// Starts a vendor behind TLS that shows this certificate.
    ///
    /// # Panics
    /// As [`FakeServer::start`].
    pub fn start_with(certificate: Certificate, vendor: impl Vendor) -> Self {
        Self::launch(Arc::new(vendor), Some(tls::authority().acceptor(certificate)))
    }

    /// Starts a vendor without TLS.
    ///
    /// # Panics
    /// As [`FakeServer::start`].
    pub fn start_in_clear(vendor: impl Vendor) -> Self {
        Self::launch(Arc::new(vendor), None)
    }

    fn launch(vendor: Arc<dyn Vendor>, tls: Option<TlsAcceptor>) -> Self {
        let encrypted = tls.is_some();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on the loopback");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("the address of a bound socket");
        let state = Arc::new(State::default());
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let shared = Arc::clone(&state);
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("fake-vendor".into())
            .spawn(move || {
                let _ = tell.send(this_thread());
                runtime.block_on(accept(listener, address, tls, vendor, shared, stopped));
            })
            .expect("a thread");
        let about = told.recv().unwrap_or_default();
        Self { state, address, encrypted, stop, about, thread: Some(thread) }
    }

    /// The certificate of the authority to trust, in PEM. The same for every server of the process.
    pub fn ca_pem(&self) -> &'static str {
        &tls::authority().pem
    }

    /// The same in DER.
    pub fn ca_der(&self) -> &'static [u8] {
        &tls::authority().der
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a WebSocket: `wss://localhost:PORT` and the path, `ws://` in clear.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.encrypted { "wss" } else { "ws" }, self.authority())
    }

    /// The URL of a resource: `https://localhost:PORT` and the path, `http://` in clear.
    pub fn http_url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.encrypted { "https" } else { "http" }, self.authority())
    }

    fn authority(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// Fails in this way on every connection, the open ones too, besides what is set already.
    pub fn misbehave(&self, what: Misbehaviour) {
        self.plan(|plan| plan.add(None, Duration::ZERO, what));
    }

    /// Fails in this way on the `nth` connection since the start, counted from 1.
    pub fn misbehave_on(&self, nth: u64, what: Misbehaviour) {
        self.plan(|plan| plan.add(Some(nth), Duration::ZERO, what));
    }

    /// Fails in this way on every connection from when it is this old.
    pub fn misbehave_after(&self, age: Duration, what: Misbehaviour) {
        self.plan(|plan| plan.add(None, age, what));
    }

    /// Fails in this way on the `nth` connection from when it is this old.
    pub fn misbehave_on_after(&self, nth: u64, age: Duration, what: Misbehaviour) {
        self.plan(|plan| plan.add(Some(nth), age, what));
    }

    /// Ends all misbehaviour. Connections that stall go on where they were.
    pub fn behave(&self) {
        self.plan(Plan::clear);
    }

    /// Changes the plan and waits until the port is open or closed accordingly.
    fn plan(&self, change: impl FnOnce(&mut Plan)) {
        let mut book = self.state.book();
        change(&mut book.plan);
        self.state.planned.store(true, Ordering::Release);
        let refuse = book.plan.port_refuses();
        drop(book);
        self.state.changed.send_modify(|n| *n += 1);
        let book = self.state.book();
        let waited = self.state.port.wait_timeout_while(book, PORT_LIMIT, |book| book.port_closed != refuse);
        assert!(waited.is_ok_and(|(_, late)| !late.timed_out()), "the port did not open or close in time");
    }

    /// Drops every open connection without a goodbye, as when the vendor's machine restarts.
    pub fn cut_connections(&self) {
        self.state.cuts.send_modify(|n| *n += 1);
    }

    /// The rules the client broke, each with its connection. A test ends by asserting that there are none.
    pub fn complaints(&self) -> Vec<String> {
        self.state.complaints()
    }

    /// What the vendor noted so far, on any connection.
    pub fn notes(&self) -> Vec<String> {
        self.state.book().notes.clone()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> u64 {
        self.state.accepted.load(Ordering::Acquire)
    }

    /// How long it stood ready to run so far, while the machine did other things.
    pub fn waited(&self) -> Duration {
        waited(&self.about)
    }

    /// How many are open, by what the server has noticed.
    pub fn open_connections(&self) -> u64 {
        self.state.open.load(Ordering::Acquire)
    }

    /// The requests so far, upgrades too, in the order of their arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.state.book().requests.clone()
    }

    /// How many replies went out to their last octet, on connections that stay.
    pub fn replies(&self) -> u64 {
        self.state.replies.load(Ordering::Acquire)
    }

    /// How many replies lost their client before their end, as when a stream is cancelled.
    pub fn abandoned(&self) -> u64 {
        self.state.abandoned.load(Ordering::Acquire)
    }

    /// Waits until `holds`, at the most `limit`; returns whether it does. Looked at when a connection comes, goes or
    /// is complained of, when a request arrives, and when a reply ends.
    pub async fn until(&self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let mut stirred = self.state.stirred.subscribe();
        let waited = tokio::time::timeout(limit, async {
            while !holds(self) {
                // The sender lives in `self`.
                let _ = stirred.changed().await;
            }
        });
        waited.await.is_ok() || holds(self)
    }
}

/// Where the system tells of the thread that asks.
pub fn this_thread() -> PathBuf {
    std::fs::read_link("/proc/thread-self").map_or_else(|_| PathBuf::new(), |thread| Path::new("/proc").join(thread))
}

/// How long a thread has stood ready to run while the machine did other things: the second number of `schedstat`, in
/// nanoseconds (Linux, Documentation/scheduler/sched-stats). Zero where the system does not say.
pub fn waited(thread: &Path) -> Duration {
    let told = std::fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    Duration::from_nanos(told.split_whitespace().nth(1).and_then(|ns| ns.parse().ok()).unwrap_or_default())
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic in there was a complaint already.
            let _ = thread.join();
        }
        // A request holds the state that holds it.
        self.state.book().requests.clear();
    }
}

/// What the server, its connections and the test share.
pub struct State {
    book: Mutex<Book>,
    /// Signalled when the port opens or closes.
    port: Condvar,
    /// False as long as nothing was ever planned, which is then known without the lock.
    planned: AtomicBool,
    accepted: AtomicU64,
    open: AtomicU64,
    abandoned: AtomicU64,
    replies: AtomicU64,
    /// Counts the changes of the plan.
    pub changed: watch::Sender<u64>,
    /// Counts the orders to drop every connection.
    cuts: watch::Sender<u64>,
    /// Counts what a test may wait for.
    stirred: watch::Sender<u64>,
}

#[derive(Default)]
struct Book {
    plan: Plan,
    port_closed: bool,
    complaints: Vec<String>,
    notes: Vec<String>,
    requests: Vec<Request>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            book: Mutex::default(),
            port: Condvar::new(),
            planned: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            replies: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
            stirred: watch::Sender::new(0),
        }
    }
}

impl State {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stir(&self) {
        self.stirred.send_modify(|n| *n += 1);
    }

    /// What holds on a connection of this age.
    pub fn active(&self, connection: u64, age: Duration) -> Active {
        if !self.planned.load(Ordering::Acquire) {
            return Active::default();
        }
        self.book().plan.active(connection, age)
    }

    /// Writes a complaint down.
    pub fn complain(&self, connection: u64, what: &str) {
        self.book().complaints.push(format!("connection {connection}: {what}"));
        self.stir();
    }

    /// Writes a note down.
    pub fn note(&self, what: &str) {
        self.book().notes.push(what.to_owned());
        self.stir();
    }

    /// The complaints so far.
    pub fn complaints(&self) -> Vec<String> {
        self.book().complaints.clone()
    }

    /// Writes a request down.
    pub fn requested(&self, request: &Request) {
        self.book().requests.push(request.clone());
        self.stir();
    }

    /// Counts a reply that is whole.
    pub fn reply(&self) {
        self.replies.fetch_add(1, Ordering::AcqRel);
        self.stir();
    }

    /// Counts a reply that lost its client.
    pub fn abandon(&self) {
        self.abandoned.fetch_add(1, Ordering::AcqRel);
        self.stir();
    }

    fn port_is(&self, closed: bool) {
        self.book().port_closed = closed;
        self.port.notify_all();
    }
}

/// Counts a connection as open while it lives.
struct Open(Context);

impl Open {
    fn new(context: Context) -> Self {
        context.state.open.fetch_add(1, Ordering::AcqRel);
        context.state.stir();
        Self(context)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.complain("the fake itself panicked");
        }
        self.0.state.open.fetch_sub(1, Ordering::AcqRel);
        self.0.state.stir();
    }
}

async fn accept(
    listener: std::net::TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    vendor: Arc<dyn Vendor>,
    state: Arc<State>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut changed = state.changed.subscribe();
    let mut listener = TcpListener::from_std(listener).expect("a runtime with input and output");
    loop {
        if state.book().plan.port_refuses() {
            drop(listener);
            // Bound and not listening, a socket keeps the port and refuses.
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_reuseaddr(true).expect("an option every system has");
            socket.bind(address).expect("the port that was just given up");
            state.port_is(true);
            while state.book().plan.port_refuses() {
                tokio::select! {
                    _ = changed.changed() => {}
                    _ = stopped.changed() => return,
                }
            }
            listener = socket.listen(BACKLOG).expect("a bound socket");
            state.port_is(false);
        }
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((tcp, _)) = accepted else { continue };
                let connection = state.accepted.fetch_add(1, Ordering::AcqRel) + 1;
                let context = Context { state: Arc::clone(&state), connection, opened: Instant::now() };
                let open = Open::new(context.clone());
                let (vendor, tls) = (Arc::clone(&vendor), tls.clone());
                let mut cuts = state.cuts.subscribe();
                tokio::spawn(async move {
                    let _open = open;
                    let tcp = Tcp::new(tcp);
                    tokio::select! {
                        () = fate(&tcp, &context) => {}
                        _ = cuts.changed() => {}
                        () = serve(tcp.clone(), tls, vendor, context.clone()) => {}
                    }
                });
            }
            _ = changed.changed() => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Returns when a delay has run out behind which the connection is reset, having made its close a reset.
async fn fate(tcp: &Tcp, context: &Context) {
    let mut changed = context.state.changed.subscribe();
    loop {
        let active = context.active();
        if active.reset() {
            return tcp.close_by_reset();
        }
        let change = async {
            // The sender lives in the context.
            let _ = changed.changed().await;
        };
        match active.next {
            None => change.await,
            Some(age) => {
                tokio::select! {
                    () = change => {}
                    () = tokio::time::sleep_until((context.opened + age).into()) => {}
                }
            }
        }
    }
}

async fn serve(tcp: Tcp, tls: Option<TlsAcceptor>, vendor: Arc<dyn Vendor>, context: Context) {
    if context.active().has(Misbehaviour::Refuse) {
        return tcp.close_by_reset();
    }
    while context.active().has(Misbehaviour::StallInTls) {
        if !tcp.stall().await {
            return;
        }
    }
    let Some(tls) = tls else { return http::serve(Wire::new(tcp), vendor, context).await };
    // A client that does not trust the certificate is the test's affair.
    if let Ok(line) = tls.accept(tcp).await {
        http::serve(Wire::new(line), vendor, context).await;
    }
}
