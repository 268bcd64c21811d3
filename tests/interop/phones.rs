//! Telephones: pjsua, which is told what to do as it goes, and baresip and linphonec, which make one call.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    fs,
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::support::{PATIENCE, Running, script, wait_until};
use rates::{read_wav_lowered, write_wav_at};

#[path = "rates.rs"]
pub mod rates;

/// The one codec that a telephone offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carries {
    Pcmu,
    Pcma,
    G722,
    Opus,
}

impl Carries {
    pub const ALL: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];

    /// As SDP writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// Samples per second of its audio.
    fn rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8_000,
            Self::G722 => 16_000,
            Self::Opus => 48_000,
        }
    }

    /// As baresip's account line writes it, with rate and channels.
    fn in_baresip(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722/16000/1",
            Self::Opus => "opus/48000/2",
        }
    }
}

/// How a telephone protects its audio; it takes no call without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protects {
    Nothing,
    Sdes,
    Dtls,
}

impl Protects {
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Sdes, Self::Dtls];

    /// As the scripts and the PBX's lines are told; empty for nothing.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Sdes => "sdes",
            Self::Dtls => "dtls",
        }
    }
}

/// Who a telephone is and where it lives.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its address; SIP on port 5060, TLS on 5061.
    pub ip: Ipv4Addr,
    /// Its user name.
    pub user: String,
    /// Password and `ADDRESS:PORT` of the registrar, for one that registers.
    pub registered: Option<(String, String)>,
    /// The authority whose certificates it takes; it calls by TLS then.
    pub ca: Option<PathBuf>,
    /// The codec that it offers, alone.
    pub codec: Carries,
    /// How it protects its audio.
    pub protects: Protects,
    /// The first of the two ports that it takes for SIP by UDP and TCP; by TLS, the second.
    pub port: u16,
}

impl Line {
    /// A telephone that only places and takes calls.
    pub fn unregistered(ip: Ipv4Addr) -> Self {
        Self {
            ip,
            user: "phone".to_owned(),
            registered: None,
            ca: None,
            codec: Carries::Pcmu,
            protects: Protects::Nothing,
            port: 5060,
        }
    }

    /// Extension `user` of the PBX at `registrar`, with the password that the tests' PBX gives its extensions.
    pub fn extension(ip: Ipv4Addr, user: &str, registrar: &str) -> Self {
        let registered = Some((format!("secret{user}"), registrar.to_owned()));
        Self { user: user.to_owned(), registered, ..Self::unregistered(ip) }
    }
}

/// A running pjsua. It takes every call, plays its file in a loop and records what it hears.
pub struct Pjsua {
    running: Running,
    directory: PathBuf,
}

impl Pjsua {
    /// Starts one and waits until it is registered, if it is to.
    #[track_caller]
    pub fn start(directory: &Path, line: &Line, plays: &[i16]) -> Self {
        fs::create_dir_all(directory).expect("its directory can be made");
        // It resamples nothing: files and sound card are at the codec's rate.
        let rate = line.codec.rate();
        write_wav_at(&directory.join("play.wav"), plays, rate, 1);
        // Its output line by line: it is what the tests wait for.
        let mut command = Command::new("stdbuf");
        command.arg("--output=L").arg(script("peers.sh"));
        command.args(["run", "/usr/bin/pjsua", "--null-audio"]);
        command.arg(format!("--clock-rate={rate}")).arg(format!("--snd-clock-rate={rate}"));
        // One codec: with two it would settle on one by an UPDATE after each answer, at which Asterisk's music stops.
        command.args(["--ec-tail=0", "--no-vad", "--dis-codec=*"]).arg(format!("--add-codec={}", line.codec.name()));
        match line.protects {
            Protects::Nothing => {}
            Protects::Sdes => drop(command.args(["--use-srtp=2", "--srtp-secure=0", "--srtp-keying=0"])),
            Protects::Dtls => drop(command.args(["--use-srtp=2", "--srtp-secure=0", "--srtp-keying=1"])),
        }
        command.args(["--auto-answer=200", "--max-calls=4", "--auto-play", "--auto-rec", "--log-level=5"]);
        command.args(["--app-log-level=5", "--play-file=play.wav", "--rec-file=heard.wav"]);
        command.arg(format!("--bound-addr={}", line.ip)).arg(format!("--ip-addr={}", line.ip));
        command.arg(format!("--local-port={}", line.port)).arg("--rtp-port=30000");
        if let Some(ca) = &line.ca {
            command.arg("--use-tls").arg(format!("--tls-ca-file={}", ca.display())).arg("--tls-verify-server");
        }
        if let Some((password, registrar)) = &line.registered {
            let transport = if line.ca.is_some() { ";transport=tls" } else { "" };
            command.arg(format!("--id=sip:{}@{registrar}", line.user));
            command.arg(format!("--registrar=sip:{registrar}{transport}")).arg("--realm=*");
            command.arg(format!("--username={}", line.user)).arg(format!("--password={password}"));
        } else {
            command.arg(format!("--id=sip:{}@{}", line.user, line.ip));
        }
        command.current_dir(directory);
        let running = Running::start_piped("pjsua", &mut command, directory.join("out"));
        let mut this = Self { running, directory: directory.to_owned() };
        wait_until(PATIENCE, "pjsua is up", || {
            assert!(this.running.is_running(), "pjsua ended: {}", this.running.output());
            let out = this.running.output();
            out.contains("Ready: Success") && (line.registered.is_none() || out.contains("registration success"))
        });
        this
    }

