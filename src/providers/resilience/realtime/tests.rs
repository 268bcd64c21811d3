use super::*;
use crate::base::SampleRate;
use crate::providers::format::AudioFormat;
use crate::providers::realtime::{Patience, TurnsBy};

/// Says one answer of this number, then fails; notes its interruptions.
struct Puppet {
    name: &'static str,
    answer: u32,
    fails: bool,
    interrupted: Arc<Mutex<Vec<u32>>>,
}

struct Strings {
    interrupted: Arc<Mutex<Vec<u32>>>,
    _events: mpsc::Sender<RealtimeEvent>,
}

impl SpeechToSpeech for Puppet {
    fn name(&self) -> ProviderName {
        self.name.into()
    }
    fn capabilities(&self) -> RealtimeCapabilities {
        RealtimeCapabilities { formats: Vec::new(), local_turns: true, tools: true, truncate: true, update: true }
    }
    fn open(&self, _: RealtimeRequest) -> Result<RealtimeSession, ProviderError> {
        let (sender, receiver) = mpsc::channel(8);
        let audio = RealtimeEvent::Audio { answer: AnswerId(self.answer), samples: vec![0] };
        sender.try_send(audio).unwrap();
        if self.fails {
            let error = ProviderError::Stopped { provider: self.name.into() };
            sender.try_send(RealtimeEvent::Failed(error)).unwrap();
        }
        let interrupted = Arc::clone(&self.interrupted);
        Ok((Box::new(Strings { interrupted, _events: sender }), receiver))
    }
}

impl RealtimeStream for Strings {
    fn push(&mut self, _: &[i16]) {}
    fn commit(&mut self) {}
    fn interrupt(&mut self, answer: AnswerId, _: Duration) {
        self.interrupted.lock().unwrap().push(answer.0);
    }
    fn tool_result(&mut self, _: &str, _: &str, _: &str, _: bool) {}
    fn update(&mut self, _: &str, _: &[ToolSpec]) {}
    fn tell(&mut self, _: &str) {}
}

#[tokio::test]
async fn answers_are_numbered_on_across_providers() {
    let interrupted = Arc::new(Mutex::new(Vec::new()));
    let member = |name, answer, fails| {
        let provider = Arc::new(Puppet { name, answer, fails, interrupted: Arc::clone(&interrupted) });
        Member::<dyn SpeechToSpeech> { provider, health: Arc::default() }
    };
    let steady = SteadySpeechToSpeech::new(vec![member("first", 3, true), member("second", 1, false)]).unwrap();
    let request = RealtimeRequest::new(SampleRate::NARROWBAND, AudioFormat::MULAW, TurnsBy::Local, "");
    let (mut stream, mut events) = steady.open(request).unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < 2 {
        if let RealtimeEvent::Audio { answer, .. } = events.recv().await.unwrap() {
            numbers.push(answer.0);
        }
    }
    assert_eq!(numbers, [3, 4]);
    stream.interrupt(AnswerId(3), Duration::ZERO);
    stream.interrupt(AnswerId(4), Duration::ZERO);
    assert_eq!(*interrupted.lock().unwrap(), [1], "the answer of the first provider is none of the second's");
}

/// What a [`Vendor`] does with what it is told.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    /// Is ready at once and answers, each after so many milliseconds.
    Answers(u64),
    /// Takes the connection and says nothing.
    Silent,
    /// Is ready and says nothing else.
    Deaf,
    /// Is ready, begins the answer and breaks off.
    BreaksOff,
    /// Takes the turns itself: answers the first audio, after so many milliseconds.
    Hears(u64),
    /// Answers a probe, and reports speech or not.
    Lives { reports: bool },
    /// Each session in the next of these ways, at last in the last.
    InTurn(&'static [Self]),
}

#[derive(Debug, Default)]
struct Seen {
    opened: Vec<(Vec<String>, bool)>,
    samples: usize,
    commits: usize,
    dropped: usize,
}

struct Vendor {
    name: &'static str,
    way: Way,
    seen: Arc<Mutex<Seen>>,
    /// Of its last session.
    line: Arc<Mutex<Option<mpsc::Sender<RealtimeEvent>>>>,
}

struct Line {
    way: Way,
    has_heard: bool,
    seen: Arc<Mutex<Seen>>,
    events: mpsc::Sender<RealtimeEvent>,
}

