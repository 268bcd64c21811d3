//! One vendor's adapter in a process with nothing else: as many streams as calls, in the pace of a conversation.

use super::rows::{cpu_ms, seconds};
use super::spawn;
use super::support::{Bench, resident_bytes};
use super::vendors::{Vendors, spec};
use offhook::base::chat::{Message, Prompt};
use offhook::base::{Pii, SampleRate, SegmentId};
use offhook::providers::format::AudioFormat;
use offhook::providers::registry::{Local, Registry};
use offhook::providers::{
    LanguageModel, Network, SpeakRequest, SpeechToText, SttEvent, SttRequest, TextToSpeech, Thought,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// From the beginning of one turn to the next: the caller speaks for half of it.
const TURN: Duration = Duration::from_secs(6);
const SPEECH: Duration = Duration::from_secs(3);
const FRAME: Duration = Duration::from_millis(20);
const RATE: SampleRate = SampleRate(8_000);
/// What the voice says, some two seconds.
const LINE: &str = "Hello there. How can I help?";

/// Prints what each stage costs.
#[expect(clippy::disallowed_methods, reason = "a rate is measured over a stretch of real time")]
pub fn measure(bench: &Bench, vendors: &Vendors, counts: &[usize]) {
    let turn = TURN.as_secs();
    println!("\nadapters by themselves, a turn each {turn} s       calls CPU ms/cs  kB/call");
    let certificate = vendors.certificate.to_string_lossy().into_owned();
    let urls: Vec<&str> = vendors.urls.iter().map(String::as_str).collect();
    for count in counts {
        for stage in ["none", "stt", "llm", "tts", "all"] {
            let number = count.to_string();
            let arguments = [&["stage", stage, &number, &certificate], urls.as_slice()].concat();
            let idle = if stage == "none" { Some(spawn(bench, "idle", &arguments)) } else { None };
            let running = idle.unwrap_or_else(|| spawn(bench, stage, &arguments));
            let pid = running.pid();
            let before_bytes = resident_bytes(pid);
            std::thread::sleep(TURN);
            let (began, before) = (Instant::now(), cpu_ms(pid));
            std::thread::sleep(Duration::from_secs(seconds()));
            let cost = (cpu_ms(pid) - before) as f64 / (*count as f64 * began.elapsed().as_secs_f64());
            let bytes = resident_bytes(pid).saturating_sub(before_bytes) as f64 / *count as f64 / 1_000.0;
            println!("  {stage:<44} {count:>5} {cost:>9.2} {bytes:>8.0}");
        }
    }
}

/// The process of one stage; it never ends by itself.
pub fn run(stage: &str, count: &str, certificate: &str, urls: &[&str]) -> ! {
    let count: u32 = count.parse().expect("a number of calls");
    let roots = std::fs::read(certificate).expect("the vendors wrote it");
    let [ears, mind, voice] = urls else { panic!("three vendors") };
    let network = || Network::new(&roots).expect("good certificates");
    let names = |name: &str| [name.to_owned()];
    let registry = |vendor: &str, url: &str| {
        Registry::new(vec![spec(vendor, url)], network(), Box::new(|_| None), Local::default())
    };
    let stt = registry("deepgram", ears).speech_to_text(&names("deepgram")).expect("ears");
    let llm = registry("groq", mind).language_model(&names("groq"), None).expect("a mind");
    let tts = registry("deepgram", voice).text_to_speech(&names("deepgram")).expect("a voice");
    let has = |name: &str| stage == name || stage == "all";
    let (stt, llm, tts) = (has("stt").then_some(stt), has("llm").then_some(llm), has("tts").then_some(tts));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        println!("ready");
        for call in 0..count {
            let (stt, llm, tts) = (stt.clone(), llm.clone(), tts.clone());
            tokio::spawn(async move {
                // Calls do not take their turns at one time.
                tokio::time::sleep(TURN * call / count).await;
                if let Some(stt) = stt {
                    tokio::spawn(listen(stt));
                }
                if llm.is_some() || tts.is_some() {
                    tokio::spawn(answer(llm, tts));
                }
            });
        }
        std::future::pending::<()>().await;
    });
    unreachable!("nobody ends it")
}

async fn listen(stt: Arc<dyn SpeechToText>) {
    let request = SttRequest { line: AudioFormat::MULAW, ..SttRequest::new(RATE, Duration::from_millis(300)) };
    let (mut stream, mut events) = stt.open(request).expect("a place");
    let frame = vec![0; RATE.samples_in_ms(20)];
    let (mut ticks, mut at, mut segment) = (interval(FRAME), Duration::ZERO, SegmentId(0));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if at.is_zero() {
                    segment = SegmentId(segment.0 + 1);
                    stream.start(segment);
                }
                stream.push(&frame);
                at += FRAME;
                if at == SPEECH {
                    stream.finish(segment);
                } else if at >= TURN {
                    at = Duration::ZERO;
                }
            }
            event = events.recv() => match event {
                Some(SttEvent::Failed { error, .. }) => eprintln!("{error}"),
                Some(_) => {}
                None => return eprintln!("a stream ended"),
            },
        }
    }
}

async fn answer(llm: Option<Arc<dyn LanguageModel>>, tts: Option<Arc<dyn TextToSpeech>>) {
    let mut turns = interval(TURN);
    loop {
        turns.tick().await;
        if let Some(llm) = &llm {
            let prompt = Prompt {
                instructions: "You answer the telephone of a restaurant. Be brief.".into(),
                messages: vec![Message::Caller(Pii::new("A table for two.".into()))],
                tools: Vec::new(),
                output_tokens_max: 200,
            };
            let Ok(mut thoughts) = llm.think(Arc::new(prompt)).inspect_err(|error| eprintln!("{error}")) else {
                continue;
            };
            while let Some(thought) = thoughts.recv().await {
                match thought {
                    Ok(Thought::Text(_) | Thought::Call(_) | Thought::Finished { .. }) => {}
                    Err(error) => eprintln!("{error}"),
                }
            }
        }
        if let Some(tts) = &tts {
            let request = SpeakRequest { line: AudioFormat::MULAW, ..SpeakRequest::new(LINE, RATE) };
            let Ok(mut speech) = tts.speak(request).inspect_err(|error| eprintln!("{error}")) else { continue };
            while let Some(chunk) = speech.recv().await {
                if let Err(error) = chunk {
                    eprintln!("{error}");
                }
            }
        }
    }
}
