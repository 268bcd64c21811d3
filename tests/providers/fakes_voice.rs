//! The voice of the fake vendors: what it says can be recognised, and its octets are those of the standards.

use std::time::Duration;

use crate::fakes::voice::{Encoding, Voice, base64, chunks, from_base64, hear, pitch, recognise, says, silence, wav};

const TEXT: &str = "Good morning, this is Anna. How may I help you today?";

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn what_is_said_is_heard_at_every_rate_and_in_every_encoding() {
    for rate in [8_000, 16_000, 22_050, 24_000, 44_100, 48_000] {
        let samples = Voice::default().speak(TEXT, rate);
        assert_eq!(samples.len(), (11 * 80 * rate / 1000) as usize);
        for encoding in [Encoding::Pcm16, Encoding::F32, Encoding::Mulaw, Encoding::Alaw] {
            let octets = encoding.encode(&samples);
            assert_eq!(octets.len(), samples.len() * encoding.width());
            let heard = encoding.decode(&octets);
            assert!(says(&heard, rate, TEXT), "{rate} {encoding:?}: {:?}", hear(&heard, rate));
            assert!(says(&heard, rate, "anna how may"), "a part of it");
            assert!(!says(&heard, rate, "may how anna"), "the order matters");
        }
    }
}

#[test]
fn a_recogniser_knows_the_words_of_its_vocabulary_and_their_times() {
    let rate = 8_000;
    let mut samples = silence(ms(200), rate);
    samples.extend(Voice { word: ms(300), gap: ms(100) }.speak("yes please yes", rate));
    let heard = recognise(&samples, rate, &["yes", "please"]);
    assert_eq!(heard.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), ["yes", "please", "yes"]);
    for (word, start) in heard.iter().zip([200, 600, 1000]) {
        let early = word.start.abs_diff(ms(start)).max(word.end.abs_diff(ms(start + 300)));
        assert!(early <= ms(5), "{word:?}");
    }
    assert_eq!(recognise(&samples, rate, &["please"]).len(), 1);
    assert!(hear(&silence(ms(500), rate), rate).is_empty());
}

#[test]
fn punctuation_and_case_make_no_sound() {
    assert_eq!(pitch("Hello,"), pitch("hello"));
    let pitches: std::collections::BTreeSet<u32> = TEXT.split_whitespace().map(pitch).collect();
    assert!(pitches.len() >= 9, "eleven words share {} pitches", pitches.len());
}

#[test]
fn characters_and_words_are_timed_alike() {
    let voice = Voice::default();
    let words = voice.words("ab  cde");
    assert_eq!((words[1].start, words[1].end, voice.duration("ab  cde")), (ms(80), ms(140), ms(160)));
    let characters = voice.characters("ab  cde");
    let times: Vec<_> = characters.iter().map(|c| (c.text.as_str(), c.start, c.end)).collect();
    assert_eq!(times[..4], [("a", ms(0), ms(30)), ("b", ms(30), ms(60)), (" ", ms(60), ms(70)), (" ", ms(70), ms(80))]);
    assert_eq!(times[4], ("c", ms(80), ms(100)));
    assert_eq!(times[6], ("e", ms(120), ms(140)));
}

#[test]
fn g711_is_that_of_the_standard() {
    let corners = [0, 32_767, -32_768, 1_000, -1_000];
    assert_eq!(Encoding::Mulaw.encode(&corners), [0xFF, 0x80, 0x00, 0xCE, 0x4E]);
    assert_eq!(Encoding::Alaw.encode(&corners), [0xD5, 0xAA, 0x2A, 0xFA, 0x7A]);
    let codes: Vec<u8> = (0..=255).collect();
    assert_eq!(Encoding::Alaw.encode(&Encoding::Alaw.decode(&codes)), codes);
    let mut plus_zero = codes.clone();
    plus_zero[0x7F] = 0xFF;
    assert_eq!(Encoding::Mulaw.encode(&Encoding::Mulaw.decode(&codes)), plus_zero);
}

#[test]
fn base64_is_that_of_the_standard() {
    for (octets, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(octets.as_bytes()), text);
        assert_eq!(from_base64(text).as_deref(), Some(octets.as_bytes()));
    }
    assert_eq!(base64(&[0xFB, 0xFF]), "+/8=");
    for wrong in ["Zg", "Zg=", "Zg==Zg==", "Z===", "Zh==", "Z g=", "Zm9v\n"] {
        assert_eq!(from_base64(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_wav_file_names_its_length_and_rate() {
    let file = wav(&[1, -1], 8_000);
    assert_eq!(file.len(), 48);
    assert_eq!(&file[..4], b"RIFF");
    assert_eq!(file[4..8], 40_u32.to_le_bytes());
    assert_eq!(file[24..28], 8_000_u32.to_le_bytes());
    assert_eq!(file[40..], [4, 0, 0, 0, 1, 0, 255, 255]);
}

#[test]
fn chunks_are_paced() {
    let paced = chunks(&[0; 5], 2, ms(9), ms(3));
    assert_eq!(
        paced.iter().map(|(gap, piece)| (*gap, piece.len())).collect::<Vec<_>>(),
        [(ms(9), 2), (ms(3), 2), (ms(3), 1)]
    );
}