impl Line {
    fn answer(&self) {
        let events = self.events.clone();
        let audio = || RealtimeEvent::Audio { answer: AnswerId(1), samples: vec![0; 8] };
        match self.way {
            Way::Answers(after) | Way::Hears(after) => {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    let _ = events.send(RealtimeEvent::CallerSaid(Pii::new("hello".into()))).await;
                    let _ = events.send(audio()).await;
                    let _ = events.send(RealtimeEvent::AudioEnded { answer: AnswerId(1) }).await;
                });
            }
            Way::BreaksOff => {
                let error = ProviderError::Transient { provider: "v".into(), reason: "gone".into() };
                let answer = AnswerId(1);
                let all = [
                    RealtimeEvent::CallerSaid(Pii::new("hello".into())),
                    audio(),
                    RealtimeEvent::BrokeOff { answer },
                    RealtimeEvent::AudioEnded { answer },
                    RealtimeEvent::Failed(error),
                ];
                all.into_iter().for_each(|event| events.try_send(event).unwrap());
            }
            Way::Silent | Way::Deaf | Way::Lives { .. } | Way::InTurn(_) => {}
        }
    }
}

impl SpeechToSpeech for Vendor {
    fn name(&self) -> ProviderName {
        self.name.into()
    }
    fn capabilities(&self) -> RealtimeCapabilities {
        RealtimeCapabilities { formats: Vec::new(), local_turns: true, tools: true, truncate: true, update: true }
    }
    fn patience(&self) -> Option<Patience> {
        Some(PATIENCE)
    }
    fn reports_speech(&self) -> bool {
        self.way == Way::Lives { reports: true }
    }
    fn open(&self, request: RealtimeRequest) -> Result<RealtimeSession, ProviderError> {
        let (events, receiver) = mpsc::channel(16);
        let words = request.messages.expose().iter().map(|message| match message {
            Message::Caller(text) | Message::Agent { text, .. } => text.expose().clone(),
            Message::ToolResult { content, .. } => content.expose().clone(),
        });
        let mut seen = self.seen.lock().unwrap();
        let way = match self.way {
            Way::InTurn(ways) => ways[seen.opened.len().min(ways.len() - 1)],
            way => way,
        };
        seen.opened.push((words.collect(), request.answer_due));
        drop(seen);
        *self.line.lock().unwrap() = Some(events.clone());
        let line = Line { way, has_heard: false, seen: Arc::clone(&self.seen), events };
        if way != Way::Silent {
            line.events.try_send(RealtimeEvent::Ready).unwrap();
        }
        if request.answer_due || request.opening.is_some() {
            line.answer();
        }
        Ok((Box::new(line), receiver))
    }
}

impl RealtimeStream for Line {
    fn push(&mut self, samples: &[i16]) {
        self.seen.lock().unwrap().samples += samples.len();
        if !std::mem::replace(&mut self.has_heard, true) && matches!(self.way, Way::Hears(_)) {
            self.answer();
        }
    }
    fn probe(&mut self) {
        if matches!(self.way, Way::Lives { .. }) {
            self.events.try_send(RealtimeEvent::Alive).unwrap();
        }
    }
    fn commit(&mut self) {
        self.seen.lock().unwrap().commits += 1;
        self.answer();
    }
    fn interrupt(&mut self, _: AnswerId, _: Duration) {}
    fn tool_result(&mut self, _: &str, _: &str, _: &str, _: bool) {}
    fn update(&mut self, _: &str, _: &[ToolSpec]) {}
    fn tell(&mut self, _: &str) {
        self.answer();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.seen.lock().unwrap().dropped += 1;
    }
}

const PATIENCE: Patience = Patience {
    session: Duration::from_millis(800),
    answer: Duration::from_secs(1),
    last_try: Duration::from_millis(1_200),
};

/// A call of vendors in order, what each has seen, and the events with their times since the beginning.
struct Call {
    stream: Box<dyn RealtimeStream>,
    events: mpsc::Receiver<RealtimeEvent>,
    seen: Vec<Arc<Mutex<Seen>>>,
    lines: Vec<Arc<Mutex<Option<mpsc::Sender<RealtimeEvent>>>>>,
    members: Vec<Member<dyn SpeechToSpeech>>,
    began: Instant,
}

impl Call {
    fn new(ways: [Way; 2], opening: Option<&str>) -> Self {
        Self::with(ways, opening, TurnsBy::Local)
    }

    /// Of a vendor that nobody stands behind, each session in its own way.
    fn alone(ways: &'static [Way], opening: Option<&str>, turns: TurnsBy) -> Self {
        Self::with([Way::InTurn(ways)], opening, turns)
    }

