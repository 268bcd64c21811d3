//! The matrix of faults: each is set on a first provider, fifty calls run at once, and what became of them is judged.

use super::fakes::{FakeServer, Misbehaviour, Vendor, voice};
use offhook::base::Pii;
use offhook::providers::Network;
use offhook::providers::registry::{Local, ProviderSpec, Registry};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Calls at once.
pub const CALLS: usize = 50;
/// From the request to the fallback's first piece: 1.5 s, and half as much again for a machine that is busy with other
/// things. The measured figures are printed.
pub const MOVED: Duration = Duration::from_millis(2_250);
/// From the request to the end of the answer, whoever gives it.
const WHOLE: Duration = Duration::from_millis(4_500);
/// A call that takes longer is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// Time for connections to be closed and tasks to end: the goodbye of a WebSocket is waited for up to 2 s.
const LEFT: Duration = Duration::from_secs(15);
/// The second provider's deadlines: it is well, and a machine that is busy with other things does not change that.
const PATIENT: Duration = Duration::from_secs(6);

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// The second provider answers.
    Moves,
    /// The first goes on as if nothing were wrong.
    Tolerated,
    /// Either; the answer is whole.
    Either,
}

/// Faults of the connection or the protocol.
pub const FAULTS: [(Misbehaviour, Expected); 9] = [
    (Misbehaviour::Refuse, Expected::Moves),
    (Misbehaviour::StallInTls, Expected::Moves),
    (Misbehaviour::StallAfterUpgrade, Expected::Moves),
    (Misbehaviour::HalfMessage, Expected::Moves),
    (Misbehaviour::WrongJson, Expected::Moves),
    (Misbehaviour::HugeFrame((1 << 20) + 1), Expected::Moves),
    (Misbehaviour::SlowDrip(Duration::from_millis(20)), Expected::Moves),
    (Misbehaviour::CloseMidWord(1011), Expected::Moves),
    (Misbehaviour::Silence, Expected::Moves),
];

const fn refusal(code: u16) -> (Misbehaviour, Expected) {
    (Misbehaviour::Status { code, retry_after: None }, Expected::Moves)
}

/// Refusals by HTTP status.
pub const REFUSALS: [(Misbehaviour, Expected); 5] =
    [refusal(401), refusal(402), refusal(429), refusal(500), refusal(503)];

/// What a client must not mind.
pub const TOLERATED: [(Misbehaviour, Expected); 2] =
    [(Misbehaviour::UnknownTypes, Expected::Tolerated), (Misbehaviour::DuplicateFinals, Expected::Tolerated)];

/// A fake and the provider that is configured for it.
pub struct Account {
    pub server: FakeServer,
    pub spec: ProviderSpec,
}

/// A vendor's fake behind TLS.
pub fn account(vendor: &str, key: &str, path: &str, fake: impl Vendor) -> Account {
    let server = FakeServer::start(fake);
    let spec = ProviderSpec {
        key: Some(Pii::new(key.to_owned())),
        url: Some(server.http_url(path)),
        ..ProviderSpec::of_vendor(vendor)
    };
    Account { server, spec }
}

/// What a call heard.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The whole answer.
    pub words: String,
    /// The same as sound, at 8 kHz; [`pitches`] in place of words.
    pub samples: Vec<i16>,
    /// From the question to its first piece.
    pub first: Duration,
    /// And to its last.
    pub whole: Duration,
    /// It says itself that it moved over.
    pub moved: bool,
}

/// Pitches as a text, a word that is said twice in a row once.
pub fn pitches(heard: impl Iterator<Item = u32>) -> String {
    let mut all: Vec<String> = heard.map(|pitch| pitch.to_string()).collect();
    all.dedup();
    all.join(" ")
}

/// One stage with two providers.
pub struct Matrix {
    stage: &'static str,
    pub primary: fn() -> Account,
    fallback: fn() -> Account,
    /// The slowest first piece without any fault, which says how busy the machine is.
    healthy: Duration,
    faults: Vec<String>,
}

impl Matrix {
    pub fn new(stage: &'static str, primary: fn() -> Account, fallback: fn() -> Account) -> Self {
        println!("{stage}: {CALLS} calls each; first piece p50/max, whole max, ms");
        Self { stage, primary, fallback, healthy: Duration::ZERO, faults: Vec::new() }
    }

    /// Runs without any fault, to know the machine.
    pub async fn warm_up<F>(&mut self, words: &str, call: impl Fn(Arc<Registry>, Vec<String>) -> F)
    where
        F: Future<Output = Result<Heard, String>> + Send + 'static,
    {
        self.healthy = self.run(|_| (), "none", Expected::Either, words, call).await;
    }

