//! The offline voice with its real model files: what it says, when, how loud, and that it stops when told.

mod common;
#[path = "common/voice.rs"]
mod voice;

use offhook::providers::local::hibari::{Sentence, VOICE_RATE, VoiceError};
use voice::{hibari, say};

fn samples(sentences: &[Sentence]) -> Vec<f32> {
    sentences.iter().flat_map(|s| s.samples_24k.iter().copied()).collect()
}

fn ms(samples: usize) -> u128 {
    VOICE_RATE.duration_of(samples).as_millis()
}

fn sound(samples: &[f32]) -> (usize, usize) {
    let loud = |s: &f32| s.abs() > 0.003;
    (samples.iter().position(loud).unwrap(), samples.iter().rposition(loud).unwrap())
}

#[test]
fn speech_starts_at_once_is_loud_enough_and_ends_without_a_long_silence() {
    let voice = hibari();
    for text in ["Hello there.", "Your appointment is on Nov 24 at 9:30 am.", "Is that correct?", "Thanks!"] {
        let audio = samples(&say(&voice, text, 1.0));
        let (first, last) = sound(&audio);
        assert!(ms(first) <= 60, "{text}: {} ms of silence before", ms(first));
        assert!(ms(audio.len() - last) <= 150, "{text}: {} ms of silence after", ms(audio.len() - last));
        let rms = (audio.iter().map(|s| s * s).sum::<f32>() / audio.len() as f32).sqrt();
        let dbfs = 20.0 * rms.log10();
        assert!((-32.0..=-18.0).contains(&dbfs), "{text}: {dbfs:.1} dBFS");
        assert!(audio.iter().all(|s| s.abs() <= 0.95), "{text}");
    }
}

#[test]
fn every_word_has_a_mark_in_order_and_inside_the_audio() {
    let text = "Hello there. Your appointment is on Nov 24 at 9:30 am, Anna!";
    let sentences = say(&hibari(), text, 1.0);
    let marks: Vec<_> = sentences.iter().flat_map(|s| &s.marks).collect();
    let words: Vec<&str> = marks.iter().map(|m| text[..m.text_end].rsplit(' ').next().unwrap()).collect();
    assert_eq!(words, ["Hello", "there", "Your", "appointment", "is", "on", "24", "at", "am", "Anna"]);
    assert!(marks.windows(2).all(|w| w[0].sample_end < w[1].sample_end), "{marks:?}");
    assert_eq!(marks.last().unwrap().text_end, text.len() - 1);
    let total = samples(&sentences).len();
    let (_, last) = sound(&samples(&sentences));
    let end = marks.last().unwrap().sample_end;
    assert!(end <= total && ms(last.abs_diff(end)) < 150, "last word marked at {} of {} ms", ms(end), ms(last));
    // The second sentence's marks count from the start of the utterance.
    let first = sentences[0].samples_24k.len();
    assert!(sentences[1].marks[0].sample_end > first);
}

#[test]
fn sentences_come_one_by_one_and_a_false_from_the_sink_ends_it() {
    let voice = hibari();
    let mut calls = 0;
    let mut stop = |_: Sentence| {
        calls += 1;
        false
    };
    voice.synthesize("One. Two. Three.", 1.0, &mut stop).unwrap();
    assert_eq!(calls, 1);
    assert_eq!(say(&voice, "One. Two. Three.", 1.0).len(), 3);
}

#[test]
fn the_first_piece_of_a_long_sentence_is_short() {
    let text = "I can offer you an appointment on Tuesday the twenty fourth in the morning at half past nine, or if that \
                does not suit you, on Thursday in the afternoon at a quarter past two, and if neither of them works, we \
                could look for something in the first week of December.";
    let sentences = say(&hibari(), text, 1.0);
    assert!(sentences.len() >= 2);
    assert!(ms(sentences[0].samples_24k.len()) < 8_000, "{} ms", ms(sentences[0].samples_24k.len()));
}

