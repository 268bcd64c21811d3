//! What the interop tests share: the peers and the server as processes, WAV files, and the comparison of audio.
//!
//! The peers live in `tests/interop/*.sh`. A [`Bench`] holds a lock on the machine for as long as it lives, so that
//! tests that need it to themselves have it, whatever the test runner does.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Samples per second of all audio here: what G.711 carries.
pub const RATE: u32 = 8_000;

/// Limit of a wait for what happens at once on a machine that has time for it: far above, so that a loaded one does not fail
/// the test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds, looking every 50 ms. The peers are other processes, so there is no virtual
/// time here; a test fails with `what` when `limit` is over.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} for: {what}");
        pause(Duration::from_millis(50));
    }
}

/// Lets time pass for a call that is going on.
#[expect(clippy::disallowed_methods, reason = "a call between real processes takes real time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The place of one interop test: a directory that goes away with it, loopback addresses that no other test
/// uses at the same time, and the lock that keeps tests with peers apart.
pub struct Bench {
    directory: tempfile::TempDir,
    addresses: u8,
    _claim: UdpSocket,
    _lock: File,
}

impl Bench {
    /// Waits for its turn, then opens a bench with the machine to itself.
    pub fn open() -> Self {
        Self::with_lock(File::lock)
    }

    /// The same beside others of its kind, for what measures no time and is mostly silence.
    pub fn open_beside_others() -> Self {
        Self::with_lock(File::lock_shared)
    }

    fn with_lock(take: fn(&File) -> std::io::Result<()>) -> Self {
        let cache = cache();
        fs::create_dir_all(&cache).expect("the cache directory can be made");
        let lock = File::create(cache.join("interop.lock")).expect("the lock file can be made");
        take(&lock).expect("the lock can be taken");
        // A short path: Asterisk keeps a Unix socket below it.
        let directory = tempfile::Builder::new().prefix("oh-").tempdir_in("/tmp").expect("a temporary directory");
        // A socket says that its addresses are taken, to other checkouts on this machine as well.
        let first = std::process::id() % 200;
        let (addresses, claim) = (0..200)
            .map(|n| ((first + n) % 200 + 20) as u8)
            .find_map(|n| Some((n, UdpSocket::bind((Ipv4Addr::new(127, 42, n, 250), 5059)).ok()?)))
            .expect("a network of loopback addresses is free");
        Self { directory, addresses, _claim: claim, _lock: lock }
    }

    /// The directory of this test.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The loopback address of `peer`, below 250.
    pub fn address(&self, peer: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 42, self.addresses, peer)
    }

    /// A SIP port of the first loopback address that no other bench uses, for `number` below 20; the next one is free too.
    /// For baresip, whose RTP leaves from that address only.
    pub fn loopback_port(&self, number: u8) -> u16 {
        let is_free = |port: u16| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
        };
        // What runs beside may listen on every address.
        (0..=u8::MAX)
            .map(|skipped| self.addresses.wrapping_add(skipped.wrapping_mul(51)))
            .map(|place| 20_000 + u16::from(place) * 40 + 2 * u16::from(number))
            .find(|port| is_free(*port) && is_free(port + 1))
            .expect("a free port")
    }

    /// Writes a file of this test.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).expect("the file can be written");
        path
    }
}

/// Where the unpacked peers are kept between runs.
pub fn cache() -> PathBuf {
    std::env::var_os("OFFHOOK_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cache"), PathBuf::from)
}

/// A script of `tests/interop/`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

/// Runs `command` to its end and gives its output; fails the test, with what it said, when it fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A running Asterisk; it stops when this is dropped.
pub struct Asterisk {
    run: PathBuf,
    ip: Ipv4Addr,
    trunk: Ipv4Addr,
    bot: Ipv4Addr,
    expiry: u32,
}

impl Asterisk {
    /// SIP port of the PBX and of the far end of its trunk.
    pub const PORT: u16 = 5060;

