//! What the offline engines cost: CPU per final by clip length, per partial, per voice window, per embedding, per
//! sentence spoken; loading time and memory. One thread; `cargo bench --bench engines` after `make models`.
//!
//! CPU is the process's own (`/proc/self/stat`, 10 ms steps, many rounds), so a busy machine disturbs it little.

#[path = "../tests/common/mod.rs"]
mod common;

use common::speech::{human_clips, models};
use offhook::base::SampleRate;
use offhook::providers::local::minilm::MiniLm;
use offhook::providers::local::moonshine::MoonshineRecognizer;
use offhook::providers::local::pool::PoolConfig;
use offhook::providers::local::runtime::Runtime;
use offhook::providers::local::silero::{Silero, SpeechMemory, WINDOW};
use offhook::providers::local::stt::Recognizer;
use offhook::providers::local::tts::{HibariSynthesizer, Synthesizer};
use offhook::providers::local::{LocalEngines, models::Models};
use std::time::Instant;

/// CPU seconds of this process, user and system.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn resident_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// CPU milliseconds of one round.
fn cost(rounds: usize, mut round: impl FnMut()) -> f64 {
    round();
    let before = cpu_seconds();
    for _ in 0..rounds {
        round();
    }
    (cpu_seconds() - before) * 1_000.0 / rounds as f64
}

fn main() {
    let started = Instant::now();
    let models: Models = models();
    println!("checking the store          {:>8.0} ms", started.elapsed().as_secs_f64() * 1e3);
    println!("memory before               {:>8.0} MB", resident_megabytes());
    let config = PoolConfig { threads: 1, ..PoolConfig::default() };
    let engines = LocalEngines::load(&models, config, |loaded| {
        println!(
            "loading {:<20}{:>8.0} ms, then {:.0} MB in memory",
            loaded.engine,
            loaded.took.as_secs_f64() * 1e3,
            resident_megabytes()
        );
    })
    .unwrap();
    drop(engines);

    let runtime = Runtime::open(&models.onnxruntime()).unwrap();
    let silero = Silero::load(&models).unwrap();
    let recognizer = MoonshineRecognizer::load(&runtime, &models, 1, silero.clone()).unwrap();
    let speech: Vec<i16> =
        human_clips().into_iter().filter(|c| c.name.starts_with("austen")).flat_map(|c| c.samples).collect();
    println!("\n{:<28}{:>12}", "clip", "CPU ms");
    for seconds in [1, 2, 3, 5, 8, 12] {
        let clip = &speech[..seconds * 8_000];
        let ms = cost(10, || drop(recognizer.hear(clip, SampleRate::NARROWBAND, &|| true).unwrap()));
        println!("final of {seconds:>2} s{ms:>28.1}");
    }
    // A talker of four seconds: a partial each half second, then the final.
    let ms = cost(3, || {
        for half_seconds in 1..=8 {
            let clip = &speech[..half_seconds * 4_000];
            drop(recognizer.hear(clip, SampleRate::NARROWBAND, &|| true).unwrap());
        }
    });
    println!("{:<28}{:>12.1}", "8 partials of 0.5–4 s", ms);
    println!("memory after                {:>8.0} MB", resident_megabytes());

    let mut memory = SpeechMemory::default();
    let mut windows = speech.chunks_exact(WINDOW).cycle();
    let ms = cost(20_000, || {
        std::hint::black_box(silero.probability(windows.next().unwrap(), &mut memory));
    });
    println!("{:<28}{ms:>12.3}", "Silero window of 32 ms");
    let mut minilm = MiniLm::load(&runtime, &models).unwrap();
    let ms = cost(50, || drop(minilm.embed("I would like to book an appointment for Tuesday").unwrap()));
    println!("{:<28}{ms:>12.1}", "embedding of 9 words");
    let voice = HibariSynthesizer::load(&runtime, &models).unwrap();
    let text = "Thank you for calling. Your appointment is on Tuesday at half past nine.";
    let mut samples = 0;
    let ms = cost(20, || {
        samples = 0;
        voice
            .synthesize(text, 1.0, &mut |s| {
                samples += s.samples_24k.len();
                true
            })
            .unwrap();
    });
    println!("speech of {:.1} s{ms:>27.1}", samples as f64 / 24_000.0);
    println!("memory at the end           {:>8.0} MB", resident_megabytes());
}
