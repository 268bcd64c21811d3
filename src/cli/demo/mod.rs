//! `offhook demo`: a real phone call without keys or a PBX.

mod bookings;
mod caller;
mod script;

use super::engines;
use super::fail;
use super::report::Report;
use super::server::{Server, ServerPlan, TrunkPlan};
use super::terminal::{Ink, Style};
use crate::agent::Agent;
use crate::audio::noise::PhoneLine;
use crate::audio::wav;
use crate::base::{Random, SampleRate};
use crate::call::{CallEvent, EventStream, Line, PeerTerms, Program};
use crate::config::Providers;
use crate::media::{LegMode, MediaConfig, Workers};
use crate::net::{self, Listen};
use crate::providers::local::pool::PoolConfig;
use crate::sdp::Codec;
use crate::sip::event::Party;
use crate::sip::{EndpointConfig, OutgoingInvite, Uri};
use crate::tools::CallBudget;
use crate::turn::ledger::percentile;
use bookings::Bookings;
use caller::{Caller, Outcome};
use clap::Args;
use script::Script;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// Level of the noise on the caller's line.
const NOISE_DBFS: f32 = -52.0;
/// Seed of the noise: every demo sounds the same.
const NOISE_SEED: u64 = 7;
/// A call longer than this is a failure.
const LONGEST_CALL: Duration = Duration::from_secs(240);
/// The name of the trunk that softphones on this machine call through.
const SOFTPHONE: &str = "softphone";

/// Hold a phone call with the example agent, offline.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  offhook demo                 watch the call, then ring the agent from a softphone\n  offhook demo --once          hang up and exit; 0 only if the appointment was booked\n  offhook demo --once --json   one JSON object per event, the summary last"
)]
pub(super) struct Demo {
    /// Exit after the call.
    #[arg(long)]
    once: bool,
    /// One JSON object per event on standard output.
    #[arg(long)]
    json: bool,
    /// Where the server listens for SIP (UDP).
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5060")]
    listen: SocketAddr,
    /// The agent file.
    #[arg(long, value_name = "FILE", default_value = "examples/clinic.yaml")]
    agent: PathBuf,
    /// The caller's script and recordings.
    #[arg(long, value_name = "FILE", default_value = "examples/caller/script.toml")]
    caller: PathBuf,
    /// Directory of the offline models [default: see `offhook models list`].
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptFile {
    /// What the booking service must hold afterwards: field and value.
    booking: HashMap<String, String>,
    line: Vec<script::Line>,
}

struct Screen {
    json: bool,
    style: Style,
    report: Report,
}

impl Screen {
    fn status(&self, text: &str) {
        if self.json {
            println!("{}", json!({"event": "status", "text": text}));
        } else {
            println!("{}", self.style.paint(Ink::Faint, &format!("· {text}")));
        }
    }

    fn event(&mut self, event: &CallEvent) {
        self.report.show(event, self.json);
    }
}

pub(super) async fn run(demo: Demo) -> ExitCode {
    match hold(demo).await {
        Ok(code) => code,
        Err(message) => fail(&message),
    }
}

async fn hold(demo: Demo) -> Result<ExitCode, String> {
    let style = if demo.json { Style::plain() } else { Style::stdout() };
    let mut screen = Screen { json: demo.json, style, report: Report::new(style) };
    let script = read_script(&demo.caller)?;

    let bookings = Bookings::start().await?;
    screen.status(&format!("booking service at {}", bookings.url()));

    let models = demo.models.clone();
    let agent = Agent::load(&demo.agent, &[("booking_url".to_owned(), bookings.url())]).map_err(|e| e.to_string())?;
    let (parts, pool) = (engines::parts(std::iter::once(&agent)), PoolConfig::default());
    let load = || engines::load(&Providers::default(), models, parts, pool, |line| screen.status(line));
    let engines = tokio::task::block_in_place(load)?.engines(&agent)?;
    let setup = engines::prepare(Arc::new(agent), &engines, bookings.policy(), CallBudget::default(), &[]).await?;

    let media = MediaConfig { bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST), ..MediaConfig::default() };
    let mut plan = ServerPlan::new(vec![Listen::udp(demo.listen)], media);
    let loopback = "127.0.0.0/8".parse().into_iter().collect();
    plan.trunks.push(TrunkPlan::by_source(SOFTPHONE, loopback, "clinic", PeerTerms::default()));
    let programs = HashMap::from([("clinic".to_owned(), Program::Agent(setup, engines))]);
    let server = Server::start(plan, &programs, EventStream::default()).await.map_err(|e| e.to_string())?;
    screen.status(&format!("server listening on {} (UDP); the caller rings", server.sip.local_addr()));

    let mut events = server.events.subscribe();
    let call = place_call(&server, &script, demo.caller.parent().unwrap_or_else(|| Path::new(".")));
    let outcome = watch(call, &mut events, &mut screen).await?;
    let found = bookings.read_back().await?;
    let booked = found.iter().find(|b| stands(b, &script.booking)).cloned();
    summarise(&screen, &outcome, booked.as_ref(), &bookings.url());
    if demo.once {
        bookings.stop().await;
        return Ok(if booked.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    println!(
        "\n{}",
        style.paint(
            Ink::Strong,
            &format!(
                "Your turn: call  sip:clinic@{}  from a softphone on this machine (UDP, no registration).",
                server.sip.local_addr()
            )
        )
    );
    println!("Ctrl-C ends the demo.");
    let code = loop {
        tokio::select! {
            event = events.recv() => if let Ok(event) = event {
                screen.event(&event);
            },
            _ = tokio::signal::ctrl_c() => break ExitCode::SUCCESS,
        }
    };
    server.stop().await;
    bookings.stop().await;
    Ok(code)
}

fn read_script(path: &Path) -> Result<ScriptFile, String> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        format!(
            "cannot read the caller's script {}: {e}. Run the demo from the project's folder, or give --caller",
            path.display()
        )
    })?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Rings the server as a phone would and speaks the script.