    /// Starts one on the bench's address 10, with a trunk to the bench's address 20, a bot at its address 40, and `expiry_s`
    /// as the longest registration that it grants, in seconds.
    pub fn start(bench: &Bench, expiry_s: u32) -> Self {
        let this = Self {
            run: bench.path().join("ast"),
            ip: bench.address(10),
            trunk: bench.address(20),
            bot: bench.address(40),
            expiry: expiry_s,
        };
        fs::create_dir_all(this.run.join("hold")).expect("its directory can be made");
        write_wav(&this.run.join("hold/hold.wav"), &music(60));
        run(this.script().arg("up"));
        this
    }

    fn script(&self) -> Command {
        let mut command = Command::new(script("asterisk.sh"));
        command
            .env("ASTERISK_RUN", &self.run)
            .env("ASTERISK_IP", self.ip.to_string())
            .env("ASTERISK_EXPIRY", self.expiry.to_string())
            .env("TRUNK_IP", self.trunk.to_string())
            .env("BOT_IP", self.bot.to_string());
        command
    }

    /// Its SIP address as `IP:PORT`.
    pub fn address(&self) -> String {
        self.socket().to_string()
    }

    /// Its SIP address.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::from((self.ip, Self::PORT))
    }

    /// A file of its directory of keys and certificates.
    pub fn key(&self, name: &str) -> PathBuf {
        self.run.join("keys").join(name)
    }

    /// From here on every SIP message goes to its log; [`Self::messages`] takes it apart.
    pub fn trace(&self) {
        self.cli("pjsip set logger on");
    }

    /// The SIP messages since [`Self::trace`], in order, as far as they are in the log.
    pub fn messages(&self) -> Vec<Message> {
        let log = self.log();
        log.split("<--- ").skip(1).filter_map(Message::parse).collect()
    }

    /// The answer of its console to `command`. Asked by the socket that `asterisk -rx` uses, since tests look at the PBX
    /// many times a second and a process for each look would take more than the calls do.
    #[track_caller]
    pub fn cli(&self, command: &str) -> String {
        let ask = || {
            let mut console = UnixStream::connect(self.run.join("asterisk.ctl"))?;
            console.set_read_timeout(Some(Duration::from_secs(30)))?;
            console.write_all(format!("cli quit after {command}\0").as_bytes())?;
            let mut answer = Vec::new();
            console.read_to_end(&mut answer)?;
            Ok(answer)
        };
        let answer: Vec<u8> = ask().unwrap_or_else(|error: std::io::Error| panic!("{command}: {error}"));
        // First it says who it is. What it tells every console begins with an octet above ASCII.
        let lines = answer.split(|octet| *octet == b'\n').skip(1);
        let lines: Vec<_> = lines.filter(|line| line.first().is_none_or(u8::is_ascii)).collect();
        String::from_utf8_lossy(&lines.join(&b'\n')).into_owned()
    }

    /// Ends it as a power cut does, and starts it without its registrations.
    pub fn power_cycle(&self) {
        run(self.script().arg("kill"));
        run(self.script().arg("restart"));
    }

    /// Whether `extension` is registered and answers.
    pub fn has_contact(&self, extension: &str) -> bool {
        self.cli("pjsip show contacts").lines().any(|line| line.contains(&format!("{extension}/sip:")))
    }

    /// The number of channels in use.
    pub fn channels(&self) -> u32 {
        let text = self.cli("core show channels count");
        text.lines()
            .find(|line| line.contains("active channel"))
            .and_then(|line| line.split_whitespace().next())
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("no count of channels in {text:?}"))
    }

    /// A file that its dial plan can play.
    pub fn played_file(&self, name: &str) -> PathBuf {
        self.run.join("play").join(name)
    }

    /// Sets what extension 625 and `play@interop` play.
    pub fn set_played(&self, samples: &[i16]) {
        write_wav(&self.played_file("in.wav"), samples);
    }

    /// Sets a global variable of the dial plan.
    pub fn set_global(&self, name: &str, value: &str) {
        self.cli(&format!("dialplan set global {name} {value}"));
    }

    /// Where the dial plan puts this recording.
    pub fn recording_file(&self, name: &str) -> PathBuf {
        self.run.join("rec").join(name)
    }

    /// A recording that the dial plan made, once it is complete. A channel may be gone before its recording is closed, which
    /// is when the header says how long it is.
    pub fn recording(&self, name: &str) -> Vec<i16> {
        let path = self.recording_file(name);
        wait_until(PATIENCE, &format!("{} is written", path.display()), || {
            self.channels() == 0 && hound::WavReader::open(&path).is_ok_and(|file| file.duration() > 0)
        });
        read_wav(&path)
    }

    /// Waits until it has logged a SIP message like this since [`Self::trace`]: its log is written beside its calls.
    #[track_caller]
    pub fn wait_for_message(&self, what: &str, is_it: impl Fn(&Message) -> bool) -> Message {
        let mut found = None;
        wait_until(PATIENCE, what, || {
            found = self.messages().into_iter().find(&is_it);
            found.is_some()
        });
        found.expect("it was waited for")
    }

    /// Whether a channel is in this application of the dial plan.
    pub fn is_in(&self, application: &str) -> bool {
        self.cli("core show channels concise").contains(&format!("!{application}!"))
    }

    /// A value of its database that the dial plan set.
    pub fn database(&self, key: &str) -> Option<String> {
        let text = self.cli(&format!("database get interop {key}"));
        text.lines().find_map(|line| line.strip_prefix("Value: ")).map(|value| value.trim().to_owned())
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.run.join("log/full")).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        run(self.script().arg("pid")).trim().parse().expect("a process id")
    }
}

