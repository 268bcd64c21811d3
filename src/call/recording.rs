//! Recordings of calls: stereo WAV files, the caller left and the agent right, written beside the calls.
//!
//! One thread writes all of them. It empties the taps of the legs a few times a second, so that neither a media worker nor
//! a call ever waits for a disk; a tap that is not emptied in time drops frames and counts them. Each visit brings the
//! header of the file up to date: what a crash leaves behind is a readable file that lacks less than a second.
//!
//! Off unless a directory is given. Files carry the number of the call and the time of the start, and nothing that names
//! a person; only the user of the server can read them.

use crate::base::{CallId, SampleRate};
use crate::media::{Tap, TapFrame};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often the taps are emptied. They hold two seconds.
const VISIT_EVERY: Duration = Duration::from_millis(250);
/// Calls that may wait for their first visit: a flood of calls makes none of them wait for the disk.
const WAITING_MAX: usize = 1_024;
/// Octets of sound in one file at most: sizes in a WAV header have 32 bits. At 48 kHz that is six hours.
const SOUND_MAX: u64 = u32::MAX as u64 - 1_024;
/// Octets of a header.
const HEADER: u64 = 44;
/// Octets of one sample of both sides.
const PAIR: u16 = 4;

/// Where frames of both directions come from.
pub trait FrameSource: Send {
    /// The oldest frame not yet taken.
    fn next_frame(&mut self) -> Option<TapFrame>;
    /// Whether none will come any more.
    fn is_over(&self) -> bool;
    /// Frames lost because they were not taken in time.
    fn dropped(&self) -> u64;
}

impl FrameSource for Tap {
    fn next_frame(&mut self) -> Option<TapFrame> {
        self.try_pop()
    }

    fn is_over(&self) -> bool {
        self.is_closed()
    }

    fn dropped(&self) -> u64 {
        Self::dropped(self)
    }
}

/// One call to record.
struct Job {
    call: CallId,
    rate: SampleRate,
    source: Box<dyn FrameSource>,
}

/// Records calls into a directory. Cheap to clone; the thread ends when the last clone is gone and all calls are over.
#[derive(Clone, Debug)]
pub struct Recordings {
    jobs: SyncSender<Job>,
}

impl Recordings {
    /// Starts the thread that writes into `directory`, which is made if it does not exist.
    ///
    /// # Errors
    /// The directory cannot be made or written to, or there is no thread.
    pub fn start(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let probe = directory.join(format!(".probe-{}", std::process::id()));
        create(&probe)?;
        std::fs::remove_file(&probe)?;
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let directory = directory.to_owned();
        std::thread::Builder::new().name("recordings".into()).spawn(move || write_all(&directory, &waiting))?;
        Ok(Self { jobs })
    }

    /// Records a call from here on, until its source is over. Never blocks; false when too many calls wait.
    pub fn record(&self, call: CallId, rate: SampleRate, source: impl FrameSource + 'static) -> bool {
        self.jobs.try_send(Job { call, rate, source: Box::new(source) }).is_ok()
    }
}

/// The life of the thread.
fn write_all(directory: &Path, waiting: &Receiver<Job>) {
    let mut open: Vec<(Job, WavFile)> = Vec::new();
    let mut buffer = Vec::new();
    loop {
        let job = match waiting.recv_timeout(VISIT_EVERY) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) if open.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::park_timeout(VISIT_EVERY);
                None
            }
        };
        if let Some(job) = job {
            match WavFile::create(directory, job.call, job.rate) {
                Ok(file) => open.push((job, file)),
                Err(error) => tracing::warn!(call = %job.call, %error, "recording_failed"),
            }
            continue;
        }
        open.retain_mut(|(job, file)| {
            // Asked first: what came before the end is still taken.
            let is_over = job.source.is_over();
            buffer.clear();
            while let Some(frame) = job.source.next_frame() {
                let pairs = frame.caller.samples().iter().zip(frame.agent.samples());
                buffer.extend(pairs.flat_map(|(caller, agent)| [caller.to_le_bytes(), agent.to_le_bytes()]).flatten());
            }
            let written = file.append(&buffer);
            if let Err(error) = &written {
                tracing::warn!(call = %job.call, %error, "recording_failed");
            }
            let goes_on = written.is_ok() && !is_over;
            if !goes_on {
                let (seconds, dropped) = (file.seconds(), job.source.dropped());
                tracing::info!(call = %job.call, seconds, dropped_frames = dropped, "recording_ended");
            }
            goes_on
        });
    }
}

/// A file that only its owner may read, and that did not exist.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A growing stereo WAV file whose header is right after every [`WavFile::append`].
#[derive(Debug)]
struct WavFile {
    file: File,
    rate: SampleRate,
    /// Octets of sound.
    written: u64,
}

