//! What the voice says is understood on the telephone: the receptionist's sentences, spoken, sent through the
//! telephone band and transcribed by the offline speech-to-text.

mod common;
#[path = "common/voice.rs"]
mod voice;

use common::speech::{WordErrors, models, through_mu_law, word_errors};
use offhook::base::SampleRate;
use offhook::providers::local::hibari::VOICE_RATE;
use offhook::providers::local::moonshine::{Moonshine, RATE};
use offhook::providers::local::resample::{Resampler, to_float, to_i16};
use offhook::providers::local::runtime::Runtime;
use offhook::providers::speakable::normalize;

/// Wrong words per hundred that are allowed; the recogniser alone mishears 6 in human prompts.
const MOST_PERCENT: f64 = 8.0;

#[test]
fn the_receptionists_sentences_are_understood_over_the_telephone() {
    let models = models();
    let hibari = voice::hibari();
    let runtime = Runtime::open(&models.onnxruntime()).unwrap();
    let mut moonshine = Moonshine::load(&runtime, &models).unwrap();
    let to_phone = Resampler::new(VOICE_RATE, SampleRate::NARROWBAND);
    let from_phone = Resampler::new(SampleRate::NARROWBAND, SampleRate(RATE));
    let mut total = WordErrors::default();
    let mut report = String::new();
    let sentences = voice::receptionist();
    assert!(sentences.len() >= 100);
    for text in &sentences {
        // On the line there is silence before the agent speaks.
        let mut spoken = vec![0.0; VOICE_RATE.samples_in_ms(200)];
        spoken.extend(voice::say(&hibari, text, 1.0).into_iter().flat_map(|s| s.samples_24k));
        let phone: Vec<i16> = to_i16(&to_phone.clip(&spoken)).into_iter().map(through_mu_law).collect();
        let heard = moonshine.transcribe(&from_phone.clip(&to_float(&phone))).unwrap().text;
        let wrong = word_errors(&normalize::words(text).join(" "), &normalize::words(&heard).join(" "));
        if wrong.errors > 0 {
            report += &format!("{} wrong\n  said  {text}\n  heard {heard}\n", wrong.errors);
        }
        total += wrong;
    }
    let percent = total.percent();
    println!("{report}\n{} of {} words wrong: {percent:.1} %", total.errors, total.words);
    assert!(percent <= MOST_PERCENT, "{percent:.1} % of the words are misheard:\n{report}");
}