/// A SIP message in Asterisk's log.
#[derive(Clone, Debug)]
pub struct Message {
    /// Asterisk sent it.
    pub sent: bool,
    /// From its first line to the end of its body.
    pub text: String,
}

impl Message {
    /// `Transmitting SIP request (838 bytes) to UDP:127.0.0.20:5060 --->` and the message.
    fn parse(entry: &str) -> Option<Self> {
        let (head, text) = entry.split_once(" --->\n")?;
        let sent = head.starts_with("Transmitting");
        (sent || head.starts_with("Received")).then(|| Self { sent, text: text.replace('\r', "") })
    }

    /// Whether its first line begins with `start`.
    pub fn is(&self, start: &str) -> bool {
        self.text.starts_with(start)
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\n\n").next()?;
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Drop for Asterisk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(60).collect();
            eprintln!("--- the end of Asterisk's log");
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
        let _ = output(self.script().arg("down"));
    }
}

/// A running `offhook serve` with its event stream; it ends when this is dropped.
pub struct Server {
    running: Running,
    errors: PathBuf,
}

impl Server {
    /// Starts the server with the given configuration, which may begin with further lines of `[media]`: it listens on the
    /// bench's address 20, SIP port 5060, which is also the far end of Asterisk's trunk. Fails the test unless
    /// it listens within 90 seconds; it loads the models before.
    #[track_caller]
    pub fn start(bench: &Bench, config: &str) -> Self {
        Self::start_on(bench, &format!("sip_listen = \"{}:5060\"", bench.address(20)), config)
    }

