//! Cost of the offline voice: processor time to the first audio, per second of speech, and memory.
//!
//! `cargo bench --bench tts_cost` after `make models`; an argument sets the number of sentences (default 20).

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/voice.rs"]
mod voice;

use offhook::providers::local::hibari::VOICE_RATE;
use offhook::providers::speakable::normalize;
use std::time::{Duration, Instant};

/// Processor time of this thread so far: other programs on the machine do not count.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(stat.split(' ').next().and_then(|n| n.parse().ok()).expect("nanoseconds"))
}

fn memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a resident set");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).expect("kilobytes") / 1024.0
}

fn main() {
    let count = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(20);
    let before = memory_mb();
    let (wall, cpu) = (Instant::now(), processor_time());
    let hibari = voice::hibari();
    println!(
        "load: {:.0} ms ({:.0} ms of processor), {:.0} MB more memory",
        wall.elapsed().as_secs_f64() * 1e3,
        (processor_time() - cpu).as_secs_f64() * 1e3,
        memory_mb() - before
    );
    voice::say(&hibari, "Warm up.", 1.0);
    let sentences = voice::receptionist();
    let mut first_ms = Vec::new();
    let (mut seconds, mut total, mut reading) = (0.0, Duration::ZERO, Duration::ZERO);
    for text in sentences.iter().step_by((sentences.len() / count).max(1)).take(count) {
        let start = processor_time();
        std::hint::black_box(normalize::sentences(text, normalize::normalize(text)));
        hibari.phonemes(text).expect("readable");
        reading += processor_time() - start;
        let start = processor_time();
        let mut first = None;
        let mut listen = |sentence: offhook::providers::local::hibari::Sentence| {
            first.get_or_insert_with(|| processor_time() - start);
            seconds += VOICE_RATE.duration_of(sentence.samples_24k.len()).as_secs_f64();
            true
        };
        hibari.synthesize(text, 1.0, &mut listen).expect("the voice speaks");
        total += processor_time() - start;
        first_ms.push(first.expect("audio").as_secs_f64() * 1e3);
    }
    first_ms.sort_by(f64::total_cmp);
    let at = |part: f64| first_ms[((first_ms.len() - 1) as f64 * part) as usize];
    println!("first audio: {:.1} ms of processor at the median, {:.1} at most", at(0.5), at(1.0));
    println!(
        "{:.1} s of speech: {:.4} s of processor per second ({:.2} ms per sentence to read the text)",
        seconds,
        total.as_secs_f64() / seconds,
        reading.as_secs_f64() * 1e3 / first_ms.len() as f64
    );
    println!("memory at the end: {:.0} MB, {:.0} more than before loading", memory_mb(), memory_mb() - before);
}
