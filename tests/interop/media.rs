//! Real telephones and a real PBX in every codec and every protection of audio: real calls, in which what either side says
//! is found, frame by frame, in what the other one heard.

use std::{path::PathBuf, process::Command, thread, time::Duration};

use crate::hub::Hub;
use crate::own::{Conversation, Own};
use crate::phones::{
    Carries, Line, Pjsua, Protects, call_once,
    rates::{lower, raise, write_wav_at},
};
use crate::support::{Asterisk, Bench, Found, PATIENCE, babble, compare, music, run, script, wait_until};
use crate::table::Case;
use offhook::{
    base::Random,
    call::MediaTerms,
    media::dtls::Identity,
    sdp::{Codec, Keying, SrtpPolicy},
    sip::Transport,
};

/// Calls at the same time with one kind of telephone: of more, linphonec on two cores misses some that it hears.
const BESIDE: usize = 4;
/// Nobody speaks before, so that a handshake for keys is over when somebody does.
const BEFORE: usize = 2;
const SPEECH: usize = 5;
const CALL_SECONDS: u32 = 10;
/// Share of the voiced frames that have to be found.
const FOUND: f64 = 0.9;

type Cell = (Carries, Protects);

/// What we agree on with such a telephone: this codec, in this protection, or nothing.
pub fn terms(codec: Carries, protects: Protects) -> MediaTerms {
    let codec = match codec {
        Carries::Pcmu => Codec::Pcmu,
        Carries::Pcma => Codec::Pcma,
        Carries::G722 => Codec::G722,
        Carries::Opus => Codec::Opus,
    };
    let (srtp, keying) = match protects {
        Protects::Nothing => (SrtpPolicy::Off, Vec::new()),
        Protects::Sdes => (SrtpPolicy::Required, vec![Keying::Sdes]),
        Protects::Dtls => (SrtpPolicy::Required, vec![Keying::Dtls]),
    };
    let identity = Identity::new(&mut Random::system());
    MediaTerms { srtp, keying, identity, ..MediaTerms::from(&[codec]) }
}

/// Every codec in each of these protections, numbered.
fn cells(protections: &[Protects]) -> Vec<(u8, Cell)> {
    let all = Carries::ALL.into_iter().flat_map(|codec| protections.iter().map(move |protects| (codec, *protects)));
    (0..).zip(all).collect()
}

/// What certificates the exchange has.
fn keys(bench: &Bench) -> PathBuf {
    let keys = bench.path().join("keys");
    run(Command::new(script("certificates.sh")).arg(&keys).arg(bench.address(20).to_string()));
    keys
}

/// What a telephone says: nothing at first, then speech, then nothing until the call is over.
fn spoken() -> Vec<i16> {
    let mut spoken = vec![0; BEFORE * 8_000];
    spoken.extend(babble(SPEECH));
    spoken.extend(vec![0; 20 * 8_000]);
    spoken
}

/// What was found of what each side said in what the other heard.
#[derive(Debug)]
struct Exchanged {
    by_us: Found,
    by_them: Found,
}

/// The factor of a call's line, once something was heard on it.
fn heard_factor(call: &Conversation) -> usize {
    call.wait_until(PATIENCE, "audio", |call| call.stats().received > 0);
    call.factor()
}

/// One call of a telephone to the exchange: `phone` makes it and gives what the telephone heard.
fn call(hub: &Hub, name: &str, phone: impl FnOnce() -> Vec<i16> + Send) -> Exchanged {
    thread::scope(|scope| {
        let ours = scope.spawn(|| {
            let call = hub.call(name, Duration::from_secs(30))?;
            let rate = heard_factor(&call);
            call.say(&raise(&vec![0; BEFORE * 8_000], rate));
            call.say(&raise(&music(SPEECH), rate));
            Some(call)
        });
        let theirs = phone();
        let call = ours.join().expect("no panic").expect("the telephone called");
        let heard = lower(&call.take_heard(), call.factor());
        Exchanged { by_us: compare(&babble(SPEECH), &heard), by_them: compare(&music(SPEECH), &theirs) }
    })
}

/// Runs `hold_a_call` for each of these cells, `beside` at the same time: those that failed.
fn hold_calls(
    peer: &'static str,
    beside: usize,
    cells: &[(u8, Cell)],
    hold_a_call: impl Fn(u8, Cell) -> Exchanged + Sync,
) -> Vec<(u8, Cell)> {
    let one = |(number, cell): (u8, Cell)| {
        let _case = Case::audio(peer, cell.0.name(), cell.1.name());
        let exchanged = hold_a_call(number, cell);
        let ok = exchanged.by_us.share() >= FOUND && exchanged.by_them.share() >= FOUND;
        assert!(ok, "{peer}, {cell:?}: {exchanged:?}");
    };
    let (one, mut failed) = (&one, Vec::new());
    for some in cells.chunks(beside) {
        thread::scope(|scope| {
            let calls: Vec<_> = some.iter().map(|cell| (*cell, scope.spawn(move || one(*cell)))).collect();
            failed.extend(calls.into_iter().filter_map(|(cell, call)| call.join().is_err().then_some(cell)));
        });
    }
    failed
}

