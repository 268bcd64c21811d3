//! Voice confirmation and sentence embeddings on the real models.

mod common;

use common::speech::{human_clips, models};
use offhook::providers::embed::{Embedder, cosine};
use offhook::providers::local::minilm::{MiniLm, PooledEmbedder};
use offhook::providers::local::pool::{Pool, PoolConfig, Shelf};
use offhook::providers::local::runtime::Runtime;
use offhook::providers::local::silero::{Silero, SpeechProbability, Voice};
use offhook::providers::local::wordpiece::WordPiece;
use std::sync::Arc;

fn pool() -> Arc<Pool> {
    Arc::new(Pool::start(PoolConfig { threads: 1, queue: 16 }).unwrap())
}

fn silero() -> Silero {
    let models = models();
    Silero::load(&Runtime::open(&models.onnxruntime()).unwrap(), &models).unwrap()
}

fn noise(samples: usize) -> Vec<i16> {
    let mut random = offhook::base::Random::seeded(11);
    (0..samples).map(|_| ((random.unit() * 2.0 - 1.0) * 1_500.0) as i16).collect()
}

#[test]
fn speech_is_told_from_noise_and_silence() {
    let mut silero = silero();
    for clip in human_clips() {
        let mut windows: Vec<f32> = Vec::new();
        let mut probability = SpeechProbability::default();
        for window in clip.samples.chunks(256) {
            windows.extend(probability.push(&mut silero, window).unwrap());
        }
        let spoken = windows.iter().filter(|p| **p > 0.5).count() as f32 / windows.len() as f32;
        assert!(spoken > 0.5, "{}: {spoken}", clip.name);
    }
    for (name, sound) in [("noise", noise(16_000)), ("silence", vec![0; 16_000])] {
        let highest = SpeechProbability::default().push(&mut silero, &sound).unwrap().unwrap();
        assert!(highest < 0.5, "{name}: {highest}");
    }
}

#[test]
fn a_call_is_told_about_voice_only_while_its_gate_is_open() {
    let voice = Voice::new(pool(), Arc::new(Shelf::new(vec![silero()])));
    let (mut confirm, mut readings) = voice.open();
    let clip = human_clips().into_iter().find(|clip| clip.name == "austen-0930").unwrap();
    confirm.push(&clip.samples[..8_000], false);
    assert!(readings.try_recv().is_err());
    let mut highest = 0.0f32;
    let mut until = 0;
    for frame in clip.samples[8_000..].chunks(160) {
        confirm.push(frame, true);
    }
    confirm.push(&[0; 256], true);
    while until + 16_000 < clip.samples.len() as u64 {
        let reading = readings.blocking_recv().unwrap();
        assert!(reading.windows > 0 && reading.until_sample > until);
        highest = highest.max(reading.probability);
        until = reading.until_sample;
        confirm.push(&[0; 256], true);
    }
    assert!(highest > 0.5, "{highest}");
    drop(confirm);
    while readings.blocking_recv().is_some() {}
}

/// Token numbers of the reference implementation (PyPI `tokenizers` 0.22, the same `tokenizer.json`).
#[test]
fn texts_become_the_same_tokens_as_in_the_reference() {
    let file = std::fs::read(models().minilm().join("tokenizer.json")).unwrap();
    let tokenizer = WordPiece::parse(&file).unwrap();
    let rows: [(&str, &[u32]); 4] = [
        (
            "I'd like to book an appointment for Tuesday at 3:30 p.m., please!",
            &[
                101, 1045, 1005, 1040, 2066, 2000, 2338, 2019, 6098, 2005, 9857, 2012, 1017, 1024, 2382, 1052, 1012,
                1049, 1012, 1010, 3531, 999, 102,
            ],
        ),
        ("Café José naïve—über", &[101, 7668, 4560, 15743, 1517, 19169, 102]),
        (
            "Zoë's 24/7 co-op: $95.50 (plus 8% tax)…",
            &[
                101, 11199, 1005, 1055, 2484, 1013, 1021, 2522, 1011, 6728, 1024, 1002, 5345, 1012, 2753, 1006, 4606,
                1022, 1003, 4171, 1007, 1529, 102,
            ],
        ),
        (
            "antidisestablishmentarianism qwxzj 你好 hello\u{200B} world",
            &[
                101, 3424, 10521, 4355, 7875, 13602, 3672, 12199, 2964, 1053, 2860, 2595, 2480, 3501, 100, 100, 7592,
                2088, 102,
            ],
        ),
    ];
    for (text, tokens) in rows {
        assert_eq!(tokenizer.encode(text), tokens, "{text}");
    }
}

#[test]
fn what_means_the_same_lies_close_together() {
    let models = models();
    let runtime = Runtime::open(&models.onnxruntime()).unwrap();
    let embedder = PooledEmbedder::new(pool(), vec![MiniLm::load(&runtime, &models).unwrap()]);
    let ask = |texts: &[&str]| {
        let texts = texts.iter().map(|t| (*t).to_owned()).collect();
        embedder.embed(texts).unwrap().blocking_recv().unwrap().unwrap()
    };
    let exemplars = ["What are your opening hours?", "I want to book an appointment", "How much does it cost?"];
    let known = ask(&exemplars);
    assert!(known.iter().all(|v| v.len() == 384 && (cosine(v, v) - 1.0).abs() < 1e-4));
    // The reference (onnxruntime 1.23.2 in Python, the same model) begins so.
    for (value, reference) in known[0].iter().zip([0.0493, -0.0381, 0.0034, 0.0363]) {
        assert!((value - reference).abs() < 0.005, "{value} is not {reference}");
    }
    for (said, meant) in
        [("when do you open on saturdays", 0), ("could I make an appointment", 1), ("what is the price", 2)]
    {
        let vector = &ask(&[said])[0];
        let best = (0..3).max_by(|a, b| cosine(vector, &known[*a]).total_cmp(&cosine(vector, &known[*b]))).unwrap();
        assert_eq!(best, meant, "{said}");
    }
    assert_eq!(ask(&exemplars), known, "kept vectors are the computed ones");
}
