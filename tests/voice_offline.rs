//! Voice confirmation and sentence embeddings on the real models.

mod common;

use common::speech::{Clip, human_clips, models};
use offhook::providers::VoiceStream;
use offhook::providers::embed::{Embedder, cosine};
use offhook::providers::local::minilm::{MiniLm, PooledEmbedder};
use offhook::providers::local::pool::{Pool, PoolConfig};
use offhook::providers::local::runtime::Runtime;
use offhook::providers::local::silero::{Silero, SpeechMemory, SpeechProbability, Voice};
use offhook::providers::local::wordpiece::WordPiece;
use ort::value::Tensor;
use std::sync::Arc;

fn pool() -> Arc<Pool> {
    Arc::new(Pool::start(PoolConfig { threads: 1, queue: 16 }).unwrap())
}

fn silero() -> Silero {
    Silero::load(&models()).unwrap()
}

fn noise(samples: usize) -> Vec<i16> {
    let mut random = offhook::base::Random::seeded(11);
    (0..samples).map(|_| ((random.unit() * 2.0 - 1.0) * 1_500.0) as i16).collect()
}

#[test]
fn speech_is_told_from_noise_and_silence() {
    let silero = silero();
    for clip in human_clips() {
        let mut heard = SpeechProbability::default();
        let windows: Vec<f32> = clip.samples.chunks(256).filter_map(|window| heard.push(&silero, window).0).collect();
        let spoken = windows.iter().filter(|p| **p > 0.5).count() as f32 / windows.len() as f32;
        assert!(spoken > 0.5, "{}: {spoken}", clip.name);
    }
    for (name, sound) in [("noise", noise(16_000)), ("silence", vec![0; 16_000])] {
        let (highest, windows) = SpeechProbability::default().push(&silero, &sound);
        assert_eq!(windows, 62);
        assert!(highest.unwrap() < 0.5, "{name}: {highest:?}");
    }
}

/// What ONNX Runtime makes of the same file, window by window.
fn by_reference(samples: &[i16]) -> Vec<f32> {
    let models = models();
    let mut session = Runtime::open(&models.onnxruntime()).unwrap().session(&models.silero()).unwrap();
    let (mut state, mut known) = (vec![0f32; 256], vec![0f32; 32]);
    let windows = samples.chunks_exact(256).map(|window| {
        let mut input = std::mem::take(&mut known);
        input.extend(window.iter().map(|s| f32::from(*s) / 32_768.0));
        known = input[256..].to_vec();
        let inputs = ort::inputs! {
            "input" => Tensor::from_array(([1, 288], input)).unwrap(),
            "state" => Tensor::from_array(([2, 1, 128], std::mem::take(&mut state))).unwrap(),
            "sr" => Tensor::from_array(((), vec![8_000i64])).unwrap(),
        };
        let outputs = session.run(inputs).unwrap();
        state = outputs["stateN"].try_extract_tensor::<f32>().unwrap().1.to_vec();
        outputs["output"].try_extract_tensor::<f32>().unwrap().1[0]
    });
    windows.collect()
}

#[test]
fn every_window_has_the_probability_that_the_reference_runtime_gives_it() {
    let silero = silero();
    let beginning = |clip: Clip| clip.samples.into_iter().take(24_000).collect();
    let mut sounds: Vec<Vec<i16>> = human_clips().into_iter().map(beginning).collect();
    // A scale of square waves, hiss, clicks, full scale, silence.
    sounds.push((0..16_000).map(|t| if t * (1 + t / 2_000) / 20 % 2 == 0 { 9_000 } else { -9_000 }).collect());
    sounds.push(noise(8_000));
    sounds.push((0..8_000).map(|t| if t % 1_000 == 0 { i16::MAX } else { 0 }).collect());
    sounds.push((0..4_000).map(|t| if t % 9 < 4 { i16::MIN } else { i16::MAX }).collect());
    sounds.push(vec![0; 4_000]);
    // In one go, so that the memory of each sound goes into the next.
    let line = sounds.concat();
    let mut memory = SpeechMemory::default();
    let ours = line.chunks_exact(256).map(|window| silero.probability(window, &mut memory));
    for (window, (ours, reference)) in ours.zip(by_reference(&line)).enumerate() {
        assert!((ours - reference).abs() < 1e-3, "window {window}: {ours}, by the reference {reference}");
    }
}

#[test]
fn a_call_is_told_about_voice_only_while_its_gate_is_open() {
    let mut confirm = Voice::new(silero()).open();
    let clip = human_clips().into_iter().find(|clip| clip.name == "austen-0930").unwrap();
    let (before, after) = clip.samples.split_at(8_000);
    assert_eq!(confirm.push(before, false), None);
    let first = confirm.push(&after[..160], true).expect("what was before the gate opened is judged with it");
    assert_eq!((first.windows, first.until_sample), (4, 8_000));
    let verdicts: Vec<_> = after[160..].chunks_exact(160).filter_map(|frame| confirm.push(frame, true)).collect();
    assert!(verdicts.iter().all(|verdict| verdict.windows == 1));
    assert!(verdicts.is_sorted_by_key(|verdict| verdict.until_sample));
    assert!(verdicts.iter().any(|verdict| verdict.probability > 0.9));
    assert_eq!(confirm.push(&after[..160], false), None);
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
