//! `offhook load`: many calls with real SIP and RTP, and what became of them.
//!
//! [`Generator`] is the library part, which the benchmarks use too.
#![allow(rustdoc::broken_intra_doc_links, reason = "comments on arguments are help text, whose brackets are no links")]

pub mod audio;
pub mod dialog;
pub mod figures;
pub mod generator;
pub mod hearing;
pub mod limits;
pub mod pace;
pub mod report;
pub mod signalling;
pub mod sounds;
pub mod target;
pub mod turns;

pub use figures::{Figures, Sound, Times};
pub use generator::{Generator, Load};
pub use pace::Pace;
pub use sounds::{Codec, Kind};

use super::fail;
use super::terminal::{Ink, Style};
use crate::audio::wav;
use crate::sip::Uri;
use crate::sip::digest::Credentials;
use clap::{Args as ClapArgs, ValueEnum};
use report::Limits;
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use target::{Nearness, Target};
use tokio::time::{Instant, sleep_until};

/// Sound to send, as it is named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Send {
    /// Each packet carries its number; a G.711 echo gives it back as it was.
    Marks,
    /// A tone each second; it survives other codecs and a bot behind a bridge.
    Tones,
}

/// Place many calls and measure what becomes of them.
#[derive(ClapArgs)]
#[command(
    after_help = "Examples:\n  offhook load --to sip:echo@127.0.0.1 --calls 200 --rate 50 --seconds 30          an echo on this machine\n  offhook load --to sip:clinic@10.0.0.5 --calls 20 --seconds 120 --speech q.wav    how fast an agent takes its turn\n  offhook load --to sip:600@10.0.0.9 --calls 50 --call-seconds 20 --user 1001 --password-env PW --json\n\nThe far side is an echo for loss and round trips (the agent `echo`, Asterisk's Echo()), or an agent with --speech.\nExit code: 0 when every call was answered and completed and the limits hold, 1 otherwise, 2 for a wrong command line."
)]
pub(super) struct Args {
    /// Whom to call, by UDP: sip:USER@HOST[:PORT].
    #[arg(long, value_name = "URI")]
    to: String,
    /// Calls at the same time.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=limits::CALLS as u64))]
    calls: u64,
    /// New calls each second.
    #[arg(long, value_name = "R", default_value_t = 10.0, value_parser = rate)]
    rate: f64,
    /// Seconds in which the rate rises from nothing to --rate.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    ramp: u64,
    /// How long to go on, from the first call.
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Hang up each call after this many seconds and place another [default: calls last until the end].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    call_seconds: Option<u64>,
    /// The codec, the only one offered.
    #[arg(long, value_enum, default_value_t)]
    codec: Codec,
    /// What the calls send [default: marks with PCMU and PCMA, else tones].
    #[arg(long, value_enum)]
    send: Option<Send>,
    /// A WAV file with what a caller says; its end is where turn latency begins. For agents.
    #[arg(long, value_name = "FILE", conflicts_with = "send")]
    speech: Option<PathBuf>,
    /// Who calls [default: sip:load@ our address].
    #[arg(long, value_name = "URI")]
    from: Option<String>,
    /// Our address, with the SIP port if it matters [default: the one on the way to the far side].
    #[arg(long, value_name = "IP[:PORT]", value_parser = bind)]
    bind: Option<(IpAddr, u16)>,
    /// User name for a far side that asks for credentials.
    #[arg(long, value_name = "NAME", requires = "password_env")]
    user: Option<String>,
    /// Environment variable with the password.
    #[arg(long, value_name = "VARIABLE", requires = "user")]
    password_env: Option<String>,
    /// Fail when more than this is lost, in percent.
    #[arg(long, value_name = "PERCENT")]
    max_loss: Option<f64>,
    /// Fail when the p99 of round trips is longer, or with --speech that of turns.
    #[arg(long, value_name = "MS")]
    max_p99_ms: Option<f64>,
    /// Load a far side with a public address. Do so only where you may: its owner sees a flood.
    #[arg(long)]
    danger_load_public_host: bool,
    /// One JSON object each second on standard output, and a last one with the summary.
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate > 0.0 && rate <= limits::RATE { Ok(rate) } else { Err(format!("above 0 and at most {}", limits::RATE)) }
}

