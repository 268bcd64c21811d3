//! The control socket: a running server tells this user's programs how it is, one JSON line for one question.
//!
//! A Unix socket with mode 0600 in a place that `offhook status` finds by the configuration's path alone.

use super::server::homes::Homes;
use super::server::{Server, ServerPlan, TrunkReachability};
use crate::call::{CallStanding, LineQuality, Supervisor};
use crate::net::Sip;
use crate::providers::listing::Used;
use crate::providers::registry::Registry;
use crate::providers::resilience::HealthState;
use crate::sip::event::RegistrationState;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// Longest question: a program that sends without end is cut off.
const QUESTION_BYTES: u64 = 4_096;
/// Longest answer that a client reads: 10,000 registrations fit.
const ANSWER_BYTES: u64 = 8 * 1024 * 1024;
/// Calls that an answer tells of one by one, from the longest on; it counts all.
const CALLS_TOLD: usize = 2_000;
/// How long a question or an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions at one time; further ones wait in the kernel.
const AT_ONCE: usize = 8;
/// Where the service manager makes a directory for us.
const SYSTEM_DIRECTORY: &str = "/run/offhook";

/// What the server's answers are made of.
#[derive(Clone)]
pub(super) struct Source {
    sip: Sip,
    supervisor: Arc<Supervisor>,
    plan: Arc<ServerPlan>,
    reachability: TrunkReachability,
    homes: Arc<Homes>,
    providers: Arc<Registry>,
    started: Instant,
    draining: Arc<AtomicBool>,
}

impl Source {
    pub(super) fn of(server: &Server, providers: Arc<Registry>) -> Self {
        Self {
            sip: server.sip.clone(),
            supervisor: Arc::clone(&server.supervisor),
            plan: Arc::clone(&server.plan),
            reachability: server.reachability.clone(),
            homes: server.homes(),
            providers,
            started: Instant::now(),
            draining: Arc::default(),
        }
    }

    /// The server takes no more calls.
    pub(super) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Everything `offhook status` shows.
    pub(super) async fn status(&self) -> Value {
        let states = self.supervisor.registration_states();
        let registered = |name: &str, config: &crate::sip::RegistrationConfig| {
            let mut entry = state(states.get(name));
            entry["name"] = json!(name);
            entry["address"] = json!(config.aor.as_str());
            entry
        };
        let extensions = self.plan.extensions.iter().map(|e| (e.name.as_str(), &e.registration.config));
        let trunks = self.plan.trunks.iter().filter_map(|t| Some((t.name(), &t.registration.as_ref()?.config)));
        let registrations: Vec<Value> =
            extensions.chain(trunks).map(|(name, config)| registered(name, config)).collect();
        let asked = self.plan.trunks.iter().map(|trunk| trunk.name().to_owned()).collect::<Vec<_>>();
        let seen = self
            .sip
            .run(move |endpoint, _| {
                let calls: Vec<usize> = asked.iter().map(|name| endpoint.calls_with(name)).collect();
                (calls, endpoint.counters())
            })
            .await;
        let (calls, counters) = seen.map_or_else(|_| (Vec::new(), json!({})), |(calls, c)| (calls, counted(c)));
        let trunks: Vec<Value> = self
            .plan
            .trunks
            .iter()
            .enumerate()
            .map(|(index, trunk)| {
                let answer = self.reachability.of(trunk.name());
                let options = answer.map(|answer| {
                    let mut entry = match answer.outcome {
                        Ok((status, took)) => json!({ "status": status, "took_ms": took.as_secs_f64() * 1e3 }),
                        Err(reason) => json!({ "reason": reason }),
                    };
                    entry["ago_s"] = json!(answer.at.elapsed().as_secs());
                    entry
                });
                json!({
                    "name": trunk.name(),
                    "gateways": trunk.gateway.iter().flat_map(|g| &g.destinations).map(|d| d.host.clone()).collect::<Vec<_>>(),
                    "options": options,
                    "calls": calls.get(index),
                    "max_calls": trunk.known.limits.concurrent,
                })
            })
            .collect();
        json!({
            "uptime_s": self.started.elapsed().as_secs(),
            "draining": self.draining.load(Ordering::Relaxed),
            "calls": self.supervisor.active_calls(),
            "lines": self.supervisor.calls().iter().take(CALLS_TOLD).flat_map(lines).collect::<Vec<_>>(),
            "public_address": self.homes.mapped().map(|address| address.to_string()),
            "listening": self.sip.local_addr().to_string(),
            "registrations": registrations,
            "trunks": trunks,
            "providers": self.providers.used().iter().map(used).collect::<Vec<_>>(),
            "counters": counters,
        })
    }
}

fn state(state: Option<&RegistrationState>) -> Value {
    let until = |at: &Instant| at.saturating_duration_since(Instant::now()).as_secs();
    match state {
        None => json!({ "state": "starting" }),
        Some(RegistrationState::Registering) => json!({ "state": "registering" }),
        Some(RegistrationState::Registered { expires_at, contact }) => {
            json!({ "state": "registered", "expires_in_s": until(expires_at), "contact": contact.to_string() })
        }
        Some(RegistrationState::Failed { code, reason, retry_at }) => {
            json!({ "state": "failed", "code": code, "reason": reason, "retry_in_s": retry_at.as_ref().map(until) })
        }
        Some(RegistrationState::Unregistered) => json!({ "state": "unregistered" }),
    }
}

