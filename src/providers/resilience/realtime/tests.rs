use super::*;
use crate::base::SampleRate;
use crate::providers::format::AudioFormat;
use crate::providers::realtime::TurnsBy;

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
    let request = RealtimeRequest {
        rate: SampleRate::NARROWBAND,
        line: AudioFormat::MULAW,
        turns: TurnsBy::Local,
        instructions: String::new(),
        tools: Vec::new(),
        messages: Pii::default(),
        opening: None,
        answer_due: false,
        voice: None,
        language: None,
    };
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
