//! The matrix of faults: each is set on a first provider, calls run at once, and what became of them is judged.

use super::account::Account;
use super::fakes::server::{this_thread, waited};
use super::fakes::{FakeServer, Misbehaviour, voice};
use offhook::providers::Network;
use offhook::providers::registry::{Local, Registry};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Calls at once.
pub const CALLS: usize = 50;
/// Cases whose calls run at the same time.
const AT_ONCE: usize = 4;
/// From the request to the fallback's first piece. To this and the other limits comes what the machine was late by, and no
/// other slowness: the time for which the case's own threads stood ready to run, which the system tells, and twice (there
/// are two vendors) what looking up a name and connecting took at the worst beside the calls. The figures are printed.
pub const MOVED: Duration = Duration::from_millis(1_500);
/// From the request to the end of the answer, whoever gives it.
const WHOLE: Duration = Duration::from_millis(4_500);
/// A call that takes longer is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// Time for connections to be closed and tasks to end: the goodbye of a WebSocket is waited for up to 2 s.
const LEFT: Duration = Duration::from_secs(15);
/// Between two looks at how late the machine is.
const BEAT: Duration = Duration::from_millis(100);
/// A case for which the machine was late by less than this has not failed for its sake.
const LATE: Duration = Duration::from_millis(300);
/// How often a case that may have failed for the machine's sake is run once more, alone.
const AGAIN: usize = 2;
/// Of so many cases one may stay without a verdict, because the machine was late by [`LATE`] each time.
const UNJUDGED: usize = 8;
/// The second provider's deadlines: it is well, and a machine that is busy with other things does not change that.
const PATIENT: Duration = Duration::from_secs(6);

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// The second provider answers.
    Moves,
    /// The second provider answers all of it anew, behind what was heard of the first.
    Repeats,
    /// The first ends before all is said, and nothing in its protocol tells that from an end.
    EndsEarly,
    /// The first goes on as if nothing were wrong.
    Tolerated,
    /// Either; the answer is whole.
    Either,
    /// The second provider has a connection of every call.
    AllMove,
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
pub const REFUSALS: [(Misbehaviour, Expected); 3] = [refusal(401), refusal(429), refusal(503)];

/// What a client must not mind.
pub const TOLERATED: [(Misbehaviour, Expected); 2] =
    [(Misbehaviour::UnknownTypes, Expected::Tolerated), (Misbehaviour::DuplicateFinals, Expected::Tolerated)];

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

/// A call: what it does with the two providers of a registry.
pub type Call = Arc<dyn Fn(Arc<Registry>, Vec<String>) -> Calling + Send + Sync>;
type Calling = Pin<Box<dyn Future<Output = Result<Heard, String>> + Send>>;

/// Boxes a call.
pub fn call<F>(call: impl Fn(Arc<Registry>, Vec<String>) -> F + Send + Sync + 'static) -> Call
where
    F: Future<Output = Result<Heard, String>> + Send + 'static,
{
    Arc::new(move |registry, names| Box::pin(call(registry, names)))
}

/// Makes a provider and its fake.
pub type Making = Arc<dyn Fn() -> Account + Send + Sync>;

/// One fault.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub calls: usize,
    pub primary: Making,
    pub fallback: Making,
    /// Sets the fault on the first.
    pub spoil: Arc<dyn Fn(&FakeServer) + Send + Sync>,
    pub expected: Expected,
    /// What every call has to hear.
    pub words: String,
    pub call: Call,
}

/// What became of a case.
pub struct Outcome {
    /// The case's name.
    pub name: String,
    /// What became of its calls, which is what was expected.
    pub expected: Expected,
    line: String,
    late: Duration,
    wrong: Vec<String>,
}

impl Outcome {
    fn may_be_the_machine_s(&self) -> bool {
        !self.wrong.is_empty() && self.late >= LATE
    }
}

/// One stage and its faults. Each case has a runtime of its own, so that what it leaves behind is seen; their calls run
/// few cases at a time, so that they are no load for each other, and all wait together for connections to close.
pub struct Matrix {
    stage: &'static str,
    calls: usize,
    at_once: usize,
    primary: Making,
    fallback: Making,
    wrong: Vec<String>,
    cases: Vec<Case>,
}

impl Matrix {
    /// Of fifty calls each.
    pub fn new(stage: &'static str, primary: fn() -> Account, fallback: fn() -> Account) -> Self {
        Self::of_calls(CALLS, AT_ONCE, stage, Arc::new(primary), Arc::new(fallback))
    }

    /// Of so many calls each, with so many cases at once.
    pub fn of_calls(calls: usize, at_once: usize, stage: &'static str, primary: Making, fallback: Making) -> Self {
        println!("{stage}: {calls} calls each; first piece p50/max, whole max, ms; by how much the machine was late");
        Self { stage, calls, at_once, primary, fallback, wrong: Vec::new(), cases: Vec::new() }
    }

