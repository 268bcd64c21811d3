//! What a listener hears of human speech in each codec through each network: encoder, paced sender, lossy relay, source
//! lock, jitter buffer, decoder, concealment, all in real time on the loopback. The same seeds lose the same packets in
//! every run. Prints its table; every cell has a bound, and every codec its keys.

use crate::common::score::{Score, score};
use crate::common::speech::human_clips;
use crate::relay::{Link, Loss, Relay, Weather};
use offhook::base::{Random, TurnId};
use offhook::media::{Leg, LegEvent, LegMedia, LegMode, LegOptions, MediaConfig, Workers};
use offhook::sdp::Codec;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Speech per cell.
const SECONDS: usize = 7;
/// Silence before it, in which buffers settle.
const SETTLED: Duration = Duration::from_secs(2);
const TURN: TurnId = TurnId(1);

/// A network, its name, and the points of 100 that speech has to keep in it: PCMU, PCMA, G722, Opus.
const WEATHERS: [(&str, Weather, [f64; 4]); 10] = [
    ("0 %", Weather::CALM, [88.0, 85.0, 85.0, 75.0]),
    ("1 %", losing(0.01), [80.0, 80.0, 80.0, 74.0]),
    ("3 %", losing(0.03), [78.0, 77.0, 72.0, 70.0]),
    ("5 %", losing(0.05), [73.0, 70.0, 72.0, 70.0]),
    ("10 %", losing(0.10), [65.0, 65.0, 65.0, 64.0]),
    (
        "5 % in bursts of 3",
        Weather { loss: Loss::Bursts { share: 0.05, burst: 3.0 }, ..Weather::CALM },
        [48.0, 48.0, 46.0, 46.0],
    ),
    ("jitter 30 ms", Weather { jitter_ms: 30, ..Weather::CALM }, [80.0, 78.0, 80.0, 72.0]),
    ("jitter 80 ms", Weather { jitter_ms: 80, ..Weather::CALM }, [72.0, 72.0, 72.0, 68.0]),
    ("5 % overtaken", Weather { reordered: 0.05, ..Weather::CALM }, [75.0, 75.0, 75.0, 70.0]),
    ("5 % twice", Weather { repeated: 0.05, ..Weather::CALM }, [80.0, 80.0, 80.0, 74.0]),
];

const fn losing(share: f64) -> Weather {
    Weather { loss: Loss::Random(share), ..Weather::CALM }
}

/// Two legs with a network between them.
struct Pair {
    speaker: Leg,
    listener: Leg,
    /// Samples of the line per sample at 8 kHz.
    factor: usize,
    heard: Vec<i16>,
    digits: String,
    said: usize,
}

impl Pair {
    fn open(workers: &Workers, codec: Codec) -> Self {
        let open = || {
            let options = LegOptions { mode: LegMode::Agent, max_sample_rate: codec.sample_rate() };
            workers.open(options).expect("a port is free")
        };
        Self { speaker: open(), listener: open(), factor: 1, heard: Vec::new(), digits: String::new(), said: 0 }
    }

    fn link(&self, weather: Weather, seed: u64) -> Link {
        Link { ends: [self.speaker.local_addr(), self.listener.local_addr()], weather, seed }
    }

    fn connect(&mut self, codec: Codec, relay: &Relay, link: usize) {
        let media = |remote| LegMedia { telephone_event: Some(101), ..LegMedia::bare(remote, codec) };
        self.speaker.configure(media(relay.for_first(link))).expect("the worker takes it");
        self.listener.configure(media(relay.for_second(link))).expect("the worker takes it");
        assert_eq!(self.speaker.sample_rate(), self.listener.sample_rate());
        self.factor = self.listener.sample_rate().0 as usize / 8_000;
    }

    /// Says what there is room for of `speech` and takes what was heard.
    fn go_on(&mut self, speech: &[i16]) {
        self.said += self.speaker.downlink.push(TURN, &speech[self.said.min(speech.len())..]);
        while self.speaker.events.try_pop().is_some() {}
        while self.speaker.uplink.try_pop().is_some() {}
        while let Some(event) = self.listener.events.try_pop() {
            if let LegEvent::Digit(digit) = event {
                self.digits.push(digit);
            }
        }
        while let Some(frame) = self.listener.uplink.try_pop() {
            self.heard.extend_from_slice(frame.samples.samples());
        }
    }
}

fn workers(count: usize) -> Workers {
    let config = MediaConfig { bind_ip: HERE, workers: count, ..MediaConfig::default() };
    Workers::start(config, Random::system()).expect("the workers start")
}

/// Between two looks at the pairs.
const BEAT: Duration = Duration::from_millis(10);

