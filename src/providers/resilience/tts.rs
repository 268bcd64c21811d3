//! Voices in order.

use super::course::{self, HedgeTerms, Hedging, Leg};
use super::{Member, pick};
use crate::providers::tts::{SpeakRequest, SpeechStream, TextToSpeech, TtsCapabilities, TtsChunk};
use crate::providers::{Meter, ProviderError, ProviderName};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Chunks between us and the call, which takes them at once.
const CHUNKS: usize = 8;

/// Voices in order, as one. Never empty. An utterance that breaks off goes on in the next voice, from the last word that
/// was whole.
pub struct SteadyTextToSpeech {
    members: Arc<[Member<dyn TextToSpeech>]>,
    hedging: Arc<Hedging>,
}

impl SteadyTextToSpeech {
    /// The first that is well serves. `None` without any.
    #[must_use]
    pub fn new(members: Vec<Member<dyn TextToSpeech>>, hedging: Arc<Hedging>) -> Option<Self> {
        (!members.is_empty()).then(|| Self { members: members.into(), hedging })
    }

    fn first(&self) -> Option<&Arc<dyn TextToSpeech>> {
        self.members.first().map(|member| &member.provider)
    }
}

impl TextToSpeech for SteadyTextToSpeech {
    fn name(&self) -> ProviderName {
        self.first().map_or(ProviderName::Borrowed("none"), |first| first.name())
    }

    fn capabilities(&self) -> TtsCapabilities {
        let none = TtsCapabilities {
            formats: Vec::new(),
            word_timestamps: false,
            cancel: false,
            wants_speakable_text: false,
            languages: &[],
        };
        self.first().map_or(none, |first| first.capabilities())
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        self.first().and_then(|first| first.meter())
    }

    fn warm(&self) {
        if let Some(member) = pick(&self.members, &[]).and_then(|place| self.members.get(place)) {
            member.health.abandoned();
            member.provider.warm();
        }
    }

    fn speak(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let home = self.first().map(|first| first.name()).unwrap_or_default();
        let utterance = Utterance { home, request, left: Place::default(), reached: Place::default() };
        tokio::spawn(course::run(utterance, Arc::clone(&self.members), Arc::clone(&self.hedging), sender));
        Ok(receiver)
    }
}

/// A place in the utterance.
#[derive(Clone, Copy, Default, Debug)]
struct Place {
    /// Octets of the text up to the end of a word.
    text: usize,
    /// Samples handed on.
    samples: usize,
}

struct Utterance {
    /// The voice of the request belongs to this provider; another one speaks with its own.
    home: ProviderName,
    request: SpeakRequest,
    /// Where the present provider began.
    left: Place,
    /// How far the call has got it.
    reached: Place,
}

impl Leg for Utterance {
    type Provider = dyn TextToSpeech;
    type Item = TtsChunk;

    fn start(&self, provider: &Self::Provider) -> Result<SpeechStream, ProviderError> {
        let mut request = self.request.clone();
        if self.left.text > 0 {
            request.text = request.text.split_off(self.left.text);
        }
        if provider.name() != self.home {
            request.voice = None;
        }
        provider.speak(request)
    }

    fn name(&self, provider: &Self::Provider) -> ProviderName {
        provider.name()
    }

    fn patience(&self, provider: &Self::Provider) -> Option<Duration> {
        provider.patience()
    }

    fn hedge_after(&self, provider: &Self::Provider, terms: HedgeTerms) -> Option<Duration> {
        provider.meter()?.first_percentile(95, terms.known)
    }

    /// Marks count from the start of the whole utterance, whoever speaks.
    fn pass(&mut self, mut chunk: TtsChunk) -> TtsChunk {
        self.reached.samples += chunk.samples.len();
        for mark in &mut chunk.marks {
            mark.text_end += self.left.text;
            mark.sample_end += self.left.samples;
            if self.request.text.is_char_boundary(mark.text_end) && mark.sample_end <= self.reached.samples {
                self.reached.text = self.reached.text.max(mark.text_end);
            }
        }
        chunk
    }

    fn moves_on(&mut self) {
        self.left = self.reached;
    }

    fn may_go_on(&self) -> bool {
        true
    }

    /// The channel of a voice ends when all has been said, and after an error.
    fn is_whole(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;
    use crate::providers::WordMark;

    /// Texts and the voices asked for.
    type Asked = Vec<(String, Option<String>)>;

    /// Speaks ten samples per octet with a mark at each blank, and breaks off after so many samples.
    struct Voice {
        name: &'static str,
        breaks_after: Option<usize>,
        asked: Arc<std::sync::Mutex<Asked>>,
    }

    impl TextToSpeech for Voice {
        fn name(&self) -> ProviderName {
            self.name.into()
        }
        fn capabilities(&self) -> TtsCapabilities {
            TtsCapabilities {
                formats: Vec::new(),
                word_timestamps: true,
                cancel: true,
                wants_speakable_text: false,
                languages: &[],
            }
        }
        fn speak(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError> {
            self.asked.lock().unwrap().push((request.text.clone(), request.voice.clone()));
            let (sender, receiver) = mpsc::channel(64);
            let mut at = 0;
            for word in request.text.split_inclusive(' ') {
                let samples = vec![1; word.len() * 10];
                at += word.len();
                if self.breaks_after.is_some_and(|most| at * 10 > most) {
                    let error = ProviderError::Transient { provider: self.name.into(), reason: "cut".into() };
                    sender.try_send(Err(error)).unwrap();
                    break;
                }
                let marks = vec![WordMark { text_end: at, sample_end: at * 10 }];
                sender.try_send(Ok(TtsChunk { samples, marks, took: Duration::ZERO })).unwrap();
            }
            Ok(receiver)
        }
    }

    #[tokio::test]
    async fn an_utterance_that_breaks_off_goes_on_with_the_next_voice_after_the_last_whole_word() {
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let voice = |name, breaks_after| -> Arc<dyn TextToSpeech> {
            Arc::new(Voice { name, breaks_after, asked: Arc::clone(&asked) })
        };
        let members = vec![Member::new(voice("a", Some(120))), Member::new(voice("b", None))];
        let tts = SteadyTextToSpeech::new(members, Arc::default()).unwrap();
        let text = "one two three four";
        let request = SpeakRequest { voice: Some("v1".into()), ..SpeakRequest::new(text, SampleRate::NARROWBAND) };
        let mut stream = tts.speak(request).unwrap();
        let (mut samples, mut marks) = (0, Vec::new());
        while let Some(chunk) = stream.recv().await {
            let chunk = chunk.unwrap();
            samples += chunk.samples.len();
            marks.extend(chunk.marks.iter().map(|m| (m.text_end, m.sample_end)));
        }
        assert_eq!(samples, text.len() * 10);
        assert_eq!(marks, [(4, 40), (8, 80), (14, 140), (18, 180)]);
        let asked = asked.lock().unwrap().clone();
        assert_eq!(asked, [(text.into(), Some("v1".into())), ("three four".into(), None)]);
    }
}