/// The lines of one call: what it is, and codec, encryption and quality of each.
fn lines(standing: &CallStanding) -> Vec<Value> {
    let CallStanding { facts, lines } = standing;
    let line = |(leg, quality): &(&'static str, LineQuality)| {
        let mut entry = quality.to_json();
        entry["call"] = json!(facts.call.to_string());
        entry["leg"] = json!(leg);
        entry["direction"] = json!(facts.direction);
        entry["peer"] = json!(facts.peer);
        entry["agent"] = json!(facts.agent);
        entry["up_for_s"] = json!(facts.since.elapsed().as_secs());
        entry
    };
    lines.iter().map(line).collect()
}

/// What a provider has done so far, and how it is.
fn used(used: &Used) -> Value {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let mut entry = json!({
        "stage": used.stage.name(),
        "name": used.name,
        "health": match used.health {
            HealthState::Well => "well",
            HealthState::Resting => "resting",
        },
        "frames_passed": used.passed,
        "frames_resampled": used.resampled,
    });
    if let Some(reading) = &used.reading {
        entry["requests"] = json!(reading.requests);
        entry["connections"] = json!(reading.connections);
        entry["failures"] = json!(reading.failures);
        let (p50, p95, p99) = (ms(reading.first_p50), ms(reading.first_p95), ms(reading.first_p99));
        entry["first_ms"] = json!({ "p50": p50, "p95": p95, "p99": p99 });
        let usage = reading.usage;
        let (input, cached, output) = (usage.input_tokens, usage.cached_tokens, usage.output_tokens);
        entry["tokens"] = json!({ "input": input, "cached": cached, "output": output });
        entry["characters"] = json!(reading.characters);
        entry["audio_s"] = json!(reading.audio.as_secs_f64());
    }
    entry
}

fn counted(counters: crate::sip::endpoint::Counters) -> Value {
    json!({
        "unheard": counters.unheard,
        "banned": counters.banned,
        "bans": counters.bans,
        "throttled": counters.throttled,
        "malformed": counters.malformed,
        "challenged": counters.challenged,
        "unauthenticated": counters.unauthenticated,
        "refused": counters.refused,
        "over_peer_limit": counters.over_peer_limit,
        "spoofed": counters.spoofed,
        "unanswered_challenges": counters.unanswered_challenges,
    })
}

/// The places of a server's socket, best first: the one configured, or those where one is looked for.
pub(super) fn places(configuration: &Path, configured: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = configured {
        return vec![path.to_owned()];
    }
    let path = std::fs::canonicalize(configuration).unwrap_or_else(|_| configuration.to_owned());
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let token: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    let name = format!("offhook-{token}.sock");
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let beside = path.parent().map(Path::to_owned);
    [Some(PathBuf::from(SYSTEM_DIRECTORY)), runtime, beside].into_iter().flatten().map(|dir| dir.join(&name)).collect()
}

/// Opens the socket at the first place that allows it.
///
/// # Errors
/// What the last place said, or that another server holds the socket.
pub(super) async fn open(places: &[PathBuf]) -> io::Result<(UnixListener, PathBuf)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "there is no place for it");
    for place in places {
        match bind(place).await {
            Ok(listener) => return Ok((listener, place.clone())),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn bind(place: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(place).await.is_ok() {
        let message = format!("another server with this configuration answers at {}", place.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
    }
    // Made where nobody else can look, so that it is never open to others, not even for a moment.
    let private = place.with_extension(format!("{}.d", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&private)?;
    let made = private.join("s");
    let bound = (|| {
        let listener = UnixListener::bind(&made)?;
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&made, place)?;
        Ok(listener)
    })();
    let _ = std::fs::remove_file(&made);
    let _ = std::fs::remove_dir(&private);
    bound
}

/// Answers until the task is dropped.
pub(super) async fn serve(listener: UnixListener, source: Source) {
    let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    while let Ok(permit) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let source = source.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let _ = tokio::time::timeout(PATIENCE, answer(stream, source)).await;
        });
    }
}

async fn answer(stream: UnixStream, source: Source) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut question = String::new();
    BufReader::new(read.take(QUESTION_BYTES)).read_line(&mut question).await?;
    let asked: Value = serde_json::from_str(&question).unwrap_or_default();
    let answer = match asked["ask"].as_str() {
        Some("status") => source.status().await,
        _ => json!({ "error": "ask for \"status\": {\"ask\":\"status\"}" }),
    };
    write.write_all(format!("{answer}\n").as_bytes()).await
}

/// Asks the server of these places.
///
/// # Errors
/// Nobody answers, or what answers is no server of ours.
pub(super) async fn ask(places: &[PathBuf], question: &str) -> io::Result<Value> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for place in places {
        match tokio::time::timeout(PATIENCE, ask_at(place, question)).await {
            Ok(Ok(answer)) => return Ok(answer),
            // A refusal at one place says more than an absence at the next.
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

async fn ask_at(place: &Path, question: &str) -> io::Result<Value> {
    let (read, mut write) = UnixStream::connect(place).await?.into_split();
    write.write_all(format!("{}\n", json!({ "ask": question })).as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(read.take(ANSWER_BYTES)).read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
