//! One word to a provider, with a stopwatch.

use crate::base::chat::{Message, Prompt};
use crate::base::{Pii, SampleRate, SegmentId};
use crate::providers::format::AudioFormat;
use crate::providers::limits::GOODBYE;
use crate::providers::llm::Thought;
use crate::providers::realtime::TurnsBy;
use crate::providers::registry::Probed;
use crate::providers::{
    LanguageModel, ProviderError, RealtimeEvent, RealtimeRequest, SpeakRequest, SpeechToSpeech, SpeechToText, SttEvent,
    SttRequest, TextToSpeech,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Longest wait for a whole answer.
const WAIT: Duration = Duration::from_secs(15);
/// Tokens of the answer: the least that every vendor accepts.
const TOKENS: u32 = 16;
/// Silence that a listener hears, in frames of 20 ms.
const FRAMES: u64 = 50;
const FRAME: Duration = Duration::from_millis(20);
/// Between two looks at whether all goodbyes are said.
const LOOK: Duration = Duration::from_millis(5);

/// What a probe measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    /// From the request to the first word, sound or sign of readiness; for a listener from the end of the silence.
    pub first: Duration,
    /// To the end of the answer.
    pub whole: Duration,
    /// What it is paid by.
    pub costs: &'static str,
}

/// Waits for something no longer than for a probe.
///
/// # Errors
/// In words.
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, ProviderError>>) -> Result<T, String> {
    match timeout(WAIT, work).await {
        Ok(outcome) => outcome.map_err(|error| format!("{error}; {}", fix(&error))),
        Err(_) => Err(format!("no answer within {} s", WAIT.as_secs())),
    }
}

/// What to do about a failure, in a few words.
pub(crate) fn fix(error: &ProviderError) -> &'static str {
    match error {
        ProviderError::Authentication { .. } => "make a new key at the vendor, or allow it this service",
        ProviderError::Quota { .. } => "add credit to the account",
        ProviderError::RateLimited { .. } | ProviderError::Busy { .. } => {
            "lower `concurrency`, or raise the account's limit"
        }
        ProviderError::Untrusted { why, .. } => why.fix(),
        ProviderError::BadRequest { .. } => "correct model, voice or options of its [[provider]]",
        _ => "look at the vendor's status page; name a second provider in the agent file meanwhile",
    }
}

/// Waits until the providers have said goodbye in the background, at the most [`GOODBYE`]: a vendor that is not told goes
/// on, and some are paid for that. Once no provider is held any more, and from no task of the runtime.
pub(crate) async fn goodbyes() {
    let left = || Handle::current().metrics().num_alive_tasks() > 0;
    let all = async {
        while left() {
            tokio::time::sleep(LOOK).await;
        }
    };
    // Whoever takes longer is not waited for.
    let _ = timeout(GOODBYE, all).await;
}

/// Asks for one word.
///
/// # Errors
/// What the provider says, or that it said nothing in time.
pub(crate) async fn once(made: &Probed) -> Result<Outcome, ProviderError> {
    let (name, work) = match made {
        Probed::Stt(member) => (member.provider.name(), timeout(WAIT, listen(member.provider.as_ref())).await),
        Probed::Llm(member) => (member.provider.name(), timeout(WAIT, think(member.provider.as_ref())).await),
        Probed::Tts(member) => (member.provider.name(), timeout(WAIT, speak(member.provider.as_ref())).await),
        Probed::Realtime(member) => (member.provider.name(), timeout(WAIT, open(member.provider.as_ref())).await),
    };
    work.unwrap_or(Err(ProviderError::Timeout { provider: name, stage: "answer", after: WAIT }))
}

async fn think(model: &dyn LanguageModel) -> Result<Outcome, ProviderError> {
    let prompt = Prompt {
        instructions: "Answer with one word.".to_owned(),
        messages: vec![Message::Caller(Pii::new("Say OK.".to_owned()))],
        tools: Vec::new(),
        output_tokens_max: TOKENS,
    };
    let began = Instant::now();
    let mut stream = model.think(Arc::new(prompt))?;
    let mut first = None;
    while let Some(thought) = stream.recv().await {
        first.get_or_insert_with(|| began.elapsed());
        if matches!(thought?, Thought::Finished { .. }) {
            let whole = began.elapsed();
            return Ok(Outcome { first: first.unwrap_or(whole), whole, costs: "tokens" });
        }
    }
    Err(ProviderError::Protocol { provider: model.name(), reason: "the answer has no end".to_owned() })
}

async fn speak(voice: &dyn TextToSpeech) -> Result<Outcome, ProviderError> {
    let began = Instant::now();
    let mut stream = voice.speak(SpeakRequest::new("Hello.", SampleRate::NARROWBAND))?;
    let mut first = None;
    while let Some(chunk) = stream.recv().await {
        if !chunk?.samples.is_empty() {
            first.get_or_insert_with(|| began.elapsed());
        }
    }
    let silent = || ProviderError::Protocol { provider: voice.name(), reason: "no audio came".to_owned() };
    Ok(Outcome { first: first.ok_or_else(silent)?, whole: began.elapsed(), costs: "6 characters" })
}

async fn listen(ears: &dyn SpeechToText) -> Result<Outcome, ProviderError> {
    let began = Instant::now();
    let line = AudioFormat::MULAW;
    let request = SttRequest { line, ..SttRequest::new(SampleRate::NARROWBAND, Duration::ZERO) };
    let (mut stream, mut events) = ears.open(request)?;
    let segment = SegmentId(1);
    stream.start(segment);
    let silence = vec![0; SampleRate::NARROWBAND.samples_in_ms(20)];
    let mut clock = tokio::time::interval(FRAME);
    let mut sent = 0;
    let mut finished = None;
    loop {
        tokio::select! {
            _ = clock.tick(), if sent < FRAMES => {
                stream.push(&silence);
                sent += 1;
                if sent == FRAMES {
                    stream.finish(segment);
                    finished = Some(Instant::now());
                }
            }
            event = events.recv() => match event {
                Some(SttEvent::Final { .. }) => {
                    let first = finished.map_or_else(|| began.elapsed(), |at| at.elapsed());
                    return Ok(Outcome { first, whole: began.elapsed(), costs: "1 s of audio" });
                }
                Some(SttEvent::Failed { error, .. }) => return Err(error),
                Some(_) => {}
                None => return Err(ProviderError::Stopped { provider: ears.name() }),
            },
        }
    }
}

async fn open(model: &dyn SpeechToSpeech) -> Result<Outcome, ProviderError> {
    let began = Instant::now();
    let (session, mut events) = model.open(RealtimeRequest::new(
        SampleRate::NARROWBAND,
        AudioFormat::MULAW,
        TurnsBy::Vendor,
        "Wait for the caller.",
    ))?;
    while let Some(event) = events.recv().await {
        match event {
            RealtimeEvent::Ready => {
                drop(session);
                let took = began.elapsed();
                return Ok(Outcome { first: took, whole: took, costs: "a session without audio" });
            }
            RealtimeEvent::Failed(error) => return Err(error),
            _ => {}
        }
    }
    Err(ProviderError::Stopped { provider: model.name() })
}
