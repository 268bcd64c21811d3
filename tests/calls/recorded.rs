//! Recordings of whole calls: what both sides said is in the file, also when the server is killed in the middle.

use crate::support::{PATIENCE, Phone, TestServer};
use offhook::call::CallEvent;
use offhook::tools::EgressPolicy;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const AGENT: &str = include_str!("../data/agents/greeter.yaml");
const CALLER: [u8; 4] = [127, 0, 0, 1];
const ECHO_CALLER: [u8; 4] = [127, 0, 0, 2];
/// Octets before the sound.
const HEADER: usize = 44;
/// Louder than this is the hum of either side.
const LOUD: u16 = 1_000;

/// The one recording in a directory.
fn recording(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| path.extension().is_some_and(|e| e == "wav"))
}

/// Samples of the caller and of the agent, and the rate, of a file that a player would take: by its header alone.
fn read(file: &Path) -> (Vec<i16>, Vec<i16>, u32) {
    let octets = std::fs::read(file).unwrap();
    let word = |at: usize| u32::from_le_bytes(octets[at..at + 4].try_into().unwrap());
    let half = |at: usize| u16::from_le_bytes(octets[at..at + 2].try_into().unwrap());
    assert_eq!((&octets[..4], &octets[8..16], &octets[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
    assert_eq!((half(20), half(22), half(34)), (1, 2, 16), "PCM, two channels, 16 bits");
    let length = word(40) as usize;
    assert_eq!(word(4) as usize, length + 36);
    assert!(HEADER + length <= octets.len(), "the header promises {length} of {} octets", octets.len() - HEADER);
    let pairs = octets[HEADER..HEADER + length].chunks_exact(4);
    let sample = |pair: &[u8], at: usize| i16::from_le_bytes([pair[at], pair[at + 1]]);
    let (caller, agent) = pairs.map(|pair| (sample(pair, 0), sample(pair, 2))).unzip();
    (caller, agent, word(24))
}

fn loud_for(samples: &[i16], rate: u32) -> Duration {
    let loud = samples.chunks(160).filter(|frame| frame.iter().any(|sample| sample.unsigned_abs() > LOUD)).count();
    Duration::from_secs_f64(loud as f64 * 160.0 / f64::from(rate))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_of_a_call_are_in_its_recording() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_owned();
    let mut server =
        TestServer::start_with(AGENT, &[], EgressPolicy::default(), |plan| plan.recordings = Some(place)).await;
    let mut phone = Phone::call(&server.server, CALLER).await.unwrap();
    phone.wait_for(true, 25).await;
    phone.speak(600).await;
    phone.line.hang_up();
    server.event("the end", |event| matches!(event, CallEvent::CallEnded { .. }).then_some(())).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let heard = recording(directory.path()).map(|file| read(&file)).map(|(caller, agent, rate)| {
            (
                loud_for(&caller, rate) >= Duration::from_millis(500),
                loud_for(&agent, rate) >= Duration::from_millis(400),
            )
        });
        if heard == Some((true, true)) {
            return;
        }
        assert!(Instant::now() < deadline, "{heard:?}");
        tokio::task::yield_now().await;
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_leaves_a_recording_that_plays_up_to_its_last_second() {
    let directory = tempfile::tempdir().unwrap();
    let (file, place) = (directory.path().join("offhook.toml"), directory.path().join("recordings"));
    let config = format!(
        "[server]\nsip_listen = \"udp:127.0.0.1:0\"\n[media]\nbind = \"127.0.0.1\"\nworkers = 1\n[recording]\n\
         directory = \"{}\"\n[[trunk]]\nname = \"line\"\nhosts = [\"127.0.0.2\"]\nagent = \"echo\"\n",
        place.display()
    );
    std::fs::write(&file, config).unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_offhook"));
    server.args(["serve", "-c"]).arg(&file).env("NO_COLOR", "1").stdin(Stdio::null()).stderr(Stdio::piped());
    let mut server = Running(server.spawn().unwrap());
    let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines();
    // What the system gave for port 0 is in the log: `listening address=127.0.0.1:43211 …`.
    let target = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, address) = line.split_once("listening address=")?;
        address.split(' ').next()?.parse::<SocketAddr>().ok()
    });
    let target = target.expect("the server starts");
    let mut phone = Phone::dial_at(target, ECHO_CALLER, |_| ()).await.unwrap();
    tokio::time::timeout(PATIENCE, phone.line.answered()).await.expect("it answers").unwrap();
    let spoken = Instant::now();
    phone.speak(4_000).await;
    let spoken = spoken.elapsed();
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    let (caller, agent, rate) = read(&recording(&place).expect("a recording"));
    // A second, and room for a machine that other tests load.
    let least = spoken.saturating_sub(Duration::from_millis(2_500)).max(Duration::from_secs(1));
    assert!(loud_for(&caller, rate) >= least, "{:?} of {spoken:?}", loud_for(&caller, rate));
    assert!(loud_for(&agent, rate) >= least, "the echo: {:?}", loud_for(&agent, rate));
}
