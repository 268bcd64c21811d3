//! Speech made of tones: every word has its own pitch, so that a test, or a fake recogniser, knows what it hears.
//!
//! A word is told by its letters and digits alone; `Hello,` and `hello` sound the same. There are 48 pitches, so one
//! word in 48 sounds like another: tell texts by several words, or look at [`pitch`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::f64::consts::TAU;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The lowest pitch, in hertz.
const LOWEST: u32 = 300;
/// The distance between two pitches, in hertz.
const STEP: u32 = 50;
/// How many pitches there are. The highest, 2650 Hz, passes a telephone.
const PITCHES: u32 = 48;
/// The loudest sample of a word.
const PEAK: f64 = 12_000.0;
/// How long a word swells and fades.
const EDGE: Duration = Duration::from_millis(5);
/// The length of the blocks that [`hear`] tells sound from silence by.
const BLOCK: Duration = Duration::from_millis(5);
/// The mean loudness from which a block is sound.
const LOUD: i64 = 1_000;
/// The blocks of sound that make a word.
const WORD_BLOCKS: usize = 5;
/// The blocks of silence that end one.
const GAP_BLOCKS: usize = 2;

/// A piece of text and when it is spoken, from the beginning of the speech.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// The word with its punctuation, or the character.
    pub text: String,
    /// When it begins.
    pub start: Duration,
    /// When it ends.
    pub end: Duration,
}

/// How fast to speak.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    /// The length of a word; 40 ms at the least to be heard.
    pub word: Duration,
    /// The silence behind each; 15 ms at the least to be heard.
    pub gap: Duration,
}

impl Default for Voice {
    /// 60 ms a word and 20 ms of silence.
    fn default() -> Self {
        Self { word: Duration::from_millis(60), gap: Duration::from_millis(20) }
    }
}

impl Voice {
    /// When each word is spoken.
    pub fn words(&self, text: &str) -> Vec<Timed> {
        let mut start = Duration::ZERO;
        let words = text.split_whitespace().map(|word| {
            let timed = Timed { text: word.into(), start, end: start + self.word };
            start = timed.end + self.gap;
            timed
        });
        words.collect()
    }

    /// When each character is spoken, white space included: a word's share its time evenly, the white space behind it
    /// shares the silence.
    pub fn characters(&self, text: &str) -> Vec<Timed> {
        let mut timed = Vec::new();
        let mut start = Duration::ZERO;
        for run in runs(text) {
            let whole = if run.starts_with(char::is_whitespace) { self.gap } else { self.word };
            let count = u32::try_from(run.chars().count()).unwrap_or(u32::MAX);
            for (n, character) in (0..).zip(run.chars()) {
                let text = character.to_string();
                timed.push(Timed { text, start: start + whole * n / count, end: start + whole * (n + 1) / count });
            }
            start += whole;
        }
        timed
    }

    /// How long the text takes, the last silence included.
    pub fn duration(&self, text: &str) -> Duration {
        self.words(text).last().map_or(Duration::ZERO, |last| last.end + self.gap)
    }

    /// Speaks the text, at `rate` samples a second.
    pub fn speak(&self, text: &str, rate: u32) -> Vec<i16> {
        let key = (text.to_owned(), rate, self.word, self.gap);
        SPOKEN.with_borrow_mut(|spoken| {
            if spoken.len() >= SPOKEN_MAX {
                spoken.clear();
            }
            spoken.entry(key).or_insert_with(|| self.synthesise(text, rate)).clone()
        })
    }

    fn synthesise(&self, text: &str, rate: u32) -> Vec<i16> {
        let mut samples = silence(self.duration(text), rate);
        for word in self.words(text) {
            let place = position(word.start, rate)..position(word.end, rate);
            let (length, edge) = (place.len(), position(EDGE, rate).max(1));
            let turn = TAU * f64::from(pitch(&word.text)) / f64::from(rate);
            let tone = samples.get_mut(place).unwrap_or_default();
            for (n, sample) in tone.iter_mut().enumerate() {
                let swell = (n.min(length - 1 - n) as f64 / edge as f64).min(1.0);
                *sample = (PEAK * swell * (turn * n as f64).sin()) as i16;
            }
        }
        samples
    }
}

type Spoken = (String, u32, Duration, Duration);
thread_local! {
    /// What was said before.
    static SPOKEN: RefCell<HashMap<Spoken, Vec<i16>>> = RefCell::default();
}
/// Texts kept in [`SPOKEN`].
const SPOKEN_MAX: usize = 64;