    /// Runs without any fault, so that what is made once is there.
    pub fn warm_up(&mut self, words: &str, call: &Call) {
        let case = self.case("none", |_| (), Expected::Either, words, call);
        let outcome = run(case, &Semaphore::new(1));
        println!("{}", outcome.line);
        self.wrong.extend(outcome.wrong);
    }

    fn case(
        &self,
        name: &str,
        spoil: impl Fn(&FakeServer) + Send + Sync + 'static,
        expected: Expected,
        words: &str,
        call: &Call,
    ) -> Case {
        Case {
            name: name.to_owned(),
            calls: self.calls,
            primary: Arc::clone(&self.primary),
            fallback: Arc::clone(&self.fallback),
            spoil: Arc::new(spoil),
            expected,
            words: words.to_owned(),
            call: Arc::clone(call),
        }
    }

    /// Adds a fault that holds from the beginning.
    pub fn fault(&mut self, fault: Misbehaviour, expected: Expected, words: &str, call: &Call) {
        let spoil = move |primary: &FakeServer| primary.misbehave(fault);
        self.cases.push(self.case(&format!("{fault:?}"), spoil, expected, words, call));
    }

    /// Adds a fault of connections that have seemed well for so long.
    pub fn later(&mut self, age: Duration, fault: Misbehaviour, expected: Expected, words: &str, call: &Call) {
        let spoil = move |primary: &FakeServer| primary.misbehave_after(age, fault);
        self.cases.push(self.case(&format!("{fault:?}"), spoil, expected, words, call));
    }

    /// Makes the last case one of another first provider, and says so.
    pub fn of(&mut self, primary: impl Fn() -> Account + Send + Sync + 'static, whose: &str) {
        let case = self.cases.last_mut().expect("a case");
        case.primary = Arc::new(primary);
        case.name.push_str(whose);
    }

    /// Runs all of them, and fails with everything that was wrong.
    pub fn finish(mut self) -> Vec<Outcome> {
        let places = Semaphore::new(self.at_once);
        let cases = std::mem::take(&mut self.cases);
        let mut outcomes = Vec::new();
        std::thread::scope(|scope| {
            let running: Vec<_> = cases.iter().map(|case| scope.spawn(|| run(case.clone(), &places))).collect();
            outcomes.extend(running.into_iter().map(|case| case.join().expect("a case that does not panic")));
        });
        let mut unjudged = 0;
        for (case, outcome) in cases.iter().zip(&mut outcomes) {
            for _ in 0..AGAIN {
                if outcome.may_be_the_machine_s() {
                    println!("{}\n    once more, alone: {}", outcome.line, outcome.wrong.join("; "));
                    *outcome = run(case.clone(), &places);
                }
            }
            println!("{}", outcome.line);
            if outcome.may_be_the_machine_s() && unjudged < cases.len() / UNJUDGED {
                println!("    without a verdict: {}", outcome.wrong.join("; "));
                unjudged += 1;
                continue;
            }
            self.wrong.append(&mut outcome.wrong);
        }
        assert!(self.wrong.is_empty(), "{}:\n{}", self.stage, self.wrong.join("\n"));
        outcomes
    }
}

fn run(case: Case, places: &Semaphore) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(judge(case, places))
}