    /// The same with the lines of `[server]` given.
    #[track_caller]
    pub fn start_on(bench: &Bench, server: &str, config: &str) -> Self {
        let ip = bench.address(20);
        let head = format!("[server]\n{server}\n\n[media]\nbind = \"{ip}\"\nrtp_ports = \"40000-49999\"\n\n");
        let file = bench.write("offhook.toml", &(head + config));
        let errors = bench.path().join("offhook.log");
        let mut command = offhook();
        command.args(["serve", "--json", "-c"]).arg(file);
        let log = File::create(&errors).expect("the log can be made");
        let out = File::create(bench.path().join("offhook.events")).expect("the file can be made");
        let running =
            Running::spawn("offhook serve", command.stdout(out).stderr(log), bench.path().join("offhook.events"));
        let mut this = Self { running, errors };
        wait_until(Duration::from_secs(90), "the server listens", || {
            assert!(this.running.is_running(), "offhook serve ended: {}", this.errors());
            this.errors().contains("listening")
        });
        this
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// What it wrote to its standard error.
    pub fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Every event so far.
    pub fn events(&self) -> Vec<serde_json::Value> {
        // The last line may be half written.
        self.running.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The events of this name so far.
    pub fn events_named(&self, name: &str) -> Vec<serde_json::Value> {
        self.events().into_iter().filter(|event| event["event"] == name).collect()
    }

    /// Waits for the first event of this name.
    #[track_caller]
    pub fn wait_for(&self, name: &str, limit: Duration) -> serde_json::Value {
        wait_until(limit, &format!("event {name}"), || !self.events_named(name).is_empty());
        self.events_named(name).swap_remove(0)
    }

    /// Asks it to end and waits; gives its exit code.
    #[track_caller]
    pub fn stop(&mut self) -> Option<i32> {
        self.running.terminate(Duration::from_secs(15))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- offhook serve, its errors\n{}", self.errors());
        }
    }
}

/// The program under test, quiet about colours.
pub fn offhook() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offhook"));
    command.env("NO_COLOR", "1");
    command
}

/// An agent file of `tests/interop/agents/`, as a TOML string.
pub fn agent_file(name: &str) -> String {
    format!("\"{}\"", script(&format!("agents/{name}.yaml")).display())
}

/// How sipp's calls ended, from the last line of its statistics.
#[derive(Debug)]
pub struct SippCount {
    pub successful: u64,
    pub failed: u64,
    pub retransmissions: u64,
    pub unexpected: u64,
}

/// Starts sipp in `directory`, where `speech.ulaw` is what its callers say.
pub fn sipp(directory: &Path, scenario: &str, arguments: &[&str]) -> Command {
    fs::create_dir_all(directory).expect("sipp's directory can be made");
    let mut command = Command::new(script("sipp.sh"));
    command
        .current_dir(directory)
        .arg("-sf")
        .arg(script(&format!("sipp/{scenario}.xml")))
        .args(["-nostdin", "-trace_stat", "-fd", "1", "-stf", "stat.csv", "-trace_err", "-error_file", "errors"])
        .args(arguments);
    command
}

/// Reads what [`sipp`] left in `directory`.
pub fn sipp_count(directory: &Path) -> SippCount {
    let text = fs::read_to_string(directory.join("stat.csv")).expect("sipp wrote its statistics");
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().unwrap_or_default().split(';').collect();
    let values: Vec<_> = lines.next_back().unwrap_or_default().split(';').collect();
    let value = |name: &str| -> u64 {
        let at = names.iter().position(|n| *n == name).unwrap_or_else(|| panic!("no {name} in {names:?}"));
        values.get(at).and_then(|v| v.trim().parse().ok()).unwrap_or_else(|| panic!("{name} is no number"))
    };
    SippCount {
        successful: value("SuccessfulCall(C)"),
        failed: value("FailedCall(C)"),
        retransmissions: value("Retransmissions(C)"),
        unexpected: value("FailedUnexpectedMessage(C)"),
    }
}

