use super::*;
use crate::base::{Pii, SampleRate};

/// Hears as many words as it got milliseconds of audio within the segment, or misbehaves.
struct Counting {
    name: &'static str,
    way: Way,
    opened: Arc<Mutex<u32>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Good,
    Refuses,
    FailsAtFinish,
    ClosesAtStart,
    NeverAnswers,
    /// Answers emptily, for want of a word from the vendor.
    Unheard,
    /// Answers emptily.
    Empty,
    /// Answers once, and fails at the second request.
    GoodOnce,
    /// Asks for fewer requests.
    LeftAlone,
    /// Each stream in the next of these ways, at last in the last.
    InTurn(&'static [Self]),
}

struct CountingStream {
    way: Way,
    heard: usize,
    answers: u32,
    events: Option<mpsc::Sender<SttEvent>>,
}

fn gone() -> ProviderError {
    ProviderError::Transient { provider: "c".into(), reason: "gone".into() }
}

impl SpeechToText for Counting {
    fn name(&self) -> ProviderName {
        self.name.into()
    }
    fn capabilities(&self) -> SttCapabilities {
        SttCapabilities {
            formats: Vec::new(),
            partials: true,
            end_of_turn: false,
            timestamps: false,
            detects_language: false,
            languages: &[],
        }
    }
    fn open(&self, _: SttRequest) -> Result<Open, ProviderError> {
        let mut opened = self.opened.lock().unwrap();
        let before = *opened as usize;
        *opened += 1;
        let way = match self.way {
            Way::InTurn(ways) => ways[before.min(ways.len() - 1)],
            way => way,
        };
        if way == Way::Refuses {
            return Err(gone());
        }
        let (events, receiver) = mpsc::channel(8);
        Ok((Box::new(CountingStream { way, heard: 0, answers: 0, events: Some(events) }), receiver))
    }
}

impl SttStream for CountingStream {
    fn push(&mut self, samples: &[i16]) {
        self.heard += samples.len() / 8;
    }
    fn start(&mut self, _: SegmentId) {
        if self.way == Way::ClosesAtStart {
            self.events = None;
        }
    }
    fn finish(&mut self, segment: SegmentId) {
        let Some(events) = &self.events else { return };
        if self.way == Way::Unheard {
            events.try_send(SttEvent::Unheard { segment }).unwrap();
        }
        self.answers += 1;
        let event = match self.way {
            Way::NeverAnswers => return,
            Way::GoodOnce if self.answers > 1 => SttEvent::Failed { segment, error: gone() },
            Way::LeftAlone => {
                let error = ProviderError::RateLimited { provider: "c".into(), retry_after: None };
                SttEvent::Failed { segment, error }
            }
            Way::FailsAtFinish => SttEvent::Failed { segment, error: gone() },
            _ => SttEvent::Final {
                segment,
                text: Pii::new(match self.way {
                    Way::Unheard | Way::Empty => String::new(),
                    _ => self.heard.to_string(),
                }),
                confidence: 1.0,
                audio: Duration::from_millis(self.heard as u64),
                took: Duration::ZERO,
            },
        };
        events.try_send(event).unwrap();
    }
    fn discard(&mut self) {}
}

struct Call {
    stream: Box<dyn SttStream>,
    events: mpsc::Receiver<SttEvent>,
    opened: Vec<Arc<Mutex<u32>>>,
}

fn call(ways: &[(&'static str, Way)]) -> Result<Call, ProviderError> {
    let mut opened = Vec::new();
    let members = ways.iter().map(|(name, way)| {
        let count = Arc::new(Mutex::new(0));
        opened.push(Arc::clone(&count));
        let provider: Arc<dyn SpeechToText> = Arc::new(Counting { name, way: *way, opened: count });
        Member::new(provider)
    });
    let steady = SteadySpeechToText::new(members.collect()).unwrap();
    let (stream, events) = steady.open(SttRequest::new(SampleRate::NARROWBAND, Duration::from_millis(300)))?;
    Ok(Call { stream, events, opened })
}

impl Call {
    /// Half a second of nothing, then a segment of one second that is finished.
    fn speak(&mut self) {
        self.say(1, 1_000);
    }

    /// The same with a segment of this number and so many milliseconds.
    fn say(&mut self, segment: u32, milliseconds: usize) {
        self.stream.push(&[0; 4_000]);
        self.stream.start(SegmentId(segment));
        self.stream.push(&vec![1; milliseconds * 8]);
        self.stream.finish(SegmentId(segment));
    }

    async fn told(&mut self) -> String {
        match self.events.recv().await {
            Some(SttEvent::Final { text, .. }) => text.into_exposed(),
            Some(SttEvent::FellOver { from, to }) => format!("{from}>{to}"),
            Some(SttEvent::Failed { error, .. }) => error.kind().into(),
            Some(SttEvent::Unheard { .. }) => "unheard".into(),
            Some(_) => "other".into(),
            None => "closed".into(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_well_is_passed_through() {
    let mut call = call(&[("a", Way::Good), ("b", Way::Good)]).unwrap();
    call.speak();
    assert_eq!(call.told().await, "1500");
    assert_eq!(*call.opened[1].lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_next_provider_hears_the_segment_from_its_pre_roll_on() {
    for way in [Way::FailsAtFinish, Way::ClosesAtStart] {
        let mut call = call(&[("a", way), ("b", Way::Good)]).unwrap();
        call.speak();
        assert_eq!(call.told().await, "a>b");
        assert_eq!(call.told().await, "1300", "300 ms of pre-roll and one second");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_cannot_be_opened_is_passed_over() {
    let mut call = call(&[("a", Way::Refuses), ("b", Way::Good)]).unwrap();
    call.speak();
    assert_eq!(call.told().await, "1500");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_never_answers_is_left_after_a_deadline() {
    let mut call = call(&[("a", Way::NeverAnswers), ("b", Way::Good)]).unwrap();
    call.speak();
    let began = Instant::now();
    assert_eq!(call.told().await, "a>b");
    assert!(began.elapsed() <= ANSWER_TIMEOUT + LOOK_OUT, "{:?}", began.elapsed());
    assert_eq!(call.told().await, "1300");
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_nobody_has_answered_is_heard_by_the_next_and_an_empty_answer_is_believed() {
    let mut silent = call(&[("a", Way::Unheard), ("b", Way::Good)]).unwrap();
    silent.speak();
    assert_eq!(silent.told().await, "a>b");
    assert_eq!(silent.told().await, "1300");
    let mut empty = call(&[("a", Way::Empty), ("b", Way::Good)]).unwrap();
    empty.speak();
    assert_eq!(empty.told().await, "");
    assert_eq!(*empty.opened[1].lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_alone_hears_the_segment_once_more_over_a_fresh_stream() {
    for ways in [&[Way::Unheard, Way::Good], &[Way::NeverAnswers, Way::Good], &[Way::FailsAtFinish, Way::Good]] {
        let mut call = call(&[("a", Way::InTurn(ways))]).unwrap();
        call.speak();
        let began = Instant::now();
        assert_eq!(call.told().await, "a>a");
        assert!(began.elapsed() <= ANSWER_TIMEOUT + LOOK_OUT);
        assert_eq!(call.told().await, "1300");
        assert_eq!(*call.opened[0].lock().unwrap(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_that_is_alone_misses_twice_has_failed_when_it_was_clear_speech_and_was_noise_when_it_was_short()
 {
    for (milliseconds, told) in [(1_000, "timeout"), (200, "")] {
        let mut call = call(&[("a", Way::Unheard)]).unwrap();
        call.say(1, milliseconds);
        assert_eq!(call.told().await, "a>a");
        assert_eq!(call.told().await, "unheard");
        assert_eq!(call.told().await, told);
        assert_eq!(*call.opened[0].lock().unwrap(), 2, "once");
    }
    let mut call = call(&[("a", Way::NeverAnswers)]).unwrap();
    call.speak();
    assert_eq!((call.told().await, call.told().await), ("a>a".into(), "closed".into()));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_alone_is_asked_again_after_a_word_or_a_while_and_not_before() {
    let mut heard = call(&[("a", Way::InTurn(&[Way::FailsAtFinish, Way::GoodOnce, Way::Good]))]).unwrap();
    heard.speak();
    assert_eq!((heard.told().await, heard.told().await), ("a>a".into(), "1300".into()));
    heard.say(2, 500);
    assert_eq!((heard.told().await, heard.told().await), ("a>a".into(), "800".into()), "it has said a word since");
    let mut failing = call(&[("a", Way::InTurn(&[Way::FailsAtFinish, Way::FailsAtFinish, Way::Good]))]).unwrap();
    failing.speak();
    assert_eq!((failing.told().await, failing.told().await), ("a>a".into(), "transient".into()));
    failing.say(2, 500);
    assert_eq!(failing.told().await, "transient");
    tokio::time::advance(RECOVERY).await;
    failing.say(3, 500);
    assert_eq!((failing.told().await, failing.told().await), ("a>a".into(), "800".into()));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_asks_to_be_left_alone_is_and_so_is_one_that_is_gone() {
    for (way, told) in [(Way::LeftAlone, "rate_limited"), (Way::ClosesAtStart, "closed")] {
        let mut call = call(&[("a", way)]).unwrap();
        call.speak();
        assert_eq!(call.told().await, told);
        assert_eq!(*call.opened[0].lock().unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn when_none_is_left_the_failure_is_told_and_a_closed_stream_ends() {
    let mut call_a = call(&[("a", Way::FailsAtFinish), ("b", Way::FailsAtFinish)]).unwrap();
    call_a.speak();
    assert_eq!(call_a.told().await, "a>b");
    assert_eq!(call_a.told().await, "transient");
    let mut call_b = call(&[("a", Way::ClosesAtStart)]).unwrap();
    call_b.speak();
    assert_eq!(call_b.told().await, "closed");
    assert!(call(&[("a", Way::Refuses), ("b", Way::Refuses)]).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_mended_itself_serves_again_in_the_same_call() {
    let mut call = call(&[("a", Way::FailsAtFinish), ("b", Way::FailsAtFinish)]).unwrap();
    call.speak();
    assert_eq!(call.told().await, "a>b");
    assert_eq!(call.told().await, "transient");
    tokio::time::advance(SECOND_ROUND).await;
    call.stream.finish(SegmentId(1));
    assert_eq!(call.told().await, "b>a");
}