/// Silence of this length.
pub fn silence(length: Duration, rate: u32) -> Vec<i16> {
    vec![0; position(length, rate)]
}

/// The pitch of a word in hertz.
pub fn pitch(word: &str) -> u32 {
    let letters = word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
    // FNV-1a: spreads short words well and is the same everywhere.
    let hash = letters.fold(0x811C_9DC5_u32, |hash, c| (hash ^ u32::from(c)).wrapping_mul(0x0100_0193));
    LOWEST + STEP * ((hash ^ hash >> 16) % PITCHES)
}

/// The pitches that are heard, each with when it begins and ends.
pub fn hear(samples: &[i16], rate: u32) -> Vec<(u32, Duration, Duration)> {
    let size = position(BLOCK, rate).max(1);
    let loud = |block: &[i16]| block.iter().map(|s| i64::from(*s).abs()).sum::<i64>() > LOUD * block.len() as i64;
    let mut heard = Vec::new();
    let mut sound: Option<(usize, usize)> = None;
    let last = [(usize::MAX, false)];
    for (n, is_loud) in samples.chunks(size).map(loud).enumerate().chain(last) {
        match sound {
            None if is_loud => sound = Some((n, n + 1)),
            Some((from, _)) if is_loud => sound = Some((from, n + 1)),
            Some((from, to)) if n - to >= GAP_BLOCKS => {
                if to - from >= WORD_BLOCKS {
                    let place = from * size..(to * size).min(samples.len());
                    let time = |n: usize| Duration::from_secs_f64(n as f64 / f64::from(rate));
                    let (start, end) = (time(place.start), time(place.end));
                    heard.push((strongest(samples.get(place).unwrap_or_default(), rate), start, end));
                }
                sound = None;
            }
            _ => {}
        }
    }
    heard
}

/// The words of `vocabulary` that are heard, in their order; sounds that are none of them are left out. Of two words
/// that sound alike, the first is heard.
pub fn recognise(samples: &[i16], rate: u32, vocabulary: &[&str]) -> Vec<Timed> {
    let heard = hear(samples, rate).into_iter().filter_map(|(heard, start, end)| {
        let word = vocabulary.iter().find(|word| pitch(word) == heard)?;
        Some(Timed { text: (*word).into(), start, end })
    });
    heard.collect()
}

/// Whether the words of `text` are heard one behind the other, whatever comes before and after.
pub fn says(samples: &[i16], rate: u32, text: &str) -> bool {
    let wanted: Vec<u32> = text.split_whitespace().map(pitch).collect();
    let heard: Vec<u32> = hear(samples, rate).into_iter().map(|(pitch, ..)| pitch).collect();
    wanted.is_empty() || heard.windows(wanted.len()).any(|part| part == wanted)
}

thread_local! {
    /// The pitches of sounds that were heard before: many calls say the same.
    static KNOWN: RefCell<HashMap<u64, u32>> = RefCell::default();
}
/// Sounds kept in [`KNOWN`].
const KNOWN_MAX: usize = 4_096;

/// The strongest of the pitches.
fn strongest(samples: &[i16], rate: u32) -> u32 {
    let mut hasher = DefaultHasher::new();
    (samples, rate).hash(&mut hasher);
    let sound = hasher.finish();
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        *known.entry(sound).or_insert_with(|| measured(samples, rate))
    })
}

/// The strongest of the pitches (Goertzel's algorithm).
fn measured(samples: &[i16], rate: u32) -> u32 {
    let power = |pitch: u32| {
        let k = 2.0 * (TAU * f64::from(pitch) / f64::from(rate)).cos();
        let (a, b) = samples.iter().fold((0.0, 0.0), |(a, b), s| (f64::from(*s) + k * a - b, a));
        a * a + b * b - k * a * b
    };
    let pitches = (0..PITCHES).map(|n| LOWEST + n * STEP).map(|pitch| (pitch, power(pitch)));
    pitches.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(LOWEST, |(pitch, _)| pitch)
}

/// The sample at a time.
fn position(time: Duration, rate: u32) -> usize {
    usize::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(usize::MAX)
}

/// The text in runs of white space and of anything else.
fn runs(text: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| c.is_whitespace() != first.is_whitespace()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        runs.push(run);
        rest = after;
    }
    runs
}

/// How samples are written as octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Signed 16 bits, little-endian.
    Pcm16,
    /// Floats of 32 bits from -1 to 1, little-endian.
    F32,
    /// G.711 µ-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
}

