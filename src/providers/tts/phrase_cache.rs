//! Fixed lines on disk: a greeting that was spoken once is not paid for, waited for, or lost with its vendor again.
//!
//! Only lines that [`SpeakRequest::cacheable`] marks are kept: what a model or a caller said may be personal data. A file
//! is found by what made it (vendor, settings, voice, format, text), so that a changed setting is another file.

use super::{SpeakRequest, SpeechStream, TextToSpeech, TtsCapabilities, TtsChunk, Voices, WordMark};
use crate::providers::{Meter, ProviderError, ProviderName, Settings};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// Octets of one file: a minute at 16 kHz and its marks. A longer line is no phrase.
const PHRASE_BYTES: usize = 2 << 20;
/// Octets of a text that is kept.
const TEXT_BYTES: usize = 2_000;
/// Samples handed to the call at once.
const CHUNK_SAMPLES: usize = 8_000;
/// Chunks between us and the call.
const CHUNKS: usize = 8;
/// A file that was being written for this long never gets done: its writer died.
const ABANDONED: Duration = Duration::from_secs(3_600);
const MAGIC: [u8; 4] = *b"OHP1";
const DIGEST_BYTES: usize = 32;

/// What a phrase is found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PhraseKey([u8; DIGEST_BYTES]);

/// A line as it was spoken.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Phrase {
    /// At the rate of the request.
    pub samples: Vec<i16>,
    /// All of them.
    pub marks: Vec<WordMark>,
}

/// The files of a directory, which is for them alone. Its calls block for the time of a small file.
#[derive(Debug)]
pub struct PhraseCache {
    directory: PathBuf,
    most: u64,
    /// What is there, as far as we know.
    known: Mutex<HashSet<PhraseKey>>,
    written: AtomicU64,
}

impl PhraseKey {
    /// For a request to a provider that `maker` describes ([`CachedTts`]).
    #[must_use]
    pub fn new(maker: &str, request: &SpeakRequest) -> Self {
        let mut digest = Sha256::new();
        let voice = request.voice.as_deref().unwrap_or("\0");
        let language = request.language.as_deref().unwrap_or("\0");
        let form = format!("{:?} {:?} {}", request.rate, request.line, request.speed.to_bits());
        for part in [maker, voice, language, &form, &request.text] {
            // Lengths keep `ab`, `c` and `a`, `bc` apart.
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    fn file_name(self) -> String {
        self.0.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn from_file_name(name: &str) -> Option<Self> {
        let mut key = [0; DIGEST_BYTES];
        let (pairs, []) = name.as_bytes().as_chunks::<2>() else { return None };
        if pairs.len() != DIGEST_BYTES {
            return None;
        }
        for (octet, pair) in key.iter_mut().zip(pairs) {
            *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(key))
    }
}

impl PhraseCache {
    /// Opens a directory, which is made if need be, for files of at most `most` octets together.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(directory: impl Into<PathBuf>, most: u64) -> io::Result<Self> {
        let directory = directory.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let cache = Self { directory, most, known: Mutex::default(), written: AtomicU64::new(0) };
        cache.tidy()?;
        Ok(cache)
    }

    /// Whether the phrase is likely there. Does not touch the disk.
    #[must_use]
    pub fn knows(&self, key: PhraseKey) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }

    /// The phrase. A file that is damaged is removed and not there.
    #[must_use]
    pub fn read(&self, key: PhraseKey) -> Option<Phrase> {
        let path = self.directory.join(key.file_name());
        let phrase = read_file(&path);
        match &phrase {
            // The time of a file is that of its last use.
            Some(_) => {
                drop(File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now())))
            }
            None => {
                let _ = std::fs::remove_file(&path);
                self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            }
        }
        phrase
    }

    /// Keeps a phrase; the ones that were not used for longest make room. Readers see the old file or the new one.
    ///
    /// # Errors
    /// The disk is full or the directory is gone; nothing is kept then.
    pub fn write(&self, key: PhraseKey, phrase: &Phrase) -> io::Result<()> {
        let octets = encode(phrase);
        if octets.len() > PHRASE_BYTES || octets.len() as u64 > self.most {
            return Ok(());
        }
        let nth = self.written.fetch_add(1, Ordering::Relaxed);
        let part = self.directory.join(format!("{}.{}-{nth}.part", key.file_name(), std::process::id()));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).and_then(|mut file| {
            file.write_all(&octets)?;
            file.sync_data()?;
            std::fs::rename(&part, self.directory.join(key.file_name()))
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        written?;
        self.tidy()
    }

    /// Removes what is too much, oldest use first, and remembers what is left. Files of other names are not ours.
    fn tidy(&self) -> io::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let Ok((entry, about)) = entry.and_then(|entry| entry.metadata().map(|about| (entry, about))) else {
                continue;
            };
            let name = entry.file_name();
            let used = about.modified().unwrap_or(now);
            let name = name.to_str().unwrap_or_default();
            if let Some(key) = PhraseKey::from_file_name(name) {
                files.push((used, about.len(), key));
            } else if name.ends_with(".part") && now.duration_since(used).is_ok_and(|age| age > ABANDONED) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        files.sort_unstable_by_key(|(used, ..)| *used);
        let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
        known.clear();
        for (_, length, key) in files {
            if total > self.most && std::fs::remove_file(self.directory.join(key.file_name())).is_ok() {
                total -= length;
            } else {
                known.insert(key);
            }
        }
        Ok(())
    }
}