/// Lets `pairs` go on for `time`, and says how late the machine was at worst.
fn run(pairs: &mut [Pair], time: Duration, speech: impl Fn(&Pair) -> Vec<i16>) -> Duration {
    let speeches: Vec<Vec<i16>> = pairs.iter().map(speech).collect();
    let started = Instant::now();
    let mut late = Duration::ZERO;
    while started.elapsed() < time {
        for (pair, speech) in pairs.iter_mut().zip(&speeches) {
            pair.go_on(speech);
        }
        let before = Instant::now();
        std::thread::park_timeout(BEAT);
        late = late.max(before.elapsed().saturating_sub(BEAT));
    }
    late
}

/// Every sample `factor` times nearer to the next: straight lines are enough below 4 kHz of speech that is compared
/// with itself.
fn raised(samples: &[i16], factor: usize) -> Vec<i16> {
    let pairs = samples.windows(2).flat_map(|pair| {
        (0..factor).map(|step| {
            let (a, b) = (i64::from(pair[0]), i64::from(pair[1]));
            (a + (b - a) * step as i64 / factor as i64) as i16
        })
    });
    pairs.collect()
}

/// Pairs of every weather in this codec, connected.
fn cells(workers: &Workers, codec: Codec) -> (Vec<Pair>, Relay) {
    let mut pairs: Vec<Pair> = WEATHERS.iter().map(|_| Pair::open(workers, codec)).collect();
    let links: Vec<Link> = pairs
        .iter()
        .zip(WEATHERS.iter().enumerate())
        .map(|(pair, (seed, (_, weather, _)))| pair.link(*weather, seed as u64))
        .collect();
    let relay = Relay::start(HERE, &links);
    for (link, pair) in pairs.iter_mut().enumerate() {
        pair.connect(codec, &relay, link);
    }
    (pairs, relay)
}

/// A machine that was later than this spoils what it measures: packets wait in sockets that no network held up.
const LATE: Duration = Duration::from_millis(5);
/// Points that lateness may cost.
const SPOILT_MAX: f64 = 16.0;
/// Times that speech is sent, where the machine was late.
const TAKES: usize = 3;

#[test]
fn speech_keeps_its_score_in_every_codec_through_every_network() {
    for take in 1..=TAKES {
        let (table, bad, late) = speak_through_every_network();
        println!("points of 100 (delay of the jitter buffer at the end); the machine was late by {late:?}\n{table}");
        if bad.is_empty() {
            return;
        }
        assert!(late > LATE && take < TAKES, "\n{table}\n{bad}the machine was late by {late:?}");
    }
}

/// Scores as a table, what is below its bound, and how late the machine was.
fn speak_through_every_network() -> (String, String, Duration) {
    let workers = workers(2);
    let spoken: Vec<i16> = human_clips().into_iter().flat_map(|clip| clip.samples).take(SECONDS * 8_000).collect();
    let (mut all, mut relays) = (Vec::new(), Vec::new());
    for codec in Codec::ALL {
        let (pairs, relay) = cells(&workers, codec);
        all.extend(pairs);
        relays.push(relay);
    }
    run(&mut all, SETTLED, |_| Vec::new());
    for pair in &mut all {
        pair.heard.clear();
    }
    let time = Duration::from_secs(SECONDS as u64) + Duration::from_millis(1_500);
    let late = run(&mut all, time, |pair| raised(&spoken, pair.factor));

    let scores: Vec<Score> =
        all.iter().map(|pair| score(&raised(&spoken, pair.factor), &pair.heard, 8_000 * pair.factor as u32)).collect();
    let mut table = String::from("| network | PCMU | PCMA | G722 | Opus |\n|---|---|---|---|---|\n");
    let mut bad = String::new();
    for (row, (name, _, bounds)) in WEATHERS.iter().enumerate() {
        let _ = write!(table, "| {name} |");
        for (column, (codec, bound)) in Codec::ALL.iter().zip(bounds).enumerate() {
            let at = column * WEATHERS.len() + row;
            let (score, stats) = (scores[at], all[at].listener.stats());
            let _ = write!(table, " {:.0} ({:.0} ms) |", score.points, stats.delay.as_secs_f64() * 1e3);
            // A machine that was late takes from every row what it takes from the calm one, up to a limit.
            let spoilt = (WEATHERS[0].2[column] - scores[column * WEATHERS.len()].points).clamp(0.0, SPOILT_MAX);
            let bound = bound - if late > LATE { spoilt } else { 0.0 };
            if score.points < bound {
                let _ = writeln!(bad, "{codec:?} through {name}: {score:?}, at least {bound} wanted; {stats:?}");
            }
        }
        table.push('\n');
    }
    (table, bad, late)
}