#[test]
fn speed_changes_the_length_and_nonsense_is_brought_back_to_the_limits() {
    let voice = hibari();
    let text = "We have an opening on Thursday afternoon.";
    let length = |speed| samples(&say(&voice, text, speed)).len() as f32;
    let normal = length(1.0);
    assert!((length(2.0) / normal - 0.5).abs() < 0.1);
    assert!((length(0.5) / normal - 2.0).abs() < 0.3);
    assert_eq!(length(100.0), length(2.0));
    assert_eq!(length(f32::NAN), normal);
}

#[test]
fn the_same_text_gives_the_same_samples_also_on_two_threads_at_once() {
    let voice = hibari();
    let text = "Please bring your insurance card.";
    let once = say(&voice, text, 1.0);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..2).map(|_| scope.spawn(|| say(&voice, text, 1.0))).collect();
        for other in others {
            assert_eq!(other.join().unwrap(), once);
        }
    });
}

#[test]
fn text_without_words_is_no_error_and_makes_no_sound() {
    let voice = hibari();
    for text in ["", "  \n", "?!", "😀", "…"] {
        assert!(say(&voice, text, 1.0).is_empty(), "{text:?}");
    }
}

#[test]
fn endless_words_and_foreign_letters_are_survived() {
    let voice = hibari();
    for text in ["a".repeat(3_000), "ABCDEFGH".repeat(200), "Привет こんにちは 你好".to_owned(), "1".repeat(300)]
    {
        let audio = samples(&say(&voice, &text, 2.0));
        assert!(audio.iter().all(|s| s.is_finite()), "{}", &text[..8]);
    }
}

#[test]
fn a_missing_model_file_is_named_with_the_command_that_fetches_it() {
    let dir = tempfile::tempdir().unwrap();
    let error = voice::load_from(dir.path()).unwrap_err();
    assert!(matches!(error, VoiceError::Missing { .. }));
    assert!(error.to_string().contains("lexicon_us_gold") && error.to_string().contains("make models"), "{error}");
}