    fn with<const N: usize>(ways: [Way; N], opening: Option<&str>, turns: TurnsBy) -> Self {
        let mut lines = Vec::new();
        let mut seen = Vec::new();
        let members: Vec<Member<dyn SpeechToSpeech>> = ["a", "b"]
            .into_iter()
            .zip(ways)
            .map(|(name, way)| {
                let of = Arc::<Mutex<Seen>>::default();
                seen.push(Arc::clone(&of));
                let line = Arc::default();
                lines.push(Arc::clone(&line));
                let provider: Arc<dyn SpeechToSpeech> = Arc::new(Vendor { name, way, seen: of, line });
                Member::new(provider)
            })
            .collect();
        let steady = SteadySpeechToSpeech::new(members.clone()).unwrap();
        let request = RealtimeRequest {
            opening: opening.map(str::to_owned),
            ..RealtimeRequest::new(SampleRate::NARROWBAND, AudioFormat::MULAW, turns, "")
        };
        let (stream, events) = steady.open(request).unwrap();
        Self { stream, events, seen, lines, members, began: Instant::now() }
    }

    /// The next events in short, up to the end of an answer or a failure.
    async fn told(&mut self) -> Vec<(String, u64)> {
        let mut told = Vec::new();
        loop {
            let event = tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await;
            let word = match event.expect("it is stuck") {
                Some(RealtimeEvent::Ready) => "ready".into(),
                Some(RealtimeEvent::FellOver { from, to }) => format!("{from}>{to}"),
                Some(RealtimeEvent::CallerSaid(_)) => "caller".into(),
                Some(RealtimeEvent::Audio { .. }) => "audio".into(),
                Some(RealtimeEvent::AudioEnded { .. }) => "end".into(),
                Some(RealtimeEvent::Failed(error)) => error.kind().into(),
                Some(other) => format!("{other:?}"),
                None => "closed".into(),
            };
            let is_last = matches!(word.as_str(), "end" | "stopped" | "timeout" | "closed");
            told.push((word, self.began.elapsed().as_millis() as u64));
            if is_last {
                return told;
            }
        }
    }

    /// The caller's line for so many milliseconds, with or without voice.
    async fn line(&mut self, milliseconds: u64, is_voice: bool) {
        let frame = Duration::from_millis(20);
        for _ in 0..milliseconds / 20 {
            tokio::time::sleep(frame).await;
            self.stream.push(&[1; 160]);
            self.stream.voice(is_voice, frame);
        }
    }

    /// What a vendor says of itself.
    fn say(&self, vendor: usize, event: RealtimeEvent) {
        self.lines[vendor].lock().unwrap().as_ref().unwrap().try_send(event).unwrap();
    }

    fn opened(&self, vendor: usize) -> usize {
        self.seen[vendor].lock().unwrap().opened.len()
    }

    fn speak(&mut self) {
        self.stream.push(&[1; 4_000]);
        self.stream.commit();
    }
}

