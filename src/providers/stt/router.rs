//! Speech to text that goes over to another language, and with it to another provider, in the middle of a call.

use super::language::LanguagePolicy;
use crate::base::SegmentId;
use crate::providers::resilience::tape::Tape;
use crate::providers::{
    Meter, ProviderError, ProviderName, SpeechToText, SttCapabilities, SttEvent, SttRequest, SttStream,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Audio of the present segment that the next provider hears again.
const SEGMENT_MAX_MS: u32 = 15_000;
/// Events between us and the call.
const EVENTS: usize = 32;

/// A language and who hears it.
#[derive(Clone)]
pub struct LanguageRoute {
    /// BCP 47: taken when this language is heard.
    pub language: String,
    /// What the provider is opened with; `None` for its own setting, which may be several languages at once.
    pub opened_with: Option<String>,
    /// Who hears it. Each should say which language it hears, or there is no way back.
    pub provider: Arc<dyn SpeechToText>,
}

/// Begins with one provider and language, and goes over to the route of the language that is heard; what has been said
/// in the present segment is told again. The way back is a route of the first language.
pub struct LanguageRouter {
    start: Arc<LanguageRoute>,
    routes: Arc<[LanguageRoute]>,
}

impl LanguageRouter {
    /// Begins with `start`, which is also the way back unless `routes` has its own for that language.
    #[must_use]
    pub fn new(start: LanguageRoute, mut routes: Vec<LanguageRoute>) -> Self {
        if !routes.iter().any(|route| route.language.eq_ignore_ascii_case(&start.language)) {
            routes.push(start.clone());
        }
        Self { start: Arc::new(start), routes: routes.into() }
    }
}

type Open = (Box<dyn SttStream>, mpsc::Receiver<SttEvent>);

fn open(route: &LanguageRoute, request: &SttRequest) -> Result<Open, ProviderError> {
    route.provider.open(SttRequest { language: route.opened_with.clone(), ..request.clone() })
}

impl SpeechToText for LanguageRouter {
    fn name(&self) -> ProviderName {
        self.start.provider.name()
    }

    fn capabilities(&self) -> SttCapabilities {
        self.start.provider.capabilities()
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        self.start.provider.meter()
    }

    fn open(&self, request: SttRequest) -> Result<Open, ProviderError> {
        let (stream, inner) = open(&self.start, &request)?;
        let pre_roll_ms = u32::try_from(request.pre_roll.as_millis()).unwrap_or(SEGMENT_MAX_MS).min(SEGMENT_MAX_MS);
        let rate = request.rate;
        let tape = Tape::new(rate.samples_in_ms(pre_roll_ms), rate.samples_in_ms(SEGMENT_MAX_MS));
        let line = Arc::new(Mutex::new(Line { stream, tape }));
        let (events, receiver) = mpsc::channel(EVENTS);
        let languages = self.routes.iter().map(|route| route.language.clone()).collect();
        let relay = Relay {
            line: Arc::clone(&line),
            policy: LanguagePolicy::new(&self.start.language, languages),
            routes: Arc::clone(&self.routes),
            present: self.start.provider.name(),
            request,
            inner,
            events,
        };
        let task = tokio::spawn(relay.run());
        Ok((Box::new(RoutedStream { line, abort: task.abort_handle() }), receiver))
    }
}

/// What the call's side and the relay share.
struct Line {
    stream: Box<dyn SttStream>,
    tape: Tape,
}

fn locked(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

struct RoutedStream {
    line: Arc<Mutex<Line>>,
    abort: tokio::task::AbortHandle,
}

impl Drop for RoutedStream {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl SttStream for RoutedStream {
    fn push(&mut self, samples: &[i16]) {
        let mut line = locked(&self.line);
        line.tape.push(samples);
        line.stream.push(samples);
    }

    fn start(&mut self, segment: SegmentId) {
        let mut line = locked(&self.line);
        line.tape.start(segment);
        line.stream.start(segment);
    }

    fn finish(&mut self, segment: SegmentId) {
        let mut line = locked(&self.line);
        line.tape.finish(segment);
        line.stream.finish(segment);
    }

    fn discard(&mut self) {
        let mut line = locked(&self.line);
        line.tape.discard();
        line.stream.discard();
    }

    fn expect(&mut self, phrases: &[String]) {
        let mut line = locked(&self.line);
        line.tape.expect(phrases);
        line.stream.expect(phrases);
    }
}

/// Hands events on, and changes the route when another language is heard.
struct Relay {
    line: Arc<Mutex<Line>>,
    policy: LanguagePolicy,
    routes: Arc<[LanguageRoute]>,
    present: ProviderName,
    request: SttRequest,
    inner: mpsc::Receiver<SttEvent>,
    events: mpsc::Sender<SttEvent>,
}

impl Relay {
    async fn run(mut self) {
        loop {
            let event = tokio::select! {
                event = self.inner.recv() => event,
                () = self.events.closed() => return,
            };
            let Some(event) = event else { return };
            let route = match &event {
                SttEvent::Language { tag, confidence } => self.policy.heard(tag, *confidence),
                _ => None,
            };
            if self.events.send(event).await.is_err() {
                return;
            }
            if let Some(route) = route
                && !self.change(route).await
            {
                return;
            }
        }
    }

    /// Goes over. A provider that has no place stays out: the present one still hears something. False when nobody
    /// listens.
    async fn change(&mut self, route: usize) -> bool {
        let Some(route) = self.routes.get(route) else { return true };
        let (mut stream, inner) = match open(route, &self.request) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(provider = error.provider(), kind = error.kind(), "language_not_served");
                return true;
            }
        };
        {
            let mut line = locked(&self.line);
            line.tape.replay(stream.as_mut());
            line.stream = stream;
        }
        self.inner = inner;
        let to = route.provider.name();
        let from = std::mem::replace(&mut self.present, to.clone());
        tracing::info!(%from, %to, language = %route.language, "speech_to_text_language_changed");
        from == to || self.events.send(SttEvent::FellOver { from, to }).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Pii, SampleRate};
    use crate::providers::format::AudioFormat;
    use std::time::Duration;

    /// Writes down what it is told, and says what a test puts into its channel.
    struct Scripted {
        name: &'static str,
        told: Arc<Mutex<Vec<String>>>,
        says: Mutex<Option<mpsc::Receiver<SttEvent>>>,
    }

    struct Telling(&'static str, Arc<Mutex<Vec<String>>>);

    impl Telling {
        fn write(&self, what: String) {
            self.1.lock().expect("a lock").push(format!("{} {what}", self.0));
        }
    }

    impl SttStream for Telling {
        fn push(&mut self, samples: &[i16]) {
            self.write(format!("push {}", samples.len()));
        }
        fn start(&mut self, segment: SegmentId) {
            self.write(format!("start {}", segment.0));
        }
        fn finish(&mut self, segment: SegmentId) {
            self.write(format!("finish {}", segment.0));
        }
        fn discard(&mut self) {
            self.write("discard".into());
        }
    }

    impl Drop for Telling {
        fn drop(&mut self) {
            self.write("dropped".into());
        }
    }

    impl SpeechToText for Scripted {
        fn name(&self) -> ProviderName {
            self.name.into()
        }
        fn capabilities(&self) -> SttCapabilities {
            SttCapabilities {
                formats: vec![AudioFormat::MULAW],
                partials: true,
                end_of_turn: false,
                timestamps: false,
                detects_language: true,
                languages: &[],
            }
        }
        fn open(&self, request: SttRequest) -> Result<Open, ProviderError> {
            let says = self.says.lock().expect("a lock").take();
            let says = says.ok_or_else(|| ProviderError::Busy { provider: self.name.into(), waiting: 1 })?;
            let telling = Telling(self.name, Arc::clone(&self.told));
            telling.write(format!("open {}", request.language.unwrap_or_default()));
            Ok((Box::new(telling), says))
        }
    }

    type Told = Arc<Mutex<Vec<String>>>;

    fn scripted(name: &'static str, told: &Told) -> (Arc<dyn SpeechToText>, mpsc::Sender<SttEvent>) {
        let (say, says) = mpsc::channel(8);
        (Arc::new(Scripted { name, told: Arc::clone(told), says: Mutex::new(Some(says)) }), say)
    }

    fn route(language: &str, provider: Arc<dyn SpeechToText>) -> LanguageRoute {
        LanguageRoute { language: language.into(), opened_with: Some(language.into()), provider }
    }

    fn language(tag: &str) -> SttEvent {
        SttEvent::Language { tag: tag.into(), confidence: Some(0.95) }
    }

    fn last(segment: u32, text: &str) -> SttEvent {
        SttEvent::Final {
            segment: SegmentId(segment),
            text: Pii::new(text.into()),
            confidence: 1.0,
            audio: Duration::ZERO,
            took: Duration::ZERO,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_present_segment_is_told_to_the_provider_of_the_language_that_is_heard() {
        let told = Told::default();
        let ((english, say_english), (german, say_german)) = (scripted("english", &told), scripted("german", &told));
        let router = LanguageRouter::new(route("en", english), vec![route("de", german)]);
        let request = SttRequest::new(SampleRate(8_000), Duration::from_millis(20));
        let (mut stream, mut events) = router.open(request).expect("a stream");
        stream.push(&[0; 400]);
        stream.start(SegmentId(3));
        stream.push(&[0; 800]);
        stream.finish(SegmentId(3));
        say_english.send(language("de-DE")).await.expect("a listener");
        assert!(matches!(events.recv().await, Some(SttEvent::Language { .. })));
        assert!(matches!(events.recv().await, Some(SttEvent::FellOver { to, .. }) if to == "german"));
        let _ = say_english.send(last(3, "good and talk")).await;
        say_german.send(last(3, "Guten Tag")).await.expect("a listener");
        let Some(SttEvent::Final { text, .. }) = events.recv().await else { panic!("no words") };
        assert_eq!(text.expose(), "Guten Tag", "what the first one heard counts no more");
        let told: Vec<String> = told.lock().expect("a lock").clone();
        let of_german: Vec<&str> = told.iter().filter_map(|what| what.strip_prefix("german ")).collect();
        assert_eq!(of_german, ["open de", "push 160", "start 3", "push 800", "finish 3"]);
        assert!(told.contains(&"english dropped".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_without_a_place_leaves_the_call_where_it_is() {
        let told = Told::default();
        let ((english, say_english), (german, _)) = (scripted("english", &told), scripted("german", &told));
        german.open(SttRequest::new(SampleRate(8_000), Duration::ZERO)).expect("the only place");
        let router = LanguageRouter::new(route("en", english), vec![route("de", german)]);
        let (stream, mut events) = router.open(SttRequest::new(SampleRate(8_000), Duration::ZERO)).expect("a stream");
        say_english.send(language("de")).await.expect("a listener");
        say_english.send(last(1, "good and talk")).await.expect("a listener");
        assert!(matches!(events.recv().await, Some(SttEvent::Language { .. })));
        assert!(matches!(events.recv().await, Some(SttEvent::Final { .. })));
        drop(stream);
        say_english.closed().await;
    }
}