    /// Runs one fault, which `spoil` sets, and notes what was wrong.
    pub async fn run<F>(
        &mut self,
        spoil: impl FnOnce(&FakeServer),
        name: &str,
        expected: Expected,
        words: &str,
        call: impl Fn(Arc<Registry>, Vec<String>) -> F,
    ) -> Duration
    where
        F: Future<Output = Result<Heard, String>> + Send + 'static,
    {
        let before = Handle::current().metrics().num_alive_tasks();
        let (primary, mut fallback) = ((self.primary)(), (self.fallback)());
        (fallback.spec.connect_timeout, fallback.spec.first_timeout) = (Some(PATIENT), Some(PATIENT));
        fallback.spec.stall_timeout = Some(PATIENT);
        spoil(&primary.server);
        let network = Network::new(primary.server.ca_pem().as_bytes()).expect("a network");
        let names = vec![primary.spec.name.clone(), fallback.spec.name.clone()];
        let specs = vec![primary.spec.clone(), fallback.spec.clone()];
        let registry = Arc::new(Registry::new(specs, network, Box::new(|_| None), Local::default()));
        let mut calls = JoinSet::new();
        for _ in 0..CALLS {
            calls.spawn(timeout(STUCK, call(Arc::clone(&registry), names.clone())));
        }
        drop(registry);
        let outcomes: Vec<_> = calls.join_all().await;
        let moved = fallback.server.requests().len();
        let stuck = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        let failed: Vec<_> = outcomes.iter().flatten().filter_map(|outcome| outcome.as_ref().err()).collect();
        let mut heard: Vec<_> = outcomes.iter().flatten().flatten().cloned().collect();
        for heard in heard.iter_mut().filter(|heard| !heard.samples.is_empty()) {
            heard.words =
                pitches(voice::hear(&std::mem::take(&mut heard.samples), 8_000).iter().map(|(pitch, ..)| *pitch));
        }
        let mut first: Vec<_> = heard.iter().map(|heard| heard.first).collect();
        first.sort_unstable();
        let slowest = heard.iter().map(|heard| heard.whole).max().unwrap_or_default();
        let (median, worst) = (first.get(first.len() / 2).copied(), first.last().copied());
        let ms = |time: Option<Duration>| time.map_or_else(|| "-".into(), |time| time.as_millis().to_string());
        println!(
            "  {name:44} {:>5} {:>5} {:>5}  requests to the second: {moved}",
            ms(median),
            ms(worst),
            ms(Some(slowest))
        );
        let busy = self.healthy * 3;
        let mut wrong = |what: String| self.faults.push(format!("{name}: {what}"));
        if stuck > 0 {
            wrong(format!("{stuck} calls are stuck"));
        }
        if let Some(error) = failed.first() {
            wrong(format!("{} calls got no answer: {error}", failed.len()));
        }
        let other: Vec<_> = heard.iter().filter(|heard| heard.words != words).collect::<Vec<_>>();
        if let Some(one) = other.first() {
            wrong(format!("{} calls heard otherwise: {one:?}", other.len()));
        }
        if worst.is_some_and(|worst| worst > MOVED + busy) || slowest > WHOLE + busy {
            wrong(format!("too late: {worst:?}, whole {slowest:?}"));
        }
        match expected {
            Expected::Moves if moved == 0 => wrong("nobody asked the second".into()),
            Expected::Tolerated if moved > 0 => wrong(format!("{moved} requests to the second")),
            _ => {}
        }
        let began = Instant::now();
        let gone = |server: &FakeServer| server.open_connections() == 0;
        let closed = primary.server.until(LEFT, gone).await && fallback.server.until(LEFT, gone).await;
        if !closed {
            let (first, second) = (primary.server.open_connections(), fallback.server.open_connections());
            wrong(format!("{first} and {second} connections are open"));
        }
        while Handle::current().metrics().num_alive_tasks() > before && began.elapsed() < LEFT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let after = Handle::current().metrics().num_alive_tasks();
        if after > before {
            wrong(format!("{} tasks are left", after - before));
        }
        let complaints = fallback.server.complaints();
        if !complaints.is_empty() {
            wrong(format!("the second complains: {complaints:?}"));
        }
        worst.unwrap_or_default()
    }

    /// Fails with everything that was wrong.
    pub fn finish(self) {
        assert!(self.faults.is_empty(), "{}:\n{}", self.stage, self.faults.join("\n"));
    }
}