fn bind(text: &str) -> Result<(IpAddr, u16), String> {
    text.parse::<IpAddr>()
        .map(|ip| (ip, 0))
        .or_else(|_| text.parse::<std::net::SocketAddr>().map(|address| (address.ip(), address.port())))
        .map_err(|_| "not an address: write 192.0.2.1, 192.0.2.1:5060 or [2001:db8::1]:5060".to_owned())
}

impl Args {
    fn kind(&self) -> Result<Kind, String> {
        if let Some(file) = &self.speech {
            let samples = wav::read_at(file, self.codec.coding().sample_rate()).map_err(|error| error.to_string())?;
            return Ok(Kind::Speech(samples));
        }
        match self.send {
            Some(Send::Marks) if !self.codec.keeps_octets() => {
                Err("marks need PCMU or PCMA, whose echo gives back the same octets: write --send tones".to_owned())
            }
            Some(Send::Marks) => Ok(Kind::Marks),
            None if self.codec.keeps_octets() => Ok(Kind::Marks),
            Some(Send::Tones) | None => Ok(Kind::Tones),
        }
    }

    fn load(&self, target: &Target) -> Result<Load, String> {
        let credentials = match (&self.user, &self.password_env) {
            (Some(user), Some(variable)) => {
                let password = std::env::var(variable)
                    .map_err(|_| format!("the environment variable {variable} of --password-env is not set"))?;
                Some(Credentials::new(user.as_str(), password))
            }
            _ => None,
        };
        let from = match &self.from {
            Some(text) => Some(Uri::parse(text.as_str()).map_err(|fault| format!("--from {text}: {fault}"))?),
            None => None,
        };
        Ok(Load {
            ip: self.bind.map(|(ip, _)| ip),
            sip_port: self.bind.map_or(0, |(_, port)| port),
            from,
            credentials,
            calls: self.calls as usize,
            pace: Pace::new(self.rate, Duration::from_secs(self.ramp)),
            call_length: self.call_seconds.map(Duration::from_secs),
            codec: self.codec,
            kind: self.kind()?,
            ..Load::marks(target.uri.clone(), target.address, 0)
        })
    }
}

/// Runs the command.
pub(super) async fn run(args: Args) -> ExitCode {
    match load(&args).await {
        Ok(code) => code,
        Err(message) => fail(&message),
    }
}

async fn load(args: &Args) -> Result<ExitCode, String> {
    let target = Target::find(&args.to)?;
    let whose = match target.nearness() {
        Nearness::Here => "this machine",
        Nearness::Private => "a private network",
        Nearness::Public => "a public address",
    };
    if target.nearness() == Nearness::Public && !args.danger_load_public_host {
        return Err(format!(
            "{} is at {}, a public address: {} calls are a flood to whoever owns it. If you may load it, add --danger-load-public-host",
            target.uri, target.address, args.calls
        ));
    }
    let load = args.load(&target)?;
    // Standard output is for programs with --json.
    let opening = format!(
        "Calling {} at {} ({whose}): up to {} calls, {} new a second, for {} s.",
        target.uri, target.address, args.calls, args.rate, args.seconds
    );
    if args.json {
        eprintln!("{opening}");
    } else {
        println!("{opening}");
    }
    let calls = load.calls;
    let generator = Generator::start(load).map_err(|error| format!("cannot call from here: {error}"))?;
    let style = Style::stdout();
    let mut all = Figures::default();
    let start = Instant::now();
    let show_progress = !args.json && std::io::stdout().is_terminal();
    for second in 1..=args.seconds {
        tokio::select! {
            () = sleep_until(start + Duration::from_secs(second)) => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        let last = generator.take();
        all.add(&last);
        if args.json {
            println!("{}", report::json("second", second, generator.up(), &last));
        } else if show_progress {
            print!("\r\x1b[2K{}", report::progress(second, generator.up(), calls, &last, &all));
            let _ = std::io::stdout().flush();
        }
    }
    let seconds = start.elapsed().as_secs();
    let rest = tokio::task::spawn_blocking(|| generator.end()).await.map_err(|error| error.to_string())?;
    all.add(&rest);
    let reasons = report::verdict(&all, Limits { max_loss: args.max_loss, max_p99_ms: args.max_p99_ms });
    if args.json {
        println!("{}", report::json_summary(seconds, &all, &reasons));
    } else {
        if show_progress {
            println!("\r\x1b[2K");
        }
        println!("{}", report::summary(&all, style));
        for reason in &reasons {
            println!("{} {reason}", style.paint(Ink::Bad, "✗"));
        }
    }
    Ok(if reasons.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