/// Text and how the voice reads it. The plain sentences are read exactly as the voice's own package reads them.
const READ: &[(&str, &str)] = &[
    ("Hello there, thanks for calling.", "həlˈO ðˈɛɹ, θˈæŋks fɔɹ kˈɔlɪŋ."),
    (
        "I read the record that you used to keep in the old house.",
        "ˌI ɹˈɛd ðə ɹˈɛkəɹd ðæt ju jˈust tə kˈip ɪn ði ˈOld hˈWs.",
    ),
    (
        "The doctor will record the results and present them to you.",
        "ðə dˈɑktəɹ wɪl ɹəkˈɔɹd ðə ɹəzˈʌlts ænd pɹizˈɛnt ðˌɛm tə ju.",
    ),
    ("Please don't hang up; I'll be right back.", "plˈiz dˈOnt hˈæŋ ˌʌp; ˌIl bi ɹˈIt bˈæk."),
    ("Can I have your phone number, please?", "kˌæn ˌI hæv jʊɹ fˈOn nˈʌmbəɹ, plˈiz?"),
    ("We can't see you today, but we're open tomorrow.", "wˌi kˈænt sˈi ju tədˈA, bˌʌt wɪɹ ˈOpᵊn təmˈɑɹO."),
    ("Is that in the morning or in the afternoon?", "ˌɪz ðˈæt ɪn ðə mˈɔɹnɪŋ ɔɹ ɪn ði ˌæftəɹnˈun?"),
    ("The nurse's station is on the second floor.", "ðə nˈɜɹsᵻz stˈAʃən ɪz ˌɔn ðə sˈɛkənd flˈɔɹ."),
    (
        "Your appointment is on Nov 24 at 9:30 am.",
        "jˌʊɹ əpˈYntmənt ɪz ˌɔn nOvˈɛmbəɹ twˈɛnti fˈɔɹθ æt nˈIn θˈɜɹTi ˌAˈɛm.",
    ),
    (
        "A cleaning costs $95.50, and the exam is free.",
        "ɐ klˈinɪŋ kˈɔsts nˈIndi fˈIv dˈɑləɹz ænd fˈɪfti sˈɛnts, ænd ði ɪɡzˈæm ɪz fɹˈi.",
    ),
    ("My number is 555 0134.", "mˌI nˈʌmbəɹ ɪz fˈIv fˈIv fˈIv, zˈɪɹO wˈʌn θɹˈi fˈɔɹ."),
    ("Please send us an SMS or an e-mail.", "plˈiz sˈɛnd ˌʌs ɐn ˌɛsˌɛmˈɛs ɔɹ ɐn ˈimˌAl."),
    ("Dr. Garcia and Mrs. Nguyen waited for the X-rays.", "dˈɑktəɹ ɡɑɹsˈiə ænd mˈɪsɪz nəwˈɪn wˈATᵻd fɔɹ ði ˈɛksɹˌAz."),
    ("She lives at 1420 Main St. near the lake.", "ʃˌi lˈɪvz æt fˌɔɹtˈin twˈɛnti mˈAn stɹˈit nˌɪɹ ðə lˈAk."),
    ("Press 1 to hear that again.", "pɹˈɛs wˈʌn tə hˈɪɹ ðˈæt əɡˈɛn."),
    ("The clinic is open Mon–Fri, 9am–5pm.", "ðə klˈɪnɪk ɪz ˈOpᵊn mˈʌndˌA tə fɹˈIdˌA, nˈIn ˌAˈɛm tə fˈIv pˌiˈɛm."),
    ("He wound a bandage around the wound.", "hˌi wˈWnd ɐ bˈændɪʤ əɹˈWnd ðə wˈund."),
    ("They live close to the house we use.", "ðˌA lˈɪv klˈOs tə ðə hˈWs wi jˈuz."),
    ("That is what I thought that you wanted.", "ðˈæt ɪz wˌʌt ˌI θˈɔt ðæt ju wˈɑntᵻd."),
    ("\"Really?\" she asked.", "“ɹˈiᵊli?” ʃi ˈæskt."),
    ("He moved in, and she walked in the door.", "hˌi mˈuvd ˈɪn, ænd ʃi wˈɔkt ɪn ðə dˈɔɹ."),
    ("Your follow-up is at a quarter past two.", "jˌʊɹ fˈɑlOˌʌp ɪz æt ɐ kwˈɔɹTəɹ pˈæst tˈu."),
    ("PLEASE CALL US NOW.", "plˈiz kˈɔl ˌʌs nˈW."),
    ("Write to anna.lee@lakeviewdental.com.", "ɹˈIt tʊ ˈænə dˈɑt lˈi æt lˈAk vjˈu dˈɛntᵊl dˈɑt kˈɑm."),
    ("Mr. Zyxtrovian is allergic to penicillin.", "mˈɪstəɹ zɪkstɹˈOviən ɪz əlˈɜɹʤɪk tə pˌɛnəsˈɪlən."),
    ("Take 400 mg every 6 hours.", "tˈAk fˈɔɹ hˈʌndɹəd mˈɪləɡɹˌæmz ˈɛvəɹi sˈɪks ˈWəɹz."),
    ("I am sure it is what I am used to.", "ˌI ɐm ʃˈʊɹ ɪt ɪz wˌʌt ˌI ɐm jˈuzd tu."),
    ("The results are in.", "ðə ɹəzˈʌlts ɑɹ ˈɪn."),
    ("The twenty-five-year-old was vaccinated.", "ðə twˈɛntifˌIvjˌɪɹˈOld wʌz vˈæksənˌATᵻd."),
    ("We accept Aetna, Cigna and most PPO plans.", "wˌi əksˈɛpt ˈɛtnə, sˈɪɡnə ænd mˈOst pˌipˌiˈO plˈænz."),
];

#[test]
fn text_is_read_with_the_sounds_the_voice_was_trained_on() {
    let voice = hibari();
    for (text, expected) in READ {
        assert_eq!(voice.phonemes(text).unwrap().join(" "), *expected, "{text}");
    }
}
