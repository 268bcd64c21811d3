//! The score that other tests of sound rely on: equal sound is best, and more damage is never better.

use crate::common::score::score;
use offhook::audio::g711::Law;
use offhook::audio::{resample, wav};
use offhook::base::{Random, SampleRate};

fn speech(rate: u32) -> Vec<i16> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/caller/");
    ["book.wav", "time-2.wav"]
        .iter()
        .flat_map(|name| wav::read_at(format!("{folder}{name}"), SampleRate(rate)).unwrap())
        .collect()
}

fn with_noise(samples: &[i16], db_below: f64) -> Vec<i16> {
    let level = (samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64).sqrt();
    let amplitude = level * 10f64.powf(-db_below / 20.0) * 3f64.sqrt();
    let mut random = Random::seeded(17);
    samples.iter().map(|s| (f64::from(*s) + (random.unit() * 2.0 - 1.0) * amplitude) as i16).collect()
}

fn with_holes(samples: &[i16], percent: u64, frame: usize) -> Vec<i16> {
    let mut random = Random::seeded(5);
    let mut out = samples.to_vec();
    for piece in out.chunks_mut(frame) {
        if random.below(100) < percent {
            piece.fill(0);
        }
    }
    out
}

#[test]
fn equal_sound_is_best_at_any_delay_and_level() {
    for rate in [8_000, 16_000] {
        let said = speech(rate);
        let best = score(&said, &said, rate);
        assert!(best.points > 99.9 && best.segmental_snr_db > 34.9 && best.delay_ms == 0.0, "{best:?}");
        let mut late = vec![0; rate as usize / 5];
        late.extend(said.iter().map(|s| s / 2));
        let shifted = score(&said, &late, rate);
        assert!((shifted.delay_ms - 200.0).abs() < 0.2 && shifted.points > 97.0, "{shifted:?}");
        let early = score(&said, &said[rate as usize / 10..], rate);
        assert!((early.delay_ms + 100.0).abs() < 0.2 && early.points > 70.0, "{early:?}");
    }
}

#[test]
fn more_noise_and_more_loss_score_less() {
    for rate in [8_000, 16_000] {
        let said = speech(rate);
        for (what, damaged) in [
            ("noise", [40.0, 30.0, 20.0, 10.0, 0.0].map(|db| with_noise(&said, db)).to_vec()),
            ("loss", [0, 3, 10, 30].map(|percent| with_holes(&said, percent, rate as usize / 50)).to_vec()),
        ] {
            let scores: Vec<_> = damaged.iter().map(|heard| score(&said, heard, rate)).collect();
            for two in scores.windows(2) {
                assert!(two[1].points < two[0].points - 1.0, "{what} at {rate}: {scores:#?}");
                assert!(two[1].segmental_snr_db < two[0].segmental_snr_db, "{what}: {scores:#?}");
            }
        }
    }
}

#[test]
fn the_telephone_costs_little_and_other_speech_scores_nothing() {
    let said = speech(8_000);
    let law: Vec<i16> = said.iter().map(|s| Law::Mu.decode_sample(Law::Mu.encode_sample(*s))).collect();
    let coded = score(&said, &law, 8_000);
    assert!(coded.points > 85.0, "{coded:?}");
    // Every other sample turned over puts a mirror image into the upper band.
    let wide: Vec<i16> = speech(16_000)
        .iter()
        .enumerate()
        .map(|(n, s)| if n % 2 == 0 { s / 2 + s / 8 } else { s / 2 - s / 8 })
        .collect();
    let narrow = resample::convert(&wide, SampleRate(16_000), SampleRate(8_000)).unwrap();
    let muffled = score(&wide, &resample::convert(&narrow, SampleRate(8_000), SampleRate(16_000)).unwrap(), 16_000);
    assert!(muffled.points < coded.points, "without its upper band: {muffled:?}");
    let mut backwards = said.clone();
    backwards.reverse();
    for wrong in [backwards, vec![0; said.len()], Vec::new()] {
        let wrong = score(&said, &wrong, 8_000);
        assert!(wrong.points < 35.0, "{wrong:?}");
    }
}

#[test]
fn a_pause_that_was_stretched_costs_little() {
    let said = speech(8_000);
    let (first, rest) = said.split_at(16_000);
    let stretched = [first, &[0; 240], rest].concat();
    let moved = score(&said, &stretched, 8_000);
    assert!(moved.points > 85.0, "{moved:?}");
}
