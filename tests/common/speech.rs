//! Models, human speech with known words, and word error rates.

use offhook::providers::local::models::{Models, Surroundings};
use std::path::{Path, PathBuf};

/// The checked models; ends the test with the command that fetches them when there are none.
pub fn models() -> Models {
    let directory = Surroundings::of_process().models_directory(None);
    match Models::open(&directory) {
        Ok(models) => models,
        Err(error) => panic!("{error}\nThis test needs the models: run `make models` once."),
    }
}

/// A recording and what is said in it.
#[derive(Clone, Debug)]
pub struct Clip {
    pub name: String,
    /// Mono, 8 kHz.
    pub samples: Vec<i16>,
    pub words: String,
}

impl Clip {
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / 8_000.0
    }
}

/// The clips that travel with the source (`tests/data/speech`).
pub fn human_clips() -> Vec<Clip> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/speech");
    let table = std::fs::read_to_string(folder.join("transcripts.tsv")).unwrap();
    let clips: Vec<Clip> = table
        .lines()
        .skip(1)
        .map(|line| {
            let (name, words) = line.split_once('\t').unwrap();
            let samples = read_wav(&folder.join(format!("{name}.wav")));
            Clip { name: name.to_owned(), samples, words: words.to_owned() }
        })
        .collect();
    assert!(clips.len() >= 6);
    clips
}

/// Where tests keep what they fetch: `$OFFHOOK_CACHE`, else `target/cache`.
pub fn cache() -> PathBuf {
    std::env::var_os("OFFHOOK_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cache"), PathBuf::from)
}

/// A mono WAV file at 8 kHz, 16-bit or µ-law.
pub fn read_wav(file: &Path) -> Vec<i16> {
    let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte))
    };
    assert_eq!(&bytes[..4], b"RIFF", "{}", file.display());
    let (mut at, mut format) = (12, 0);
    while at + 8 <= bytes.len() {
        let (id, length) = (&bytes[at..at + 4], number(at + 4, 4));
        let body = at + 8;
        match id {
            b"fmt " => {
                format = number(body, 2);
                assert_eq!((number(body + 2, 2), number(body + 4, 4)), (1, 8_000), "{}", file.display());
            }
            b"data" => {
                let data = &bytes[body..(body + length).min(bytes.len())];
                return match format {
                    1 => data.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect(),
                    7 => data.iter().map(|&b| mu_law(b)).collect(),
                    other => panic!("{}: WAV format {other}", file.display()),
                };
            }
            _ => {}
        }
        at = body + length + length % 2;
    }
    panic!("{}: no data", file.display());
}

/// One µ-law byte as a 16-bit sample (ITU-T G.711).
pub fn mu_law(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = (((i32::from(byte & 0x0F) << 3) + 132) << ((byte >> 4) & 7)) - 132;
    if byte & 0x80 == 0 { magnitude as i16 } else { -magnitude as i16 }
}

/// Wrong, missing and extra words, and the words that were said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WordErrors {
    pub errors: usize,
    pub words: usize,
}

impl WordErrors {
    /// Errors per hundred words.
    pub fn percent(self) -> f64 {
        100.0 * self.errors as f64 / self.words.max(1) as f64
    }
}

impl std::ops::AddAssign for WordErrors {
    fn add_assign(&mut self, other: Self) {
        self.errors += other.errors;
        self.words += other.words;
    }
}

/// The smallest number of word replacements, insertions and deletions that turn `said` into `heard`, both
/// brought to plain words first.
pub fn word_errors(said: &str, heard: &str) -> WordErrors {
    let (said, heard) = (plain_words(said), plain_words(heard));
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in heard.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    WordErrors { errors: row[heard.len()], words: said.len() }
}

/// Lower-case words without punctuation, hyphens split, numbers below 1,000 and a few short forms spelled out.
pub fn plain_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let text = text.to_lowercase().replace('’', "'").replace('%', " percent ").replace('&', " and ");
    for word in text.split(|c: char| !(c.is_alphanumeric() || c == '\'')) {
        let word = word.trim_matches('\'');
        match word {
            "" => {}
            "mr" => words.push("mister".to_owned()),
            "mrs" => words.push("missus".to_owned()),
            "dr" => words.push("doctor".to_owned()),
            "ok" => words.push("okay".to_owned()),
            _ => match word.parse::<usize>() {
                Ok(number) if number < 1_000 && !word.starts_with("00") => spell(number, &mut words),
                Ok(_) => word.bytes().for_each(|digit| spell(usize::from(digit - b'0'), &mut words)),
                Err(_) => words.push(word.to_owned()),
            },
        }
    }
    words
}

fn spell(number: usize, words: &mut Vec<String>) {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    if number >= 100 {
        words.extend([SMALL[number / 100].to_owned(), "hundred".to_owned()]);
        if !number.is_multiple_of(100) {
            spell(number % 100, words);
        }
    } else if number >= 20 {
        words.push(TENS[number / 10].to_owned());
        if !number.is_multiple_of(10) {
            words.push(SMALL[number % 10].to_owned());
        }
    } else {
        words.push(SMALL[number].to_owned());
    }
}

/// Asterisk's prompts (`tests/interop/fetch-prompts.sh`) that are plain speech: 4 words or more, 1.5–12 seconds,
/// nothing in brackets. At most `count`, spread evenly over the alphabet; ends with the command that fetches them
/// when there are none.
pub fn prompts(count: usize) -> Vec<Clip> {
    let folder = cache().join("prompts");
    let table = std::fs::read_to_string(folder.join("transcripts.txt"))
        .unwrap_or_else(|e| panic!("{}: {e}\nrun tests/interop/fetch-prompts.sh once", folder.display()));
    let mut clips: Vec<Clip> = table
        .lines()
        .filter(|line| !line.starts_with(';') && !line.contains(['[', '(', '<', '/', '*']) && !line.contains("..."))
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, words)| plain_words(words).len() >= 4 && folder.join(format!("sounds/{name}.wav")).is_file())
        .map(|(name, words)| Clip {
            name: name.to_owned(),
            samples: read_wav(&folder.join(format!("sounds/{name}.wav"))),
            words: words.trim().to_owned(),
        })
        .filter(|clip| (1.5..=12.0).contains(&clip.seconds()))
        .collect();
    clips.sort_by(|a, b| a.name.cmp(&b.name));
    let all = clips.len();
    (0..all.min(count)).map(|n| clips[n * all / all.min(count)].clone()).collect()
}

/// A 16-bit sample through µ-law and back, as the telephone network hands it over.
pub fn through_mu_law(sample: i16) -> i16 {
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let exponent = 24 - magnitude.leading_zeros() as i32;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    let sign = if sample < 0 { 0x80 } else { 0 };
    mu_law(!((sign | exponent << 4 | mantissa) as u8))
}
