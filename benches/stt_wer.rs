//! Word error rate and cost of the offline speech-to-text on human speech in the telephone band.
//!
//! `cargo bench --bench stt_wer` after `make models` and `tests/interop/fetch-prompts.sh`; an argument sets the
//! number of prompts (default 80), `--verbose` shows every misheard clip. All clips are 8 kHz µ-law.

#[path = "../tests/common/mod.rs"]
mod common;

use common::speech::{Clip, WordErrors, human_clips, models, prompts, through_mu_law, word_errors};
use offhook::base::SampleRate;
use offhook::providers::local::moonshine::MoonshineRecognizer;
use offhook::providers::local::runtime::Runtime;
use offhook::providers::local::silero::Silero;
use offhook::providers::local::stt::Recognizer;
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let verbose = arguments.iter().any(|a| a == "--verbose");
    let count = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(80);
    let models = models();
    let runtime = Runtime::open(&models.onnxruntime()).expect("the runtime opens");
    let silero = Silero::load(&models).expect("the model loads");
    let moonshine = MoonshineRecognizer::load(&runtime, &models, 1, silero).expect("the model loads");

    println!("{:<28}{:>6}{:>9}{:>7}{:>8}{:>12}", "set", "clips", "seconds", "words", "WER %", "s per s");
    for (name, clips) in [("LibriVox and Kennedy", human_clips()), ("Asterisk prompts", prompts(count))] {
        let (mut errors, mut seconds, mut seconds_taken) = (WordErrors::default(), 0.0, 0.0);
        for Clip { name, samples, words } in &clips {
            let samples: Vec<i16> = samples.iter().map(|&s| through_mu_law(s)).collect();
            let started = Instant::now();
            let heard = moonshine
                .hear(&samples, SampleRate::NARROWBAND, &|| true)
                .expect("the model runs")
                .expect("nobody stops it");
            seconds_taken += started.elapsed().as_secs_f64();
            seconds += samples.len() as f64 / 8_000.0;
            let wrong = word_errors(words, &heard.text);
            if verbose && wrong.errors > 0 {
                println!(
                    "  {name} ({} wrong, confidence {:.2})\n    said  {words}\n    heard {}",
                    wrong.errors, heard.confidence, heard.text
                );
            }
            errors += wrong;
        }
        println!(
            "{name:<28}{:>6}{seconds:>9.1}{:>7}{:>8.1}{:>12.3}",
            clips.len(),
            errors.words,
            errors.percent(),
            seconds_taken / seconds,
        );
    }
}