fn encode(phrase: &Phrase) -> Vec<u8> {
    let mut octets = MAGIC.to_vec();
    octets.extend((phrase.samples.len() as u32).to_le_bytes());
    octets.extend((phrase.marks.len() as u32).to_le_bytes());
    octets.extend(phrase.samples.iter().flat_map(|sample| sample.to_le_bytes()));
    for mark in &phrase.marks {
        octets.extend((mark.text_end as u32).to_le_bytes());
        octets.extend((mark.sample_end as u32).to_le_bytes());
    }
    let digest = Sha256::digest(&octets);
    octets.extend(digest);
    octets
}

fn read_file(path: &Path) -> Option<Phrase> {
    let mut octets = Vec::new();
    File::open(path).ok()?.take(PHRASE_BYTES as u64 + 1).read_to_end(&mut octets).ok()?;
    if octets.len() > PHRASE_BYTES {
        return None;
    }
    let (body, digest) = octets.split_at_checked(octets.len().checked_sub(DIGEST_BYTES)?)?;
    if Sha256::digest(body).as_slice() != digest {
        return None;
    }
    let numbers = |octets: &[u8]| -> Vec<u32> {
        octets.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect()
    };
    let (head, body) = body.split_at_checked(12)?;
    let [magic, samples, marks] = *numbers(head).as_slice() else { return None };
    let (samples, marked) = body.split_at_checked(samples as usize * 2)?;
    if magic != u32::from_le_bytes(MAGIC) || marked.len() != marks as usize * 8 {
        return None;
    }
    let samples = samples.as_chunks::<2>().0.iter().map(|two| i16::from_le_bytes(*two)).collect();
    let numbers = numbers(marked);
    let pairs = numbers.as_chunks::<2>().0.iter();
    let marks = pairs.map(|[text, sample]| WordMark { text_end: *text as usize, sample_end: *sample as usize });
    Some(Phrase { samples, marks: marks.collect() })
}

/// A provider whose fixed lines are kept. Stands in front of one provider, not of an order of them: what one voice said is
/// not what another would say.
pub struct CachedTts {
    inner: Arc<dyn TextToSpeech>,
    cache: Arc<PhraseCache>,
    maker: String,
    hits: AtomicU64,
}

impl CachedTts {
    /// In front of `inner`, which `vendor` made of `settings`.
    #[must_use]
    pub fn new(inner: Arc<dyn TextToSpeech>, cache: Arc<PhraseCache>, vendor: &str, settings: &Settings) -> Self {
        let Settings { url, model, voice, language, options, .. } = settings;
        let maker = serde_json::json!([vendor, url, model, voice, language, options]).to_string();
        Self { inner, cache, maker, hits: AtomicU64::new(0) }
    }

    /// Lines that were not asked of the vendor.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

impl TextToSpeech for CachedTts {
    fn name(&self) -> ProviderName {
        self.inner.name()
    }

    fn capabilities(&self) -> TtsCapabilities {
        self.inner.capabilities()
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        self.inner.meter()
    }

    fn patience(&self) -> Option<Duration> {
        self.inner.patience()
    }

    fn warm(&self) {
        self.inner.warm();
    }

    fn voices(&self) -> Option<Voices> {
        self.inner.voices()
    }