fn at(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(word, at)| ((*word).to_owned(), *at)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_vendor_without_a_session_is_followed_by_one_that_speaks_the_opening() {
    let mut call = Call::new([Way::Silent, Way::Answers(300)], Some("good morning"));
    let expected = [("a>b", 1_100), ("ready", 1_100), ("audio", 1_100), ("end", 1_100)];
    assert_eq!(call.told().await, at(&expected));
    assert_eq!(call.seen[0].lock().unwrap().dropped, 1);
    assert!(call.members[0].health.admit(), "once is not enough");
    call.members[0].health.failed(&ProviderError::Stopped { provider: "a".into() });
    assert!(!call.members[0].health.admit(), "the first time was counted");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_says_nothing_to_the_caller_is_followed_by_one_that_hears_the_same() {
    let mut call = Call::new([Way::Deaf, Way::Answers(200)], None);
    tokio::time::sleep(Duration::from_millis(500)).await;
    call.speak();
    let expected =
        [("ready", 0), ("a>b", 1_700), ("ready", 1_700), ("caller", 1_700), ("audio", 1_700), ("end", 1_700)];
    // The first event waited in the channel.
    let told = call.told().await;
    assert_eq!(told[1..], at(&expected)[1..]);
    let seen = call.seen[1].lock().unwrap();
    assert_eq!((seen.samples, seen.commits), (4_000, 1));
    assert_eq!(seen.opened, [(vec![], false)], "its audio asks");
}

#[tokio::test(start_paused = true)]
async fn a_slow_vendor_may_still_win_and_the_other_is_let_go() {
    let mut call = Call::new([Way::Answers(1_200), Way::Answers(900)], None);
    call.speak();
    let told = call.told().await;
    let words: Vec<&str> = told.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(words, ["ready", "caller", "audio", "end"]);
    assert_eq!(told[2].1, 1_200);
    let seen = call.seen[1].lock().unwrap();
    assert_eq!((seen.opened.len(), seen.dropped), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_asked_for_again_in_words() {
    let mut call = Call::new([Way::BreaksOff, Way::Answers(200)], None);
    call.speak();
    let first: Vec<String> = call.told().await.into_iter().map(|(word, _)| word).collect();
    assert_eq!(first, ["ready", "caller", "audio", "end"]);
    let second: Vec<String> = call.told().await.into_iter().map(|(word, _)| word).collect();
    assert_eq!(second, ["a>b", "ready", "caller", "audio", "end"]);
    let seen = call.seen[1].lock().unwrap();
    assert_eq!(seen.opened, [(vec!["hello".to_owned()], true)]);
    assert_eq!((seen.samples, seen.commits), (0, 0), "it is understood");
}

#[tokio::test(start_paused = true)]
async fn an_interruption_lets_the_one_that_was_asked_besides_go() {
    let mut call = Call::new([Way::Deaf, Way::Deaf], None);
    call.speak();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(call.seen[1].lock().unwrap().opened.len(), 1);
    call.stream.interrupt(AnswerId(0), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = call.seen[1].lock().unwrap();
    assert_eq!((seen.opened.len(), seen.dropped), (1, 1), "and nothing is owed any more");
    assert!(call.members[1].health.admit());
}

#[tokio::test(start_paused = true)]
async fn a_vendor_with_turns_of_its_own_that_dies_in_silence_is_followed_by_one_that_hears_the_same() {
    let mut call = Call::with([Way::Deaf, Way::Hears(400)], None, TurnsBy::Vendor);
    call.line(2_000, true).await;
    call.line(980, false).await;
    assert_eq!(call.opened(1), 0);
    call.line(40, false).await;
    assert_eq!(call.opened(1), 1, "a second after the caller's last word");
    assert!(call.seen[1].lock().unwrap().samples >= 8 * 2_900, "and hears what was said");
    let told = call.told().await;
    let words: Vec<&str> = told.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(words, ["ready", "a>b", "ready", "caller", "audio", "end"]);
    assert_eq!(told[1].1, 3_400);
}

#[tokio::test(start_paused = true)]
async fn a_cough_calls_nobody_and_neither_does_our_own_turn_taking() {
    for (turns, voice) in [(TurnsBy::Vendor, 380), (TurnsBy::Local, 2_000)] {
        let mut call = Call::with([Way::Deaf, Way::Hears(300)], None, turns);
        call.line(voice, true).await;
        call.line(20_000, false).await;
        assert_eq!(call.opened(1), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_lives_may_wait_as_long_as_its_own_turn_taking_does() {
    let mut call = Call::with([Way::Lives { reports: false }, Way::Hears(300)], None, TurnsBy::VendorSemantic);
    call.line(2_000, true).await;
    call.line(8_900, false).await;
    assert_eq!(call.opened(1), 0);
    call.say(0, RealtimeEvent::SpeechStopped);
    call.line(900, false).await;
    assert_eq!(call.opened(1), 0, "from here on it is asked for an answer");
    call.line(200, false).await;
    assert_eq!(call.opened(1), 1);
    let mut call = Call::with([Way::Lives { reports: false }, Way::Hears(300)], None, TurnsBy::VendorSemantic);
    call.line(2_000, true).await;
    call.line(9_100, false).await;
    assert_eq!(call.opened(1), 1, "it has forgotten its turn");
}

#[tokio::test(start_paused = true)]
async fn a_short_word_that_a_living_vendor_takes_for_nothing_is_let_be() {
    for is_taken in [false, true] {
        let mut call = Call::with([Way::Lives { reports: true }, Way::Hears(300)], None, TurnsBy::Vendor);
        call.line(300, true).await;
        if is_taken {
            call.say(0, RealtimeEvent::SpeechStarted);
        }
        call.line(300, true).await;
        call.line(20_000, false).await;
        assert_eq!(call.opened(1), usize::from(is_taken));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_that_comes_late_lets_the_one_that_was_asked_besides_go() {
    let mut call = Call::with([Way::Deaf, Way::Deaf], None, TurnsBy::Vendor);
    call.line(2_000, true).await;
    call.line(1_100, false).await;
    assert_eq!(call.opened(1), 1);
    call.say(0, RealtimeEvent::SpeechStopped);
    call.line(100, false).await;
    assert_eq!(call.seen[1].lock().unwrap().dropped, 1);
    assert!(call.members[1].health.admit());
}

#[tokio::test(start_paused = true)]
async fn a_vendor_whose_transport_lives_and_who_passes_over_what_it_should_report_is_found_out() {
    for (is_taken, after) in [(false, 1_020), (true, 9_020)] {
        let mut call = Call::with([Way::Lives { reports: true }, Way::Hears(300)], None, TurnsBy::Vendor);
        call.line(500, true).await;
        if is_taken {
            call.say(0, RealtimeEvent::SpeechStarted);
        }
        call.line(1_500, true).await;
        call.line(after - 40, false).await;
        assert_eq!(call.opened(1), 0);
        call.line(40, false).await;
        assert_eq!(call.opened(1), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_is_alone_and_says_nothing_is_asked_once_more_and_hears_the_same() {
    let mut call = Call::alone(&[Way::Deaf, Way::Answers(200)], None, TurnsBy::Local);
    call.speak();
    let expected =
        [("ready", 0), ("a>a", 1_200), ("ready", 1_200), ("caller", 1_200), ("audio", 1_200), ("end", 1_200)];
    assert_eq!(call.told().await, at(&expected));
    {
        let seen = call.seen[0].lock().unwrap();
        assert_eq!((seen.samples, seen.commits, seen.dropped), (8_000, 2, 1));
        assert_eq!(seen.opened[1], (vec![], false), "its audio asks");
    }
    call.speak();
    let told = call.told().await;
    let words: Vec<&str> = told.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!((words, call.opened(0)), (vec!["caller", "audio", "end"], 2), "and serves");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_is_alone_and_stays_silent_is_given_up_in_time_for_the_call_to_say_so() {
    let last = PATIENCE.last_try.as_millis() as u64;
    let mut call = Call::alone(&[Way::Deaf], None, TurnsBy::Local);
    call.speak();
    assert_eq!(call.told().await, at(&[("ready", 0), ("timeout", 1_000 + last)]));
    assert_eq!(call.opened(0), 2, "once");
    let mut call = Call::alone(&[Way::Silent], Some("good morning"), TurnsBy::Local);
    assert_eq!(call.told().await, at(&[("timeout", 800 + last)]));
    assert_eq!(call.opened(0), 2);
    assert_eq!(call.told().await.last().map(|(word, _)| word.clone()), Some("closed".into()));
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_is_alone_and_slow_may_still_win_and_its_second_session_is_let_go() {
    let mut call = Call::alone(&[Way::Answers(1_100), Way::Answers(1_100)], None, TurnsBy::Local);
    call.speak();
    let told = call.told().await;
    assert_eq!(told, at(&[("ready", 0), ("caller", 1_100), ("audio", 1_100), ("end", 1_100)]));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((call.opened(0), call.seen[0].lock().unwrap().dropped), (2, 1));
    call.speak();
    call.told().await;
    assert_eq!(call.opened(0), 3, "it has paid since");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_asked_for_again_of_a_vendor_that_is_alone_too() {
    let mut call = Call::alone(&[Way::BreaksOff, Way::Answers(200)], None, TurnsBy::Local);
    call.speak();
    assert_eq!(call.told().await.last().map(|(word, _)| word.clone()), Some("end".into()));
    let second: Vec<String> = call.told().await.into_iter().map(|(word, _)| word).collect();
    assert_eq!(second, ["a>a", "ready", "caller", "audio", "end"]);
    assert_eq!(call.seen[0].lock().unwrap().opened[1], (vec!["hello".to_owned()], true));
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_is_alone_and_dies_in_silence_over_its_own_turns_is_asked_once_more() {
    let mut call = Call::alone(&[Way::Deaf, Way::Hears(400)], None, TurnsBy::Vendor);
    call.line(2_000, true).await;
    call.line(1_020, false).await;
    let told = call.told().await;
    let words: Vec<&str> = told.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(words, ["ready", "a>a", "ready", "caller", "audio", "end"]);
    assert_eq!(told[1].1, 3_400);
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_is_alone_is_believed_when_a_second_living_session_hears_nothing_and_not_when_that_is_dead() {
    for (ways, is_lost) in [(&[Way::Deaf, Way::Deaf], false), (&[Way::Deaf, Way::Silent], true)] {
        let mut call = Call::alone(ways, None, TurnsBy::Vendor);
        call.line(2_000, true).await;
        call.line(1_000 + PATIENCE.last_try.as_millis() as u64 + 100, false).await;
        assert_eq!(call.opened(0), 2);
        assert!(matches!(call.events.try_recv(), Ok(RealtimeEvent::Ready)));
        let lost = matches!(call.events.try_recv(), Ok(RealtimeEvent::Failed(ProviderError::Timeout { .. })));
        assert_eq!(lost, is_lost);
    }
}