impl Encoding {
    /// The octets of a sample.
    pub fn width(self) -> usize {
        match self {
            Self::Pcm16 => 2,
            Self::F32 => 4,
            Self::Mulaw | Self::Alaw => 1,
        }
    }

    /// Writes samples.
    pub fn encode(self, samples: &[i16]) -> Vec<u8> {
        let samples = samples.iter().copied();
        match self {
            Self::Pcm16 => samples.flat_map(i16::to_le_bytes).collect(),
            Self::F32 => samples.flat_map(|s| (f32::from(s) / 32_768.0).to_le_bytes()).collect(),
            Self::Mulaw => samples.map(to_mulaw).collect(),
            Self::Alaw => samples.map(to_alaw).collect(),
        }
    }

    /// Reads samples; octets at the end that make no whole one are left out.
    pub fn decode(self, octets: &[u8]) -> Vec<i16> {
        match self {
            Self::Pcm16 => octets.as_chunks().0.iter().copied().map(i16::from_le_bytes).collect(),
            Self::F32 => {
                let floats = octets.as_chunks().0.iter().copied().map(f32::from_le_bytes);
                floats.map(|f| (f * 32_768.0).clamp(-32_768.0, 32_767.0) as i16).collect()
            }
            Self::Mulaw => octets.iter().copied().map(from_mulaw).collect(),
            Self::Alaw => octets.iter().copied().map(from_alaw).collect(),
        }
    }
}

/// One sample in µ-law (G.711 table 2).
fn to_mulaw(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    let magnitude = i32::from(sample).abs().min(32_635) + BIAS;
    let exponent = 24 - magnitude.leading_zeros();
    let mantissa = magnitude >> (exponent + 3) & 0x0F;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent as u8) << 4 | mantissa as u8)
}

fn from_mulaw(octet: u8) -> i16 {
    let code = !octet;
    let magnitude = (((i32::from(code & 0x0F) << 3) + 0x84) << (code >> 4 & 7)) - 0x84;
    (if code & 0x80 == 0 { magnitude } else { -magnitude }) as i16
}

/// One sample in A-law (G.711 table 1).
fn to_alaw(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
    let exponent = (24 - i32::from(magnitude).leading_zeros().min(24)) as u8;
    let mantissa = (magnitude >> (exponent.max(1) + 3) & 0x0F) as u8;
    (sign | exponent << 4 | mantissa) ^ 0x55
}

fn from_alaw(octet: u8) -> i16 {
    let code = octet ^ 0x55;
    let (exponent, mantissa) = (code >> 4 & 7, i32::from(code & 0x0F));
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    (if code & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

/// Cuts octets into pieces of `size`, each a chunk of a reply `gap` behind the one before; the first after `first`.
pub fn chunks(octets: &[u8], size: usize, first: Duration, gap: Duration) -> Vec<(Duration, Vec<u8>)> {
    let pieces = octets.chunks(size.max(1)).enumerate();
    pieces.map(|(n, piece)| (if n == 0 { first } else { gap }, piece.to_vec())).collect()
}

/// A WAV file of one channel of 16 bits.
pub fn wav(samples: &[i16], rate: u32) -> Vec<u8> {
    let data = Encoding::Pcm16.encode(samples);
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut file = b"RIFF".to_vec();
    file.extend(length.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(rate.to_le_bytes());
    file.extend((rate * 2).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend(data);
    file
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648 §4).
pub fn base64(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for three in octets.chunks(3) {
        let octet = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for n in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Undoes [`base64`]; `None` when it is not exactly that, padding included.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (fours, []) = text.as_bytes().as_chunks::<4>() else { return None };
    let mut octets = Vec::with_capacity(fours.len() * 3);
    for (n, four) in fours.iter().enumerate() {
        let padding = four.iter().rev().take_while(|letter| **letter == b'=').count();
        if padding > 2 || (padding > 0 && n + 1 < fours.len()) {
            return None;
        }
        let mut bits = 0;
        for letter in &four[..4 - padding] {
            bits = bits << 6 | ALPHABET.iter().position(|a| a == letter)?;
        }
        bits <<= 6 * padding;
        let three = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        let (kept, lost) = three.split_at(3 - padding);
        if lost.iter().any(|octet| *octet != 0) {
            return None;
        }
        octets.extend_from_slice(kept);
    }
    Some(octets)
}