    fn speak(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError> {
        if !request.cacheable || request.text.len() > TEXT_BYTES {
            return self.inner.speak(request);
        }
        let key = PhraseKey::new(&self.maker, &request);
        let (out, stream) = mpsc::channel(CHUNKS);
        let cache = Arc::clone(&self.cache);
        if self.cache.knows(key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(replay(cache, key, Arc::clone(&self.inner), request, out));
        } else {
            tokio::spawn(keep(cache, key, self.inner.speak(request)?, out));
        }
        Ok(stream)
    }
}

type Out = mpsc::Sender<Result<TtsChunk, ProviderError>>;

/// Plays the file; asks the provider after all when it is damaged.
async fn replay(
    cache: Arc<PhraseCache>,
    key: PhraseKey,
    inner: Arc<dyn TextToSpeech>,
    request: SpeakRequest,
    out: Out,
) {
    let reading = Arc::clone(&cache);
    let found = tokio::task::spawn_blocking(move || reading.read(key)).await.ok().flatten();
    let Some(phrase) = found else {
        match inner.speak(request) {
            Ok(stream) => keep(cache, key, stream, out).await,
            Err(error) => drop(out.send(Err(error)).await),
        }
        return;
    };
    let mut marks = phrase.marks.into_iter().peekable();
    let mut played = 0;
    for samples in phrase.samples.chunks(CHUNK_SAMPLES) {
        played += samples.len();
        let due = std::iter::from_fn(|| marks.next_if(|mark| mark.sample_end <= played));
        let chunk = TtsChunk { marks: due.collect(), samples: samples.to_vec(), ..TtsChunk::default() };
        if out.send(Ok(chunk)).await.is_err() {
            return;
        }
    }
}

/// Hands the provider's audio on, and keeps it once all of it has come.
async fn keep(cache: Arc<PhraseCache>, key: PhraseKey, mut stream: SpeechStream, out: Out) {
    let mut phrase = Phrase::default();
    loop {
        let item = tokio::select! {
            biased;
            () = out.closed() => return,
            item = stream.recv() => item,
        };
        let Some(item) = item else { break };
        let failed = item.is_err();
        if let Ok(chunk) = &item
            && phrase.samples.len() <= PHRASE_BYTES
        {
            phrase.samples.extend_from_slice(&chunk.samples);
            phrase.marks.extend_from_slice(&chunk.marks);
        }
        if out.send(item).await.is_err() || failed {
            return;
        }
    }
    // The file is there when the call hears the end. A full disk is no reason to tell the caller anything.
    let written = tokio::task::spawn_blocking(move || cache.write(key, &phrase)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "a phrase cannot be kept: check the disk and the directory of the phrase cache");
    }
    drop(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SampleRate;
    use std::os::unix::fs::PermissionsExt;

    struct Voice(AtomicU64);

    impl TextToSpeech for Voice {
        fn name(&self) -> ProviderName {
            "voice".into()
        }
        fn capabilities(&self) -> TtsCapabilities {
            TtsCapabilities {
                formats: Vec::new(),
                word_timestamps: true,
                cancel: true,
                wants_speakable_text: false,
                languages: &[],
            }
        }
        fn speak(&self, request: SpeakRequest) -> Result<SpeechStream, ProviderError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let (sender, stream) = mpsc::channel(8);
            let marks = vec![WordMark { text_end: request.text.len(), sample_end: 12_000 }];
            sender.try_send(Ok(TtsChunk { samples: vec![7; 8_000], ..TtsChunk::default() })).unwrap();
            if request.text.contains("fail") {
                let error = ProviderError::Stopped { provider: "voice".into() };
                sender.try_send(Err(error)).unwrap();
            } else {
                sender.try_send(Ok(TtsChunk { samples: vec![8; 4_000], marks, ..TtsChunk::default() })).unwrap();
            }
            Ok(stream)
        }
    }

    fn settings(model: &str) -> Settings {
        Settings {
            name: "v".into(),
            key: None,
            url: String::new(),
            model: model.into(),
            voice: String::new(),
            language: String::new(),
            options: std::collections::BTreeMap::new(),
            concurrency: 1,
            connect_timeout: Duration::ZERO,
            first_timeout: Duration::ZERO,
            stall_timeout: Duration::ZERO,
        }
    }