    /// Waits until it has written `text` for the `times`th time.
    #[track_caller]
    pub fn wait_for(&self, text: &str, times: usize) {
        wait_until(PATIENCE, &format!("pjsua says {text:?}"), || self.running.output().matches(text).count() >= times);
    }

    /// Places a call.
    pub fn call(&mut self, uri: &str) {
        self.tell(&["m", uri]);
    }

    /// Puts the current call on hold.
    pub fn hold(&mut self) {
        self.tell(&["H"]);
    }

    /// Takes the current call back, with a re-INVITE.
    pub fn resume(&mut self) {
        self.tell(&["v"]);
    }

    /// Presses keys, by RFC 4733.
    pub fn press(&mut self, digits: &str) {
        self.tell(&["#", digits]);
    }

    /// Presses keys, by SIP INFO.
    pub fn press_by_info(&mut self, digits: &str) {
        self.tell(&["*", digits]);
    }

    /// Hands the current call over, by REFER.
    pub fn transfer(&mut self, uri: &str) {
        self.tell(&["x", uri]);
    }

    /// Joins the current call with call number `other`, by REFER with Replaces.
    pub fn transfer_to_call(&mut self, other: &str) {
        self.tell(&["X", other]);
    }

    /// Makes the next call the current one.
    pub fn next_call(&mut self) {
        self.tell(&["]"]);
    }

    /// Hangs the current call up.
    pub fn hang_up(&mut self) {
        self.tell(&["h"]);
    }

    /// Ends it and gives what it heard.
    pub fn stop(mut self) -> Vec<i16> {
        self.tell(&["q"]);
        self.running.wait(Duration::from_secs(15));
        read_wav_lowered(&self.directory.join("heard.wav"))
    }

    fn tell(&mut self, lines: &[&str]) {
        for line in lines {
            writeln!(self.running.input(), "{line}").expect("pjsua reads");
        }
    }
}

/// One call of a telephone that is started for it: `kind` is `baresip` or `linphonec`. It plays its file, hangs up
/// after `seconds`, and gives what it heard; fails the test when no call was established.
#[track_caller]
pub fn call_once(kind: &str, directory: &Path, line: &Line, plays: &[i16], uri: &str, seconds: u32) -> Vec<i16> {
    fs::create_dir_all(directory).expect("its directory can be made");
    let wav = directory.join("play.wav");
    let rate = line.codec.rate();
    // baresip's Opus is stereo.
    let channels = if kind == "baresip" && line.codec == Carries::Opus { 2 } else { 1 };
    write_wav_at(&wav, plays, rate, channels);
    let mut command = Command::new(script(&format!("{kind}.sh")));
    let prefix = kind.to_uppercase();
    command.arg(directory).arg(&wav).args(["call", uri, &seconds.to_string()]);
    command
        .env(format!("{prefix}_PORT"), line.port.to_string())
        .env("BARESIP_CODECS", line.codec.in_baresip())
        .env("LINPHONEC_CODEC", line.codec.name())
        .env(format!("{prefix}_SECURITY"), line.protects.name())
        .env(format!("{prefix}_IP"), line.ip.to_string())
        .env(format!("{prefix}_USER"), &line.user);
    if let Some((password, registrar)) = &line.registered {
        command.env(format!("{prefix}_PASSWORD"), password).env(format!("{prefix}_REGISTRAR"), registrar);
    }
    if let Some(ca) = &line.ca {
        command.env(format!("{prefix}_CA"), ca);
    }
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let log = || String::from_utf8_lossy(&fs::read(directory.join("log")).unwrap_or_default()).into_owned();
    assert!(output.status.success(), "{kind} had no call: {}\n{}", String::from_utf8_lossy(&output.stderr), log());
    read_wav_lowered(&directory.join("heard.wav"))
}