async fn judge(case: Case, places: &Semaphore) -> Outcome {
    let place = places.acquire().await.expect("a semaphore that is never closed");
    let (primary, mut fallback) = ((case.primary)(), (case.fallback)());
    (fallback.spec.connect_timeout, fallback.spec.first_timeout) = (Some(PATIENT), Some(PATIENT));
    fallback.spec.stall_timeout = Some(PATIENT);
    (case.spoil)(&primary.server);
    let network = Network::new(primary.server.ca_pem().as_bytes()).expect("a network");
    let names = vec![primary.spec.name.clone(), fallback.spec.name.clone()];
    let specs = vec![primary.spec.clone(), fallback.spec.clone()];
    let registry = Arc::new(Registry::new(specs, network, Box::new(|_| None), Local::default()));
    let thread = this_thread();
    let unserved = || waited(&thread) + primary.server.waited() + fallback.server.waited();
    let before = unserved();
    let beat = Arc::new(Beat::default());
    let beating = tokio::spawn(Arc::clone(&beat).go(fallback.server.address().port()));
    let mut calls = JoinSet::new();
    for _ in 0..case.calls {
        calls.spawn(timeout(STUCK, (case.call)(Arc::clone(&registry), names.clone())));
    }
    drop(registry);
    let outcomes: Vec<_> = calls.join_all().await;
    beating.abort();
    let late = unserved().saturating_sub(before) + 2 * beat.worst();
    let moved = fallback.server.requests().len();
    let stuck = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let failed: Vec<_> = outcomes.iter().flatten().filter_map(|outcome| outcome.as_ref().err()).collect();
    let mut heard: Vec<_> = outcomes.iter().flatten().flatten().cloned().collect();
    for heard in heard.iter_mut().filter(|heard| !heard.samples.is_empty()) {
        heard.words = pitches(voice::hear(&std::mem::take(&mut heard.samples), 8_000).iter().map(|(pitch, ..)| *pitch));
    }
    drop(place);
    let mut first: Vec<_> = heard.iter().map(|heard| heard.first).collect();
    first.sort_unstable();
    let slowest = heard.iter().map(|heard| heard.whole).max().unwrap_or_default();
    let (median, worst) = (first.get(first.len() / 2).copied(), first.last().copied());
    let ms = |time: Option<Duration>| time.map_or_else(|| "-".into(), |time| time.as_millis().to_string());
    let (name, whole) = (&case.name, ms(Some(slowest)));
    let line = format!(
        "  {name:44} {:>5} {:>5} {whole:>5} {:>5}  requests to the second: {moved}",
        ms(median),
        ms(worst),
        ms(Some(late))
    );
    let mut faults = Vec::new();
    let mut wrong = |what: String| faults.push(format!("{name}: {what}"));
    if stuck > 0 {
        wrong(format!("{stuck} calls are stuck"));
    }
    if let Some(error) = failed.first() {
        wrong(format!("{} calls got no answer: {error}", failed.len()));
    }
    let is_whole = |heard: &Heard| match case.expected {
        Expected::Repeats => heard.words.ends_with(&case.words),
        Expected::EndsEarly => case.words.starts_with(&heard.words),
        _ => heard.words == case.words,
    };
    let other: Vec<_> = heard.iter().filter(|heard| !is_whole(heard)).collect();
    if let Some(one) = other.first() {
        wrong(format!("{} calls heard otherwise: {one:?}", other.len()));
    }
    if worst.is_some_and(|worst| worst > MOVED + late) || slowest > WHOLE + late {
        wrong(format!("too late: {worst:?}, whole {slowest:?}, of which {late:?} were the machine's"));
    }
    match case.expected {
        Expected::Moves | Expected::Repeats if moved == 0 => wrong("nobody asked the second".into()),
        // The second is asked besides where the first is late, as it is where the machine is.
        Expected::Tolerated | Expected::EndsEarly if moved > 0 && late < LATE => {
            wrong(format!("{moved} requests to the second"));
        }
        Expected::AllMove if moved < case.calls => wrong(format!("only {moved} calls asked the second")),
        _ => {}
    }
    let began = Instant::now();
    let gone = |server: &FakeServer| server.open_connections() == 0;
    let closed = primary.server.until(LEFT, gone).await && fallback.server.until(LEFT, gone).await;
    if !closed {
        let (first, second) = (primary.server.open_connections(), fallback.server.open_connections());
        wrong(format!("{first} and {second} connections are open"));
    }
    let tasks = || Handle::current().metrics().num_alive_tasks();
    while tasks() > 0 && began.elapsed() < LEFT {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if tasks() > 0 {
        wrong(format!("{} tasks are left", tasks()));
    }
    let complaints = fallback.server.complaints();
    if !complaints.is_empty() {
        wrong(format!("the second complains: {complaints:?}"));
    }
    Outcome { name: case.name, expected: case.expected, line, late, wrong: faults }
}

/// How late the machine is beside the calls.
struct Beat {
    began: Mutex<Instant>,
    worst: Mutex<Duration>,
}

impl Default for Beat {
    fn default() -> Self {
        Self { began: Mutex::new(Instant::now()), worst: Mutex::default() }
    }
}

impl Beat {
    /// Looks up a name and connects to this port at every beat.
    async fn go(self: Arc<Self>, port: u16) {
        loop {
            *self.began.lock().expect("no panic") = Instant::now();
            tokio::time::sleep(BEAT).await;
            // A port that refuses is as good.
            drop(TcpStream::connect(("localhost", port)).await);
            let worst = self.worst();
            *self.worst.lock().expect("no panic") = worst;
        }
    }

    /// The most by which a beat was late, the present one too.
    fn worst(&self) -> Duration {
        let late = self.began.lock().expect("no panic").elapsed().saturating_sub(BEAT);
        late.max(*self.worst.lock().expect("no panic"))
    }
}

/// What the system tells of threads (`schedstat`, as in [`waited`]).
#[derive(Clone, Copy, Default, Debug)]
pub struct Served {
    /// For so long they ran.
    pub ran: Duration,
    /// For so long they stood ready, and the machine did other things.
    pub waited: Duration,
}

/// The threads there are, by their names.
pub fn served() -> BTreeMap<String, Served> {
    let mut all = BTreeMap::<String, Served>::new();
    for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let told = |file: &str| std::fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let ns: Vec<u64> = told("schedstat").split_whitespace().filter_map(|ns| ns.parse().ok()).collect();
        let of_name = all.entry(told("comm").trim().to_owned()).or_default();
        of_name.ran += Duration::from_nanos(ns.first().copied().unwrap_or_default());
        of_name.waited += Duration::from_nanos(ns.get(1).copied().unwrap_or_default());
    }
    all
}