    async fn said(tts: &CachedTts, text: &str, cacheable: bool) -> (Vec<i16>, Vec<WordMark>, bool) {
        let request = SpeakRequest { cacheable, ..SpeakRequest::new(text, SampleRate::NARROWBAND) };
        let mut stream = tts.speak(request).unwrap();
        let (mut samples, mut marks, mut failed) = (Vec::new(), Vec::new(), false);
        while let Some(item) = stream.recv().await {
            match item {
                Ok(chunk) => {
                    samples.extend(chunk.samples);
                    marks.extend(chunk.marks);
                }
                Err(_) => failed = true,
            }
        }
        (samples, marks, failed)
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[tokio::test]
    async fn a_fixed_line_is_asked_for_once_and_sounds_the_same_again() {
        let place = tempfile::tempdir().unwrap();
        let cache = Arc::new(PhraseCache::open(place.path().join("phrases"), 1 << 20).unwrap());
        let voice = Arc::new(Voice(AtomicU64::new(0)));
        let tts = CachedTts::new(voice.clone(), Arc::clone(&cache), "vendor", &settings("m"));
        let first = said(&tts, "Good morning.", true).await;
        assert_eq!(said(&tts, "Good morning.", true).await, first);
        assert_eq!((first.0.len(), first.1.len(), voice.0.load(Ordering::Relaxed), tts.hits()), (12_000, 1, 1, 1));
        let other = CachedTts::new(voice.clone(), Arc::clone(&cache), "vendor", &settings("n"));
        said(&other, "Good morning.", true).await;
        assert_eq!(voice.0.load(Ordering::Relaxed), 2, "another model is another line");
        let kept = files(&place.path().join("phrases"));
        assert_eq!(kept.len(), 2);
        for file in kept {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let again = PhraseCache::open(place.path().join("phrases"), 1 << 20).unwrap();
        let tts = CachedTts::new(voice.clone(), Arc::new(again), "vendor", &settings("m"));
        assert_eq!(said(&tts, "Good morning.", true).await, first, "after a restart");
        assert_eq!(voice.0.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_is_not_marked_or_not_whole_leaves_no_file() {
        let place = tempfile::tempdir().unwrap();
        let cache = Arc::new(PhraseCache::open(place.path(), 1 << 20).unwrap());
        let tts = CachedTts::new(Arc::new(Voice(AtomicU64::new(0))), cache, "vendor", &settings("m"));
        said(&tts, "Your appointment, Mrs. Miller.", false).await;
        assert!(said(&tts, "This will fail.", true).await.2);
        let request = SpeakRequest { cacheable: true, ..SpeakRequest::new("Cut off.", SampleRate::NARROWBAND) };
        drop(tts.speak(request).unwrap());
        assert_eq!(files(place.path()), Vec::<PathBuf>::new());
    }

    #[tokio::test]
    async fn a_damaged_file_is_as_if_it_were_not_there() {
        let place = tempfile::tempdir().unwrap();
        let cache = Arc::new(PhraseCache::open(place.path(), 1 << 20).unwrap());
        let voice = Arc::new(Voice(AtomicU64::new(0)));
        let tts = CachedTts::new(voice.clone(), cache, "vendor", &settings("m"));
        let whole = said(&tts, "Hello.", true).await;
        let file = files(place.path()).remove(0);
        let good = std::fs::read(&file).unwrap();
        for damage in
            [&good[..good.len() - 1], &[&good[..100], &[1], &good[101..]].concat(), &[], &vec![0; PHRASE_BYTES + 1]]
        {
            std::fs::write(&file, damage).unwrap();
            let asked = voice.0.load(Ordering::Relaxed);
            assert_eq!(said(&tts, "Hello.", true).await, whole);
            assert_eq!(voice.0.load(Ordering::Relaxed), asked + 1);
            assert_eq!(std::fs::read(&file).unwrap(), good, "and written anew");
        }
    }

    #[test]
    fn the_lines_used_last_are_those_that_stay() {
        let place = tempfile::tempdir().unwrap();
        let phrase = Phrase { samples: vec![1; 1_000], marks: Vec::new() };
        let size = encode(&phrase).len() as u64;
        let cache = PhraseCache::open(place.path(), size * 2).unwrap();
        let key = |n: u8| PhraseKey([n; DIGEST_BYTES]);
        let age = |n: u8, seconds: u64| {
            let file = File::options().append(true).open(place.path().join(key(n).file_name())).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        std::fs::write(place.path().join("README"), vec![0; 100_000]).unwrap();
        cache.write(key(1), &phrase).unwrap();
        age(1, 300);
        cache.write(key(2), &phrase).unwrap();
        age(2, 200);
        assert_eq!(cache.read(key(1)), Some(phrase.clone()), "used now");
        cache.write(key(3), &phrase).unwrap();
        assert_eq!([1, 2, 3].map(|n| cache.knows(key(n))), [true, false, true]);
        assert!(cache.read(key(2)).is_none() && place.path().join("README").exists());
        let huge = Phrase { samples: vec![1; PHRASE_BYTES], marks: Vec::new() };
        cache.write(key(4), &huge).unwrap();
        assert!(!cache.knows(key(4)));
    }

    #[test]
    fn parts_of_a_key_are_not_confused_with_each_other() {
        let request = |voice: &str, text: &str| SpeakRequest {
            voice: Some(voice.into()),
            ..SpeakRequest::new(text, SampleRate::NARROWBAND)
        };
        assert_ne!(PhraseKey::new("m", &request("ab", "c")), PhraseKey::new("m", &request("a", "bc")));
        let key = PhraseKey::new("m", &request("a", "b"));
        assert_eq!(PhraseKey::from_file_name(&key.file_name()), Some(key));
        assert_eq!(PhraseKey::from_file_name("00"), None);
    }
}