/// A child that is ended, and its output shown if the test failed, when this is dropped.
pub struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts `command` with its output in `log`.
    pub fn start(name: &str, command: &mut Command, log: PathBuf) -> Self {
        let out = File::create(&log).expect("the log can be made");
        let error = out.try_clone().expect("the log can be shared");
        Self::spawn(name, command.stdout(out).stderr(error), log)
    }

    /// The same for one that is told what to do through [`Self::input`].
    pub fn start_piped(name: &str, command: &mut Command, log: PathBuf) -> Self {
        let out = File::create(&log).expect("the log can be made");
        let error = out.try_clone().expect("the log can be shared");
        Self::adopt(name, command.stdin(Stdio::piped()).stdout(out).stderr(error), log)
    }

    /// Starts `command`, whose output goes to `log` already.
    pub fn spawn(name: &str, command: &mut Command, log: PathBuf) -> Self {
        Self::adopt(name, command.stdin(Stdio::null()), log)
    }

    fn adopt(name: &str, command: &mut Command, log: PathBuf) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, name: name.to_owned(), log }
    }

    /// Where it reads what to do.
    pub fn input(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().expect("started by start_piped")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end (SIGTERM) and waits; gives its exit code.
    #[track_caller]
    pub fn terminate(&mut self, limit: Duration) -> Option<i32> {
        signal(self.child.id(), "TERM");
        self.wait(limit)
    }

    /// Waits for its end; gives its exit code.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status.code();
            }
            assert!(start.elapsed() < limit, "{} still runs after {limit:?}\n{}", self.name, self.output());
            pause(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<_> = output.lines().collect();
            eprintln!(
                "--- {}, the end of its output\n{}",
                self.name,
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

/// Sends a signal by name to a process that this test started.
pub fn signal(pid: u32, name: &str) {
    run(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]));
}

/// UDP ports that `pid` has open.
pub fn open_udp_ports(pid: u32) -> usize {
    let inodes: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the process runs")
        .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    ["udp", "udp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .map(|table| {
            let owned = |line: &&str| line.split_whitespace().nth(9).is_some_and(|i| inodes.iter().any(|o| o == i));
            table.lines().skip(1).filter(owned).count()
        })
        .sum()
}

/// Threads of `pid`.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Resident memory of `pid`, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Samples of a mono 16-bit WAV file at [`RATE`]; of several channels, the first.
pub fn read_wav(path: &Path) -> Vec<i16> {
    let mut reader = hound::WavReader::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let spec = reader.spec();
    assert_eq!((spec.sample_rate, spec.bits_per_sample), (RATE, 16), "{}", path.display());
    reader.samples::<i16>().step_by(spec.channels.into()).map_while(Result::ok).collect()
}

/// Writes a mono 16-bit WAV file at [`RATE`].
pub fn write_wav(path: &Path, samples: &[i16]) {
    let spec =
        hound::WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for sample in samples {
        writer.write_sample(*sample).expect("the file can be written");
    }
    writer.finalize().expect("the file can be finished");
}

/// Seconds of made-up speech: bursts of a gliding tone, so that no two frames are alike.
pub fn babble(seconds: usize) -> Vec<i16> {
    gliding(seconds, 7, 400, 1_300.0)
}

/// Seconds of what the PBX plays to those on hold: like [`babble`], but other.
pub fn music(seconds: usize) -> Vec<i16> {
    gliding(seconds, 41, 640, 1_900.0)
}

/// A tone of random height, another every `note` samples, that swells and fades every `swell` samples.
fn gliding(seconds: usize, mut seed: u32, note: usize, swell: f64) -> Vec<i16> {
    let (mut phase, mut frequency) = (0.0_f64, 300.0);
    (0..seconds * RATE as usize)
        .map(|n| {
            if n % note == 0 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                frequency = 250.0 + f64::from(seed >> 22);
            }
            phase += std::f64::consts::TAU * frequency / f64::from(RATE);
            let syllable = (n as f64 / swell).sin().max(0.0);
            (phase.sin() * syllable * 8_000.0) as i16
        })
        .collect()
}

/// Writes headerless µ-law, as sipp plays it. The G.711 steps, kept apart from the code under test.
pub fn write_ulaw(path: &Path, samples: &[i16]) {
    let encode = |sample: &i16| {
        let sign = if *sample < 0 { 0x00 } else { 0x80 };
        let magnitude = (i32::from(*sample).abs().min(32_635) + 132) as u32;
        let exponent = 24 - magnitude.leading_zeros();
        sign | !(((exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0f)) as u8) & 0x7f
    };
    let bytes: Vec<u8> = samples.iter().map(encode).collect();
    File::create(path).and_then(|mut file| file.write_all(&bytes)).expect("the file can be written");
}