/// Every cell with one kind of telephone.
fn every_cell(
    peer: &'static str,
    protections: &[Protects],
    phone: impl Fn(&Bench, u8, &Line, &str) -> Vec<i16> + Sync,
) {
    let bench = Bench::open_beside_others();
    let keys = keys(&bench);
    let hub = Hub::open(&bench, &keys);
    let failed = hold_calls(peer, BESIDE, &cells(protections), |number, (codec, protects)| {
        let name = crate::hub::name(codec, protects);
        let ip = bench.address(20);
        let (ca, uri) = match protects {
            Protects::Nothing => (None, format!("sip:exchange@{ip}:5060")),
            _ => (Some(keys.join("ca.crt")), format!("sip:exchange@{ip}:5061;transport=tls")),
        };
        let line = Line { user: name.clone(), ca, codec, protects, ..Line::unregistered(bench.address(30 + number)) };
        call(&hub, &name, || phone(&bench, number, &line, &uri))
    });
    assert!(failed.is_empty(), "{peer}: {failed:?}");
}

#[test]
fn pjsua_speaks_with_us_in_every_codec_and_protection() {
    every_cell("pjsua", &Protects::ALL, |bench, number, line, uri| {
        let mut phone = Pjsua::start(&bench.path().join(format!("pjsua-{number}")), line, &spoken());
        phone.call(uri);
        phone.wait_for("state changed to CONFIRMED", 1);
        crate::support::pause(Duration::from_secs(CALL_SECONDS.into()));
        phone.hang_up();
        phone.stop()
    });
}

#[test]
fn baresip_speaks_with_us_in_every_codec_and_protection() {
    every_cell("baresip", &[Protects::Nothing, Protects::Sdes], |bench, number, line, uri| {
        // Its RTP leaves from the first loopback address only, so that it is told apart by ports.
        let line = Line { ip: std::net::Ipv4Addr::LOCALHOST, port: bench.loopback_port(number), ..line.clone() };
        call_once("baresip", &bench.path().join(format!("baresip-{number}")), &line, &spoken(), uri, CALL_SECONDS)
    });
}

#[test]
fn linphonec_speaks_with_us_in_every_codec_and_protection() {
    every_cell("linphonec", &Protects::ALL, |bench, number, line, uri| {
        call_once("linphonec", &bench.path().join(format!("linphonec-{number}")), line, &spoken(), uri, CALL_SECONDS)
    });
}

/// A call of ours to the PBX, whose line has one codec and one protection: it plays a file and records what we say, which
/// has it encode and decode by itself.
async fn call_the_pbx(own: &Own, asterisk: &Asterisk, number: u8, (codec, protects): Cell, name: &str) -> Exchanged {
    let transport = if protects == Protects::Nothing { Transport::Udp } else { Transport::Tls };
    let extension = format!("627{number:02}");
    let call = own.dial_as(asterisk, transport, &extension, name, terms(codec, protects)).await;
    let call = call.unwrap_or_else(|why| panic!("{name}: {why}"));
    let rate = heard_factor(&call);
    call.say(&raise(&vec![0; BEFORE * 8_000], rate));
    call.say(&raise(&babble(SPEECH), rate));
    tokio::time::sleep(Duration::from_secs(CALL_SECONDS.into())).await;
    let heard = call.take_heard();
    call.hang_up();
    call.ended().await;
    let recorded = asterisk.recording_file(&format!("{extension}-in.wav16"));
    // Its header says how long it is once it is closed.
    wait_until(PATIENCE, "the recording is complete", || {
        hound::WavReader::open(&recorded).is_ok_and(|file| file.duration() > 0)
    });
    let theirs = crate::phones::rates::read_wav_lowered(&recorded);
    Exchanged { by_us: compare(&music(SPEECH), &lower(&heard, rate)), by_them: compare(&babble(SPEECH), &theirs) }
}

/// An Asterisk with a file to play, and our lines to it in clear and by TLS.
struct Exchange {
    asterisk: Asterisk,
    runtime: tokio::runtime::Runtime,
    plain: Own,
    secure: Own,
    _bench: Bench,
}

impl Exchange {
    fn open() -> Self {
        let bench = Bench::open_beside_others();
        let asterisk = Asterisk::start(&bench, 3600);
        let mut played = vec![0; BEFORE * 8_000];
        played.extend(music(SPEECH));
        write_wav_at(&asterisk.played_file("wide.wav16"), &played, 16_000, 1);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (plain, secure) = {
            let _inside = runtime.enter();
            let open = |transport| Own::open_by(&bench, &asterisk, transport);
            (open(Transport::Udp), open(Transport::Tls))
        };
        Self { asterisk, runtime, plain, secure, _bench: bench }
    }

    fn call(&self, number: u8, cell: Cell, name: &str) -> Exchanged {
        let own = if cell.1 == Protects::Nothing { &self.plain } else { &self.secure };
        self.runtime.block_on(call_the_pbx(own, &self.asterisk, number, cell, name))
    }
}

#[test]
fn asterisk_speaks_with_us_in_every_codec_and_protection() {
    let exchange = Exchange::open();
    let hold = |number, cell: Cell| exchange.call(number, cell, &crate::hub::name(cell.0, cell.1));
    let failed = hold_calls("asterisk", 6, &cells(&Protects::ALL), hold);
    // A PBX that serves several leaves holes in its Opus wherever the machine is late by 13 ms: what failed is held again with
    // the PBX to itself.
    let failed = hold_calls("asterisk", 1, &failed, hold);
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn asterisk_speaks_with_us_by_dtls_with_an_rsa_certificate() {
    let exchange = Exchange::open();
    let _case = Case::audio("asterisk", "PCMU, RSA certificate", "dtls");
    let exchanged = exchange.call(0, (Carries::Pcmu, Protects::Dtls), "pcmu-dtls-rsa");
    assert!(exchanged.by_us.share() >= FOUND && exchanged.by_them.share() >= FOUND, "{exchanged:?}");
}