async fn place_call(server: &Server, file: &ScriptFile, folder: &Path) -> Result<Outcome, String> {
    let mut recordings = Vec::new();
    for line in &file.line {
        let path = folder.join(&line.file);
        recordings.push(wav::read_at(&path, SampleRate::NARROWBAND).map_err(|e| format!("{}: {e}", path.display()))?);
    }
    let target = server.sip.local_addr();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (sip, _inbox) = net::start_udp(any, Random::system(), |socket| EndpointConfig::udp(socket, socket))
        .map_err(|e| e.to_string())?;
    let media = MediaConfig { bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST), ..MediaConfig::default() };
    let workers = Workers::start(media, Random::system()).map_err(|e| e.to_string())?;
    let own = Uri::sip_address(sip.local_addr()).with_user("caller");
    let line = Line::dial(
        &sip,
        sip.local_addr().ip(),
        &workers,
        &Codec::G711,
        LegMode::Agent,
        &mut Random::system(),
        |offer| {
            let from = Party { display: Some("Demo caller".into()), uri: own };
            OutgoingInvite::new(Uri::sip_address(target).with_user("clinic"), target, from, offer)
        },
    )
    .await
    .map_err(|e| e.to_string())?;
    let script = Script::new(file.line.clone());
    let caller = Caller::new(line, script, recordings, PhoneLine::new(NOISE_DBFS, NOISE_SEED));
    tokio::time::timeout(LONGEST_CALL, caller.run(|_| ()))
        .await
        .map_err(|_| "the call did not come to an end".to_owned())
}

/// Shows events until both sides of the call are over.
async fn watch(
    call: impl Future<Output = Result<Outcome, String>>,
    events: &mut broadcast::Receiver<CallEvent>,
    screen: &mut Screen,
) -> Result<Outcome, String> {
    tokio::pin!(call);
    let mut outcome: Option<Result<Outcome, String>> = None;
    let mut patience: Option<Instant> = None;
    loop {
        tokio::select! {
            result = &mut call, if outcome.is_none() => {
                outcome = Some(result);
                patience = Some(Instant::now() + Duration::from_secs(5));
            }
            event = events.recv() => match event {
                Ok(event) => {
                    screen.event(&event);
                    if let (CallEvent::CallEnded { .. }, None) = (&event, &outcome) {
                        patience = Some(Instant::now() + Duration::from_secs(5));
                    } else if matches!(event, CallEvent::CallEnded { .. }) {
                        break;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => break,
            },
            () = async { match patience { Some(at) => tokio::time::sleep_until(at.into()).await, None => std::future::pending().await } } => break,
        }
    }
    match outcome {
        Some(result) => result,
        None => call.await,
    }
}

fn stands(booking: &Value, wanted: &HashMap<String, String>) -> bool {
    wanted
        .iter()
        .all(|(field, value)| booking.get(field).and_then(Value::as_str).is_some_and(|v| v.eq_ignore_ascii_case(value)))
}

fn summarise(screen: &Screen, outcome: &Outcome, booking: Option<&Value>, booking_url: &str) {
    let totals = screen.report.totals();
    let ms = |percent| json!((percentile(&totals, percent).as_secs_f64() * 1000.0).round());
    if screen.json {
        let barge_ins: Vec<Value> = screen.report.barge_ins().iter().map(|d| json!(d.as_millis() as u64)).collect();
        let summary = json!({
            "event": "summary",
            "completed": booking.is_some(),
            "script_spoken": outcome.script_spoken,
            "turns": screen.report.records().len(),
            "latency_ms": {"p50": ms(50.0), "p95": ms(95.0)},
            "barge_in_ms": barge_ins,
            "booking": booking,
            "caller": outcome.reason,
        });
        println!("{summary}");
        return;
    }
    println!("\n{}", screen.style.paint(Ink::Strong, "Latency, caller silent → agent audible"));
    print!("{}", screen.report.summary());
    println!(
        "\n{}",
        screen.style.paint(Ink::Strong, &format!("Read back from the booking service ({booking_url}/bookings)"))
    );
    match booking {
        Some(booking) => {
            for (field, value) in booking.as_object().into_iter().flatten() {
                println!("  {field:<10} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
            println!("{}", screen.style.paint(Ink::Good, "✓ the caller's task is done"));
        }
        None => println!(
            "{}",
            screen.style.paint(Ink::Bad, &format!("✗ no such booking stands; the caller's side: {}", outcome.reason))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_booking_stands_only_when_every_field_matches() {
        let wanted =
            HashMap::from([("name".to_owned(), "Anna Berg".to_owned()), ("time".to_owned(), "16:00".to_owned())]);
        assert!(stands(&json!({"name": "anna berg", "time": "16:00", "phone": "5550134"}), &wanted));
        assert!(!stands(&json!({"name": "Anna Berg", "time": "15:00"}), &wanted));
        assert!(!stands(&json!({}), &wanted));
    }
}