/// How much of a sent recording is found in a received one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Voiced frames of 100 ms in what was sent.
    pub voiced: usize,
    /// Those of them that were received: correlation above 0.8 within 120 ms of their place.
    pub found: usize,
    /// Delay of the received recording against the sent one, in milliseconds.
    pub delay_ms: f64,
}

impl Found {
    /// Share of the voiced frames that were found, 0 to 1.
    pub fn share(&self) -> f64 {
        if self.voiced == 0 { 0.0 } else { self.found as f64 / self.voiced as f64 }
    }
}

/// Looks for `sent` in `received`, frame by frame.
///
/// The overall delay comes from one cross-correlation of the two; each voiced frame is then looked for around
/// its place, since a jitter buffer may stretch or shorten the audio during the call.
pub fn compare(sent: &[i16], received: &[i16]) -> Found {
    const FRAME: usize = RATE as usize / 10;
    const SLACK: usize = RATE as usize * 12 / 100;
    const VOICED_RMS: f64 = 300.0;
    const SAME: f64 = 0.8;

    let sent: Vec<f64> = sent.iter().map(|s| f64::from(*s)).collect();
    let received: Vec<f64> = received.iter().map(|s| f64::from(*s)).collect();
    let delay = best_delay(&sent, &received);
    let (mut voiced, mut found) = (0, 0);
    for (index, frame) in sent.chunks_exact(FRAME).enumerate() {
        let energy: f64 = frame.iter().map(|s| s * s).sum();
        if (energy / FRAME as f64).sqrt() < VOICED_RMS {
            continue;
        }
        voiced += 1;
        let place = (index * FRAME) as isize + delay;
        let from = (place - SLACK as isize).clamp(0, received.len() as isize) as usize;
        let to = (place + (FRAME + SLACK) as isize).clamp(0, received.len() as isize) as usize;
        let place = &received[from..to];
        let likeness = correlation(frame, place, place.len().max(FRAME).next_power_of_two());
        let mut energy_here: f64 = place.iter().take(FRAME).map(|s| s * s).sum();
        let mut best = 0.0_f64;
        for (at, dot) in likeness.iter().enumerate().take((place.len() + 1).saturating_sub(FRAME)) {
            best = best.max(dot / (energy_here.max(1.0) * energy).sqrt());
            let entering = place.get(at + FRAME).copied().unwrap_or_default();
            energy_here += entering * entering - place[at] * place[at];
        }
        if best > SAME {
            found += 1;
        }
    }
    Found { voiced, found, delay_ms: delay as f64 * 1000.0 / f64::from(RATE) }
}

/// The shift, in samples, at which `received` is most like `sent`.
fn best_delay(sent: &[f64], received: &[f64]) -> isize {
    let length = (sent.len() + received.len()).next_power_of_two();
    let correlation = correlation(sent, received, length);
    let best = correlation.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at);
    if best < received.len() { best as isize } else { best as isize - length as isize }
}

/// The sum of products of `sent` with `received` from each place on, modulo `length`, which neither exceeds.
fn correlation(sent: &[f64], received: &[f64], length: usize) -> Vec<f64> {
    let mut planner = realfft::RealFftPlanner::<f64>::new();
    let forward = planner.plan_fft_forward(length);
    let backward = planner.plan_fft_inverse(length);
    let spectrum = |samples: &[f64]| {
        let mut padded = samples.to_vec();
        padded.resize(length, 0.0);
        let mut out = forward.make_output_vec();
        forward.process(&mut padded, &mut out).expect("lengths match");
        out
    };
    let mut product = spectrum(received);
    for (a, b) in product.iter_mut().zip(spectrum(sent)) {
        *a *= b.conj();
    }
    let mut correlation = backward.make_output_vec();
    // The first and last bins of a real spectrum have no imaginary part.
    for edge in [0, product.len() - 1] {
        product[edge].im = 0.0;
    }
    backward.process(&mut product, &mut correlation).expect("lengths match");
    // The transform there and back multiplies by the length.
    correlation.iter().map(|sum| sum / length as f64).collect()
}