#[test]
fn keys_arrive_exactly_once_at_up_to_five_percent_loss_in_every_codec() {
    const KEYS: &str = "0123456789*#ABCD5550";
    let workers = workers(2);
    let rough = Weather { jitter_ms: 30, reordered: 0.05, repeated: 0.05, ..losing(0.05) };
    let weathers = [Weather::CALM, losing(0.01), losing(0.03), losing(0.05), rough];
    let cells: Vec<(Codec, Weather)> =
        Codec::ALL.into_iter().flat_map(|codec| weathers.map(|weather| (codec, weather))).collect();
    let mut pairs: Vec<Pair> = cells.iter().map(|(codec, _)| Pair::open(&workers, *codec)).collect();
    let links: Vec<Link> = pairs
        .iter()
        .zip(&cells)
        .enumerate()
        .map(|(seed, (pair, (_, weather)))| pair.link(*weather, 50 + seed as u64))
        .collect();
    let relay = Relay::start(HERE, &links);
    for (link, (pair, (codec, _))) in pairs.iter_mut().zip(&cells).enumerate() {
        pair.connect(*codec, &relay, link);
    }
    run(&mut pairs, Duration::from_millis(500), |_| Vec::new());
    for key in KEYS.chars() {
        for pair in &mut pairs {
            pair.speaker.send_digit(key).expect("the worker takes it");
        }
        run(&mut pairs, Duration::from_millis(170), |_| Vec::new());
    }
    // A loaded machine is behind; whatever came twice would be here a second later.
    for _ in 0..20 {
        if pairs.iter().all(|pair| pair.digits.len() >= KEYS.len()) {
            break;
        }
        run(&mut pairs, Duration::from_millis(500), |_| Vec::new());
    }
    run(&mut pairs, Duration::from_secs(1), |_| Vec::new());
    for (pair, cell) in pairs.iter().zip(&cells) {
        assert_eq!(pair.digits, KEYS, "{cell:?}");
    }
}

/// What of `samples`, at 8 kHz, lies above 2.5 kHz.
fn treble(samples: &[i16]) -> Vec<f64> {
    const REACH: isize = 40;
    let tap = |n: isize| {
        let shape = 0.5 + 0.5 * (std::f64::consts::PI * n as f64 / REACH as f64).cos();
        let x = std::f64::consts::PI * n as f64;
        let low = if n == 0 { 0.625 } else { (0.625 * x).sin() / x };
        (if n == 0 { 1.0 } else { 0.0 }) - low * shape
    };
    let taps: Vec<f64> = (-REACH..=REACH).map(tap).collect();
    samples.windows(taps.len()).map(|window| window.iter().zip(&taps).map(|(s, t)| f64::from(*s) * t).sum()).collect()
}

#[test]
fn a_flush_in_a_loud_tone_makes_no_click_above_40_db_below_full_scale() {
    const FULL_SCALE: f64 = 32_768.0;
    let tone: Vec<i16> =
        (0..8_000).map(|n| (9_000.0 * (f64::from(n) * 440.0 / 8_000.0 * std::f64::consts::TAU).sin()) as i16).collect();
    // The measure sees a bare cut.
    let cut: Vec<i16> = tone[..4_005].iter().copied().chain([0; 800]).collect();
    let loudest = |samples: &[i16]| treble(samples).into_iter().map(f64::abs).fold(0.0, f64::max);
    let in_db = |value: f64| 20.0 * (value.max(1.0) / FULL_SCALE).log10();
    assert!(in_db(loudest(&cut[3_000..])) > -30.0, "{}", in_db(loudest(&cut[3_000..])));

    let workers = workers(1);
    let mut pair = Pair::open(&workers, Codec::Pcmu);
    let relay = Relay::start(HERE, &[pair.link(Weather::CALM, 1)]);
    pair.connect(Codec::Pcmu, &relay, 0);
    run(std::slice::from_mut(&mut pair), Duration::from_millis(500), |_| Vec::new());
    let mut flushes = 0;
    for turn in 2..8 {
        let turn = TurnId(turn);
        pair.heard.clear();
        // Cuts at other places of the wave.
        assert!(pair.speaker.downlink.push(turn, &tone) > 0);
        run(std::slice::from_mut(&mut pair), Duration::from_millis(301 + u64::from(turn.0) * 7), |_| Vec::new());
        pair.speaker.downlink.flush_through(turn);
        run(std::slice::from_mut(&mut pair), Duration::from_millis(300), |_| Vec::new());
        let last = pair.heard.iter().rposition(|s| s.unsigned_abs() > 1_000).expect("the tone was heard");
        let around = &pair.heard[last.saturating_sub(400)..(last + 400).min(pair.heard.len())];
        assert!(last + 400 < pair.heard.len(), "it fell silent");
        let click = in_db(loudest(around));
        assert!(click < -40.0, "{click:.1} dB");
        flushes += 1;
    }
    assert_eq!(flushes, 6);
}
