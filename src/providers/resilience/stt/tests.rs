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
}

struct CountingStream {
    way: Way,
    heard: usize,
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
        *self.opened.lock().unwrap() += 1;
        if self.way == Way::Refuses {
            return Err(gone());
        }
        let (events, receiver) = mpsc::channel(8);
        Ok((Box::new(CountingStream { way: self.way, heard: 0, events: Some(events) }), receiver))
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
        let event = match self.way {
            Way::NeverAnswers => return,
            Way::FailsAtFinish => SttEvent::Failed { segment, error: gone() },
            _ => SttEvent::Final {
                segment,
                text: Pii::new(match self.way {
                    Way::Unheard | Way::Empty => String::new(),
                    _ => self.heard.to_string(),
                }),
                confidence: 1.0,
                audio: Duration::ZERO,
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
        self.stream.push(&[0; 4_000]);
        self.stream.start(SegmentId(1));
        self.stream.push(&[1; 8_000]);
        self.stream.finish(SegmentId(1));
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
    let mut alone = call(&[("a", Way::Unheard)]).unwrap();
    alone.speak();
    assert_eq!((alone.told().await, alone.told().await), ("unheard".into(), String::new()), "it stays");
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
