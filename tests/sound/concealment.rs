//! How speech sounds through each codec when packets are lost: concealed, against silence in their place.

use crate::common::score::{Score, score};
use offhook::audio::codec::{Coding, Decoder, Encoder, MAX_ENCODED, MAX_PACKET_SAMPLES, OpusSettings};
use offhook::audio::wav;
use offhook::base::{Random, SampleRate};

const LOSSES: [u64; 4] = [1, 3, 5, 10];

fn speech(rate: SampleRate) -> Vec<i16> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/caller/");
    ["book.wav", "phone.wav", "time-2.wav", "human.wav", "price.wav"]
        .iter()
        .flat_map(|name| wav::read_at(format!("{folder}{name}"), rate).unwrap())
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lost {
    /// Nothing is put in the place of what is lost.
    Silence,
    /// Made up by the decoder.
    Concealed,
    /// Taken from the copy in the packet after it where there is one, else made up.
    Recovered,
}

/// What is heard of `samples` when `percent` of the packets of 20 ms are lost, in a way that the seed decides.
fn heard(coding: Coding, samples: &[i16], percent: u64, lost: Lost) -> Vec<i16> {
    let frame = coding.sample_rate().samples_in_ms(20);
    let (mut encoder, mut octets) = (Encoder::new(coding).unwrap(), [0; MAX_ENCODED]);
    encoder.set_expected_loss(percent as u8);
    let packets: Vec<Vec<u8>> = samples
        .chunks_exact(frame)
        .map(|samples| {
            let len = encoder.encode(samples, &mut octets).unwrap();
            octets[..len].to_vec()
        })
        .collect();
    let mut random = Random::seeded(20);
    let gone: Vec<bool> = packets.iter().map(|_| random.below(1_000) < 10 * percent).collect();
    let (mut decoder, mut out, mut line) = (Decoder::new(coding).unwrap(), [0; MAX_PACKET_SAMPLES], Vec::new());
    for (n, packet) in packets.iter().enumerate() {
        if !gone[n] {
            decoder.decode(packet, &mut out).unwrap();
        } else {
            let following = packets.get(n + 1).filter(|_| lost == Lost::Recovered && !gone[n + 1]);
            let copied = following.map_or(0, |following| decoder.recover(following, &mut out[..frame]));
            if copied == 0 {
                decoder.conceal(&mut out[..frame]);
            }
            if lost == Lost::Silence {
                out[..frame].fill(0);
            }
        }
        line.extend_from_slice(&out[..frame]);
    }
    line
}

/// The scores of all losses against the same codec without loss.
fn scores(coding: Coding, lost: Lost) -> Vec<Score> {
    let samples = speech(coding.sample_rate());
    let rate = coding.sample_rate().0;
    LOSSES
        .iter()
        .map(|percent| {
            let whole = heard(coding, &samples, 0, lost);
            score(&whole, &heard(coding, &samples, *percent, lost), rate)
        })
        .collect()
}

fn points(scores: &[Score]) -> Vec<f64> {
    scores.iter().map(|score| score.points.round()).collect()
}

#[test]
fn made_up_speech_is_nearer_than_silence_at_every_loss_in_g711_and_g722() {
    for coding in [Coding::Pcmu, Coding::Pcma, Coding::G722] {
        let (made_up, silent) = (scores(coding, Lost::Concealed), scores(coding, Lost::Silence));
        println!("{coding:?}: concealed {:?}, silence {:?}", points(&made_up), points(&silent));
        for ((percent, made_up), silent) in LOSSES.iter().zip(&made_up).zip(&silent) {
            // One in a hundred is five packets here, most of them in pauses.
            let margin = [-1.0, 1.5, 2.0, 6.0][LOSSES.iter().position(|known| known == percent).unwrap()];
            assert!(made_up.points > silent.points + margin, "{coding:?}, {percent} %: {made_up:?} {silent:?}");
        }
        assert!(made_up[1].points > 60.0, "{coding:?}: {made_up:?}");
    }
}

#[test]
fn opus_is_nearest_with_copies_then_made_up_then_silent() {
    let coding = Coding::Opus(OpusSettings::VOICE);
    let all = [Lost::Recovered, Lost::Concealed, Lost::Silence].map(|lost| scores(coding, lost));
    println!("opus: copies {:?}, made up {:?}, silence {:?}", points(&all[0]), points(&all[1]), points(&all[2]));
    for n in 1..LOSSES.len() {
        assert!(all[0][n].points > all[1][n].points + 1.0, "{} %: {:?} {:?}", LOSSES[n], all[0][n], all[1][n]);
        assert!(all[1][n].points > all[2][n].points + 1.0, "{} %: {:?} {:?}", LOSSES[n], all[1][n], all[2][n]);
    }
}

#[test]
fn concealment_begins_and_ends_without_clicks() {
    let rate = SampleRate::NARROWBAND;
    let samples: Vec<i16> =
        (0..16_000).map(|n| ((n as f64 * 170.0 / 8_000.0 * std::f64::consts::TAU).sin() * 9_000.0) as i16).collect();
    let line = heard(Coding::Pcmu, &samples, 10, Lost::Concealed);
    let steepest = |line: &[i16]| line.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap();
    assert_eq!(line.len() % rate.samples_in_ms(20), 0);
    // Where nothing is lost the tone and its coding step from sample to sample by 1,300 at most.
    assert!(steepest(&line) < 2_600, "{}", steepest(&line));
    assert!(steepest(&heard(Coding::Pcmu, &samples, 10, Lost::Silence)) > 4_000);
}