impl WavFile {
    fn create(directory: &Path, call: CallId, rate: SampleRate) -> io::Result<Self> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut file = create(&name(directory, call, started))?;
        file.write_all(&header(rate, 0))?;
        Ok(Self { file, rate, written: 0 })
    }

    fn append(&mut self, sound: &[u8]) -> io::Result<()> {
        if self.written + sound.len() as u64 > SOUND_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a WAV file cannot be longer"));
        }
        if sound.is_empty() {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(HEADER + self.written))?;
        self.file.write_all(sound)?;
        self.written += sound.len() as u64;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.rate, self.written as u32))
    }

    fn seconds(&self) -> u64 {
        self.written / (u64::from(self.rate.0.max(1)) * u64::from(PAIR))
    }
}

/// The numbers of calls begin anew with each start of the server, so the time tells files of two starts apart.
fn name(directory: &Path, call: CallId, started: u64) -> PathBuf {
    directory.join(format!("{call}-{started}.wav"))
}

/// The header of a stereo file with `sound` octets after it.
fn header(rate: SampleRate, sound: u32) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER as usize);
    header.extend(b"RIFF");
    header.extend((sound + HEADER as u32 - 8).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16u32.to_le_bytes());
    header.extend(1u16.to_le_bytes());
    header.extend(2u16.to_le_bytes());
    header.extend(rate.0.to_le_bytes());
    header.extend((rate.0 * u32::from(PAIR)).to_le_bytes());
    header.extend(PAIR.to_le_bytes());
    header.extend(16u16.to_le_bytes());
    header.extend(b"data");
    header.extend(sound.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Frame;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicI16, Ordering};

    /// Frames whose samples count up on the left and down on the right.
    struct Counting {
        left: i16,
        until: Arc<AtomicI16>,
        over: Arc<AtomicBool>,
    }

    impl FrameSource for Counting {
        fn next_frame(&mut self) -> Option<TapFrame> {
            (self.left < self.until.load(Ordering::Relaxed)).then(|| {
                self.left += 1;
                let side = |value| Frame::from_samples(&[value; 160]);
                TapFrame { caller: side(self.left), agent: side(-self.left) }
            })
        }

        fn is_over(&self) -> bool {
            self.over.load(Ordering::Relaxed)
        }

        fn dropped(&self) -> u64 {
            0
        }
    }

    fn counting(until: i16) -> (Counting, Arc<AtomicI16>, Arc<AtomicBool>) {
        let (until, over) = (Arc::new(AtomicI16::new(until)), Arc::new(AtomicBool::new(false)));
        (Counting { left: 0, until: Arc::clone(&until), over: Arc::clone(&over) }, until, over)
    }

    /// The only file of a directory, once it holds `frames` frames.
    fn read_when(directory: &Path, frames: usize) -> (PathBuf, Vec<i16>) {
        for _ in 0..200 {
            let file = std::fs::read_dir(directory).unwrap().filter_map(|entry| Some(entry.ok()?.path())).next();
            if let Some(path) = file
                && let Ok(mut reader) = hound::WavReader::open(&path)
                && reader.duration() as usize >= frames * 160
            {
                assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 8_000));
                return (path, reader.samples::<i16>().map(Result::unwrap).collect());
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        panic!("{frames} frames never came");
    }

    #[test]
    fn both_sides_are_in_the_file_while_the_call_still_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("deep/recordings");
        let recordings = Recordings::start(&directory).unwrap();
        let (source, until, over) = counting(30);
        assert!(recordings.record(CallId(7), SampleRate::NARROWBAND, source));
        let (path, samples) = read_when(&directory, 30);
        assert_eq!(samples.len(), 2 * 160 * 30);
        assert_eq!((samples[0], samples[1], samples[320 * 29], samples[320 * 29 + 1]), (1, -1, 30, -30));
        until.store(45, Ordering::Relaxed);
        over.store(true, Ordering::Relaxed);
        let (_, samples) = read_when(&directory, 45);
        assert_eq!(samples[320 * 44], 45);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("call-000007-") && name.ends_with(".wav"), "{name}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_directory_that_cannot_be_written_to_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(Recordings::start(&file.join("below")).is_err());
    }

    #[test]
    fn a_file_that_exists_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = name(folder.path(), CallId(3), 5);
        create(&path).unwrap();
        assert_eq!(create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn more_calls_than_can_wait_are_refused_at_once() {
        let (jobs, _waiting) = sync_channel(1);
        let recordings = Recordings { jobs };
        assert!(recordings.record(CallId(1), SampleRate::NARROWBAND, counting(1).0));
        assert!(!recordings.record(CallId(2), SampleRate::NARROWBAND, counting(1).0));
    }
}
