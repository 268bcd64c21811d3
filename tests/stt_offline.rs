//! Human speech in the telephone band, through the streaming speech-to-text that a call uses.

mod common;

use common::speech::{Clip, WordErrors, human_clips, models, word_errors};
use offhook::base::SampleRate;
use offhook::providers::local::moonshine::MoonshineRecognizer;
use offhook::providers::local::pool::{Pool, PoolConfig};
use offhook::providers::local::queue::Lane;
use offhook::providers::local::runtime::Runtime;
use offhook::providers::local::silero::Silero;
use offhook::providers::local::stt::PooledStt;
use offhook::providers::{SegmentId, SpeechToText, SttEvent, SttRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

struct Engine {
    stt: PooledStt<MoonshineRecognizer>,
    pool: Arc<Pool>,
}

fn engine() -> Engine {
    let models = models();
    let runtime = Runtime::open(&models.onnxruntime()).unwrap();
    let pool = Arc::new(Pool::start(PoolConfig { threads: 1, queue: 16 }).unwrap());
    let silero = Silero::load(&models).unwrap();
    let recognizer = MoonshineRecognizer::load(&runtime, &models, 1, silero).unwrap();
    Engine { stt: PooledStt::new(Arc::clone(&pool), recognizer), pool }
}

/// The next final, and the segment's partials before it. Fails after a minute: the pool may be slow, not silent.
fn next_final(events: &mut Receiver<SttEvent>) -> (String, f32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        loop {
            match tokio::time::timeout(Duration::from_secs(60), events.recv()).await.expect("an answer").unwrap() {
                SttEvent::Final { text, confidence, .. } => return (text.into_exposed(), confidence),
                SttEvent::Failed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    })
}

const REQUEST: SttRequest = SttRequest::new(SampleRate::NARROWBAND, Duration::from_millis(300));

#[test]
fn human_speech_in_the_telephone_band_is_understood() {
    let Engine { stt, .. } = engine();
    let (mut stream, mut events) = stt.open(REQUEST).unwrap();
    let mut errors = WordErrors::default();
    let mut report = String::new();
    for (n, Clip { name, samples, words }) in human_clips().into_iter().enumerate() {
        let segment = SegmentId(n as u32 + 1);
        // As in a call: silence before, a voice detector that is 200 ms late, silence after.
        let frames: Vec<i16> = [0; 1_600].iter().chain(&samples).chain(&[0; 1_600]).copied().collect();
        for (tick, frame) in frames.chunks(160).enumerate() {
            if tick == 20 {
                stream.start(segment);
            }
            stream.push(frame);
        }
        stream.finish(segment);
        let (text, confidence) = next_final(&mut events);
        assert!((0.3..=1.0).contains(&confidence), "{name}: {confidence}");
        let wrong = word_errors(&words, &text);
        report.push_str(&format!("{name}: {} wrong: {text}\n", wrong.errors));
        errors += wrong;
    }
    assert_eq!(errors.words, 93);
    assert!(errors.percent() <= 6.0, "word error rate {:.1} %\n{report}", errors.percent());
}

#[test]
fn partials_grow_towards_the_final_while_the_caller_speaks() {
    let Engine { stt, pool } = engine();
    let (mut stream, mut events) = stt.open(REQUEST).unwrap();
    let clip = human_clips().into_iter().find(|clip| clip.name == "austen-0870").unwrap();
    stream.start(SegmentId(1));
    let mut partials = Vec::new();
    for half_second in clip.samples.chunks(4_000) {
        stream.push(half_second);
        // The pool serves in order: when this is done, the partial is.
        let (done, idle) = std::sync::mpsc::channel();
        pool.submit("test", Lane::Background, None, move || done.send(()).unwrap(), |_| ()).unwrap();
        idle.recv().unwrap();
        while let Ok(SttEvent::Partial { text, .. }) = events.try_recv() {
            partials.push(text.into_exposed());
        }
    }
    assert!(partials.len() >= 7, "{partials:?}");
    let words = |text: &str| text.split_whitespace().count();
    assert!(words(&partials[1]) < words(partials.last().unwrap()), "{partials:?}");
    assert!(partials.last().unwrap().to_lowercase().contains("john dashwood"), "{partials:?}");
}

#[test]
fn noise_without_speech_is_not_turned_into_words() {
    let Engine { stt, .. } = engine();
    let (mut stream, mut events) = stt.open(REQUEST).unwrap();
    let mut random = offhook::base::Random::seeded(5);
    let mut noise = |level: f64| -> Vec<i16> {
        (0..16_000).map(|_| ((random.unit() * 2.0 - 1.0) * level * 32_767.0) as i16).collect()
    };
    let tone = (0..16_000).map(|n| ((n as f64 * 0.34).sin() * 8_000.0) as i16).collect();
    let mut click = vec![0; 16_000];
    click[8_000..8_004].fill(30_000);
    let sounds = [
        ("silence", vec![0; 16_000]),
        ("click", click),
        ("hiss", noise(0.005)),
        ("noise", noise(0.05)),
        ("tone", tone),
    ];
    for (n, (name, sound)) in sounds.into_iter().enumerate() {
        let segment = SegmentId(n as u32 + 1);
        stream.start(segment);
        stream.push(&sound);
        stream.finish(segment);
        assert_eq!(next_final(&mut events).0, "", "{name}");
    }
}
